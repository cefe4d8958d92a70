"""The script for machines with a GPU, taken through its stages without one."""

import json
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from support import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu
import gpu_build
import gpu_checks
import gpu_floors
import gpu_targets


def call(results, *arguments):
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--installed", "--results", results]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)


def test_every_stage_runs_without_a_card_and_fills_the_table(tmp_path, cpp_build):
    kernels = cpp_build / "benchmarks" / "gpu_kernels"
    first = call(
        tmp_path / "kept", "--device", "cpu", "--kernels", kernels, "--stage", "check", "kernels"
    )
    assert first.returncode == 0, first.stdout + first.stderr
    done = call(
        tmp_path / "kept", "--device", "cpu", "--stage", "models", "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len([*(tmp_path / "out").iterdir()]) <= 5  # what a lent machine gives back
    for key in (
        "failed_oracles", "worst_f16_nmse", "worst_quant_nmse", "stream_gb_s", "launch_us",
        "decode_share", "q4k_1_share", "one_sequence", "many_sequences", "prefill", "lora_ratio",
        "speculation", "deterministic_many",
    ):  # fmt: skip
        assert isinstance(found[key], float), key
    for key in ("failed_oracles", "greedy_failed", "batches_failed"):
        assert found[key] == 0
    assert "| 8B Q4_K_M, one sequence | tokens/s | at least 250 |" in done.stdout
    assert (tmp_path / "out" / "table.md").read_text().strip() in done.stdout


def test_a_part_that_breaks_is_named_and_the_status_says_so(tmp_path):
    done = call(tmp_path, "--device", "metal:7", "--stage", "models")
    assert done.returncode == 1
    assert "missed: one_sequence (ended with status 1)" in done.stdout


def test_a_program_of_kernels_that_breaks_leaves_what_it_measured(tmp_path):
    kernels = tmp_path / "kernels"
    kernels.write_text("""#!/bin/sh
echo '{"name": "stream", "gb_s": 50.0}'
echo '{"name": "launch", "seconds": 2e-6}'
exit 3
""")
    kernels.chmod(0o755)
    done = call(tmp_path, "--device", "cpu", "--kernels", kernels, "--stage", "kernels")
    assert done.returncode == 1, done.stderr
    assert f"kernels (ended with status 3: {kernels}" in done.stdout
    assert "| our x += y | GB/s |  | 3,900 | 50 |" in done.stdout


@pytest.mark.parametrize(("device", "status"), [("cuda", 1), ("metal", 0)])
def test_goals_of_a_card_are_not_held_against_another_device(
    tmp_path, monkeypatch, capsys, device, status
):
    (tmp_path / "gpu_models.json").write_text('{"one_sequence": 3.0}')
    monkeypatch.setattr(gpu.Run, "check", lambda self: {"failed_oracles": 0.0})
    words = ["--installed", "--stage", "check", "--results", str(tmp_path), "--device", device]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
    assert gpu.main() == status
    assert ("goals and predictions are of another device" in capsys.readouterr().out) == (
        not status
    )
    monkeypatch.setattr(gpu.Run, "check", lambda self: {"failed_oracles": 1.0})
    assert gpu.main() == 1


def test_every_goal_of_the_table_can_be_missed_and_reached():
    for t in gpu_targets.TARGETS:
        values = {t.verdict(0.0), t.verdict(1e9)}
        goals = (t.at_least is not None) + (t.at_most is not None)
        assert values == ({"reached", "MISSED"} if goals else {""}), t.key
    assert len({t.key for t in gpu_targets.TARGETS}) == len(gpu_targets.TARGETS)


def test_a_missed_goal_counts_unless_sizes_are_tiny_and_a_wrong_answer_always():
    results = {"one_sequence": 249.0, "failed_oracles": 1.0, "many_sequences": "failed: lost"}
    all_of_them = gpu_targets.missed(results, checks_alone=False)
    assert len(all_of_them) == 3
    assert "many_sequences (failed: lost)" in all_of_them
    tiny = gpu_targets.missed(results | {"many_sequences": 1.0}, checks_alone=True)
    assert tiny == ["tests against oracles that fail"]
    table = gpu_targets.table(results, checks_alone=False)
    assert "| at least 250 | 150-250 | 249 | MISSED |" in table


def test_kernels_are_quoted_beside_the_copy_of_the_same_run():
    records = [
        {"name": "stream", "gb_s": 50.0},
        {"name": "launch", "seconds": 2e-6},
        {"name": "flash", "kv": "bf16", "tokens": 4096, "tflops": 260.0},
        {"name": "decode", "kv": "f16", "gb_s": 75.0},
        {"name": "product", "format": "Q4_K", "rows": 32, "gb_s": 20.0, "tflops": 1.0},
        {"name": "product", "format": "BF16", "rows": 4096, "gb_s": 1.0, "tflops": 600.0},
    ]
    found = gpu.summary(records, records, {"copy_gb_s": 100.0, "sdpa_decode_gb_s": 60.0})
    assert found["decode_share"] == 75
    assert found["sdpa_decode_share"] == 60
    assert found["q4k_32_share"] == 20
    assert found["flash_bf16_4096"] == 260
    assert found["bf16_4096_tflops"] == found["bf16_4096_own_tflops"] == 600
    assert gpu.summary(records, [], {})["decode_share"] == 150


@pytest.mark.parametrize(
    ("text", "status", "expected"),
    [
        ("3 failed, 90 passed in 2s", 1, 3.0),
        ("96 passed in 2s", 0, 0.0),
        ("Killed", 137, "see x.log"),
    ],
)
def test_what_pytest_says_becomes_a_number_or_a_place_to_look(
    tmp_path, monkeypatch, text, status, expected
):
    checks = gpu_checks.Checks("cpu", True, tmp_path, None, print)
    (tmp_path / "x.log").write_text(f"1 failed words before\n{text}\n")
    monkeypatch.setattr(checks, "_log", lambda *arguments, **more: status)
    assert checks.pytest("x", [], 1) == expected


def checks_of(folder, tmp_path, monkeypatch) -> gpu_checks.Checks:
    """Over programs in `folder`."""
    monkeypatch.setattr(gpu_build, "FOLDER", folder)
    (folder / "tests").mkdir()
    return gpu_checks.Checks("cuda", False, tmp_path, None, print)


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


REPORT = """<testsuites><testsuite>
<testcase name="test_greedy_tokens_are_the_oracles[llama]"/>
<testcase name="test_greedy_tokens_are_the_oracles[gpt2]"><failure message="no"/></testcase>
<testcase name="test_a_deterministic_answer_has_the_same_bits_alone[phi3]"><skipped/></testcase>
<testcase name="test_logits_of_the_corners_are_near_the_oracles[x]"><failure message="no"/></testcase>
{more}</testsuite></testsuites>"""


def test_answers_that_are_not_the_oracles_are_counted_and_none_is_not_right(tmp_path):
    checks = gpu_checks.Checks("cuda", False, tmp_path, None, print)
    unknown = {"greedy_failed": "see oracles.log", "batches_failed": "see oracles.log"}
    assert checks.asked() == unknown
    report = tmp_path / "oracles.xml"
    report.write_text(REPORT.format(more=""))
    assert checks.asked() == {"greedy_failed": 1.0, "batches_failed": "see oracles.log"}
    name = f"{gpu_checks.ASKED['batches_failed']}_alone_and_in_50_random_batches[q]"
    report.write_text(REPORT.format(more=f'<testcase name="{name}"/>'))
    assert checks.asked() == {"greedy_failed": 1.0, "batches_failed": 0.0}


def test_tests_that_have_a_line_of_their_own_are_there():
    text = (ROOT / "tests" / "python" / "test_device.py").read_text()
    for name in gpu_checks.ASKED.values():
        assert f"def {name}" in text


def test_what_the_wrappers_of_a_card_give_is_recorded_and_counted(tmp_path, monkeypatch):
    checks = checks_of(tmp_path, tmp_path, monkeypatch)
    suite = tmp_path / "tests" / "cuda_wrappers_test"
    (tmp_path / "wrappers.txt").write_text("of another run")
    program(suite, "exit 1")
    assert checks.record_wrappers() == "see record.log"
    assert not (tmp_path / "wrappers.txt").exists()
    differ = 'echo "x.cpp:1: failed: multiply_add_f16: 3 of 256 words differ from those"'
    program(suite, f'echo words > "$REALM_RECORD"\n{differ}\necho "2 tests, 1 failures"\nexit 1')
    assert checks.record_wrappers() == 1
    assert (tmp_path / "wrappers.txt").read_text() == "words\n"
    program(suite, 'echo words > "$REALM_RECORD"; echo "2 tests, 0 failures"')
    assert checks.record_wrappers() == 0


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [
        ("ERROR SUMMARY: 0 errors", 0, 0.0),
        ("ERROR SUMMARY: 2 errors", 1, 2.0 * 2 * len(gpu_checks.SANITIZED)),
        ("ERROR SUMMARY: 0 errors", 1, "gave no clean run: see memcheck_cuda_wrappers_test_.log"),
        ("Device not supported", 1, "gave no clean run: see memcheck_cuda_wrappers_test_.log"),
    ],
)
def test_findings_are_of_runs_that_ended_well(tmp_path, monkeypatch, said, status, expected):
    program(tmp_path / "compute-sanitizer", f'echo "========= {said}"; exit {status}')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    checks = checks_of(tmp_path, tmp_path, monkeypatch)
    found = checks.sanitize()
    assert found == {"sanitizer_errors": expected}
    assert bool(gpu_targets.missed(found, checks_alone=False)) == (expected != 0)


def test_what_the_sanitizer_is_to_run_is_there():
    for suite, chosen in gpu_checks.SANITIZED:
        assert suite in gpu_build.suites("cuda")
        cpp = ROOT / "tests" / "cpp"
        shared = cpp / f"{suite.removesuffix('_test').replace('cuda_', 'gpu_')}.inc"
        texts = [path.read_text() for path in (cpp / f"{suite}.cpp", shared) if path.exists()]
        assert any(re.search(rf"^TEST\(\w*{chosen}", text, re.MULTILINE) for text in texts)


def test_the_build_names_the_device_and_its_suites_alone():
    cuda = gpu_build.configure("cuda", False, "90a-real", "somewhere")
    assert {"-DREALM_CUDA=ON", "-DREALM_BUILD_TESTS=ON", "-DREALM_METAL=OFF"} <= {*cuda}
    assert {"-DCMAKE_CUDA_ARCHITECTURES=90a-real", "-Dpybind11_DIR=somewhere"} <= {*cuda}
    emulated = gpu_build.configure("cuda", True, None, "somewhere")
    assert "-DREALM_CUDA=EMULATED" in emulated
    metal = gpu_build.configure("metal", True, None, "somewhere")
    assert {"-DREALM_METAL=EMULATED", "-DREALM_CUDA=OFF", "-DREALM_BUILD_TESTS=OFF"} <= {*metal}
    suites = gpu_build.suites("cuda")
    assert suites[0] == "cuda_wrappers_test"
    assert {f"cuda_{name}_test" for name in ("ops", "products", "attention", "forward")} <= {
        *suites
    }
    left_out = {"cuda_emulation_test", "cuda_backend_test", "cuda_dense_library_test"}
    assert not left_out & {*suites}
    assert gpu_build.suites("metal") == []


def test_a_dense_library_of_a_package_is_named_where_no_loader_finds_one(tmp_path, monkeypatch):
    paths = [tmp_path / f"nvidia/cu{n}/lib/libcublasLt.so.{n}" for n in (12, 13)]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert gpu_build.dense_library() is None  # none of them opens
    monkeypatch.setattr(gpu_build, "opens", lambda library: library.startswith("/"))
    assert gpu_build.dense_library() == str(paths[1])
    monkeypatch.setattr(gpu_build, "opens", lambda library: library.endswith(".12"))
    assert gpu_build.dense_library() is None  # one that is found by its name needs no path


def test_tools_that_are_in_no_path_are_found_behind_those_that_are(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", "/first")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    gpu_build.find_tools()
    path = os.environ["PATH"].split(os.pathsep)
    assert path[0] == "/first"
    assert {str(tmp_path / "bin"), f"{sys.prefix}/bin"} <= {*path}
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PATH", "/first")
    gpu_build.find_tools()
    assert "nowhere" not in os.environ["PATH"]


def test_what_a_build_lacks_is_named_before_it_begins(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path / "ninja", "")
    monkeypatch.setattr(gpu_build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="there must be cmake, pybind11;"):
        gpu_build.build("cuda", emulated=True)


@pytest.mark.parametrize(
    ("capability", "arch"), [("9.0", "90a-real"), ("8.6", "86-real"), ("12.0", "120-real")]
)
def test_the_architecture_is_the_cards(monkeypatch, tmp_path, capability, arch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program(tmp_path / "nvidia-smi", f"echo {capability}")
    assert gpu_build.architecture() == arch


def test_without_a_card_nothing_is_built_for_one_that_nobody_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu_build.ctypes, "CDLL", lambda name: None)
    assert gpu_build.architecture() == "native"  # a driver, and not its program

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(gpu_build.ctypes, "CDLL", missing)
    with pytest.raises(SystemExit, match="no card is here; --arch 90a-real builds"):
        gpu_build.architecture()


class Shaped:
    """A tensor of torch's that has a shape and no values."""

    def __init__(self, *shape, device="cuda", dtype="f32"):
        self.shape, self.dtype = shape, dtype

    @property
    def T(self):
        return Shaped(*self.shape[::-1], dtype=self.dtype)

    def __matmul__(self, other):
        assert self.shape[-1] == other.shape[0]
        assert self.dtype == other.dtype
        return Shaped(self.shape[0], other.shape[1], dtype=self.dtype)

    def numel(self):
        return int(np.prod(self.shape))

    def copy_(self, other):
        assert self.shape == other.shape


def attend(q, k, v, is_causal=False):
    assert q.shape[:2] == k.shape[:2] == v.shape[:2]
    assert k.shape == v.shape
    assert not is_causal or q.shape == k.shape
    return q


class Event:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self): ...

    def synchronize(self): ...

    def elapsed_time(self, end):
        return 1000.0  # ms, however many calls there were


def test_every_floor_is_measured_and_has_a_line(monkeypatch, capsys):
    torch = SimpleNamespace(
        cuda=SimpleNamespace(Event=Event, is_available=lambda: True),
        nn=SimpleNamespace(functional=SimpleNamespace(scaled_dot_product_attention=attend)),
        randn=Shaped, empty_like=lambda x: Shaped(*x.shape), bfloat16="bf16", float16="f16",
        __version__="0",
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    gpu_floors.main()
    floors = json.loads(capsys.readouterr().out)
    assert floors.pop("torch") == "0"
    # A sample is one call here, and takes a second.
    assert floors["copy_gb_s"] == 8 * 2**30 / 1e9
    assert floors["sdpa_tflops_4096"] == pytest.approx(2 * 32 * 128 * 4096**2 / 1e12)
    assert floors["sdpa_decode_gb_s"] == 2 * 2 * 32 * 4096 * 8 * 128 / 1e9
    assert floors["floor_many"] == 32
    records = [{"name": "stream", "gb_s": 1.0}, {"name": "launch", "seconds": 1.0}]
    lines = {t.key for t in gpu_targets.TARGETS}
    assert {*gpu.summary(records, [], floors)} - {"sdpa_decode_gb_s"} <= lines
    assert len(floors) == 8


def test_a_call_ends_when_its_minutes_have_and_says_what_had_no_time(tmp_path):
    kernels = tmp_path / "kernels"  # which stops in the middle of a line
    kernels.write_text("""#!/bin/sh\nprintf '{"name": "launch"}\\n{"na'; exec sleep 60\n""")
    kernels.chmod(0o755)
    began = time.perf_counter()
    words = ["--minutes", "0.02", "--kernels", kernels, "--stage", "check", "kernels", "models"]
    done = call(tmp_path, "--device", "cpu", *words)
    assert time.perf_counter() - began < 60
    assert done.returncode == 1, done.stderr
    assert "kernels (ended with no time left: " in done.stdout
    assert "missed: " in done.stdout
    assert "one_sequence (ended with no time left)" in done.stdout
    assert "failed_oracles (see oracles.log)" in done.stdout


def test_who_stops_a_call_gets_what_it_has(tmp_path):
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--installed", "--device", "cpu"]
    command += ["--results", tmp_path / "kept", "--out", tmp_path / "out", "--stage", "check"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert "=== check" in running.stdout.readline()
        running.terminate()
        assert running.wait(30) == 143
    assert (tmp_path / "out" / "logs.tar.gz").exists()


def test_the_log_has_the_predictions_of_the_script():
    log = (ROOT / "docs" / "gpu_log.md").read_text()
    assert gpu_targets.predictions() in log
