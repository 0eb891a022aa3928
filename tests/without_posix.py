"""When imported, hides from the package what Python on Windows does not have, and offers `msvcrt` instead of `fcntl`.

Other packages are imported first: on this system they may use what is hidden. `sys.platform` and `os.name` stay.
"""

import asyncio  # noqa: F401
import errno
import fcntl
import os
import signal
import sys
import types
import warnings
from concurrent.futures import process  # noqa: F401

import jsonargparse  # noqa: F401
import lightning  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import pandas  # noqa: F401
import rich.live  # noqa: F401
import safetensors.torch  # noqa: F401
import torch.utils.data  # noqa: F401
import yaml  # noqa: F401

_MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
_OF_OS = """
    chown fchdir fchmod fchown fdatasync fork forkpty fpathconf getegid geteuid getgid getgroups getloadavg getpgid
    getpgrp getpriority getresgid getresuid getsid getuid killpg lchown lockf major makedev minor mkfifo mknod nice
    openpty pathconf posix_fadvise posix_fallocate posix_spawn pread preadv ptsname pwrite pwritev register_at_fork
    sched_getaffinity sched_setaffinity sched_yield sendfile setsid setuid statvfs sync sysconf tcgetpgrp ttyname
    uname wait wait3 wait4 waitid F_LOCK F_TEST F_TLOCK F_ULOCK O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC
    O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC RTLD_GLOBAL RTLD_LAZY RTLD_LOCAL RTLD_NODELETE RTLD_NOLOAD
    RTLD_NOW SCHED_OTHER WNOHANG
"""
_OF_SIGNAL = """
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


for _name in _MODULES:
    sys.modules[_name] = None  # type: ignore[assignment]
for _of, _names in ((os, _OF_OS), (signal, _OF_SIGNAL)):
    for _name in _names.split():
        if hasattr(_of, _name):
            delattr(_of, _name)
sys.modules["msvcrt"] = _Msvcrt("msvcrt")
# There the encoding of a file is another one unless it is named.
warnings.filterwarnings("error", category=EncodingWarning, module="lightning_ntm")
