"""The command `ntm`: words to calls. Rooms are imported when a verb needs them, so that help is quick."""

import os
import sys
import warnings
from importlib.metadata import version

from lightning_ntm.cli.streams import make_lasting, open_closed
from lightning_ntm.cli.words import UsageError, near, one_line

_VERBS = {
    "train": "Train a network on a task into a run folder, or resume a run.",
    "sweep": "Train many runs: networks, tasks, seeds, grids of options.",
    "evaluate": "Measure the kept networks of runs at chosen lengths.",
    "figure": "Draw the memory of a trained network at work in one episode.",
    "report": "Write one page on many runs: curves, success, cost by length.",
    "bench": "Time a training step on this machine, with the kernel and without.",
}

_HELP = """usage: ntm VERB [OPTIONS]

Neural Turing Machines that train reliably.

verbs:
{verbs}

  ntm VERB --help       the options of a verb
  ntm --version         the version

A first run:
  ntm train --model NTM --task Copy --seed 1
  ntm evaluate runs/ntm-copy-seed1
  ntm figure runs/ntm-copy-seed1

Ten seeds of two networks, and a page on them:
  ntm sweep --models NTM,LSTM --tasks Copy --seeds 1-10 --name copy
  ntm report runs/copy
"""


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, 1 for a run that ended, 2 for a usage error, 130 when interrupted."""
    open_closed()
    verb, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if verb in ("-h", "--help", "help"):
        print(_HELP.format(verbs="\n".join(f"  {name:<10} {what}" for name, what in _VERBS.items())))
        return 0
    if verb == "--version":
        print(f"lightning-ntm {version('lightning-ntm')}")
        return 0
    sys.path.append(os.getcwd())  # a user's own task or network stands where they work
    if argv is None:
        os.environ["PYTHONSAFEPATH"] = "1"  # and behind the standard library, in all processes started from here too
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return _run(verb, rest)
    except UsageError as error:
        print(f"ntm: error: {one_line(error)}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("ntm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader, as `head`, has seen enough
        return 0


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning without the place in a library that it comes from."""
    said = one_line(message if isinstance(message, Warning) else Warning(message))
    print(f"ntm: warning: {said}", file=sys.stderr)


def _run(verb: str, argv: list[str]) -> int:
    if verb not in _VERBS:
        raise UsageError(f"unknown verb {verb!r}{near(verb, _VERBS) or '; known: ' + ', '.join(_VERBS) + '.'}")
    if verb in ("train", "sweep"):
        make_lasting()
    if verb == "train":
        from lightning_ntm.cli.train import train

        return train(argv)
    if verb == "sweep":
        from lightning_ntm.cli.sweep import sweep

        return sweep(argv)
    if verb == "bench":
        from lightning_ntm.cli.bench import bench

        return bench(argv)
    if verb == "report":
        from lightning_ntm.cli.report import report

        return report(argv)
    from lightning_ntm.cli.inspect import evaluate, figure

    return evaluate(argv) if verb == "evaluate" else figure(argv)
