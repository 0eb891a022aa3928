"""`ntm train`: one network is trained on one task into a run folder."""

from contextlib import nullcontext
from typing import Any, NamedTuple

import lightning as L
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_only

from lightning_ntm import cores
from lightning_ntm.checks import counted
from lightning_ntm.cli import words
from lightning_ntm.cli.output import say
from lightning_ntm.cli.parser import parsed, saved
from lightning_ntm.cli.parts import Parts, explained_trainer, make_parts, make_settings
from lightning_ntm.cli.resumed import check_resumed
from lightning_ntm.cli.said import Said
from lightning_ntm.cli.streams import make_lasting
from lightning_ntm.cli.words import EndedError, UsageError, explained
from lightning_ntm.kernels.cpu.thread_counts import found_by_timing
from lightning_ntm.measures import Measures
from lightning_ntm.records import RunFolder
from lightning_ntm.training.data import TargetsError
from lightning_ntm.training.processes import plugins_of
from lightning_ntm.training.refusals import check_stop
from lightning_ntm.training.run import Run, default_name, folder_of, quiet_lightning
from lightning_ntm.training.safety import DivergenceError, InterruptionError, LostFolderError
from lightning_ntm.training.settings import Settings


def train(argv: list[str]) -> int:
    """Train one network on one task, with one seed or with several."""
    if argv[:1] == ["--together"] and len(argv) == 2:
        from lightning_ntm.cli.together import train_together

        return train_together(argv[1])
    if any(word.partition("=")[0] == "--seeds" for word in argv):
        from lightning_ntm.cli.sweep import train_seeds

        return train_seeds(argv)
    return _train(argv)


def _train(argv: list[str]) -> int:
    asked = parsed(argv)
    make_lasting()
    made = prepared(*asked)
    run = _run_of(made)
    try:
        with found_by_timing(cores.threads()) if made.settings.threads == "auto" else nullcontext():
            result = run.fit()
    except InterruptionError as end:
        say(f"\n{end} at step {run.trainer.global_step}; {_how_to_go_on(run)}")
        return 128 + end.signal
    except SystemExit:  # how Lightning ends a training that was not told twice, or has several processes
        say(f"\ninterrupted at step {run.trainer.global_step}; {_how_to_go_on(run)}")
        return 130
    except DivergenceError as error:
        where = f" It is kept for lightning_ntm.evaluation.replay({str(run.folder.path)!r})." if run.keeps else ""
        raise UsageError(f"{error}.{where} --on_nonfinite skip leaves such steps out.") from error
    except TargetsError as error:
        raise UsageError(f"{words.one_line(error)} The run ended at step {run.trainer.global_step}.") from error
    except LostFolderError as error:
        raise EndedError(f"{words.one_line(error)} The run ended at step {run.trainer.global_step}.") from error
    except OSError as error:
        raise UsageError(f"{words.one_line(error)}; what is there is whole; {_how_to_go_on(run)}") from error
    except Exception as error:
        if not run.began:
            raise UsageError(words.one_line(error)) from error
        if _out_of_memory(error):
            where = f"out of memory at step {run.trainer.global_step} ({words.one_line(error)[:200]})"
            raise EndedError(f"{where}; a smaller --data.batch_size needs less; {_how_to_go_on(run)}") from error
        if not _raised_by_lightning(error):
            raise  # a network's own failure: its author wants to see where
        raise UsageError(f"{words.one_line(error)}; {_how_to_go_on(run)}") from error
    _report(run, result)
    return 0


class Names(NamedTuple):
    """The default name of a run without its seed; and the name and the parent folder in its configuration."""

    label: str
    name: str | None
    runs: str


def names_of(argv: list[str]) -> Names:
    """Return the names of the run that a command line asks for."""
    _, _, config = parsed(argv)
    made = (config[group].class_path.rpartition(".")[2] for group in ("model", "task"))
    return Names("-".join(made).lower(), config.name, config.runs)


def check(argv: list[str]) -> None:
    """Raise `UsageError` unless the run that a command line asks for can be made."""
    parser, said, config = parsed(argv)
    settings = make_settings(config)
    trainer = make_parts(parser, config, said).trainer
    with explained("--"):
        check_stop(settings.stop_when_solved, trainer)
    quiet_lightning()
    with explained_trainer():
        L.Trainer(**{**trainer, "logger": False, "plugins": plugins_of(trainer, alone=True)})


class Prepared(NamedTuple):
    """All that a run is made of, and where it is written."""

    parts: Parts
    settings: Settings
    folder: RunFolder
    config: str
    resume: bool


def prepared(parser: ArgumentParser, said: Said, config: Namespace) -> Prepared:
    """Return what the run that a command line asks for is made of, and set the threads and random states.

    Raises:
        UsageError: It cannot be made.
    """
    settings = make_settings(config)
    torch.set_num_threads(settings.torch_threads)
    quiet_lightning()
    with explained("--seed: "):
        L.seed_everything(settings.seed, workers=True, verbose=False)
    parts = make_parts(parser, config, said)
    with explained("--"):
        check_stop(settings.stop_when_solved, parts.trainer)
    model, task = parts.learner.model, parts.data.task
    if said.resumed:
        check_resumed(yaml.safe_load(saved(parser, config)), model, said.resumed, said)
    with explained():
        folder = said.resumed or folder_of(settings.runs, settings.name or default_name(model, task, settings.seed))
    return Prepared(parts, settings, folder, saved(parser, config), said.resumed is not None)


def _run_of(made: Prepared) -> Run:
    with explained_trainer():
        return Run(
            *made.parts,
            made.folder,
            made.config,
            resume=made.resume,
            stop_when_solved=made.settings.stop_when_solved,
            keep_weights_every=made.settings.keep_weights_every,
        )


def _how_to_go_on(run: Run) -> str:
    how = words.command("train", "--resume", run.folder.path)
    if run.keeps and run.folder.last.exists():
        return f"to go on: {how}"
    return f"nothing was kept yet; to begin again: {how}" if run.keeps else "nothing was kept"


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had: PyTorch has no class of its own for that of the CPU and of libraries."""
    told = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in told for words in _NO_MEMORY)
    )


_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "ALLOC_FAILED")


def _raised_by_lightning(error: Exception) -> bool:
    """Whether Lightning or a schedule of PyTorch's refused something, as a callback whose `monitor` is not measured."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith(
        ("lightning.", "torch.optim.lr_scheduler")
    )


@rank_zero_only
def _report(run: Run, result: dict[str, Any]) -> None:
    if not run.keeps:
        say(f"{counted(result['step'], 'step')}; nothing was kept.")
        return
    if not run.began:
        say(_ended_before(run, result["step"]))
        return
    if not run.folder.best.exists():
        say(f"{counted(result['step'], 'step')} in {result['seconds']:.0f} s; no weights were kept.")
        return
    say(told_at_end(run.folder, run.data.task.answer.measures, result))


def _ended_before(run: Run, step: int) -> str:
    """Return what is said of a resumed run that had nothing left to train: the option with which it goes on."""
    timed = any(isinstance(one, Timer) for one in run.trainer.callbacks)  # type: ignore[attr-defined]
    option, value = ("max_time", "DD:HH:MM:SS") if timed else ("max_epochs", "N")
    if 0 <= run.trainer.max_steps <= step:
        option, value = "max_steps", str(2 * step)
    further = words.command("train", "--resume", run.folder.path, f"--trainer.{option}", value)
    return f"{run.folder.path} had ended at step {step}: nothing was trained. With a larger limit it goes on: {further}"


def told_at_end(folder: RunFolder, measures: Measures, result: dict[str, Any]) -> str:
    """Return what a training to its end says: its length, which weights were kept, and what can be done with them."""
    best, (judge, *others) = result["best"], measures.each
    measured = judge.phrase(best[judge.name]) if best else ""
    for other in others:
        if other.above == judge.name and other.name in best:
            measured += f", {other.phrase(best[other.name])},"
    kept = f"step {best['step']} with {measured} in validation" if best else "the last weights, without a validation"
    further = f"{words.command('evaluate', folder.path)}, {words.command('figure', folder.path)}"
    later = _after_validation(folder, result["step"]) if best else ""
    ended = f"{counted(result['step'], 'step')} in {result['seconds']:.0f} s; kept: {kept}.{later}"
    return f"{ended}\n{folder.path}: {further}"


def _after_validation(folder: RunFolder, end: int) -> str:
    """Return which steps at the end had no validation, so that their weights could not be kept; or nothing."""
    rows = folder.latest(_LAST_BYTES)
    last = max((row["step"] for row in rows if any(name.startswith("validation_") for name in row)), default=end)
    if last == end:
        return ""
    return f" {f'Step {end}' if last + 1 == end else f'Steps {last + 1} to {end}'} had no validation."


_LAST_BYTES = 2**24  # of the metrics, in which the last validation is
