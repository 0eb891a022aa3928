"""`ntm bench`: the time of a training step on this machine."""

from textwrap import wrap
from typing import Any

import torch
from rich.table import Table

from lightning_ntm.cli.terminal import Terminal, progress_of
from lightning_ntm.cli.words import Parser, UsageError, add_device, explained, positive
from lightning_ntm.evaluation.device import chosen_device, works_ahead
from lightning_ntm.kernels.cpu.library import entry_points
from lightning_ntm.records import as_json
from lightning_ntm.training.bench import bench as rows, number_of_rows

_DESCRIPTION = """Time a training step with the kernel and with the reference loop. On two idle cores this takes
minutes, most of them for the loop; --repeats 3 takes less. On a CPU, "of peak" is the rate of useful
operations relative to a large matrix product on this machine. On a GPU, "of floor" is a lower bound of the time of
the kernel's forward or backward program, from the bytes and operations that it needs, relative to its time."""
NOT_MEASURED = "not measured"

#: Title and format of each column of the table, by the key of a row. Each program of a GPU has two columns.
_TIMES = {
    "step_ms": ("step, ms", "{:.2f}"),
    "reference_step_ms": ("reference", "{:.1f}"),
    "speedup": ("speedup", "{:.1f}"),
}
_FORWARD = {"forward_ms": ("forward, ms", "{:.2f}")}
_OF_CPU = {"threads": ("threads", "{}"), **_TIMES, "peak_share": ("of peak", "{:.0%}"), **_FORWARD}
_OF_GPU = {
    **_TIMES,
    **_FORWARD,
    "forward_us_per_time_step": ("forward, us per time step", "{:.1f}"),
    "forward_floor_share": ("of floor", "{:.0%}"),
    "backward_us_per_time_step": ("backward, us per time step", "{:.1f}"),
    "backward_floor_share": ("of floor", "{:.0%}"),
}


def bench(argv: list[str]) -> int:
    """Time the kernel against the reference loop."""
    parser = Parser(prog="ntm bench", description=_DESCRIPTION)
    parser.add_argument("--repeats", type=positive, default=10, help="number of measurements for each median (10)")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    add_device(parser)
    arguments = parser.parse_args(argv)
    with explained("--"):
        device = chosen_device(arguments.device)
    if not works_ahead(device):
        _require_cpu_kernel()
    with explained():
        measured = _measured(arguments.repeats, device)
    if arguments.json:
        print(as_json(measured))
    else:
        Terminal().print(_table(measured, _OF_GPU if works_ahead(device) else _OF_CPU))
    return 0


def _measured(repeats: int, device: torch.device) -> list[dict[str, Any]]:
    measured: list[dict[str, Any]] = []
    total = number_of_rows(device)
    with progress_of("bench", "rows of the table") as progress:
        progress(0, total)
        for row in rows(repeats, device):
            measured.append(row)
            progress(len(measured), total)
    return measured


def _require_cpu_kernel() -> None:
    try:
        entry_points()
    except ImportError as error:
        raise UsageError(f"there is nothing to compare: {error}.") from error


def _table(measured: list[dict[str, Any]], columns: dict[str, tuple[str, str]]) -> Table:
    """Return a table of the main columns, for a terminal of 80 columns. `--json` prints all values."""
    table = Table(title=measured[0]["device"], title_justify="left", box=None, pad_edge=False, collapse_padding=True)
    table.add_column("batch x\nlength, slots", no_wrap=True)
    for title, _ in columns.values():
        table.add_column("\n".join(wrap(title, 7, break_long_words=False)), justify="right", no_wrap=True)
    for row in measured:
        shape = "{batch} x {length}, {memory_slots}".format(**row["shape"])
        values = ((row[name], shown) for name, (_, shown) in columns.items())
        table.add_row(shape, *(NOT_MEASURED if value is None else shown.format(value) for value, shown in values))
    return table
