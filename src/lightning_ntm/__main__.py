"""`python -m lightning_ntm` is `ntm`."""

import sys

from lightning_ntm.cli import main

if __name__ == "__main__":
    sys.exit(main())
