"""`python -m lightning_ntm.cli` is `ntm`."""

import sys

from lightning_ntm.cli import main

sys.exit(main())
