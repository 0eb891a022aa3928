"""`ntm sweep`: many runs by one command."""

import argparse
import os
import re
import shlex
import signal
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_ntm.checks import check_name, counted
from lightning_ntm.cli.hints import of_word
from lightning_ntm.cli.process import EndSignalError, interrupted_by_signals
from lightning_ntm.cli.streams import make_lasting
from lightning_ntm.cli.terminal import Terminal
from lightning_ntm.cli.watch import View, table
from lightning_ntm.cli.words import (
    Parser,
    UsageError,
    command,
    explained,
    filled,
    kind_of_no_file,
    near,
    positive,
    whole_number,
)
from lightning_ntm.recipes import plans
from lightning_ntm.sweep import End, Engine, LocalEngine, Plan, PlannedRun, Worker, status_of
from lightning_ntm.sweep.axes import numbers, values_in, with_named_networks
from lightning_ntm.sweep.environment import without_ranks
from lightning_ntm.sweep.plan import read_plan
from lightning_ntm.training.notebook import is_live

_EXAMPLES = """examples:
  ntm sweep --models NTM,LSTM --tasks Copy --seeds 1-10
  ntm sweep --seeds 1-5 --grid data.batch_size=4,8 --trainer.max_steps 2000
  ntm sweep ten-seeds            a plan that comes with ntm: {plans}
  ntm sweep plan.yaml            a plan of your own: {keys}
  ntm sweep runs/NAME            resume a sweep
  ntm sweep --status runs/NAME   show its status, from another shell
Options of ntm train may follow; they apply to every run. Not allowed: --seed,
--model, --task, --config (-c) and --resume."""
_LEFT = 3  # exit code if another process trains some of the runs


def sweep(argv: list[str]) -> int:
    """Train all runs of a plan that are not done."""
    _forget_ranks()
    given = argv.pop(0) if argv and not argv[0].startswith("-") else None
    arguments, more = _parser().parse_known_args(argv)
    if given is None:
        given = _word_alone(more)
    if arguments.status:
        return _show(Path(arguments.status))
    make_lasting()
    return _trained(*_planned(given, arguments, more), arguments)


def _word_alone(words: list[str]) -> str | None:
    """Take the first word that is neither an option nor the value of the option before it, and return it."""
    for index, (before, word) in enumerate(pairwise(["", *words])):
        if not word.startswith("-") and not (before.startswith("-") and "=" not in before):
            return words.pop(index)
    return None


def train_seeds(argv: list[str]) -> int:
    """Train one network on one task with several seeds, as a sweep.

    Raises:
        UsageError: The seeds cannot be read, or an option is for a single run or for other sweeps.
    """
    _forget_ranks()
    from lightning_ntm.cli.train import names_of  # imports PyTorch, which other sweeps need not

    arguments, words = _parser().parse_known_args(["--config" if word == "-c" else word for word in argv])
    _check_of_seeds(arguments, words)
    with explained("--seeds: "):
        seeds = numbers(arguments.seeds)
    names = names_of(words)
    name, runs = arguments.name or names.name or names.label, arguments.runs or names.runs
    planned = [PlannedRun(f"{names.label}-seed{seed}", (*words, f"--seed={seed}")) for seed in seeds]
    make_lasting()
    return _trained(_folder(runs, name), Plan(name, tuple(planned)), arguments)


def _forget_ranks() -> None:
    """Remove the variables of launchers, with which Lightning takes a sweep for one process of a distributed run."""
    for name in os.environ.keys() - without_ranks(dict(os.environ)).keys():
        del os.environ[name]


def _check_of_seeds(arguments: argparse.Namespace, words: list[str]) -> None:
    """Raise `UsageError` for an option of a single run, or of sweeps of other things than seeds."""
    hints = {"--resume": "ntm sweep FOLDER resumes runs of several seeds", "--seed": "--seeds has them"}
    for option in hints.keys() & {word.partition("=")[0] for word in words}:
        raise UsageError(f"{option} cannot be given with --seeds: {hints[option]}.")
    for name in ("models", "tasks", "configs", "grid", "status"):
        if getattr(arguments, name):
            raise UsageError(f"--{name} is an option of ntm sweep, not of ntm train.")


def _trained(folder: Path, plan: Plan, arguments: argparse.Namespace) -> int:
    """Train the runs of a plan."""
    engine = _engine(arguments)
    with explained():
        known = Plan.load(folder).runs if folder.joinpath("plan.yaml").exists() else ()
        kept, _ = plan.kept_in(folder)
    mine = _shard(kept, arguments.shard)
    console = Terminal(soft_wrap=True)
    if new := [run for run, as_kept in zip(plan.runs, kept.runs, strict=True) if as_kept not in known]:
        if is_live(console):
            console.print(f"{folder}: checking the options of {counted(len(new), 'run')}")
        _check(new)
    with explained():
        plan.save(folder)
    worker = Worker(folder, "lightning_ntm.cli.child.train", arguments.retries, console.print)
    view = View(folder, mine, console, quiet=arguments.quiet or not is_live(console))
    try:
        with interrupted_by_signals(), view:
            ends = engine.train(worker, mine.runs, view.look)
    except KeyboardInterrupt as end:
        console.print(f"interrupted. To go on: {command('sweep', folder)}{_same_way(arguments)}")
        return 128 + (end.number if isinstance(end, EndSignalError) else signal.SIGINT)
    return _summary(folder, ends, console)


def _same_way(arguments: argparse.Namespace) -> str:
    """Return the options that set how the plan is trained, as the user gave them."""
    names = ("processes", "side_by_side", "retries", "shard", "engine", "ray_address", "ray_cpus", "ray_gpus", "quiet")
    default, said = _parser().parse_args([]), []
    for name in names:
        if (value := getattr(arguments, name)) != getattr(default, name):
            said.append(f" --{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}"))
    return "".join(said)


def _parser() -> Parser:
    known = ", ".join(plans())
    parser = Parser(
        prog="ntm sweep",
        usage="ntm sweep [PLAN or FOLDER] [OPTIONS] [OPTIONS OF ntm train]",
        description="Train every combination of networks, tasks and seeds, several at a time.\n"
        "Runs that are done are skipped, and interrupted runs are resumed.",
        epilog=_EXAMPLES.format(plans=known, keys="name, configs, models, tasks, seeds, options, grid"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--models", help="networks, for example NTM,LSTM")
    add("--tasks", help="tasks, for example Copy,RepeatCopy")
    add("--configs", help="presets or configuration files of ntm train, instead of or besides networks and tasks")
    add("--seeds", help="seeds, for example 1-10 or 1,2,5-7 (1)")
    several = "train with each value of an option; can be repeated"
    add("--grid", action="append", default=[], metavar="OPTION=A,B", help=several)
    add("--name", type=filled, help="name of the sweep's folder")
    add("--runs", type=filled, help="parent folder (runs)")
    add("--processes", type=positive, help="processes at a time (one for each core)")
    most = "largest number of seeds that one process trains in one loop (auto)"
    add("--side-by-side", type=_side_by_side, default="auto", metavar="auto|N|off", help=most)
    add("--retries", type=whole_number, default=3, help="times a crashed run is resumed from its checkpoint (3)")
    add("--shard", metavar="I/N", help="train the I-th of N parts of the plan, for job arrays")
    add("--engine", choices=("local", "ray"), default="local", help="train on this machine, or on a Ray cluster")
    add("--ray-address", help="address of the cluster; by default Ray is started on this machine")
    add("--ray-cpus", type=float, default=1.0, help="cores that Ray reserves for a run (1)")
    add("--ray-gpus", type=float, default=0.0, help="GPUs, or a fraction of one, that Ray reserves for a run (0)")
    add("--quiet", action="store_true", help="one line for each event instead of a live table")
    add("--status", type=filled, metavar="FOLDER", help="show the status of a sweep and exit")
    return parser


def _side_by_side(word: str) -> str | int:
    try:
        return word if word in ("auto", "off") else positive(word)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{word!r} must be auto, off, or a whole number of at least 1.") from None


def _planned(given: str | None, arguments: argparse.Namespace, more: list[str]) -> tuple[Path, Plan]:
    """Return the folder of the sweep and its plan."""
    said = _said(arguments)
    if given is None and not (said.keys() - {"name"} or more):
        known = ", ".join(plans())
        raise UsageError(
            "ntm sweep needs a plan, the folder of a sweep, or options, as --models NTM,LSTM; "
            f"--status FOLDER shows a sweep; plans: {known}."
        )
    if given == "":
        raise UsageError("the name of the plan or folder is empty.")
    if given and Path(given).is_dir():
        if said or more:
            raise UsageError(f"{given} has its plan: {', '.join([*said, *more])} cannot be added to it.")
        with explained():
            return Path(given), Plan.load(Path(given))
    if more and not more[0].startswith("-"):
        raise UsageError(f"{more[0]!r} is one word too many.")
    with explained():
        stored = {"name": Path(given).stem, **_plan(given)} if given else {}
        if "models" in said:
            said["models"] = with_named_networks(said["models"], stored.get("models"))
        plan = Plan.of({**stored, **said}, more)
    return _folder(arguments.runs or "runs", plan.name), plan


def _folder(runs: str, name: str) -> Path:
    with explained():
        check_name("--name", name)
    return Path(runs) / name


def _said(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the part of the plan that the options set."""
    said = {key: getattr(arguments, key) for key in ("name", "configs", "models", "tasks", "seeds")}
    grid: dict[str, list[str]] = {}
    for axis in arguments.grid:
        option, equals, values = axis.removeprefix("--").partition("=")
        if not equals or not option:
            raise UsageError(f"--grid {axis}: write it as OPTION=A,B.")
        with explained(f"--grid {axis}: "):
            grid[option] = grid.get(option, []) + (values_in(values) if values else [])
    return {key: value for key, value in {**said, "grid": grid or None}.items() if value is not None}


def _plan(given: str) -> dict[str, Any]:
    if Path(given).is_file():
        return read_plan(Path(given))
    known = plans()
    if given not in known and (what := kind_of_no_file(given)):
        raise UsageError(f"{given} is {what}; a plan must be a regular file.")
    if given not in known:
        hint = of_word(given, several=True) or near(given, known) or f"; plans: {', '.join(known)}."
        raise UsageError(f"there is no plan or folder {given!r}{hint}")
    return read_plan(known[given])


def _check(runs: list[PlannedRun]) -> None:
    """Raise an error unless `ntm train` accepts the options of all runs, and no option overrides what tells them apart.

    Each combination is checked for one seed.
    """
    from lightning_ntm.cli.overridden import check_in_force
    from lightning_ntm.cli.train import check

    seen = set()
    for run in runs:
        words = tuple(word for word in run.words if not word.startswith("--seed="))
        if words not in seen:
            seen.add(words)
            check_in_force(run)
            check(list(run.words))


def _shard(plan: Plan, asked: str | None) -> Plan:
    if not asked:
        return plan
    match = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", asked)
    number, of = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"--shard (={asked}) must be I/N with I from 1 to N.")
    return plan.shard(number, of)


def _engine(arguments: argparse.Namespace) -> Engine:
    if arguments.engine == "local":
        most = {"auto": None, "off": 1}.get(arguments.side_by_side, arguments.side_by_side)
        return LocalEngine(arguments.processes, most)
    if arguments.side_by_side != "auto":
        raise UsageError(f"--side-by-side {arguments.side_by_side}: with --engine ray each run is trained alone.")
    with explained("--engine ray: ", ImportError):
        from lightning_ntm.sweep.ray import RayEngine

        return RayEngine(arguments.ray_address, arguments.ray_cpus, arguments.ray_gpus)


def _show(folder: Path) -> int:
    with explained():
        plan = Plan.load(folder)
    Terminal().print(table([status_of(folder, run) for run in plan.runs]))
    return 0


def _summary(folder: Path, ends: Mapping[str, End], console: Console) -> int:
    of = {end: [name for name in ends if ends[name] == end] for end in ("done", "failed", "elsewhere")}
    for name in of["failed"]:
        log = folder / "logs" / f"{name}.log"
        console.print(f"{name}: failed; {log} says how" if log.exists() else f"{name}: failed before it began")
    if others := len(of["elsewhere"]):
        console.print(f"{counted(others, 'run')} {'is' if others == 1 else 'are'} being trained by another process")
    runs = f"{counted(len(ends), 'run')} {'is' if len(ends) == 1 else 'are'}"
    console.print(f"{len(of['done'])} of {runs} done: {command('report', folder)}")
    return 1 if of["failed"] else _LEFT if of["elsewhere"] else 0
