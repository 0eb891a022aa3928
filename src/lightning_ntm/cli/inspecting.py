"""What `ntm evaluate` and `ntm figure` share: options, the run and its difficulties."""

import argparse
import itertools

from lightning_ntm.checks import at_least
from lightning_ntm.cli.output import warn
from lightning_ntm.cli.words import Parser, UsageError, add_device, explained, filled
from lightning_ntm.evaluation.build import TrainedRun, open_run, warn_beyond_memory
from lightning_ntm.evaluation.contents import changed_file
from lightning_ntm.evaluation.device import chosen_device
from lightning_ntm.evaluation.slots import why_fixed
from lightning_ntm.records import RunFolder
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.files import FileTask
from lightning_ntm.zoo import located

#: Errors of an episode or a memory that does not fit into this machine.
TOO_LARGE = (MemoryError, OverflowError, RuntimeError)
#: Bound on any difficulty: more than a machine can hold, within the range of array sizes.
MOST = 10**9


def inspecting(verb: str, description: str) -> Parser:
    """Return a parser with the options that choose episodes, memory slots and a device."""
    parser = Parser(prog=f"ntm {verb}", description=description, allow_abbrev=False)
    parser.add_argument(
        "--lengths", type=_numbers, help="lengths, for example 10,20,40; short for --vary length=10,20,40"
    )
    parser.add_argument(
        "--vary",
        type=_varied,
        action="append",
        default=[],
        metavar="NAME=A,B",
        help="values of any difficulty of the task",
    )
    parser.add_argument(
        "--on", type=filled, metavar="FILE", help="for runs on files: another file instead of the run's own"
    )
    parser.add_argument("--memory_slots", type=int, help="memory slots of each sequence (as in training)")
    add_device(parser)
    return parser


def parsed(parser: Parser, argv: list[str]) -> argparse.Namespace:
    """Return the arguments, with the device that they choose."""
    arguments = parser.parse_args(argv)
    with explained("--"):
        arguments.device = chosen_device(arguments.device)
    return arguments


def _numbers(text: str) -> list[int]:
    """Return the numbers of an option."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers with commas between, as 10,20,40.") from None
    if max(numbers) > MOST:
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers of at most {MOST}.")
    return list(dict.fromkeys(numbers))  # without repetitions


def _varied(text: str) -> tuple[str, list[int]]:
    name, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=NUMBERS, as repeats=10,20.")
    return name, _numbers(values)


def opened(path: str, arguments: argparse.Namespace) -> TrainedRun:
    """Open a run as the arguments ask."""
    if arguments.memory_slots is not None:
        with explained("--"):
            at_least(1, memory_slots=arguments.memory_slots)
    with explained("", *TOO_LARGE):
        run = open_run(path, memory_slots=arguments.memory_slots, device=arguments.device)
    if not arguments.on:
        _warn_if_changed(path, run.task)
        return run
    if not isinstance(run.task, FileTask):
        raise UsageError(f"--on (={arguments.on}) is for runs on files; this one is on {type(run.task).__name__}.")
    with explained("--"):
        return run._replace(task=run.task.on(arguments.on))


def _warn_if_changed(path: str, task: Task) -> None:
    with explained():
        changed = changed_file(task, RunFolder(located(path)).notes(), "validation") if task.files else None
    if changed:
        warn(changed)


def difficulties(arguments: argparse.Namespace, run: TrainedRun) -> list[dict[str, int]]:
    """Return every combination of the given difficulties; the others stay at their training maximum."""
    varied = dict(arguments.vary)
    if len(varied) < len(arguments.vary) or (arguments.lengths and "length" in varied):
        raise UsageError("a difficulty is given twice; write all its values in one --vary or --lengths.")
    if arguments.lengths:
        varied["length"] = arguments.lengths
    if not varied:
        return run.task.evaluations
    for name, values in varied.items():
        if name not in run.task.difficulty:
            known = ", ".join(f"{known} (--vary {known}={values[0]})" for known in run.task.difficulty) or "none"
            option = "--lengths" if arguments.lengths and name == "length" else f"--vary {name}"
            raise UsageError(f"{option}: {type(run.task).__name__} has no difficulty {name!r}; it has {known}.")
        if min(values) < 1:
            raise UsageError(f"{name} (={min(values)}) must be at least 1.")
    combinations = itertools.product(*varied.values())
    return [{**run.task.difficulty, **dict(zip(varied, values, strict=True))} for values in combinations]


def warn_of_memory(run: TrainedRun, difficulty: dict[str, int], warned: set[str]) -> None:
    """Warn of episodes that are longer than the memory.

    Args:
        run: The run.
        difficulty: Of the episodes.
        warned: The warnings of this command, each of which is printed once.
    """
    with explained():
        warning = warn_beyond_memory(run.model, run.task, difficulty, memory_slots=run.memory_slots)
    if warning and warning not in warned:
        warned.add(warning)
        warn(warning if why_fixed(run.model) else f"{warning} --memory_slots gives it more slots.")
