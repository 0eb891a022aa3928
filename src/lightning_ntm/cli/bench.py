"""`ntm bench`: what a training step costs on this machine."""

import argparse

from rich.console import Console
from rich.table import Table

from lightning_ntm.cli.words import Parser, UsageError, explained
from lightning_ntm.kernels.cpu.library import entry_points
from lightning_ntm.records import as_json
from lightning_ntm.training.bench import bench as rows


def bench(argv: list[str]) -> int:
    """Time the kernel against the reference loop."""
    parser = Parser(prog="ntm bench", description="Time a training step with the kernel and with the reference loop.")
    parser.add_argument("--repeats", type=_positive, default=10, help="times to take the median of (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")
    arguments = parser.parse_args(argv)
    try:
        entry_points()
    except ImportError as error:
        raise UsageError(f"there is nothing to compare: {error}.") from error
    with explained():
        measured = list(rows(arguments.repeats))
    if arguments.json:
        print(as_json(measured))
        return 0
    table = Table("batch x length, slots", "threads", "step, ms", "reference", "speedup", "of peak", "forward, ms")
    for row in measured:
        table.add_row(
            "{batch} x {length}, {memory_slots}".format(**row["shape"]),
            str(row["threads"]),
            f"{row['step_ms']:.2f}",
            f"{row['reference_step_ms']:.1f}",
            f"{row['speedup']:.1f}",
            f"{row['peak_share']:.0%}",
            f"{row['forward_ms']:.2f}",
        )
    Console().print(table)
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1.")
    return int(text)
