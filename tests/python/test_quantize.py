"""quantize, dequantize and quantize_gguf against the gguf package, and what they refuse."""

import gguf
import numpy as np
import pytest

import realm_ext
from support import GOLDEN

SMALL = GOLDEN / "arch" / "llama" / "model-f32.gguf"
EXACT = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(5).standard_normal((6, 512), dtype=np.float32)


@pytest.mark.parametrize("type_name", EXACT)
def test_encodings_are_bit_equal_to_the_gguf_package(values, type_name):
    theirs = gguf.quants.quantize(values, gguf.GGMLQuantizationType[type_name])
    assert realm_ext.quantize(values, type_name) == theirs.tobytes()


@pytest.mark.parametrize(
    "format_", [f for f in realm_ext.formats() if f.writable], ids=lambda f: f.name
)
def test_what_is_encoded_decodes_as_the_gguf_package_decodes_it(values, format_):
    blocks = realm_ext.quantize(values, format_.name)
    assert len(blocks) == values.size // format_.block_elements * format_.block_bytes
    ours = realm_ext.dequantize(blocks, format_.name, values.shape)
    if format_.name == "F64":
        assert np.array_equal(ours, values)
        return
    raw = np.frombuffer(blocks, np.uint8).reshape(len(values), -1)
    kind = gguf.GGMLQuantizationType[format_.name]
    theirs = gguf.quants.dequantize(raw.view(np.float32) if kind.name == "F32" else raw, kind)
    assert np.array_equal(ours, theirs.reshape(ours.shape))
    assert np.sqrt(np.mean((ours - values) ** 2)) < 0.35


def test_names_of_formats_ignore_case(values):
    assert realm_ext.quantize(values, "q8_0") == realm_ext.quantize(values, "Q8_0")


def test_every_format_of_the_project_is_known():
    names = {f.name for f in realm_ext.formats()}
    assert names >= set(
        "F32 F16 BF16 F64 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ1_S IQ1_M "
        "IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 NVFP4".split()
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: realm_ext.quantize(np.zeros(33), "Q4_0"),
        lambda: realm_ext.quantize(np.zeros(32), "Q99"),
        lambda: realm_ext.quantize(np.zeros(256), "IQ1_S"),
        lambda: realm_ext.quantize(np.full(32, np.nan), "Q8_0"),
        lambda: realm_ext.quantize(np.zeros((1, 1, 1, 1, 32)), "Q8_0"),
        lambda: realm_ext.dequantize(bytes(17), "Q4_0", (32,)),
        lambda: realm_ext.dequantize(bytes(18), "Q4_0", (2**40, 2**40)),
        lambda: realm_ext.dequantize(bytes(18), "Q4_0", (31,)),
    ],
)
def test_requests_that_make_no_sense_are_refused(call):
    with pytest.raises(realm_ext.InvalidRequest):
        call()


def test_a_file_is_quantized_and_the_report_is_true(tmp_path):
    seen = []
    report = realm_ext.quantize_gguf(
        SMALL, tmp_path / "q.gguf", "Q8_0", threads=2, progress=lambda *at: seen.append(at)
    )
    before, after = realm_ext.GGUFFile(SMALL), realm_ext.GGUFFile(tmp_path / "q.gguf")
    assert [t.name for t in report.tensors] == list(after.tensors)
    assert seen[-1][0] == seen[-1][1]
    for t in report.tensors:
        assert (t.shape, t.to_dtype) == (after.tensors[t.name].shape, after.tensors[t.name].dtype)
        error = np.float64(after.read(t.name)) - before.read(t.name)
        assert np.isclose(t.rms_error, np.sqrt(np.mean(error**2)), rtol=1e-6, atol=1e-12)


def test_what_the_progress_function_raises_comes_out_and_nothing_is_written(tmp_path):
    def stop(done, total):
        raise ZeroDivisionError("enough")

    with pytest.raises(ZeroDivisionError, match="enough"):
        realm_ext.quantize_gguf(SMALL, tmp_path / "q.gguf", "Q8_0", progress=stop)
    assert not list(tmp_path.iterdir())


def test_an_unknown_target_names_the_known_ones(tmp_path):
    with pytest.raises(realm_ext.InvalidRequest, match="Q4_K_M"):
        realm_ext.quantize_gguf(SMALL, tmp_path / "q.gguf", "Q99")


@pytest.mark.parametrize("dtype", ["F16", "Q8_0", "Q4_0", "Q5_1", "Q2_K", "Q4_K", "Q6_K", "IQ4_NL"])
def test_values_beyond_a_half_float_are_refused_by_name(dtype):
    values = np.ones(256, np.float32)
    values[7] = 1e7
    with pytest.raises(realm_ext.InvalidRequest, match=rf"cannot encode value 7 as {dtype}"):
        realm_ext.quantize(values, dtype)
