"""GGUFFile against the gguf package, on every golden file, and what it promises about memory."""

import gguf
import numpy as np
import pytest

import realm_ext
from support import GOLDEN, golden_models

FILES = golden_models()
SMALL = GOLDEN / "arch" / "llama" / "model-f32.gguf"


@pytest.fixture(scope="module", params=FILES, ids=lambda p: str(p.relative_to(GOLDEN)))
def pair(request):
    return realm_ext.GGUFFile(request.param), gguf.GGUFReader(request.param)


def test_golden_files_are_there():
    assert len(FILES) >= 31


def test_metadata_is_what_the_gguf_package_reads(pair):
    ours, theirs = pair
    expected = {
        name: field.contents()
        for name, field in theirs.fields.items()
        if not name.startswith("GGUF.")
    }
    assert list(ours.metadata) == list(expected)
    for key, value in ours.metadata.items():
        assert value == expected[key], key
        assert type(value) is type(expected[key]), key


def test_tensors_are_what_the_gguf_package_reads(pair):
    ours, theirs = pair
    assert list(ours.tensors) == [t.name for t in theirs.tensors]
    for expected in theirs.tensors:
        info = ours.tensors[expected.name]
        assert info.shape == tuple(int(n) for n in reversed(expected.shape))
        assert info.dtype == expected.tensor_type.name
        assert info.offset == expected.data_offset
        assert info.nbytes == expected.n_bytes
        assert np.array_equal(ours.raw(info.name), expected.data.reshape(-1).view(np.uint8))


def test_values_are_bit_equal_to_the_gguf_package(pair):
    ours, theirs = pair
    for expected in theirs.tensors:
        decoded = gguf.quants.dequantize(expected.data, expected.tensor_type)
        values = ours.read(expected.name)
        assert values.dtype == np.float32
        assert values.shape == ours.tensors[expected.name].shape
        assert np.array_equal(
            values.reshape(-1).view(np.uint32),
            np.ascontiguousarray(decoded, np.float32).reshape(-1).view(np.uint32),
        )


@pytest.mark.parametrize(
    "make", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)]
)
def test_bytes_like_sources_read_as_the_file_does(make):
    from_bytes = realm_ext.GGUFFile(make(SMALL.read_bytes()))
    from_path = realm_ext.GGUFFile(str(SMALL))
    assert from_bytes.metadata == from_path.metadata
    for name in from_path.tensors:
        assert np.array_equal(from_bytes.raw(name), from_path.raw(name))


def address(array):
    return array.__array_interface__["data"][0]


def test_raw_bytes_of_a_buffer_lie_inside_that_buffer():
    source = np.frombuffer(SMALL.read_bytes(), np.uint8)
    file = realm_ext.GGUFFile(source)
    for info in file.tensors.values():
        assert address(file.raw(info.name)) == address(source) + info.offset


def test_raw_bytes_of_a_file_are_mapped_not_read():
    file = realm_ext.GGUFFile(SMALL)
    name = next(iter(file.tensors))
    assert address(file.raw(name)) == address(file.raw(name))
    with open("/proc/self/maps") as maps:
        assert any(line.rstrip().endswith(str(SMALL)) for line in maps)


def test_raw_bytes_are_read_only():
    file = realm_ext.GGUFFile(bytearray(SMALL.read_bytes()))
    raw = file.raw(next(iter(file.tensors)))
    with pytest.raises(ValueError, match="read-only"):
        raw[0] = 1


def test_raw_bytes_keep_file_and_buffer_alive():
    source = bytearray(SMALL.read_bytes())
    expected = realm_ext.GGUFFile(SMALL)
    name = list(expected.tensors)[3]
    raw = realm_ext.GGUFFile(source).raw(name)
    assert np.array_equal(raw, expected.raw(name))
    with pytest.raises(BufferError):
        source.append(0)  # still exported
    del raw
    source.append(0)


def test_dictionaries_are_made_once():
    file = realm_ext.GGUFFile(SMALL)
    assert file.metadata is file.metadata
    assert file.tensors is file.tensors


def test_an_unknown_tensor_is_a_key_error():
    file = realm_ext.GGUFFile(SMALL)
    for look_up in (file.read, file.raw):
        with pytest.raises(KeyError, match=r"no\.such"):
            look_up("no.such")


def test_texts_that_are_not_utf8_survive(tmp_path):
    path = tmp_path / "odd.gguf"
    realm_ext.write_gguf(path, {"tokens": [b"\xff\xfe", "plain"]}, {})
    tokens = realm_ext.GGUFFile(path).metadata["tokens"]
    assert tokens[0].encode("utf-8", "surrogateescape") == b"\xff\xfe"
    assert tokens[1] == "plain"
