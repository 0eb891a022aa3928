"""The compiled kernel: where it is, and which instructions and threads it uses here."""

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).with_name("libntm.so")


@cache
def entry_points() -> dict[int, ctypes._CFuncPtr]:  # type: ignore[name-defined]
    """Return the entry points by bytes of a number, 4 or 8, for the best instructions of this machine.

    Raises:
        ImportError: The package was installed without a C++ compiler.
    """
    if not LIBRARY.is_file():
        raise ImportError("the kernel was not compiled: there was no C++ compiler when lightning-ntm was installed")
    library = ctypes.CDLL(str(LIBRARY))
    use_threads_of_pytorch(library)
    best = instructions(library)
    found = {}
    for size, name in ((4, "float"), (8, "double")):
        function = getattr(library, f"ntm_{name}_{best}")
        function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int)
        function.restype = None
        found[size] = function
    return found


def missing() -> str | None:
    """Return what its user should know when the kernel was not compiled."""
    if LIBRARY.is_file():
        return None
    return "there was no C++ compiler when lightning-ntm was installed: the plain loop runs, ten times slower"


def instructions(library: ctypes.CDLL) -> str:
    """Return the name of the best instruction set that this machine and the library both have."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "base"
    library.ntm_instructions.restype = ctypes.c_char_p
    return str(library.ntm_instructions().decode())


def use_threads_of_pytorch(library: ctypes.CDLL) -> None:
    """Let the kernel work in the threads that PyTorch keeps, where its OpenMP library can be found."""
    try:
        already_loaded = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        names = ("GOMP_parallel", "omp_get_thread_num")
        team = [ctypes.cast(getattr(already_loaded, name), ctypes.c_void_p) for name in names]
    except (OSError, AttributeError):
        return  # it makes threads of its own
    library.ntm_use_team(*team)
