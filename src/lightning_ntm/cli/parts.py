"""The parts of a run, which are made and checked before its folder is."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Timer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_ntm.checks import at_least, at_most, between
from lightning_ntm.cli.output import warn
from lightning_ntm.cli.parser import arguments_for
from lightning_ntm.cli.said import Said
from lightning_ntm.cli.words import UsageError, explained, one_line
from lightning_ntm.evaluation.build import warn_beyond_memory
from lightning_ntm.kernels.cpu.library import missing as kernel_missing
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.curricula import Curriculum
from lightning_ntm.training.data import EpisodeData
from lightning_ntm.training.learner import SchedulerFactory, SequenceLearner
from lightning_ntm.training.precision import HALF_EPS, check_eps, underflows
from lightning_ntm.training.processes import check_devices
from lightning_ntm.training.refusals import check_sizes
from lightning_ntm.training.settings import Settings
from lightning_ntm.training.slots import check_slots

#: Whose constructors name an option when they refuse a value, by the prefix of the option.
_GROUPS = {"model": MemoryModel, "task": Task, "data.curriculum": Curriculum}
#: The largest whole number with which PyTorch computes.
MOST_WHOLE = 2**63 - 1
#: The least values of the Trainer's numbers.
_LEAST = {
    **dict.fromkeys(("max_steps", "max_epochs", "num_sanity_val_steps"), -1),
    **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch"), 1),
    "gradient_clip_val": 0,
}


class Parts(NamedTuple):
    """All that a run is made of: the network with its loss and optimizer, the episodes, the Trainer's arguments."""

    learner: SequenceLearner
    data: EpisodeData
    trainer: dict[str, Any]


def make_settings(config: Namespace) -> Settings:
    """Return the settings of a run.

    Raises:
        UsageError: One is out of its range.
    """
    with explained("--"):
        return Settings(**arguments_for(Settings, config))


def make_parts(parser: ArgumentParser, config: Namespace, said: Said) -> Parts:
    """Return the parts of a run; what the run does differently from what `config` says is changed there as well.

    Raises:
        UsageError: They cannot be made, or do not fit together.
    """
    raised = _raised_eps(config, said)
    made = _instantiated(parser, config)
    with explained("--model: "):
        check_sizes(made.model)
    full = _beyond_memory(made.model, made.task)
    few = _few_slots(made, config, asked="min_memory_slots" in said.own)
    _check_training(made, config)
    slow = kernel_missing() if made.model.kernels and made.model.backend == "auto" else None
    for warning in filter(None, (full, few, slow, raised)):
        warn(warning)
    data = _data(made, config)
    made.min_memory_slots = config.min_memory_slots
    with explained("--"):
        learner = SequenceLearner(**arguments_for(SequenceLearner, made))
    trainer = dict(vars(made.trainer))
    _check_trainer(trainer, data.batches_per_epoch)
    return Parts(learner, data, trainer)


@contextmanager
def explained_trainer() -> Iterator[None]:
    """Say of what Lightning refuses that it is among the Trainer's options, which it seldom names."""
    with explained("", TypeError):
        try:
            yield
        except (MisconfigurationException, ModuleNotFoundError) as error:
            raise UsageError(f"--trainer: {one_line(error)}") from error


def _data(made: Namespace, config: Namespace) -> EpisodeData:
    """Return the data, and note in the configuration what the task and they found out themselves."""
    with explained("--task."):
        for name, value in made.task.resolved().items():
            config.task.init_args[name] = value
    with explained("--data."):
        data = EpisodeData(made.task, seed=config.seed, **made.data.as_dict())
    if made.task.stored("validation") is None:
        config.data.validation_sequences = data.validation_sequences
    return data


def _instantiated(parser: ArgumentParser, config: Namespace) -> Namespace:
    """Return the configuration with objects in place of the classes that it names."""
    refused: list[tuple[str, Exception]] = []

    def make(made: type, *args: Any, **options: Any) -> Any:
        try:
            return made(*args, **options)
        except Exception as error:
            group = next((g for g, base in _GROUPS.items() if issubclass(made, base)), "")
            refused.append((group, error))
            raise

    try:
        return parser.instantiate(config, instantiators=[(make, object, True)])
    except Exception as error:
        group, reason = refused[0] if refused else ("", error)
        raise UsageError(_too_large(config, reason) or _with_option(group, one_line(reason))) from error


def _with_option(group: str, message: str) -> str:
    """Return a constructor's message, naming the option if it starts with an argument, as `length (=0) must ...`."""
    name, value, _ = message.partition(" (=")
    return f"--{group}.{message}" if group and value and name.isidentifier() else message


def _check_training(made: Namespace, config: Namespace) -> None:
    """Raise `UsageError` unless an optimizer and a scheduler can be made for the network, and take a step."""
    _check_optimizer(config.optimizer)
    with explained("--optimizer: ", TypeError, RuntimeError):
        optimizer = made.optimizer(made.model.parameters())
    if config.trainer.precision == "16-true":
        with explained("--optimizer."):
            check_eps(optimizer, torch.float16)
    with explained("--scheduler: ", TypeError, RuntimeError):
        _try_out(optimizer, made.scheduler, config)


def _try_out(optimizer: torch.optim.Optimizer, scheduler: SchedulerFactory | None, config: Namespace) -> None:
    """Make a scheduler and let it go a step, in which some find that they cannot."""
    try:
        made = scheduler and scheduler(optimizer)
        _let_go_a_step(made)
    except (ArithmeticError, LookupError) as error:  # which names no setting
        reason = "it divides by zero" if isinstance(error, ZeroDivisionError) else one_line(error)
        name = config.scheduler.class_path.rpartition(".")[2]
        raise ValueError(f"{name} cannot take a step with these settings: {reason}.") from error
    if isinstance(made, ReduceLROnPlateau) and config.trainer.limit_val_batches == 0:
        raise ValueError("ReduceLROnPlateau needs validations; --trainer.limit_val_batches (=0) leaves them out.")
    steps = config.trainer.max_steps
    if (most := getattr(made, "total_steps", steps)) < steps:
        raise ValueError(
            f"a {type(made).__name__} of {most} steps ends before the training, after max_steps (={steps})."
        )


def _let_go_a_step(scheduler: Any) -> None:
    if isinstance(scheduler, LRScheduler) and not isinstance(scheduler, ReduceLROnPlateau):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimiser has not gone one
            scheduler.step()


def _too_large(config: Namespace, reason: Exception) -> str | None:
    """Return what to say of a network that does not fit into memory: its largest number is at fault."""
    signs = ("allocate memory", "overflow", "failed to unpack")
    if not isinstance(reason, MemoryError) and not any(sign in str(reason) for sign in signs):
        return None
    groups = {group: config[group].get("init_args", Namespace()).items() for group in ("model", "task")}
    sizes = {f"--{group}.{name}": n for group, items in groups.items() for name, n in items if type(n) is int}
    if not sizes:
        return None
    option = max(sizes, key=lambda name: sizes[name])
    return f"{option} (={sizes[option]}) asks for more memory than this machine has."


def _check_optimizer(chosen: Any) -> None:
    """Refuse what PyTorch refuses without the option's name or too late, and averages that grow without end."""
    if not (isinstance(chosen, Namespace) and chosen.class_path.startswith("torch.optim.")):
        return  # what means something else there
    if chosen.class_path.endswith(".SparseAdam"):
        raise UsageError("--optimizer SparseAdam is for sparse gradients; those of networks here are dense.")
    options = chosen.get("init_args", Namespace()).items()
    numbers = {name: value for name, value in options if type(value) in (int, float)}
    for name, value in numbers.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--optimizer.{name} (={value}) must be a number.")
    with explained("--optimizer."):
        at_least(0, **{name: numbers[name] for name in ("lr", "momentum", "eps", "weight_decay") if name in numbers})
        if chosen.class_path.endswith(".RMSprop") and "alpha" in numbers:
            between(0, 1, alpha=numbers["alpha"])


def _raised_eps(config: Namespace, said: Said) -> str | None:
    """Give the optimizer an `eps` that is not 0 in float16, if the user set none; return a warning about it."""
    options = config.optimizer.get("init_args", Namespace()) if isinstance(config.optimizer, Namespace) else Namespace()
    eps = options.get("eps")
    if config.trainer.precision != "16-true" or not isinstance(eps, float) or not underflows(eps):
        return None
    if "eps" in ((said.mapping.get("optimizer") or {}).get("init_args") or {}):
        return None
    options.eps = HALF_EPS
    return f"eps (={eps:g}), the default of the optimizer, is 0 in float16: eps (={HALF_EPS:g}) is used."


def _few_slots(parts: Namespace, config: Namespace, *, asked: bool) -> str | None:
    """Return a warning when too few slots may be lent in training; if nobody asked for so few, none are lent away."""
    least, task = config.min_memory_slots, parts.task
    if not asked and getattr(parts.model, "memory_slots", least) < least:
        least = config.min_memory_slots = 0  # all of them are fewer
    try:
        with explained("--"):
            check_slots(parts.model, least)
        few = _beyond_memory(parts.model, task, least) if least else None
    except UsageError as error:
        if asked:
            raise
        few = str(error).removeprefix("--")
    if few and not asked:
        config.min_memory_slots = 0
        return f"the recipe's min_memory_slots (={least}) is left out: {few}"
    return few


def _beyond_memory(model: Any, task: Task, least: int = 0) -> str | None:
    """Return a warning where the longest lists of training do not fit; an error names the option that says so."""
    try:
        return warn_beyond_memory(model, task, task.difficulty, least)
    except ValueError as error:
        name, _, reason = str(error).partition(" ")
        raise UsageError(f"--task.{name if hasattr(task, name) else f'max_{name}'} {reason}") from error


def _check_trainer(trainer: dict[str, Any], batches_per_epoch: int) -> None:
    """Check what Lightning would find wrong only after the run folder is made."""
    interval, epochs = trainer["val_check_interval"], trainer["check_val_every_n_epoch"]
    with explained("--trainer."):
        check_devices(trainer)
        for name, value in trainer.items():
            if type(value) is int:
                at_most(MOST_WHOLE, **{name: value})
            if isinstance(value, float) and math.isnan(value):
                raise ValueError(f"{name} (=nan) must be a number.")
            if name in _LEAST and type(value) in (int, float):
                at_least(_LEAST[name], **{name: value})
        for name in ("max_time", "val_check_interval"):
            time = trainer[name]
            try:
                Timer(None if isinstance(time, int | float) else time)
            except (MisconfigurationException, OverflowError, TypeError) as error:
                raise ValueError(f"{name} (={time}) must be a time DD:HH:MM:SS of at most 999999999 days.") from error
        if isinstance(interval, int) and interval < 1:
            raise ValueError(f"val_check_interval (={interval}) must be at least 1.")
        if isinstance(interval, int) and epochs is not None and interval > batches_per_epoch:
            raise ValueError(
                f"val_check_interval (={interval}) must be at most the {batches_per_epoch} batches of an epoch; "
                "to count batches across epochs, leave out --trainer.check_val_every_n_epoch."
            )
