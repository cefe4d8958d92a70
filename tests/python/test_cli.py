"""The realm-ext command: output, exit status, and manners."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import realm_ext
from realm_ext.cli import main
from support import GOLDEN, golden_models

SMALL = GOLDEN / "arch" / "llama" / "model-f32.gguf"
FILES = golden_models()
COMMAND = [sys.executable, "-m", "realm_ext"]


def cli(capsys, *arguments):
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(GOLDEN)))
def test_inspect_shows_every_golden_file(capsys, path):
    status, out, err = cli(capsys, "inspect", path, "--tensors", "--metadata")
    assert (status, err) == (0, "")
    file = realm_ext.GGUFFile(path)
    architecture = file.metadata["general.architecture"]
    assert f"architecture   {architecture}" in out
    assert all(name in out for name in file.tensors)
    assert "memory" in out
    assert "f16 KV for the full context" in out
    status, out, err = cli(capsys, "inspect", path, "--json")
    facts = json.loads(out)
    assert facts["architecture"] == architecture
    assert facts["n_tensors"] == len(file.tensors)
    assert facts["weight_bytes"] == sum(t.nbytes for t in file.tensors.values())
    assert facts["context_length"] == file.metadata[f"{architecture}.context_length"]
    assert facts["n_vocab"] == len(file.metadata["tokenizer.ggml.tokens"])


def test_inspect_counts_the_memory_of_a_cache():
    from realm_ext._summary import summarize

    summary = summarize(realm_ext.GGUFFile(SMALL))
    assert (
        summary.kv_bytes == 2 * (2 * 16) * 2 * 2 * 512
    )  # layers, heads x width, K and V, f16, tokens


def write(path, **metadata):
    realm_ext.write_gguf(path, metadata, {})
    return path


@pytest.mark.parametrize(
    "metadata",
    [
        {"nothing": 0},
        {"general.architecture": 7, "general.type": [1]},
        {"general.architecture": "x", "x.block_count": 2**40, "x.attention.head_count": 0},
        {
            "general.architecture": "x",
            "x.block_count": 2**63,
            "x.embedding_length": 1,
            "x.attention.head_count": 2,
            "x.context_length": 2**63,
        },
        {"general.architecture": "\x1b[2J\n", "general.name": "\udcff"},
        {"tokenizer.ggml.tokens": "not a list", "tokenizer.chat_template": 3},
    ],
)
def test_inspect_survives_metadata_that_makes_no_sense(capsys, tmp_path, metadata):
    path = write(tmp_path / "odd.gguf", **metadata)
    for flags in (["--metadata", "--tensors"], ["--json", "--metadata", "--tensors"]):
        status, out, err = cli(capsys, "inspect", path, *flags)
        assert (status, err) == (0, "")
        assert "\x1b" not in out


def test_inspect_refuses_safetensors_by_name(capsys):
    path = GOLDEN / "arch" / "llama" / "adapters" / "dora" / "adapter_model.safetensors"
    status, out, err = cli(capsys, "inspect", path)
    assert (status, out) == (1, "")
    assert "is a safetensors file" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"GGUF", b"hello" * 20, SMALL.read_bytes()[:3000]])
def test_inspect_explains_a_broken_file_in_one_line(capsys, tmp_path, content):
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    status, out, err = cli(capsys, "inspect", path)
    assert (status, out) == (1, "")
    assert err.startswith("realm-ext: error: ")
    assert err.count("\n") == 1


def test_a_missing_file_is_named(capsys):
    status, _, err = cli(capsys, "inspect", "no such file")
    assert status == 1
    assert err == "realm-ext: error: cannot open 'no such file': No such file or directory\n"


@pytest.mark.parametrize("arguments", [[], ["inspect"], ["fly"], ["quantize", "a", "b", "c", "d"]])
def test_wrong_usage_is_status_2(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_quantize_writes_and_reports(capsys, tmp_path):
    out_path = tmp_path / "q.gguf"
    status, out, err = cli(capsys, "quantize", SMALL, out_path, "q8_0", "--threads", "2")
    assert (status, err) == (0, "")  # no bar: stderr is no terminal
    assert "16 Q8_0, 5 F32" in out
    assert "largest relative rms error 0.00" in out
    assert realm_ext.GGUFFile(out_path).tensors["blk.0.attn_q.weight"].dtype == "Q8_0"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(GOLDEN)))
def test_quantize_accepts_every_golden_file(capsys, tmp_path, path):
    status, _, err = cli(
        capsys, "quantize", path, tmp_path / "q.gguf", "Q4_0", "--allow-requantize"
    )
    assert (status, err) == (0, "")
    before, after = realm_ext.GGUFFile(path), realm_ext.GGUFFile(tmp_path / "q.gguf")
    assert {n: t.shape for n, t in before.tensors.items()} == {
        n: t.shape for n, t in after.tensors.items()
    }
    assert "Q4_0" in {t.dtype for t in after.tensors.values()}


def test_an_unknown_type_is_status_2_and_names_the_known(capsys, tmp_path):
    status, _, err = cli(capsys, "quantize", SMALL, tmp_path / "q.gguf", "Q99")
    assert status == 2
    assert "Q4_K_M" in err


def test_doctor_prints_what_the_library_says(capsys):
    assert cli(capsys, "doctor") == (0, realm_ext.doctor() + "\n", "")


def test_the_demo_prints_a_line_per_step(capsys):
    from realm_ext.cli.demo import STEPS

    status, out, err = cli(capsys, "demo")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [name for name, _ in STEPS]


@pytest.mark.parametrize("flag", ["--cmake-dir", "--include-dir", "--demo-dir"])
def test_folders_are_printed_and_exist(flag):
    path = subprocess.run([*COMMAND, flag], capture_output=True, text=True, check=True).stdout
    assert os.path.isdir(path.rstrip("\n"))


def test_the_console_script_is_the_module(tmp_path):
    script = os.path.join(os.path.dirname(sys.executable), "realm-ext")
    outs = [
        subprocess.run([*c, "--version"], capture_output=True, text=True, check=True).stdout
        for c in ([script], COMMAND)
    ]
    assert outs == [f"realm-ext {realm_ext.__version__}\n"] * 2


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file that takes seconds to quantize."""
    path = tmp_path_factory.mktemp("large") / "large.gguf"
    values = np.random.default_rng(3).standard_normal((8192, 2048)).astype(np.float16)
    realm_ext.write_gguf(path, {"general.architecture": "llama"}, {"blk.0.ffn_up.weight": values})
    return path


def test_ctrl_c_ends_quantize_at_once_and_leaves_nothing(large, tmp_path):
    command = [
        *COMMAND,
        "quantize",
        str(large),
        str(tmp_path / "q.gguf"),
        "Q3_K_M",
        "--threads",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)  # until the output's temporary file is there
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "realm-ext: interrupted\n")
    assert time.monotonic() - sent < 2
    assert not list(tmp_path.iterdir())


def test_a_terminal_sees_a_progress_bar_that_goes_away(large, tmp_path):
    ours, theirs = pty.openpty()
    command = [*COMMAND, "quantize", str(large), str(tmp_path / "q.gguf"), "Q8_0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the terminal's other side is closed
            break
        if not chunk:
            break
        shown += chunk
    process.communicate()
    assert process.returncode == 0
    assert b"quantize [" in shown
    assert b"100%" in shown
    assert shown.endswith(b"\r\x1b[K")


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    path = tmp_path / "long.gguf"
    realm_ext.write_gguf(path, {f"key.{i}": "x" * 70 for i in range(5000)}, {})
    process = subprocess.Popen(
        [*COMMAND, "inspect", str(path), "--metadata"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 141


def test_quantize_never_replaces_its_own_input(capsys, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(SMALL.read_bytes())
    (tmp_path / "other-name.gguf").symlink_to(path)
    for output in (path, tmp_path / "other-name.gguf"):
        status, _, err = cli(capsys, "quantize", path, output, "Q8_0")
        assert status == 2
        assert "OUT is IN" in err
    assert path.read_bytes() == SMALL.read_bytes()
