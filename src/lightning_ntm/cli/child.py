"""`ntm` as a child of a sweep: told to end, as by SIGTERM, as soon as its parent is gone, even if that was killed."""

import ctypes
import os
import signal
import sys

from lightning_ntm.cli import main

_TOLD_AT_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG, on Linux

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_TOLD_AT_DEATH_OF_PARENT, signal.SIGTERM)
        if os.getppid() == 1:
            sys.exit(143)  # it was gone before
    sys.exit(main())
