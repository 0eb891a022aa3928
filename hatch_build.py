"""Compiles the CPU kernel while the package is built; without a compiler the package does without it.

The library depends on neither Python nor PyTorch, so that one wheel serves every version of both. The
recurrence is compiled once for each instruction set, and the best one is chosen when it is loaded.
"""

import os
import platform
import runpy
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/lightning_ntm/kernels/cpu")
PROGRAMS = Path("src/lightning_ntm/kernels/ntm/cpu.cpp")
LIBRARY = "libntm.so"
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
INSTRUCTION_SETS = {
    "base": [],
    "avx2": ["-march=x86-64-v3"],
    "avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}


def compile_kernel(root: Path, target: Path, flags: list[str] | None = None) -> None:
    """Compile the library to `target`.

    Args:
        root: The repository.
        target: The library.
        flags: Further flags, as `-fsanitize=address`.

    Raises:
        OSError: There is no compiler.
        subprocess.CalledProcessError: It does not compile.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    if compiler is None:
        raise OSError("no C++ compiler found")
    intel = platform.machine().lower() in ("x86_64", "amd64")
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for name, architecture in INSTRUCTION_SETS.items():
            if name == "base" or intel:
                objects.append(f"{folder}/{name}.o")
                source = root / PROGRAMS
                _run(
                    compiler,
                    *FLAGS,
                    *architecture,
                    *(flags or []),
                    f"-DNTM_ISA={name}",
                    "-c",
                    source,
                    "-o",
                    objects[-1],
                )
        names = ("sources.cpp", "threads.cpp", *(["instructions.cpp"] if intel else []))
        digest = runpy.run_path(str(root / SOURCES / "library.py"))["digest_of_sources"]()
        once = [f'-DNTM_SOURCES="{digest}"', *(root / SOURCES / name for name in names)]
        _run(compiler, *FLAGS, *(flags or []), "-shared", *objects, *once, "-pthread", "-o", target)


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)


class Kernel(BuildHookInterface[Any]):
    """Puts the compiled library into the wheel, or beside its sources for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say so in one line where that is impossible."""
        root = Path(self.root)
        self.folder = tempfile.TemporaryDirectory()
        editable = version == "editable"
        target = root / SOURCES / LIBRARY if editable else Path(self.folder.name) / LIBRARY
        try:
            compile_kernel(root, target)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[0]
            self.app.display_warning(
                f"lightning-ntm: the CPU kernel was not compiled, the slower loop is used ({reason})"
            )
            return
        if not editable:
            build_data["force_include"][str(target)] = f"lightning_ntm/kernels/cpu/{LIBRARY}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was only needed to build."""
        self.folder.cleanup()
