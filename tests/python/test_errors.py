"""Each failure is the class that API users catch, and also the built-in that they expect."""

import errno

import pytest

import realm_ext


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("FormatError", ValueError),
        ("InvalidRequest", ValueError),
        ("OutOfMemoryError", MemoryError),
        ("IoError", OSError),
        ("FileMissingError", FileNotFoundError),
        ("AdapterError", Exception),
        ("QuotaExceeded", Exception),
        ("DeviceError", Exception),
        ("RequestCancelled", Exception),
        ("ProcessForkedError", Exception),
        ("ExtraMissingError", ImportError),
    ],
)
def test_classes_have_both_parents(name, builtin):
    kind = getattr(realm_ext, name)
    assert issubclass(kind, realm_ext.RealmError)
    assert issubclass(kind, builtin)


def test_a_missing_file_is_a_file_not_found_error_with_its_errno():
    with pytest.raises(FileNotFoundError, match="no such model") as caught:
        realm_ext.GGUFFile("no such model")
    assert caught.value.errno == errno.ENOENT
    assert isinstance(caught.value, realm_ext.IoError)


def test_a_path_that_the_system_refuses_is_an_io_error_with_its_errno():
    with pytest.raises(realm_ext.IoError) as caught:
        realm_ext.GGUFFile("a" * 5000)
    assert caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("data", [b"", b"GGUF", b"not a model", bytes(1000), memoryview(b"GGUF")])
def test_garbage_is_a_format_error(data):
    with pytest.raises(realm_ext.FormatError):
        realm_ext.GGUFFile(data)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(realm_ext.FormatError, match="not a regular file"):
        realm_ext.GGUFFile(tmp_path)


@pytest.mark.parametrize("source", [None, 3, ["x"], object()])
def test_a_source_of_the_wrong_type_is_a_type_error(source):
    with pytest.raises(TypeError):
        realm_ext.GGUFFile(source)


def test_a_path_with_a_zero_byte_is_refused():
    with pytest.raises(ValueError, match="null"):
        realm_ext.GGUFFile("a\0b")
