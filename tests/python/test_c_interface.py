"""The C interface has one list of functions: headers, library and tests agree, and each header
stands by itself."""

import re
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from realm_ext import _core
from support import ROOT, must_run

HEADERS = ROOT / "csrc" / "include"
C_FACE = ["realm.h", "api.h", "error_code.h", "gguf.h", "session.h", "structs.h"]
CPP_FACE = sorted(path.name for path in (HEADERS / "realm").glob("*.hpp"))


def declared():
    text = "".join((HEADERS / "realm" / name).read_text() for name in C_FACE)
    return set(re.findall(r"^REALM_API [\w *]*?\b(realm_\w+)\(", text, re.M))


def dynamic_symbols(path):
    """Of a program or library: (name, version or None, whether it is defined there)."""
    with open(path, "rb") as file:
        elf = ELFFile(file)
        versions, defined = elf.get_section_by_name(".gnu.version"), {}
        definitions = elf.get_section_by_name(".gnu.version_d")
        if definitions is not None:
            for entry, names in definitions.iter_versions():
                defined[entry["vd_ndx"]] = next(names).name
        for i, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols()):
            index = versions.get_symbol(i)["ndx"] if versions is not None else None
            is_defined = symbol["st_shndx"] != "SHN_UNDEF"
            yield symbol.name, defined.get(index) if is_defined else None, is_defined


def exported(library):
    return {(name, version) for name, version, here in dynamic_symbols(library) if here and name}


def called(program):
    names = {name for name, _, here in dynamic_symbols(program) if not here}
    return {name for name in names if name.startswith("realm_")}


def versioned(names):
    # The name of a version is a symbol too.
    return {(name, "REALM_0") for name in names | {"REALM_0"}}


def test_the_library_exports_what_the_headers_declare_with_its_version_and_nothing_else(cpp_build):
    assert len(declared()) > 50
    installed = Path(_core.__file__).parent / "lib" / "librealm.so.0"
    for library in (cpp_build / "csrc" / "capi" / "librealm.so.0", installed):
        assert exported(library) == versioned(declared())


def test_the_c_program_calls_every_function(cpp_build):
    assert called(cpp_build / "tests" / "realm_c_test") == declared()


def test_the_mutants_call_every_function_that_can_fail(cpp_build):
    never_fail = {"realm_version", "realm_status_name"}
    assert called(cpp_build / "tests" / "capi_mutants") == declared() - never_fail


def compiler(cpp_build, language):
    cache = (cpp_build / "CMakeCache.txt").read_text()
    return re.search(rf"^CMAKE_{language}_COMPILER:\w+=(.+)$", cache, re.M)[1]


@pytest.mark.parametrize(
    ("headers", "language", "standard"),
    [(C_FACE, "C", "c99"), (C_FACE, "CXX", "c++17"), (CPP_FACE, "CXX", "c++17")],
)
def test_each_header_stands_by_itself(headers, language, standard, cpp_build, tmp_path):
    sources = []
    for name in headers:
        sources.append(tmp_path / f"{name}.{'c' if language == 'C' else 'cpp'}")
        sources[-1].write_text(f"#include <realm/{name}>\n#include <realm/{name}>\nint unused;\n")
    must_run(
        [compiler(cpp_build, language), f"-std={standard}", "-Wall", "-Wextra", "-Wshadow",
         "-pedantic", "-Werror", "-fsyntax-only", f"-I{HEADERS}", *map(str, sources)]
    )  # fmt: skip


def test_the_public_headers_are_the_manual():
    """Lines with comments; the C++ face says what the C one does not."""
    for names, least in ((C_FACE, 0.4), (CPP_FACE, 0.2)):
        lines = [line for n in names for line in (HEADERS / "realm" / n).read_text().splitlines()]
        written = [line for line in lines if line.strip()]
        comments = [line for line in written if re.search(r"^\s*(/\*|\*|//)|/\*|//", line)]
        assert len(comments) / len(written) > least, names


def test_a_function_that_no_test_calls_would_be_seen(tmp_path, cpp_build):
    (tmp_path / "one.c").write_text(
        "#include <realm/realm.h>\nint main(void) { return realm_model_count(0, 0) == 0; }\n"
    )
    library = cpp_build / "csrc" / "capi"
    must_run(
        [compiler(cpp_build, "C"), f"-I{HEADERS}", str(tmp_path / "one.c"), "-o",
         str(tmp_path / "one"), f"-L{library}", "-lrealm", f"-Wl,-rpath,{library}"]
    )  # fmt: skip
    assert called(tmp_path / "one") == {"realm_model_count"}
    assert subprocess.run([tmp_path / "one"]).returncode == 0
