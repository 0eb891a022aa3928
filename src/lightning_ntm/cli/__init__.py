"""The command `ntm`. Its verbs are imported in `main`, where Ctrl-C is handled from the start."""

import sys


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, 1 for a run that ended, 2 for a usage error, 130 when interrupted."""
    try:
        from lightning_ntm.cli.verbs import run

        return run(argv)
    except KeyboardInterrupt:
        print("ntm: interrupted", file=sys.stderr)
        return 130
