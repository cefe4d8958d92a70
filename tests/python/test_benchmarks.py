"""What the benchmark scripts stand on: random models that compute, and figures that add up."""

import hashlib
import json
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import gguf
import numpy as np
import pytest

import realm_ext
from realm_ext._work import Work
from support import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import comparison
import instructions
import neighbours
import synth
import synth_blocks
import vs_llama_cpp

TINY = synth.Shape(512, 256, 9, 8, 2, 768, 1024)
PROMPT = [1, 300, 301, 302, 303]


@pytest.mark.parametrize("kind", [*synth_blocks.SUPPORTED, *synth.MIXES])
def test_a_random_model_of_any_type_computes_finite_logits(tmp_path, kind):
    synth.write_model(tmp_path / "m.gguf", "tiny", kind)
    logits = realm_ext.Model(tmp_path / "m.gguf").logits(PROMPT)
    assert np.isfinite(logits).all()
    assert 0.3 < logits.std() < 3


@pytest.mark.parametrize("kind", synth_blocks.SUPPORTED)
def test_random_blocks_have_the_spread_asked_for(kind):
    dtype = gguf.GGMLQuantizationType[kind]
    rng = np.random.default_rng(5)
    for std in (0.02, 1.0):
        data = synth_blocks.random_matrix(rng, dtype, 64, 768, std)
        values = realm_ext.dequantize(data, kind, (64, 768))
        assert 0.7 * std < values.std() < 1.4 * std
        assert abs(values.mean()) < 0.5 * std


def test_a_random_model_is_the_same_file_for_the_same_seed(tmp_path):
    digests = []
    for seed in (1, 1, 2):
        synth.write_model(tmp_path / "m.gguf", "tiny", "Q4_K_M", seed=seed)
        digests.append(hashlib.sha256((tmp_path / "m.gguf").read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("mix", synth.MIXES)
@pytest.mark.parametrize("tied", [False, True])
def test_a_mix_is_the_quantizers(tmp_path, mix, tied):
    shape = synth.Shape(**{**vars(TINY), "tied": tied})
    synth.write_model(tmp_path / "floats.gguf", shape, "F16")
    synth.write_model(tmp_path / "random.gguf", shape, mix)
    realm_ext.quantize_gguf(tmp_path / "floats.gguf", tmp_path / "quantized.gguf", mix)
    random, quantized = (
        {n: t.dtype for n, t in realm_ext.GGUFFile(tmp_path / name).tensors.items()}
        for name in ("random.gguf", "quantized.gguf")
    )
    assert random == quantized
    assert {"Q6_K", mix[:4]} <= set(random.values())


def test_rows_that_no_superblock_fits_get_smaller_blocks(tmp_path):
    shape = synth.Shape(600, 224, 2, 7, 7, 320, 256, architecture="qwen2", tied=True)
    synth.write_model(tmp_path / "m.gguf", shape, "Q4_K_M")
    file = realm_ext.GGUFFile(tmp_path / "m.gguf")
    assert file.tensors["blk.0.attn_q.weight"].dtype == "Q5_0"
    assert file.tensors["token_embd.weight"].dtype == "Q8_0"
    assert np.isfinite(realm_ext.Model(tmp_path / "m.gguf").logits(PROMPT)).all()


def test_a_chain_says_its_table_and_a_draft_agrees_as_often_as_asked(tmp_path):
    def followers(shape, agree, seed):
        synth.write_model(tmp_path / "m.gguf", shape, "Q4_K_M", seed=seed, chain=7, agree=agree)
        tokens = np.random.default_rng(0).integers(259, 512, 200)
        return realm_ext.Model(tmp_path / "m.gguf").logits(tokens).argmax(1), tokens

    target, tokens = followers(TINY, 1.0, 1)
    assert (target == np.random.default_rng(7).permutation(512)[tokens]).all()
    small = synth.Shape(512, 256, 2, 8, 2, 256, 1024)
    draft, _ = followers(small, 0.6, 2)
    assert 0.45 < (draft == target).mean() < 0.75


def test_a_models_work_is_what_its_matrices_hold(tmp_path):
    synth.write_model(tmp_path / "m.gguf", TINY, "Q8_0")
    file = realm_ext.GGUFFile(tmp_path / "m.gguf")
    work = Work.of(file, realm_ext.Model(tmp_path / "m.gguf").config)
    per_layer = 2 * 256 * 256 + 2 * 64 * 256 + 3 * 768 * 256
    assert work.int8_macs_per_token == 9 * per_layer
    assert work.head_macs == 512 * 256
    assert work.f32_macs_per_token == 0
    assert work.bytes_per_step == (9 * per_layer + 512 * 256) * 34 / 32
    assert work.kv_bytes_per_token == 2 * 9 * 64 * 2
    ceilings = SimpleNamespace(read_bytes_per_s=1e9, int8_macs_per_s=1e12, f32_macs_per_s=1e11)
    seconds, limit = work.step(2, 10, ceilings)
    assert limit == "read"
    assert seconds == pytest.approx((work.bytes_per_step + 20 * work.kv_bytes_per_token) / 1e9)
    seconds, limit = work.step(10**6, 0, ceilings)
    assert limit == "multiply"
    assert seconds == pytest.approx(10**6 * (9 * per_layer + 512 * 256) / 1e12)


def samples(*values, missing=""):
    return comparison.Samples(list(values), missing)


def row(ours, peer, unit="tokens/s", **more):
    engines = {comparison.OURS: ours, comparison.PEER: peer}
    return comparison.Row("m", "decode & so on", unit, engines, **more)


def test_ratios_are_those_of_pairs_and_above_one_when_ours_is_better():
    faster = row(samples(10, 30, 20), samples(5, 10, 20))
    assert faster.ratios == [2, 3, 1]
    assert faster.ratio_text() == "**2.00** (1.00 to 3.00)"
    assert row(samples(1.0), samples(3.0), unit="s").ratios == [3]
    assert row(samples(missing="not there"), samples(3.0)).ratio_text() == ""


def test_a_table_and_a_plot_show_what_is_missing(tmp_path):
    found = comparison.Comparison("a machine", 2, "abc", "2026-01-01", {})
    found.rows = [
        row(samples(missing="not available"), samples(50), most=100.0, limit="read"),
        row(samples(80, 90, 70), samples(40, 40, 40), most=100.0, limit="read", neighbours=[0.4]),
    ]
    lines = comparison.markdown(found).splitlines()
    assert "| not available | **50.0** tokens/s |  | 100 (read) |  | 50% |" in lines[2]
    assert "**2.00** (1.75 to 2.25) | 100 (read) | 80% | 40% |" in lines[3]
    assert any("other programs took 40%" in line for line in lines)
    assert "not available" in comparison.text(found)
    drawn = ElementTree.fromstring(comparison.svg(found))
    assert sum(e.tag.endswith("rect") for e in drawn) == 1 + 2 + 3
    json.dumps(found.as_json())


def test_work_is_named_as_the_tables_describe_it():
    work = vs_llama_cpp.parse_work("decode:8@2048")
    assert (work["sequences"], work["context"], work["tokens"]) == (8, 2048, 64)
    assert vs_llama_cpp.describe(work) == "decode, 8 sequences after 2048"
    assert vs_llama_cpp.describe(vs_llama_cpp.parse_work("prefill:512")) == "prefill 512"
    with pytest.raises(SystemExit):
        vs_llama_cpp.parse_work("guess:3")


def test_our_side_of_a_comparison_runs(tmp_path):
    model = tmp_path / "tiny.gguf"
    synth.write_model(model, "tiny", "Q4_K_M")
    command = [
        sys.executable, ROOT / "benchmarks/vs_llama_cpp.py", model, "--only", "realm_ext",
        "--work", "prefill:32,load,memory", "--rounds", "2", "--generate", "4",
        "--json", tmp_path / "out.json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    values = [r["engines"]["realm_ext"]["values"] for r in found["rows"]]
    assert [len(v) for v in values] == [2, 2, 1]
    assert all(v > 0 for row_values in values for v in row_values)


def test_what_another_process_takes_counts_unless_it_is_ours():
    code = "import os, sys\nwhile sum(os.times()[:2]) < 0.3: pass\nprint('done')\nsys.stdin.read()"
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        as_neighbour, as_ours = neighbours.Neighbours([]), neighbours.Neighbours([other.pid])
        other.stdout.readline()
        # One look at the system for both: it goes on between two.
        now = as_neighbour._seconds_of_others(), as_ours._seconds_of_others()
    seen = (now[0] - as_neighbour._others) - (now[1] - as_ours._others)
    assert 0.2 < seen < 0.5


def test_a_share_of_neighbours_is_none_to_all():
    others = neighbours.Neighbours([])
    assert 0 <= others.share() <= 1
    others._others = 0.0  # as if all that this machine ever did were since the beginning
    assert others.share() == 1


def disassembly(*lines):
    """Instructions at 0, 1, 2 ... of "code operands"."""
    return [instructions.Instruction(i, *f"{line} ".split(" ", 1)) for i, line in enumerate(lines)]


def test_instructions_are_those_of_the_worst_innermost_loop():
    dot, spill = "vpdpbusd (%rdx),%zmm0,%zmm1", "vmovups %zmm1,0x40(%rsp)"
    body = disassembly(
        spill, "vmulps", dot, dot, "jne 1",  # the better of two loops in another
        spill, dot, dot, spill, "jne 6",
        dot, "jne a",  # with fewer dots
        spill, "jne 0",
    )  # fmt: skip
    found = instructions.worst_loop(body, "vpdpbusd")
    assert (found.instructions, found.dots, found.loads, found.stack) == (4, 2, 2, 1)
    assert (found.per_dot, found.loads_per_dot, found.stack_per_cent) == (2, 1, 50)
    assert instructions.worst_loop(disassembly("vmulps", "jne 0"), "vpdpbusd") is None


def test_loads_are_what_reads_memory_or_fetches_it():
    loads = ["vmovups 0x40(%rsp),%zmm1", "vaddps (%rax){1to16},%zmm1,%zmm2", "prefetcht0 (%rax)"]
    others = ["vmovups %zmm1,(%rax)", "lea 0x8(%rax),%rbx", "nopl 0x0(%rax)", "add $0x40,%rax"]
    assert all(one.is_load for one in disassembly(*loads))
    assert not any(one.is_load for one in disassembly(*others))
