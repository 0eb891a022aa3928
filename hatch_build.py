"""Compiles the CPU kernel while the package is built; without a compiler the package is installed without it.

The library depends on neither Python nor PyTorch, so one wheel serves every version of both. The recurrence is compiled
once for each instruction set; the best one is chosen when the library is loaded.
"""

import os
import platform
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path, PureWindowsPath
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/lightning_ntm/kernels/cpu")
#: From there: what is compiled for each instruction set, by its name.
PROGRAMS = {name: Path(f"../{name}/cpu.cpp") for name in ("ntm", "dnc", "cells")}
#: Compilers by preference, the native one of Windows first there.
COMPILERS = ("g++", "c++", "clang++")
COMPILERS_OF_WINDOWS = ("cl", "clang-cl", "clang++", "g++")
FLAGS = ["-std=c++17", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
#: `/MT`: the library brings its runtime; `/wd4068`: pragmas of other compilers are not warned of.
FLAGS_OF_MSVC = ["/nologo", "/std:c++17", "/O2", "/EHsc", "/MT", "/wd4068"]
#: Flags of GCC and Clang, and of MSVC.
INSTRUCTION_SETS: dict[str, tuple[list[str], list[str]]] = {
    "base": ([], []),
    "avx2": (["-march=x86-64-v3"], ["/arch:AVX2"]),
    "avx512": (["-march=x86-64-v4", "-mprefer-vector-width=512"], ["/arch:AVX512"]),
}


def compile_kernel(root: Path, target: Path, flags: Sequence[str] = ()) -> None:
    """Compile the library to `target`.

    Args:
        root: The repository.
        target: The library.
        flags: Further flags, as `-fsanitize=address`.

    Raises:
        OSError: There is no compiler.
        subprocess.CalledProcessError: It does not compile.
    """
    compiler = find_compiler(sys.platform, os.environ.get("CXX"), shutil.which)
    digest = _library(root)["digest_of_sources"]()
    with tempfile.TemporaryDirectory() as folder:
        make = commands_of_msvc if takes_flags_of_msvc(compiler) else commands
        arguments = make((root / SOURCES).resolve(), Path(folder), target.resolve(), digest, flags)
        for words in arguments:
            subprocess.run(
                [compiler, *words], check=True, capture_output=True, encoding="utf-8", errors="replace", cwd=folder
            )


def _library(root: Path) -> dict[str, Any]:
    """Return the names in library.py, which needs nothing of the package."""
    return runpy.run_path(str(root / SOURCES / "library.py"))


def find_compiler(system: str, asked: str | None, which: Callable[[str], str | None]) -> str:
    """Return the compiler to use.

    Args:
        system: As `sys.platform`.
        asked: The environment variable `CXX`.
        which: Finds a program by name.

    Raises:
        OSError: There is none.
    """
    names = COMPILERS_OF_WINDOWS if system == "win32" else COMPILERS
    found = asked or next(filter(None, map(which, names)), None)
    if found is None:
        raise OSError(f"no C++ compiler found; tried {', '.join(names)}")
    return found


def takes_flags_of_msvc(compiler: str) -> bool:
    """Return whether a compiler takes the flags of MSVC."""
    return PureWindowsPath(compiler).stem.lower() in ("cl", "clang-cl")


def instruction_sets(machine: str) -> list[str]:
    """Return the instruction sets to compile for, as `platform.machine()` names the machine."""
    return list(INSTRUCTION_SETS) if machine.lower() in ("x86_64", "amd64") else ["base"]


def commands(
    sources: Path,
    folder: Path,
    target: Path,
    digest: str,
    flags: Sequence[str] = (),
    system: str = sys.platform,
    machine: str = platform.machine(),
) -> list[list[str]]:
    """Return the arguments of GCC or Clang: an object for each instruction set and network, then the library.

    Args:
        sources: The folder of the sources.
        folder: For objects.
        target: The library.
        digest: Of the sources, which the library tells.
        flags: Further flags.
        system: As `sys.platform`.
        machine: As `platform.machine()`.
    """
    shared = [*FLAGS, *([] if system == "win32" else ["-fPIC"]), *flags]
    compiled, objects = [], []
    for name, network in product(instruction_sets(machine), PROGRAMS):
        objects.append(str(folder / f"{network}-{name}.o"))
        own = [*INSTRUCTION_SETS[name][0], f"-DNTM_ISA={name}"]
        compiled.append([*shared, *own, "-c", str(sources / PROGRAMS[network]), "-o", objects[-1]])
    runtime = ["-static"] if system == "win32" else []  # MinGW's is not where Windows looks for it
    link = ["-shared", *objects, f'-DNTM_SOURCES="{digest}"', *_once(sources, machine), "-pthread", *runtime]
    return [*compiled, [*shared, *link, "-o", str(target)]]


def commands_of_msvc(
    sources: Path,
    folder: Path,
    target: Path,
    digest: str,
    flags: Sequence[str] = (),
    machine: str = platform.machine(),
) -> list[list[str]]:
    """Return the arguments of MSVC, as `commands`."""
    shared = [*FLAGS_OF_MSVC, *flags]
    compiled, objects = [], []
    for name, network in product(instruction_sets(machine), PROGRAMS):
        objects.append(str(folder / f"{network}-{name}.obj"))
        own = [*INSTRUCTION_SETS[name][1], f"/DNTM_ISA={name}"]
        compiled.append([*shared, *own, "/c", str(sources / PROGRAMS[network]), f"/Fo{objects[-1]}"])
    once = [f'/DNTM_SOURCES="{digest}"', *_once(sources, machine), f"/Fo{folder}{os.sep}"]
    link = [f"/Fe{target}", "/link", f"/IMPLIB:{folder / 'ntm.lib'}"]
    return [*compiled, [*shared, "/LD", *objects, *once, *link]]


def _once(sources: Path, machine: str) -> list[str]:
    """Return the sources that are compiled once; instructions.cpp only where there is a choice of instructions."""
    names = ["sources.cpp", "threads.cpp", *(["instructions.cpp"] if len(instruction_sets(machine)) > 1 else [])]
    return [str(sources / name) for name in names]


def reason(error: OSError | subprocess.CalledProcessError) -> str:
    """Return one line on why the kernel was not compiled."""
    said = f"{getattr(error, 'stderr', None) or ''}\n{getattr(error, 'stdout', None) or ''}\n{error}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0])


def platform_tag() -> str:
    """Return the tag of a wheel for this machine.

    On macOS it names the oldest version that `MACOSX_DEPLOYMENT_TARGET` allows, as the compiler does.
    """
    if sys.platform == "darwin":  # an interpreter for two architectures names both, the kernel has one
        return mac_tag(os.environ.get("MACOSX_DEPLOYMENT_TARGET"), platform.machine())
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def mac_tag(oldest: str | None, machine: str) -> str:
    """Return the tag of a wheel for macOS.

    Args:
        oldest: The version of macOS that the compiler builds for, as `11.0`; `None` for that of this machine.
        machine: `arm64` or `x86_64`.
    """
    from packaging.tags import mac_platforms

    if oldest is None:
        return next(mac_platforms(arch=machine))
    major, _, minor = oldest.partition(".")
    return next(mac_platforms((int(major), int(minor or 0)), machine))


class Kernel(BuildHookInterface[Any]):
    """Puts the compiled library into the wheel, or beside its sources for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; if that is impossible, warn in one line."""
        root = Path(self.root)
        self.folder = tempfile.TemporaryDirectory()
        name, editable = _library(root)["LIBRARY"].name, version == "editable"
        target = root / SOURCES / name if editable else Path(self.folder.name) / name
        try:
            compile_kernel(root, target)
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(
                f"lightning-ntm: the CPU kernel was not compiled, the slower loop is used ({reason(error)})"
            )
            return
        if not editable:
            build_data["force_include"][str(target)] = f"lightning_ntm/kernels/cpu/{name}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove temporary files."""
        self.folder.cleanup()
