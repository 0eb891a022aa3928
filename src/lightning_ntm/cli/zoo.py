"""`ntm zoo`: the trained networks that come with the package."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_ntm.cli.results import with_margin
from lightning_ntm.cli.words import Parser
from lightning_ntm.measures import Measures
from lightning_ntm.records import as_json, difficulty_of
from lightning_ntm.zoo import Shipped, described, is_shipped


def folder_of(run: str, kind: str) -> Path:
    """Return the folder for what is made of a run: within it, or beside a file of weights, or in the working folder.

    Args:
        run: The run folder, or the name of a network of the package.
        kind: The name of the folder, as `figures`.
    """
    if Path(run).is_file():  # of weights
        return Path(run).with_name(f"{Path(run).stem}-{kind}")
    return Path(f"{run}-{kind}") if is_shipped(run) else Path(run) / kind


def zoo(argv: list[str]) -> int:
    """List the networks that come with the package."""
    parser = Parser(
        prog="ntm zoo",
        description="List the trained networks that come with the package, their results (±: 95 % confidence), and the "
        "commands that trained them. The results are for 100 new episodes, unless another number is listed. ntm "
        "explore, evaluate, figure and export take a name of this list in place of a run folder, unless there is a "
        "folder of this name.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print only JSON: a list of objects")
    arguments = parser.parse_args(argv)
    from lightning_ntm.cli.output import say

    if arguments.json:
        print(as_json([_object(one) for one in described()]))
        return 0
    for one in described():
        say("\n".join([f"{one.name}: {one.network} on {one.task}", *_results(one), f"    {one.command}"]))
    return 0


def _object(one: Shipped) -> dict[str, Any]:
    return {**one._asdict(), "folder": str(one.folder), "measures": one.measures.as_object()["measures"]}


def _results(one: Shipped) -> Iterator[str]:
    """Yield a line for each difficulty: the measure that judges, and the share of episodes without an error."""
    for row in one.results:
        difficulty = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in difficulty_of(row).items())
        yield f"    {difficulty}: {_told(row, one.measures)}"


def _told(row: dict[str, Any], measures: Measures) -> str:
    goal = measures.goal or measures.each[0]
    margin = row.get(f"{goal.name}_margin")
    told = f"{with_margin(row[goal.name], math.nan if margin is None else margin)} {goal.quantity}"
    uncertain = measures.with_optimum is not None
    shown = told if uncertain else f"{told}, {row['perfect']:.0%} without an error"
    return shown if row["sequences"] == 100 else f"{shown} ({row['sequences']} sequences)"
