"""`ntm figure`: draw an episode of a trained network."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_ntm.checks import at_least
from lightning_ntm.cli.inspecting import TOO_LARGE, difficulties, inspecting, opened, parsed, warn_of_memory
from lightning_ntm.cli.output import say
from lightning_ntm.cli.process import without_collection
from lightning_ntm.cli.words import UsageError, explained, filled, folder_name
from lightning_ntm.cli.zoo import folder_of
from lightning_ntm.evaluation.build import TrainedRun
from lightning_ntm.records import make_folder, without_empty
from lightning_ntm.zoo import located

_DESCRIPTION = (
    "Draw an episode of a run: inputs, outputs and memory, as in the paper. The .npz file beside the pictures has the "
    "numbers that they show, by name, for numpy.load."
)
_OVER = (
    "with --animate: the memory over the steps of the episode (time), or the output over those of the training, from "
    "the weights that ntm train --keep_weights_every keeps"
)


def figure(argv: list[str]) -> int:
    """Draw one episode of a trained network, or animate it."""
    arguments = _asked_figure(argv)
    with without_collection():
        from lightning_ntm.report.episode import title_of

    run = opened(arguments.run, arguments)
    if arguments.over == "training":
        _animate_training(run, arguments)
        return 0
    for shown, trace in _traces(run, arguments):
        title = title_of(run.model, run.task, shown)
        if arguments.animate:
            _animate(trace, title, arguments.animate)
        else:
            named = "".join(f"-{name}-{value}" for name, value in shown.items())
            _draw(arguments, run, trace, title, named)
    return 0


def _asked_figure(argv: list[str]) -> argparse.Namespace:
    parser = inspecting("figure", _DESCRIPTION)
    parser.add_argument("run", type=filled, metavar="RUN", help="a run folder, or a name of ntm zoo")
    where = "folder for the pictures (RUN/figures; for a name of ntm zoo ./NAME-figures)"
    parser.add_argument("--output", type=folder_name, metavar="FOLDER", help=where)
    parser.add_argument("--sequence", type=int, metavar="NUMBER", help="number of the episode, from 0 (0)")
    parser.add_argument(
        "--show", type=_names, metavar="A,B", help="what to draw: names of the trace, addressing, or all"
    )
    parser.add_argument(
        "--input", type=filled, metavar="FILE", help="an episode of your own: .npy, .npz, .json or .csv"
    )
    parser.add_argument(
        "--animate", type=filled, metavar="FILE", help="write the memory over time to this .gif or .mp4 instead"
    )
    parser.add_argument("--over", choices=("time", "training"), help=_OVER)
    arguments = parsed(parser, argv)
    with explained("--"):
        at_least(0, sequence=arguments.sequence or 0)
    if arguments.over and not arguments.animate:
        raise UsageError(f"--over {arguments.over} chooses what --animate FILE shows; give a file.")
    if arguments.animate:
        from lightning_ntm.report import check_animation

        for option in ("output", "show"):
            if getattr(arguments, option):
                raise UsageError(f"--{option} cannot be combined with --animate, which draws the memory into its file.")
        with explained("--animate: "):
            check_animation(Path(arguments.animate))
    return arguments


def _draw(arguments: argparse.Namespace, run: TrainedRun, trace: dict[str, Any], title: str, named: str) -> None:
    from lightning_ntm.report import draw_episode, save_figure, save_trace

    folder = Path(arguments.output) if arguments.output else folder_of(arguments.run, "figures")
    answer = run.task.answer
    with explained("--show: " if arguments.show else ""):
        pictures = draw_episode(trace, title, answer.measures, answer.unit, arguments.show or ())
    with explained(), without_empty(folder):
        if not arguments.output:
            make_folder(folder)
        save_trace(trace, folder / f"memory{named}.npz")
        for picture, drawn in pictures.items():
            say("\n".join(map(str, save_figure(drawn, folder / f"{picture}{named}"))))


def _animate(trace: dict[str, Any], title: str, path: str) -> None:
    from lightning_ntm.report import save_animation

    with explained(), without_empty(Path(path).parent):
        save_animation(trace, title, Path(path))
    say(path)


def _animate_training(run: TrainedRun, arguments: argparse.Namespace) -> None:
    from lightning_ntm.evaluation.over_training import over_training
    from lightning_ntm.report import save_training_animation
    from lightning_ntm.report.episode import title_of

    traces: list[tuple[int, dict[str, Any]]] = []
    with explained("", *TOO_LARGE):
        for step, model in over_training(run.model, located(arguments.run)):
            ((_, trace),) = _traces(run._replace(model=model), arguments)
            traces.append((step, trace))
        if not traces:
            raise ValueError(
                f"{arguments.run} has no weights of steps of its training: train it with --keep_weights_every."
            )
        save_training_animation(traces, title_of(run.model, run.task, {}), Path(arguments.animate))
    say(arguments.animate)


def _traces(run: TrainedRun, arguments: argparse.Namespace) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield for each episode what is special about it, and its trace."""
    from lightning_ntm.evaluation.own_episode import read_episode
    from lightning_ntm.evaluation.trace import names_of, trace_episode, trace_own

    if arguments.input:
        if arguments.lengths or arguments.vary or arguments.sequence is not None or arguments.on:
            raise UsageError("--input is an episode of its own: --lengths, --vary, --sequence and --on choose others.")
        with explained("--input ", *TOO_LARGE):
            batch, known = read_episode(arguments.input, run.model.input_size, run.task.answer)
            trace = trace_own(run.model, run.task.answer, batch, known=known, memory_slots=run.memory_slots)
        yield {"input": Path(arguments.input).stem}, trace | names_of(run.task)
        return
    asked = difficulties(arguments, run) if arguments.lengths or arguments.vary else [run.task.difficulty]
    if arguments.animate and len(asked) > 1:
        raise UsageError(f"--animate writes one episode; {len(asked)} difficulties are given.")
    warned: set[str] = set()
    for difficulty in asked:
        warn_of_memory(run, difficulty, warned)
        with explained("", *TOO_LARGE):
            sequence, slots = arguments.sequence or 0, run.memory_slots
            options: dict[str, Any] = {"seed": run.seed, "sequence": sequence, "memory_slots": slots}
            trace = trace_episode(run.model, run.task, difficulty, **options)
        yield {**difficulty, **_shown_of(arguments, run)}, trace


def _shown_of(arguments: argparse.Namespace, run: TrainedRun) -> dict[str, Any]:
    """Return what the name of a picture contains in addition to the difficulty."""
    shown: dict[str, Any] = {"memory_slots": arguments.memory_slots} if arguments.memory_slots else {}
    if arguments.on:
        shown["on"] = Path(arguments.on).stem
    if arguments.sequence is not None or run.task.stored("evaluation") is not None:
        shown["sequence"] = arguments.sequence or 0
    return shown


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip().replace("-", "_") for name in text.split(",") if name.strip()))
