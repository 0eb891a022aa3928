"""How the kernel is compiled, here and on other systems."""

import ctypes
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import hatch_build
import pytest
from hatch_build import commands, commands_of_msvc, find_compiler, takes_flags_of_msvc
from hypothesis import given, strategies as st
from tests.kernels import test_cpu

from lightning_ntm import DNC, NTM
from lightning_ntm.kernels.cpu import library

FOLDERS = (Path("sources"), Path("objects"), Path("there/libntm"), "0a1b")


@pytest.mark.parametrize(("system", "machine", "sets"), [
    ("linux", "x86_64", ["base", "avx2", "avx512"]),
    ("darwin", "arm64", ["base"]),
    ("win32", "AMD64", ["base", "avx2", "avx512"]),
])  # fmt: skip
def test_the_commands_of_gcc_and_clang(system, machine, sets):
    *compiled, linked = commands(*FOLDERS, ["-g"], system, machine)
    programs = [(network, name) for name in sets for network in ("ntm", "dnc", "cells")]
    objects = [str(Path("objects") / f"{network}-{name}.o") for network, name in programs]
    assert [words[words.index("-o") + 1] for words in compiled] == objects
    sources = [str(Path("sources/..") / network / "cpu.cpp") for network, _ in programs]
    assert [next(word for word in words if word.endswith(".cpp")) for words in compiled] == sources
    assert [next(word for word in words if "NTM_ISA" in word) for words in compiled] == [
        f"-DNTM_ISA={name}" for _, name in programs
    ]
    assert all({"-std=c++17", "-O3", "-g", "-c"} <= set(words) for words in compiled)
    assert {"-shared", "-g", '-DNTM_SOURCES="0a1b"', str(Path("there/libntm"))} <= set(linked)
    assert ("-fPIC" in linked, "-static" in linked) == (system != "win32", system == "win32")
    assert (str(Path("sources/instructions.cpp")) in linked) == (len(sets) > 1)
    assert not any(word.startswith("/") for words in (*compiled, linked) for word in words)


@pytest.mark.parametrize(("machine", "architectures"), [("AMD64", ["", "/arch:AVX2", "/arch:AVX512"]), ("ARM64", [""])])
def test_the_commands_of_msvc(machine, architectures):
    *compiled, linked = commands_of_msvc(*FOLDERS, machine=machine)
    twice = [architecture for architecture in architectures for _ in ("ntm", "dnc", "cells")]
    assert ["".join(word for word in words if word.startswith("/arch")) for words in compiled] == twice
    assert all({"/std:c++17", "/O2", "/EHsc", "/c"} <= set(words) for words in compiled)
    assert {"/LD", f"/Fe{Path('there/libntm')}", '/DNTM_SOURCES="0a1b"'} <= set(linked)
    assert linked.index("/link") == len(linked) - 2, "all that follows goes to the linker"
    assert not any(word.startswith("-") for words in (*compiled, linked) for word in words)


def test_a_compiler_is_found():
    assert find_compiler("linux", None, {"c++": "/bin/c++", "clang++": "/bin/clang++"}.get) == "/bin/c++"
    assert find_compiler("win32", None, {"cl": r"C:\cl.EXE", "g++": r"C:\g++.exe"}.get) == r"C:\cl.EXE"
    assert find_compiler("win32", "my++", {"cl": r"C:\cl.EXE"}.get) == "my++"
    with pytest.raises(OSError, match=r"no C\+\+ compiler found; tried g\+\+, c\+\+, clang\+\+"):
        find_compiler("linux", None, {}.get)
    assert [takes_flags_of_msvc(name) for name in (r"C:\a b\cl.EXE", "clang-cl", "clang++", "/usr/bin/g++")] == [
        True, True, False, False
    ]  # fmt: skip


def hook(monkeypatch, tmp_path, compiler):
    """A build of the package with a compiler, its warnings, and what it says of the wheel."""
    monkeypatch.setenv("CXX", str(compiler))
    warnings, data = [], {"force_include": {}}
    built = hatch_build.Kernel(str(Path(hatch_build.__file__).parent), {}, None, None, str(tmp_path), "wheel")
    monkeypatch.setattr(hatch_build.Kernel, "app", SimpleNamespace(display_warning=warnings.append))
    built.initialize("standard", data)
    built.finalize("standard", data, "")
    return warnings, data


@pytest.mark.parametrize(("script", "told"), [
    ("echo a.cpp; echo 'a.cpp(1): error C2065: no'; exit 2", "a.cpp(1): error C2065: no"),
    ("echo note >&2; echo 'a.cpp:1: fatal error: no' >&2; exit 1", "a.cpp:1: fatal error: no"),
    ("exit 3", "returned non-zero exit status 3."),
    ("kill -9 $$", "died with <Signals.SIGKILL: 9>."),
    (None, "No such file or directory"),
])  # fmt: skip
def test_a_compiler_that_fails_is_one_warning(monkeypatch, tmp_path, script, told):
    compiler = tmp_path / "broken++"
    if script:
        compiler.write_text(f"#!/bin/sh\n{script}\n")
        compiler.chmod(0o755)
    (warning,), data = hook(monkeypatch, tmp_path, compiler)
    assert warning.startswith("lightning-ntm: the CPU kernel was not compiled, the slower loop is used (")
    assert told in warning
    assert "\n" not in warning
    assert data == {"force_include": {}}, "the wheel is one of Python alone"


def test_the_library_is_put_into_the_wheel(monkeypatch, tmp_path):
    compiler = tmp_path / "quick++"
    compiler.write_text('#!/bin/sh\nfor last; do :; done\necho > "$last"\n')
    compiler.chmod(0o755)
    warnings, data = hook(monkeypatch, tmp_path, compiler)
    assert warnings == []
    assert list(data["force_include"].values()) == [f"lightning_ntm/kernels/cpu/{library.LIBRARY.name}"]
    assert (data["pure_python"], data["tag"]) == (False, f"py3-none-{hatch_build.platform_tag()}")


@pytest.mark.parametrize(
    ("oldest", "machine", "tag"),
    [
        ("11.0", "arm64", "macosx_11_0_arm64"),
        ("14", "arm64", "macosx_14_0_arm64"),
        ("10.13", "x86_64", "macosx_10_13_x86_64"),
    ],
)
def test_wheels_for_macos_are_for_the_oldest_version_that_the_compiler_builds_for(oldest, machine, tag):
    assert hatch_build.mac_tag(oldest, machine) == tag


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists() or not library.LIBRARY.is_file(), reason="needs Linux and it")
def test_the_instructions_are_those_of_this_machine():
    flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    wanted = {"avx512": {f"avx512{part}" for part in ("f", "bw", "cd", "dq", "vl")}, "avx2": {"avx2", "fma", "bmi2"}}
    best = next((name for name, needed in wanted.items() if needed <= flags), "base")
    assert library.instructions(ctypes.CDLL(str(library.LIBRARY))) == best


def test_a_library_that_cannot_be_loaded_is_told_and_the_loop_runs(monkeypatch, tmp_path):
    (tmp_path / "libntm.so").write_text("of another system")
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "libntm.so")
    monkeypatch.setattr(library, "_warned", set())
    library.opened.cache_clear()
    try:
        assert library.missing().startswith("the kernel cannot be loaded (")
        with pytest.raises(ImportError, match="cannot be loaded"):
            library.entry_points()
    finally:
        library.opened.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler")
def test_without_vectors_of_the_compiler_the_numbers_are_as_right(monkeypatch, tmp_path):
    """MSVC has no vectors: `NTM_PLAIN_LANES` compiles what it does."""
    sources, built = Path(library.__file__).parent, tmp_path / "libntm.so"
    words = commands(sources, tmp_path, built, library.digest_of_sources(), ["-O0", "-DNTM_PLAIN_LANES"], machine="any")
    for arguments in words:
        subprocess.run(["g++", *arguments], check=True, capture_output=True)
    monkeypatch.setattr(library, "LIBRARY", built)
    monkeypatch.setattr(library.platform, "machine", lambda: "any")  # of one instruction set
    library.opened.cache_clear()
    try:
        for kind, options in ((NTM, test_cpu.OF_NTM), (DNC, test_cpu.OF_DNC)):
            checked_in_both_precisions(kind, options)
    finally:
        library.opened.cache_clear()


def checked_in_both_precisions(kind, options):
    learned = {"memory_init": "learned"} if kind is NTM else {}

    @given(options, st.integers(1, 17), st.integers(1, 5), st.integers(0, 99))
    def check(configuration, batch, time, seed):
        test_cpu.check_in_float64(test_cpu.network(kind, configuration, seed), batch, time, seed % 2)
        test_cpu.check_in_float32(test_cpu.network(kind, {**configuration, **learned}, seed), batch, time)

    check()
