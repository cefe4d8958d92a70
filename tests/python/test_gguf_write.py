"""write_gguf: what it writes, others read; what it cannot write, it refuses."""

import gguf
import numpy as np
import pytest

import realm_ext
from support import GOLDEN

VALUES = {
    "bool": True,
    "small": 7,
    "negative": -7,
    "large": 2**40,
    "very.large": 2**64 - 1,
    "very.negative": -(2**63),
    "float": 0.5,
    "text": "grüße",
    "bools": [True, False],
    "ints": [1, -2, 3],
    "floats": [0.5, 1.5],
    "texts": ["a", "ß", ""],
    "empty": [],
}


def test_metadata_comes_back_equal(tmp_path):
    path = tmp_path / "m.gguf"
    realm_ext.write_gguf(path, VALUES, {})
    read = realm_ext.GGUFFile(path).metadata
    assert read == VALUES
    assert [type(v) for v in read.values()] == [type(v) for v in VALUES.values()]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "UINT32"),
        (-1, "INT32"),
        (2**32, "UINT64"),
        (-(2**32), "INT64"),
        (1.0, "FLOAT32"),
        (True, "BOOL"),
        ("x", "STRING"),
        (np.uint8(1), "UINT8"),
        (np.int16(1), "INT16"),
        (np.float64(0.1), "FLOAT64"),
        (np.bool_(True), "BOOL"),
        ([1, 2], "ARRAY INT32"),
        ([1, 2**31], "ARRAY UINT32"),
        ([1.0, 2], "ARRAY FLOAT32"),
        (np.array([1, 2], ">i8"), "ARRAY INT64"),
        (["a"], "ARRAY STRING"),
    ],
)
def test_types_are_those_that_readers_expect(tmp_path, value, expected):
    path = tmp_path / "m.gguf"
    realm_ext.write_gguf(path, {"key": value}, {})
    types = gguf.GGUFReader(path).get_field("key").types
    assert " ".join(t.name for t in types) == expected


@pytest.mark.parametrize(
    "value", [None, {}, [[1]], [1, "a"], 2**64, [-1, 2**63], np.zeros((2, 2)), object()]
)
def test_values_that_no_file_can_hold_are_refused(tmp_path, value):
    with pytest.raises(realm_ext.InvalidRequest):
        realm_ext.write_gguf(tmp_path / "m.gguf", {"key": value}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_float_arrays_keep_shape_type_and_values(tmp_path, dtype):
    path = tmp_path / "t.gguf"
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)[:, ::-1]
    realm_ext.write_gguf(path, {}, {"t": array})
    file = realm_ext.GGUFFile(path)
    assert file.tensors["t"].dtype == {2: "F16", 4: "F32", 8: "F64"}[array.dtype.itemsize]
    assert np.array_equal(file.read("t"), array.astype(np.float32))


def test_encoded_tensors_are_written_as_they_are(tmp_path):
    path = tmp_path / "t.gguf"
    values = np.linspace(-1, 1, 512, dtype=np.float32).reshape(2, 256)
    blocks = realm_ext.quantize(values, "Q4_K")
    realm_ext.write_gguf(path, {}, {"t": (blocks, "Q4_K", (2, 256))})
    file = realm_ext.GGUFFile(path)
    assert file.raw("t").tobytes() == blocks
    assert np.array_equal(file.read("t"), realm_ext.dequantize(blocks, "Q4_K", (2, 256)))


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros(4, np.int32),
        (b"", "Q4_K"),
        (b"1234", "F32", (2,)),
        (b"1234", "no format", (1,)),
        (bytes(18), "Q4_0", (33,)),
        np.zeros((1, 1, 1, 1, 1), np.float32),
    ],
)
def test_tensors_that_make_no_sense_are_refused(tmp_path, tensor):
    with pytest.raises(realm_ext.InvalidRequest):
        realm_ext.write_gguf(tmp_path / "t.gguf", {}, {"t": tensor})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["arch/gemma3/model-f32.gguf", "quant/Q4_K_M.gguf"])
def test_a_golden_file_read_and_written_is_equal_in_meaning(tmp_path, name):
    source = realm_ext.GGUFFile(GOLDEN / name)
    tensors = {t.name: (source.raw(t.name), t.dtype, t.shape) for t in source.tensors.values()}
    realm_ext.write_gguf(tmp_path / "copy.gguf", source.metadata, tensors)
    copy = realm_ext.GGUFFile(tmp_path / "copy.gguf")
    assert copy.metadata == source.metadata
    assert all(np.array_equal(copy.raw(n), source.raw(n)) for n in source.tensors)


def test_a_folder_that_is_missing_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        realm_ext.write_gguf(tmp_path / "no" / "m.gguf", {}, {})
    assert isinstance(caught.value, realm_ext.IoError)
