"""How the extension behaves inside a process that is not its own."""

import re
import sys
import sysconfig
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import realm_ext
from realm_ext import _core
from support import GOLDEN, run_python

SMALL = GOLDEN / "arch" / "llama" / "model-f32.gguf"


def longest_pause_while(work):
    """Runs `work` in a thread; its duration, and the longest time this thread could not run."""
    thread = threading.Thread(target=work)
    started = last = time.monotonic()
    thread.start()
    longest = 0.0
    while thread.is_alive():
        time.sleep(0.002)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    return time.monotonic() - started, longest


def quantize_many(tmp_path):
    values = np.random.default_rng(1).standard_normal((2048, 1024), dtype=np.float32)
    return lambda: realm_ext.quantize(values, "Q3_K")


def dequantize_many(tmp_path):
    blocks = bytes(66 * 2**16)
    return lambda: realm_ext.dequantize(blocks, "IQ2_XXS", (2**16, 256))


def read_many(tmp_path):
    path = tmp_path / "large.gguf"
    realm_ext.write_gguf(path, {}, {"t": (bytes(66 * 2**16), "IQ2_XXS", (2**16, 256))})
    file = realm_ext.GGUFFile(path)
    return lambda: file.read("t")


def quantize_a_file(tmp_path):
    path = tmp_path / "large.gguf"
    values = np.random.default_rng(1).standard_normal((2048, 1024), dtype=np.float32)
    realm_ext.write_gguf(path, {"general.architecture": "llama"}, {"blk.0.ffn_up.weight": values})
    return lambda: realm_ext.quantize_gguf(path, tmp_path / "out.gguf", "Q3_K_M", threads=1)


@pytest.mark.parametrize("make", [quantize_many, dequantize_many, read_many, quantize_a_file])
def test_other_threads_run_while_the_core_computes(make, tmp_path):
    work = make(tmp_path)
    for _ in range(3):  # a busy machine may pause us once for its own reasons
        duration, pause = longest_pause_while(work)
        if pause < duration / 2:
            break
    assert pause < duration / 2
    assert duration > 0.01


def test_one_file_serves_many_threads():
    file = realm_ext.GGUFFile(SMALL)
    expected = {name: realm_ext.GGUFFile(SMALL).read(name) for name in file.tensors}
    wrong = []

    def read_all():
        for name, values in expected.items():
            if not np.array_equal(file.read(name), values) or file.metadata is not file.metadata:
                wrong.append(name)

    threads = [threading.Thread(target=read_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_import_is_quick_and_starts_no_thread_and_opens_no_driver():
    out = run_python(
        "import os, sys, time; start = time.perf_counter(); import realm_ext;"
        "print(time.perf_counter() - start, len(os.listdir('/proc/self/task')),"
        " *({'numpy', 'tokenizers', 'jinja2'} & set(sys.modules)));"
        "assert not any('libcuda.so' in line for line in open('/proc/self/maps'))"
    )
    seconds, threads, *modules = out.split()
    assert float(seconds) < 1.0
    assert int(threads) == 1
    assert modules == []


def test_every_public_name_is_there_and_documented():
    for name in realm_ext.__all__:
        assert getattr(realm_ext, name).__doc__, name
    assert set(realm_ext.__all__) <= set(dir(realm_ext))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = realm_ext.no_such_name


def test_a_forked_child_reads_and_never_hangs():
    run_python(
        """
import os, signal, sys, tempfile, realm_ext
file = realm_ext.GGUFFile(sys.argv[1])
name = next(iter(file.tensors))
with tempfile.TemporaryDirectory() as folder:
    realm_ext.quantize_gguf(sys.argv[1], folder + "/a", "Q8_0", threads=2)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        assert (file.read(name) == realm_ext.GGUFFile(sys.argv[1]).read(name)).all()
        try:
            realm_ext.quantize_gguf(sys.argv[1], folder + "/b", "Q8_0", threads=2)
        except realm_ext.ProcessForkedError:
            pass
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )


def elf_exports(path):
    """Names that others may link; the name of a symbol version, which is absolute, is none."""
    with open(path, "rb") as stream:
        symbols = list(ELFFile(stream).get_section_by_name(".dynsym").iter_symbols())
    return {s.name for s in symbols if s["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS")}


def test_the_extension_exports_only_its_entry_point():
    assert elf_exports(_core.__file__) == {"PyInit__core"}


def test_the_library_exports_only_the_c_interface():
    exports = elf_exports(Path(_core.__file__).parent / "lib" / "librealm.so.0")
    assert "realm_version" in exports
    assert all(name.startswith("realm_") for name in exports)


def test_a_gil_free_python_would_stay_gil_free():
    """PEP 703: the module says that it does not need the lock; on other builds this is a no-op."""
    out = run_python(
        "import sys, realm_ext; print(getattr(sys, '_is_gil_enabled', lambda: 'built with')())"
    )
    expected = "False" if sysconfig.get_config_var("Py_GIL_DISABLED") else out.strip()
    assert out.strip() == expected


LEVELS = realm_ext.devices()[0].features


@pytest.mark.parametrize("level", LEVELS)
def test_a_forced_cpu_level_is_the_one_in_use(level):
    code = "from realm_ext import _core, doctor; print(_core.active_cpu_level()); print(doctor())"
    out = run_python(code, REALM_CPU_ISA=level)
    assert out.splitlines()[0] == level
    assert f"kernels use {level}" in out


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux must be asked for AMX")
def test_a_small_stack_for_signals_keeps_amx_away():
    """Linux refuses the unit's registers to a process whose handlers would have no room for them."""
    code = """
import ctypes

class Stack(ctypes.Structure):
    _fields_ = [("begin", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

memory = ctypes.create_string_buffer(8192)
stack = Stack(ctypes.addressof(memory), 0, 8192)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
from realm_ext import _core
print(_core.active_cpu_level())
"""
    assert run_python(code).strip() == [level for level in LEVELS if level != "amx"][-1]


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "metal"])
def test_a_device_that_is_not_here_is_refused_for_the_reason_that_doctor_gives(device):
    kind = device.partition(":")[0]
    absent = re.search(rf"^{kind} not available: (.+)$", realm_ext.doctor(), re.MULTILINE)
    if absent is None:
        assert f"\n{kind} available" in realm_ext.doctor()
        pytest.skip(f"{kind} is here")
    with pytest.raises(realm_ext.DeviceError, match=re.escape(absent[1])):
        realm_ext.Model(SMALL, device=device)


def test_a_cpu_level_that_is_missing_is_refused_by_name():
    code = "import realm_ext; from realm_ext import _core; _core.active_cpu_level()"
    with pytest.raises(AssertionError, match="'vax'"):
        run_python(code, REALM_CPU_ISA="vax")
    out = run_python("import realm_ext; print(realm_ext.doctor())", REALM_CPU_ISA="vax")
    assert "cpu not available: REALM_CPU_ISA is 'vax'" in out
