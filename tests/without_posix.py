"""When imported, hides from the package what Python on Windows does not have, and offers `msvcrt` instead of `fcntl`.

Other packages see the modules as they are. `sys.platform` and `os.name` stay.
"""

import builtins
import errno
import fcntl
import importlib
import os
import signal
import sys
import types
import warnings

_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
_OS = """
    chown fchdir fchmod fchown fdatasync fork forkpty fpathconf getegid geteuid getgid getgroups getloadavg getpgid
    getpgrp getpriority getresgid getresuid getsid getuid killpg lchown lockf major makedev minor mkfifo mknod nice
    openpty pathconf posix_fadvise posix_fallocate posix_spawn pread preadv ptsname pwrite pwritev register_at_fork
    sched_getaffinity sched_setaffinity sched_yield sendfile setsid setuid statvfs sync sysconf tcgetpgrp ttyname
    uname wait wait3 wait4 waitid F_LOCK F_TEST F_TLOCK F_ULOCK O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC
    O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC RTLD_GLOBAL RTLD_LAZY RTLD_LOCAL RTLD_NODELETE RTLD_NOLOAD
    RTLD_NOW SCHED_OTHER WNOHANG
"""
_SIGNAL = """
    SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGUSR1
    SIGUSR2 SIGWINCH alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait
"""


class _Msvcrt(types.ModuleType):
    """Locks of Windows: of one handle, not of a process."""

    LK_UNLCK, LK_NBLCK = 0, 2

    @staticmethod
    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (os.lseek(descriptor, 0, os.SEEK_CUR) > 1000, count) == (True, 1), "the name of the holder is readable"
        flag = fcntl.LOCK_UN if mode == _Msvcrt.LK_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            fcntl.flock(descriptor, flag)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


class _Part(types.ModuleType):
    """A module without some of its names."""

    def __init__(self, module, hidden, **other):
        super().__init__(module.__name__)
        self.__dict__.update({name: value for name, value in vars(module).items() if name not in hidden} | other)


def _import_module(name, package=None):
    if name in _MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return _seen.get(name) or importlib.import_module(name, package)


_import = builtins.__import__
_seen = {
    "os": _Part(os, _OS.split()),
    "signal": _Part(signal, _SIGNAL.split()),
    "importlib": _Part(importlib, (), import_module=_import_module),
    "msvcrt": _Msvcrt("msvcrt"),
}


def _import_for_package(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if importer.partition(".")[0] != "lightning_ntm":
        return _import(name, globals, locals, fromlist, level)
    if name in _MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return _seen.get(name) or _import(name, globals, locals, fromlist, level)


assert not any(name.partition(".")[0] == "lightning_ntm" for name in sys.modules)
builtins.__import__ = _import_for_package
# There the encoding of a file is another one unless it is named.
warnings.filterwarnings("error", category=EncodingWarning, module="lightning_ntm")
