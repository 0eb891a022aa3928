"""`ntm evaluate` and `ntm figure`: measure and draw trained networks."""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_ntm.checks import at_least, at_most
from lightning_ntm.cli.ranges import add_range, check_alone, evaluate_lengths, range_table
from lightning_ntm.cli.results import Measured, table
from lightning_ntm.cli.terminal import Terminal, say, warn
from lightning_ntm.cli.words import Parser, UsageError, add_device, explained, filled
from lightning_ntm.cli.zoo import folder_of
from lightning_ntm.evaluation.build import TrainedRun, open_run, warn_beyond_memory
from lightning_ntm.evaluation.contents import changed_file
from lightning_ntm.evaluation.device import chosen_device
from lightning_ntm.evaluation.episodes import EVALUATION_VERSION
from lightning_ntm.records import RunFolder, as_json, find, make_folder
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.files import FileTask
from lightning_ntm.tasks.sequences import sha256_of
from lightning_ntm.zoo import is_shipped, located

#: Errors of an episode or a memory that does not fit into this machine.
_TOO_LARGE = (MemoryError, OverflowError, RuntimeError)
#: Bound on any difficulty: more than a machine can hold, within the range of array sizes.
_MOST = 10**9


def evaluate(argv: list[str]) -> int:
    """Measure the kept networks of runs."""
    arguments = _asked(argv)
    paths = list(_runs(arguments.runs))
    measured: list[Measured] = []
    left_out: dict[str, str] = {}
    for path in paths:
        try:
            measured.append(_evaluated(path, arguments))
        except UsageError as error:
            left_out[path] = str(error)
    if not measured:
        more = "" if len(set(left_out.values())) == 1 else f" (and {len(left_out) - 1} more cannot be evaluated)"
        raise UsageError(f"{left_out[paths[0]]}{more}")
    for path, reason in left_out.items():
        warn(f"{path} is left out: {reason}")
    alone = len(paths) == 1
    if arguments.json:
        printed = [{"run": one.run, **one.more, "results": one.results} for one in measured]
        print(as_json(printed[0] if alone else printed))
    else:
        drawn = range_table if arguments.range else table
        Terminal().print(drawn(measured, arguments.memory_slots, alone=alone))
    return 0


def _asked(argv: list[str]) -> argparse.Namespace:
    parser = _parser("evaluate", "Measure the kept networks of one or more runs on new episodes.")
    parser.add_argument(
        "runs",
        nargs="+",
        type=filled,
        metavar="RUN",
        help="run folders, folders that contain them, or names of ntm zoo",
    )
    parser.add_argument("--sequences", type=int, help="episodes of each difficulty (100; by default all of a file)")
    parser.add_argument("--pieces", type=int, help="also measure this many equal parts of each answer separately")
    add_range(parser)
    parser.add_argument("--json", action="store_true", help="print only JSON: an object, or a list for several runs")
    arguments = _parsed(parser, argv)
    with explained("--"):
        if arguments.sequences is not None:
            at_least(1, sequences=arguments.sequences)
            at_most(_MOST, sequences=arguments.sequences)
        if arguments.pieces is not None:
            at_least(1, pieces=arguments.pieces)
    check_alone(arguments)
    return arguments


def _runs(given: list[str]) -> Iterator[str]:
    """Yield each run folder once."""
    seen: set[Path] = set()
    for path in given:
        alone = Path(path, "config.yaml").exists() or not Path(path).is_dir()
        with explained():
            found = [path] if alone else [str(folder.path) for folder in find(path).values()]
        for one in found:
            if (place := Path(one).resolve()) not in seen:
                seen.add(place)
                yield one


def _evaluated(path: str, arguments: argparse.Namespace) -> Measured:
    run = _open(path, arguments)
    if arguments.range:
        return _evaluated_range(path, run, arguments)
    asked: dict[str, Any] = {"memory_slots": run.memory_slots} if run.memory_slots else {}
    if arguments.on:
        asked |= {"on": Path(arguments.on).name, "sha256": sha256_of(arguments.on)}
    results = [{**asked, **result} for result in _results(run, arguments)]
    _keep(path, run.step, results)
    return Measured(path, results, run.task.answer.measures)


def _evaluated_range(path: str, run: TrainedRun, arguments: argparse.Namespace) -> Measured:
    with explained("", *_TOO_LARGE):
        found = evaluate_lengths(path, run, arguments, lambda longest: _warn(run, longest))
    _keep(path, run.step, [], [found])
    more = {name: value for name, value in found.items() if name != "results"}
    return Measured(path, found["results"], run.task.answer.measures, more)


def _keep(path: str, step: int, results: list[dict[str, Any]], ranges: list[dict[str, Any]] | None = None) -> None:
    """Add the results to the run folder, for `ntm report`; warn if it is not writable."""
    if is_shipped(path):
        return
    try:
        RunFolder(Path(path)).keep_evaluation(step, results, EVALUATION_VERSION, ranges)
    except OSError as error:
        warn(f"not kept for ntm report: {error}")


def figure(argv: list[str]) -> int:
    """Draw one episode of a trained network, or animate it."""
    arguments = _asked_figure(argv)
    run = _open(arguments.run, arguments)
    asked = _difficulties(arguments, run) if arguments.lengths or arguments.vary else [run.task.difficulty]
    if arguments.animate and len(asked) > 1:
        raise UsageError(f"--animate writes one episode; {len(asked)} difficulties are given.")
    for difficulty in asked:
        _warn(run, difficulty)
        _draw(arguments, run, difficulty)
    return 0


def _asked_figure(argv: list[str]) -> argparse.Namespace:
    parser = _parser("figure", "Draw an episode of a run: inputs, outputs and memory, as in the paper.")
    parser.add_argument("run", type=filled, metavar="RUN", help="a run folder, or a name of ntm zoo")
    where = "folder for the pictures (RUN/figures; of a name of ntm zoo ./NAME-figures)"
    parser.add_argument("--output", type=filled, metavar="FOLDER", help=where)
    parser.add_argument("--sequence", type=int, metavar="NUMBER", help="number of the episode, from 0 (0)")
    parser.add_argument(
        "--animate", type=filled, metavar="FILE", help="write the memory over time to this .gif or .mp4 instead"
    )
    arguments = _parsed(parser, argv)
    with explained("--"):
        at_least(0, sequence=arguments.sequence or 0)
    if arguments.animate:
        from lightning_ntm.report import check_animation

        if arguments.output:
            raise UsageError("--output cannot be combined with --animate, which names its file.")
        with explained("--animate: "):
            check_animation(Path(arguments.animate))
    return arguments


def _draw(arguments: argparse.Namespace, run: TrainedRun, difficulty: dict[str, int]) -> None:
    from lightning_ntm.evaluation.trace import trace_episode
    from lightning_ntm.report import draw_episode, save_animation, save_figure, save_trace

    with explained("", *_TOO_LARGE):
        sequence, slots = arguments.sequence or 0, run.memory_slots
        options: dict[str, Any] = {"seed": run.seed, "sequence": sequence, "memory_slots": slots}
        trace = trace_episode(run.model, run.task, difficulty, **options)
    shown = {**difficulty, **_shown_of(arguments, run)}
    described = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
    title = f"{type(run.model).__name__} on {type(run.task).__name__}, {described}"
    named = "-".join(f"{name}-{value}" for name, value in shown.items())
    folder = Path(arguments.output) if arguments.output else folder_of(arguments.run, "figures")
    with explained():
        if arguments.animate:
            save_animation(trace, title, Path(arguments.animate))
            say(arguments.animate)
            return
        if not arguments.output:
            make_folder(folder)
        save_trace(trace, folder / f"memory-{named}.npz")
        for picture, drawn in draw_episode(trace, title, run.task.answer.measures, run.task.answer.unit).items():
            say("\n".join(map(str, save_figure(drawn, folder / f"{picture}-{named}"))))


def _shown_of(arguments: argparse.Namespace, run: TrainedRun) -> dict[str, Any]:
    """Return what the name of a picture contains in addition to the difficulty."""
    shown: dict[str, Any] = {"memory_slots": arguments.memory_slots} if arguments.memory_slots else {}
    if arguments.on:
        shown["on"] = Path(arguments.on).stem
    if arguments.sequence is not None or run.task.stored("evaluation") is not None:
        shown["sequence"] = arguments.sequence or 0
    return shown


def _parser(verb: str, description: str) -> Parser:
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
        "--on", type=filled, metavar="FILE", help="file to use instead of the run's own, for runs on files"
    )
    parser.add_argument("--memory_slots", type=int, help="memory slots of each sequence, if not those of the training")
    add_device(parser)
    return parser


def _parsed(parser: Parser, argv: list[str]) -> argparse.Namespace:
    arguments = parser.parse_args(argv)
    with explained("--"):
        arguments.device = chosen_device(arguments.device)
    return arguments


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers with commas between, as 10,20,40.") from None
    if max(numbers) > _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers of at most {_MOST}.")
    return list(dict.fromkeys(numbers))  # without repetitions


def _varied(text: str) -> tuple[str, list[int]]:
    name, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=NUMBERS, as repeats=10,20.")
    return name, _numbers(values)


def _open(path: str, arguments: argparse.Namespace) -> TrainedRun:
    if arguments.memory_slots is not None:
        with explained("--"):
            at_least(1, memory_slots=arguments.memory_slots)
    with explained("", *_TOO_LARGE):
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


def _difficulties(arguments: argparse.Namespace, run: TrainedRun) -> list[dict[str, int]]:
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
            known = ", ".join(run.task.difficulty) or "none"
            option = "--lengths" if arguments.lengths and name == "length" else f"--vary {name}"
            raise UsageError(f"{option}: {type(run.task).__name__} has no difficulty {name!r}; it has {known}.")
        if min(values) < 1:
            raise UsageError(f"{name} (={min(values)}) must be at least 1.")
    combinations = itertools.product(*varied.values())
    return [{**run.task.difficulty, **dict(zip(varied, values, strict=True))} for values in combinations]


def _results(run: TrainedRun, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from lightning_ntm.evaluation.evaluate import evaluate_pieces

    own_choice = not (arguments.lengths or arguments.vary)
    pieces = arguments.pieces if arguments.pieces is not None else run.task.pieces if own_choice else 1
    for difficulty in _difficulties(arguments, run):
        _warn(run, difficulty)
        with explained("", *_TOO_LARGE):
            options = {"sequences": arguments.sequences, "memory_slots": run.memory_slots}
            yield from evaluate_pieces(run.model, run.task, difficulty, pieces=pieces, seed=run.seed, **options)


def _warn(run: TrainedRun, difficulty: dict[str, int]) -> None:
    with explained():
        warning = warn_beyond_memory(run.model, run.task, difficulty, memory_slots=run.memory_slots)
    if warning:
        warn(f"{warning}")
