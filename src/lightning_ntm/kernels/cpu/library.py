"""The compiled kernel: its path, and the instruction set and threads that it uses on this machine."""

import ctypes
import hashlib
import os
import platform
import sys
import warnings
from functools import cache
from pathlib import Path

_SUFFIXES = {"win32": ".dll", "darwin": ".dylib"}
LIBRARY = Path(__file__).with_name(f"libntm{_SUFFIXES.get(sys.platform, '.so')}")

#: By the name of the network, or of its loss as `ntm_loss`, and the size of a number in bytes.
EntryPoints = dict[tuple[str, int], "ctypes._CFuncPtr"]  # type: ignore[name-defined]

#: Warnings that were already shown.
_warned = set[str]()


def entry_points() -> EntryPoints:
    """Return the entry points of each network and dtype, with the best instruction set of this machine.

    Raises:
        ImportError: The kernel was not compiled, cannot be loaded, or its sources have changed since.
    """
    found = opened()
    if isinstance(found, str):
        if found != NOT_COMPILED and found not in _warned:
            _warned.add(found)
            warnings.warn(f"{found}: the plain loop runs, ten times slower.", stacklevel=2)
        raise ImportError(found)
    return found


def missing() -> str | None:
    """Return why the kernel cannot be used and what that means; `None` if it can."""
    found = opened()
    if not isinstance(found, str):
        return None
    _warned.add(found)
    return f"{found}: the plain loop runs, ten times slower"


NOT_COMPILED = "the kernel was not compiled: there was no C++ compiler when lightning-ntm was installed, or it failed"
STALE = (
    "the kernel was compiled from other sources than those that are here; "
    "`pip install -e .`, or `make install`, compiles it again"
)

OTHER_LAYOUT = (
    "the kernel takes its arguments in another layout than this version passes them; "
    "`pip install -e .`, or `make install`, compiles it again"
)


@cache
def opened() -> EntryPoints | str:
    """Return the entry points, or why the kernel cannot be used."""
    # Not at the top: the build runs this file without the package.
    from lightning_ntm.kernels.cells import layout as cells
    from lightning_ntm.kernels.cpu.layout import NETWORKS, program_of, structs

    if not LIBRARY.is_file():
        return NOT_COMPILED
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        return f"the kernel cannot be loaded ({error})"
    if _is_stale(library):
        return STALE
    use_threads_of_pytorch(library)
    best = instructions(library)
    expected = {network: structs(program_of(network)) for network in NETWORKS} | {"cells": cells.structs()}
    if any(_layout(library, program, best, len(known)) != known for program, known in expected.items()):
        return OTHER_LAYOUT
    found = _functions(library, best, "cells", 2, ctypes.c_int)
    for network in NETWORKS:
        found |= _functions(library, best, network, 3, ctypes.c_int)
        found |= _functions(library, best, f"{network}_loss", 5)
    return found


def _functions(library: ctypes.CDLL, instructions: str, program: str, pointers: int, *more: type) -> EntryPoints:
    """Return a program for both sizes of a number; it takes pointers, the number of threads, and more."""
    found: EntryPoints = {}
    for size, name in ((4, "float"), (8, "double")):
        function = found[program, size] = getattr(library, f"{program}_{name}_{instructions}")
        function.argtypes = (*[ctypes.c_void_p] * pointers, ctypes.c_int64, *more)
        function.restype = ctypes.c_int
    return found


def _layout(library: ctypes.CDLL, program: str, instructions: str, count: int) -> tuple[int, ...]:
    """Return the version of the layout of a program in a library, and the sizes of its structs."""
    function = getattr(library, f"{program}_layout_{instructions}")
    function.restype = ctypes.POINTER(ctypes.c_int64 * count)
    return tuple(function().contents)


def _is_stale(library: ctypes.CDLL) -> bool:
    """Return whether a library was compiled from other sources than those of this package."""
    try:
        library.ntm_sources.restype = ctypes.c_char_p
        return bool(library.ntm_sources().decode() != digest_of_sources())
    except AttributeError:  # an old library does not export its sources
        return True


def digest_of_sources() -> str:
    """Return a hash of the sources of the library."""
    paths = sorted(Path(__file__).parents[1].glob("*/*.[ch]pp"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def instructions(library: ctypes.CDLL) -> str:
    """Return the name of the best instruction set that both this machine and the library support."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "base"
    library.ntm_instructions.restype = ctypes.c_char_p
    return str(library.ntm_instructions().decode())


#: Whether the threads of PyTorch were lost in a fork.
_lost = False


def use_new_threads() -> None:
    """Let the kernel create threads for each call: a forked process has none of those of its parent."""
    global _lost
    _lost = True
    if opened.cache_info().currsize and LIBRARY.is_file():
        ctypes.CDLL(str(LIBRARY)).ntm_use_team(None, None)


def use_threads_of_pytorch(library: ctypes.CDLL) -> None:
    """Run the kernel in the threads of PyTorch if its OpenMP library is found; otherwise it creates threads."""
    if sys.platform == "win32" or _lost:  # PyTorch has another OpenMP library on Windows
        return
    try:
        already_loaded = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        names = ("GOMP_parallel", "omp_get_thread_num")
        team = [ctypes.cast(getattr(already_loaded, name), ctypes.c_void_p) for name in names]
    except (OSError, AttributeError):
        return
    library.ntm_use_team(*team)
