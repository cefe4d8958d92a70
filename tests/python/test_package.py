"""An outside CMake project finds, links and runs the library: from the wheel and from a prefix."""

import subprocess
from pathlib import Path

import pytest

from support import ROOT, build_outside_project, must_run, wheel_cmake_folder


@pytest.fixture
def wheel_package():
    return wheel_cmake_folder()


@pytest.fixture
def prefix_package(cpp_build, cmake_tools, tmp_path):
    prefix = tmp_path / "prefix"
    must_run([cmake_tools["cmake"], "--install", str(cpp_build), "--prefix", str(prefix)])
    assert list(prefix.glob("lib*/**/librealm.so")), "the link for -lrealm is missing"
    return str(next(prefix.rglob("realmConfig.cmake")).parent)


def said_by_tests_of(tools, source, build, package):
    """What the tests of an outside project say."""
    build_outside_project(tools, source, build, package)
    return must_run([tools["ctest"], "--test-dir", str(build), "-V", "--no-tests=error"])


@pytest.mark.parametrize("source", ["wheel_package", "prefix_package"])
def test_an_outside_project_links_and_runs(source, request, cmake_tools, tmp_path):
    package = request.getfixturevalue(source)
    out = said_by_tests_of(cmake_tools, ROOT / "tests/package", tmp_path / "build", package)
    assert "realm 0.1.0: format: " in out
    assert "realm 0.1.0 from C++: invalid request: no model 'nobody'" in out


@pytest.mark.parametrize("source", ["wheel_package", "prefix_package"])
def test_the_examples_build_and_run_from_outside(source, request, cmake_tools, tmp_path):
    package = request.getfixturevalue(source)
    out = said_by_tests_of(cmake_tools, ROOT / "examples/cpp", tmp_path / "build", package)
    assert (
        "100% tests passed, 0 tests failed out of 4" in out or "100% tests passed out of 4" in out
    )


def configure(tools, folder, *options):
    command = [
        tools["cmake"], "-S", str(ROOT), "-B", str(folder), "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", *options,
    ]  # fmt: skip
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


NO_NVCC = "-DCMAKE_CUDA_COMPILER=NOTFOUND"


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["-DREALM_CUDA=AUTO", NO_NVCC], 0, "CUDA: no compiler found, building for the CPU only"),
        (["-DREALM_CUDA=ON", NO_NVCC], 1, "REALM_CUDA=ON, but no working CUDA compiler"),
        (["-DREALM_CUDA=MAYBE"], 1, "must be AUTO, ON, OFF or EMULATED"),
        (
            ["-DREALM_CUDA=OFF", "-DREALM_METAL=ON"],
            1,
            "REALM_METAL=ON, but this build is for Linux",
        ),
        (["-DREALM_CUDA=OFF", "-DREALM_METAL=MAYBE"], 1, "must be AUTO, ON, OFF or EMULATED"),
        (["-DREALM_CUDA=OFF", "-DREALM_METAL=AUTO"], 0, "Metal: this build is not for macOS"),
    ],
)
def test_backends_are_chosen_or_refused_at_configure_time(
    cmake_tools, tmp_path, options, status, says
):
    done = configure(cmake_tools, tmp_path / "build", *options)
    assert (done.returncode != 0) == bool(status), done.stdout
    assert says in " ".join(done.stdout.split())


def test_the_package_carries_types_headers_and_library():
    import realm_ext
    from realm_ext import _core

    source, installed = Path(realm_ext.__file__).parent, Path(_core.__file__).parent
    assert (source / "py.typed").is_file()
    assert (source / "_core.pyi").is_file()
    headers = {path.name for path in (installed / "include" / "realm").iterdir()}
    public = {
        path.name
        for path in (ROOT / "csrc/include/realm").iterdir()
        if path.suffix == ".hpp" or "namespace realm" not in path.read_text()
    }
    assert "realm.h" in headers
    assert headers == public
    assert (installed / "lib" / "librealm.so.0").is_file()
