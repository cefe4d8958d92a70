"""A loaded model keeps its word whatever happens around it: files, signals, threads, callbacks."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import realm_ext
from closeness import arch_model, arch_oracle, same_bits
from drafts import Draft, loaded

TOKENS = arch_oracle("llama")[0].tokens


@pytest.fixture
def path(tmp_path):
    """A model of its own, to be maltreated."""
    copy = tmp_path / "model.gguf"
    copy.write_bytes(arch_model("llama").read_bytes())
    return copy


@pytest.fixture(scope="module")
def expected():
    return realm_ext.Model(arch_model("llama")).logits(TOKENS)


# ---- files ---------------------------------------------------------------------------------------


def test_a_loaded_model_survives_deletion_of_its_file(path, expected):
    model = realm_ext.Model(path)
    path.unlink()
    assert same_bits(model.logits(TOKENS), expected)


@pytest.mark.parametrize("size", [0, 1000, -1])
def test_a_loaded_model_survives_truncation_of_its_file(path, size, expected):
    model = realm_ext.Model(path)
    os.truncate(path, size % path.stat().st_size)
    assert same_bits(model.logits(TOKENS), expected)


def test_a_loaded_model_does_not_see_what_is_written_to_its_file(path, expected):
    model = realm_ext.Model(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert same_bits(model.logits(TOKENS), expected)


def test_a_loaded_model_does_not_see_what_happens_to_its_buffer(path, expected):
    buffer = bytearray(path.read_bytes())
    model = realm_ext.Model(buffer)
    buffer[:] = bytes(len(buffer))
    assert same_bits(model.logits(TOKENS), expected)


@pytest.mark.parametrize("source", ["/no/such/model.gguf", b"", b"GGUF"])
def test_a_file_that_is_not_there_or_none_is_refused(source):
    with pytest.raises((realm_ext.FileMissingError, realm_ext.FormatError)):
        realm_ext.Model(source)


# ---- memory --------------------------------------------------------------------------------------


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc here")


@needs_proc
@pytest.mark.parametrize("n_ctx", [2**30, 2**31 - 1])
def test_a_huge_context_in_the_file_allocates_nothing(n_ctx, tmp_path):
    draft = Draft("llama-biases").declare("context_length", n_ctx)
    loaded(draft, tmp_path).logits([3, 4])  # whatever is made once
    before = resident_bytes()
    model = loaded(draft, tmp_path)
    assert model.config.n_ctx == n_ctx
    assert np.isfinite(model.logits([3, 4])).all()
    assert resident_bytes() - before < 4 << 20


@needs_proc
def test_loading_and_closing_many_times_does_not_grow():
    def cycle():
        realm_ext.Model(arch_model("llama")).logits(TOKENS[:4], rows="last")

    for _ in range(10):
        cycle()
    before = resident_bytes()
    for _ in range(50):
        cycle()
    # One model has 0.7 MB of weights.
    assert resident_bytes() - before < 4 << 20


# ---- threads and signals -------------------------------------------------------------------------


def test_four_threads_on_one_model_get_the_same_bits(expected):
    model = realm_ext.Model(arch_model("llama"))
    results = [[], [], [], []]

    def work(mine, chunk):
        mine.extend(model.logits(TOKENS, chunk=chunk) for _ in range(5))

    threads = [
        threading.Thread(target=work, args=(mine, 1 + 7 * i)) for i, mine in enumerate(results)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(mine) for mine in results] == [5] * 4
    assert all(same_bits(logits, expected) for mine in results for logits in mine)


# Says when it computes, computes for seconds, and says when it was interrupted and whether the
# model still works.
INTERRUPTED = """
import sys, time
import numpy as np
import realm_ext
model = realm_ext.Model(sys.argv[1], threads=1)
first = model.logits([3, 4, 5], rows="last")
print("computing", flush=True)
try:
    model.logits(np.full(int(sys.argv[2]), 3), rows="last")
    print("finished", flush=True)
except KeyboardInterrupt:
    print(time.monotonic(), np.array_equal(model.logits([3, 4, 5], rows="last"), first), flush=True)
"""


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory):
    """One layer of 67 million weights: seconds of work in few operations."""
    n_embd, n_ff, n_vocab = 2048, 8192, 64
    rng = np.random.default_rng(1)

    def random_q8_0(rows, cols):
        blocks = rng.integers(0, 256, (rows * cols // 32, 34), dtype=np.uint8)
        blocks[:, :2] = np.full(1, cols**-0.5 / 74, "<f2").view(np.uint8)
        return blocks.tobytes(), "Q8_0", (rows, cols)

    extents = {
        "token_embd": (n_vocab, n_embd),
        "blk.0.attn_q": (n_embd, n_embd),
        "blk.0.attn_k": (n_embd, n_embd),
        "blk.0.attn_v": (n_embd, n_embd),
        "blk.0.attn_output": (n_embd, n_embd),
        "blk.0.ffn_gate": (n_ff, n_embd),
        "blk.0.ffn_up": (n_ff, n_embd),
        "blk.0.ffn_down": (n_embd, n_ff),
    }
    tensors = {f"{name}.weight": random_q8_0(*shape) for name, shape in extents.items()}
    for norm in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        tensors[f"{norm}.weight"] = np.ones(n_embd, np.float32)
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": 1,
        "llama.embedding_length": n_embd,
        "llama.context_length": 1 << 20,
        "llama.feed_forward_length": n_ff,
        "llama.attention.head_count": 16,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }
    path = tmp_path_factory.mktemp("wide") / "wide.gguf"
    realm_ext.write_gguf(path, metadata, tensors)
    return path


def seconds_to_stop(path, n_tokens, delay):
    """From sending SIGINT to a process in the middle of a prefill, until it has its exception."""
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(path), str(n_tokens)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "computing\n"
    time.sleep(delay)
    sent = time.monotonic()
    child.send_signal(signal.SIGINT)
    answer, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert answer != "finished\n", "the prefill was too short to be interrupted"
    stopped, works = answer.split()
    assert works == "True"
    return float(stopped) - sent


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_a_long_prefill_within_100_ms(wide_model):
    # Interrupted at several places; the best shows our part, the others what the machine adds.
    delays = [seconds_to_stop(wide_model, 20_000, delay) for delay in (0.1, 0.3, 0.6)]
    assert min(delays) < 0.1
    assert max(delays) < 2


# ---- callbacks -----------------------------------------------------------------------------------


def test_progress_rises_to_the_size_of_the_weights():
    calls = []
    model = realm_ext.Model(arch_model("llama"), progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert {call[1] for call in calls} == {done[-1]}
    assert done[-1] == model.core.weight_bytes


@pytest.mark.parametrize("weights", ["packed", "mapped"])
@pytest.mark.parametrize("error", [ValueError("enough"), KeyboardInterrupt()])
def test_what_progress_raises_ends_the_load(error, weights):
    calls = []

    def progress(done, total):
        calls.append(done)
        if len(calls) == 3:
            raise error

    with pytest.raises(type(error)) as raised:
        realm_ext.Model(arch_model("llama"), weights=weights, progress=progress)
    assert raised.value is error
    assert len(calls) == 3


def test_a_model_can_be_used_in_the_callback_of_another(expected):
    model = realm_ext.Model(arch_model("llama"))
    results = []

    def progress(done, total):
        if not results:
            results.append(model.logits(TOKENS))

    realm_ext.Model(arch_model("qwen2"), progress=progress)
    assert same_bits(results[0], expected)
