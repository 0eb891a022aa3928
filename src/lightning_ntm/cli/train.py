"""`ntm train`: the options are the arguments of the constructors; nothing is declared twice."""

import inspect
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_type_hints

import lightning as L
import torch
import yaml
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import Precision
from lightning.pytorch.utilities import rank_zero_only
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_ntm.checks import at_least, between
from lightning_ntm.cli import words
from lightning_ntm.cli.named import check_named, forbid_imports
from lightning_ntm.cli.terminal import say, warn
from lightning_ntm.cli.words import EndedError, UsageError, explained
from lightning_ntm.evaluation.build import class_of, warn_beyond_memory
from lightning_ntm.kernels.cpu.library import missing as kernel_missing
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.records import RunFolder
from lightning_ntm.records.files import CONFIG_BYTES, read_text
from lightning_ntm.records.parsing import parse_yaml
from lightning_ntm.tasks.base import Task
from lightning_ntm.training.data import EpisodeData
from lightning_ntm.training.learner import OptimizerFactory, SchedulerFactory, SequenceLearner
from lightning_ntm.training.precision import HALF_EPS, check_eps, underflows
from lightning_ntm.training.processes import check_devices, plugins_of
from lightning_ntm.training.run import Run, default_name, folder_of, quiet_lightning
from lightning_ntm.training.safety import DivergenceError, InterruptionError, LostFolderError
from lightning_ntm.training.slots import check_slots
from lightning_ntm.training.states import training_state

#: What is on the left in the default recipe gives way to a choice of the user's on the right.
_REPLACED = {
    "model": {"model"},
    "min_memory_slots": {"model"},
    "weight_noise": {"model"},
    "task": {"task"},
    "optimizer": {"optimizer"},
    "scheduler": {"scheduler"},
    "trainer.max_steps": {"trainer.max_epochs", "trainer.max_time"},
    "trainer.val_check_interval": {"trainer.check_val_every_n_epoch"},
}

#: What the task tells the network.
_LINKED = ("input_size", "output_size")


def train(argv: list[str]) -> int:
    """Train one network on one task."""
    resumed, argv = _resumed(words.canonical(argv))
    parser, config = _parsed(argv)
    run = _prepared(parser, config, resumed, argv)
    try:
        result = run.fit()
    except InterruptionError as end:
        say(f"\n{end} at step {run.trainer.global_step}; {_how_to_go_on(run)}")
        return 128 + end.signal
    except SystemExit:  # how Lightning ends a training that was not told twice, or has several processes
        say(f"\ninterrupted at step {run.trainer.global_step}; {_how_to_go_on(run)}")
        return 130
    except DivergenceError as error:
        where = f" It is kept for lightning_ntm.training.replay({str(run.folder.path)!r})." if run.keeps else ""
        raise UsageError(f"{error}.{where} --on_nonfinite skip leaves such steps out.") from error
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


def check(argv: list[str]) -> None:
    """Raise `UsageError` unless all that such words ask for can be made."""
    argv = words.canonical(argv)
    parser, config = _parsed(argv)
    _check_simple(config)
    parts = _parts(parser, config, argv)
    _learner(parts, config)
    trainer = dict(parts.trainer.__dict__)
    _check_trainer(trainer, _data(parts, config).batches_per_epoch)
    quiet_lightning()
    with explained("", TypeError), _lightning():
        L.Trainer(**{**trainer, "logger": False, "plugins": plugins_of(trainer, alone=True)})


@contextmanager
def _lightning() -> Iterator[None]:
    """Say of what Lightning refuses that it is among its options, whose names it seldom gives."""
    try:
        yield
    except (MisconfigurationException, ModuleNotFoundError) as error:
        raise UsageError(f"--trainer: {words.one_line(error)}") from error


def _parsed(argv: list[str]) -> tuple[ArgumentParser, Namespace]:
    parser = _parser(argv)
    try:
        config = parser.parse_args(argv)
    except ArgumentError as error:
        lacking = words.lacking(str(error), argv)
        raise UsageError(lacking or words.shortened(str(error), parser._option_string_actions)) from error
    except Exception as error:  # as a type of PyTorch's, or a constructor, that rubbish was tried on, raises
        raise UsageError(f"the options cannot be read: {words.one_line(error)}") from error
    check_named(config, argv)
    return parser, config


def _how_to_go_on(run: Run) -> str:
    how = words.command("ntm", "train", "--resume", run.folder.path)
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


def _prepared(parser: ArgumentParser, config: Namespace, resumed: RunFolder | None, argv: list[str]) -> Run:
    _check_simple(config)
    torch.set_num_threads(config.threads)
    with explained("--seed: "):
        L.seed_everything(config.seed, workers=True, verbose=False)
    parts = _parts(parser, config, argv)
    if resumed:
        _check_begun(yaml.safe_load(_saved(parser, config)), parts.model, resumed, argv)
    with explained():
        folder = resumed or folder_of(config.runs, config.name or default_name(parts.model, parts.task, config.seed))
    data, learner, trainer = _data(parts, config), _learner(parts, config), dict(parts.trainer.__dict__)
    _check_trainer(trainer, data.batches_per_epoch)
    with explained("", TypeError), _lightning():
        return Run(
            learner,
            data,
            trainer,
            folder,
            _saved(parser, config),
            resume=resumed is not None,
            stop_when_solved=config.stop_when_solved,
        )


def _check_begun(now: dict[str, Any], model: MemoryModel[Any], resumed: RunFolder, argv: list[str]) -> None:
    """Raise `UsageError` for a change of what a run that is resumed has behind it, or takes from its state."""
    began = _loaded(str(resumed.config))
    _check_same(argv, "", now, began, ("name", "runs"))
    if not resumed.last.exists():
        return  # nothing is behind it
    _check_spec(argv, "task", now["task"], began.get("task"))  # first: it tells the network its sizes
    with explained():
        began = _yaml(training_state(model, resumed.last).get("config") or "") or began
    _check_same(argv, "", now, began, ("seed",))
    for group in ("task", "optimizer", "scheduler"):
        _check_spec(argv, group, now[group], began.get(group))
    _check_same(argv, "model.", _options(now["model"]), _options(began.get("model")), model.initial)
    for group in ("callbacks", "plugins"):
        parts, before = (_specs((config.get("trainer") or {}).get(group)) for config in (now, began))
        for part in filter(_restores, parts):
            if same := next((other for other in before if _made(other) is _made(part)), None):
                before.remove(same)
                _check_spec(argv, f"trainer.{group}", part, same)


def _check_spec(argv: list[str], group: str, now: Any, before: Any) -> None:
    made, other = _made(now), _made(before)
    if made != other:
        _refuse_change(argv, f"--{group}", *(getattr(one, "__name__", one) for one in (made, other)))
    _check_same(argv, f"{group}.", _options(now), _options(before), tuple(_options(now)))


def _check_same(
    argv: list[str], group: str, now: dict[str, Any], before: dict[str, Any], names: tuple[str, ...]
) -> None:
    """Refuse other values of these options; what older runs do not have had its default."""
    for name in names:
        if name in now and before.get(name, now[name]) != now[name]:
            _refuse_change(argv, f"--{group}{name}", now[name], before[name])


def _specs(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list) else [given] if given else []


def _made(spec: Any) -> Any:
    """Return the class or function that is named, or its name where it is not there any more."""
    path = spec.get("class_path") if isinstance(spec, dict) else spec
    with suppress(ValueError):
        return class_of(path)
    return path


def _options(spec: Any) -> dict[str, Any]:
    return {**(spec.get("dict_kwargs") or {}), **(spec.get("init_args") or {})} if isinstance(spec, dict) else {}


def _restores(spec: Any) -> bool:
    """Whether a part of the Trainer takes anything from a training state, which may be its settings."""
    made = _made(spec)
    ways = [getattr(made, name, None) for name in ("load_state_dict", "on_load_checkpoint")]
    idle = [
        getattr(base, name, None)
        for base in (Callback, Precision)
        for name in ("load_state_dict", "on_load_checkpoint")
    ]
    return any(way is not None and way not in idle for way in ways)


def _refuse_change(argv: list[str], option: str, now: Any, before: Any) -> NoReturn:
    source = "" if _said(argv, option) is not None else "--config: "
    raise UsageError(f"{source}{option} (={now}) cannot be changed when a run is resumed: it began with {before}.")


def _check_simple(config: Namespace) -> None:
    for name in (
        "runs",
        "seed",
        "threads",
        "stop_when_solved",
        "decay_after",
        "loss",
        "on_nonfinite",
        "min_memory_slots",
        "weight_noise",
    ):
        if config[name] is None:
            raise UsageError(f"--{name} needs a value.")
    with explained("--"):
        at_least(0, seed=config.seed, stop_when_solved=config.stop_when_solved)
        at_least(1, threads=config.threads)


def _data(parts: Namespace, config: Namespace) -> EpisodeData:
    with explained("--data."):
        data = EpisodeData(parts.task, seed=config.seed, **parts.data.as_dict())
    if parts.task.stored("validation") is None:
        config.data.validation_sequences = data.validation_sequences
    return data


def _learner(parts: Namespace, config: Namespace) -> SequenceLearner:
    with explained("--"):
        return SequenceLearner(
            parts.model,
            parts.optimizer,
            parts.scheduler,
            decay_after=config.decay_after,
            loss=config.loss,
            on_nonfinite=config.on_nonfinite,
            min_memory_slots=config.min_memory_slots,
            weight_noise=config.weight_noise,
        )


def _parts(parser: ArgumentParser, config: Namespace, argv: list[str]) -> Namespace:
    """Return network, task and the rest as objects, once all of them can be made."""
    raised = _raised_eps(config, argv)
    try:
        for group in ("model", "task"):
            with suppress(ValueError):  # a class within another is found by jsonargparse
                made = class_of(config[group].class_path)
                _refuse_null(group, made, config[group].get("init_args", Namespace()))
        _refuse_null("data", EpisodeData, config.data)
        _refuse_null("trainer", L.Trainer, config.trainer)
        parts = parser.instantiate(config)
    except ValueError as error:
        told = str(error)
        raise UsageError(_too_large(config, told) or words.invalid_value(told)) from error
    except (ImportError, TypeError) as error:
        raise UsageError(words.one_line(error)) from error
    with explained("--task."):
        for name, value in parts.task.resolved().items():
            config.task.init_args[name] = value
    full = _beyond_memory(parts.model, parts.task)
    few = _few_slots(parts, config, asked=_asks_for_slots(argv))
    _check_optimizer(config.optimizer)
    with explained("--optimizer: ", TypeError, RuntimeError):
        optimizer = parts.optimizer(parts.model.parameters())
    if config.trainer.precision == "16-true":
        with explained("--optimizer."):
            check_eps(optimizer, torch.float16)
    with explained("--scheduler: ", TypeError, RuntimeError, ArithmeticError, LookupError):
        _try_out(optimizer, parts.scheduler, config.trainer.max_steps)
    slow = kernel_missing() if parts.model.kernels and parts.model.backend == "auto" else None
    for warning in (full, few, slow, raised):
        if warning:
            warn(warning)
    return parts


def _try_out(optimizer: torch.optim.Optimizer, scheduler: SchedulerFactory | None, steps: int) -> None:
    """Make a scheduler and let it go a step, in which some find that they cannot."""
    made = scheduler and scheduler(optimizer)
    if (most := getattr(made, "total_steps", steps)) < steps:
        raise ValueError(
            f"a {type(made).__name__} of {most} steps ends before the training, after max_steps (={steps})."
        )
    if isinstance(made, LRScheduler) and not isinstance(made, ReduceLROnPlateau):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimiser has not gone one
            made.step()


def _too_large(config: Namespace, told: str) -> str | None:
    """Return what to say of a network that does not fit into memory: the largest number is at fault."""
    if not any(sign in told for sign in ("allocate memory", "overflow", "failed to unpack")):
        return None
    groups = {group: config[group].get("init_args", Namespace()).items() for group in ("model", "task")}
    sizes = {f"--{group}.{name}": n for group, items in groups.items() for name, n in items if type(n) is int}
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
    with explained("--optimizer."):
        at_least(0, **{name: numbers[name] for name in ("lr", "momentum", "eps", "weight_decay") if name in numbers})
        if chosen.class_path.endswith(".RMSprop") and "alpha" in numbers:
            between(0, 1, alpha=numbers["alpha"])


def _raised_eps(config: Namespace, argv: list[str]) -> str | None:
    """Give the optimiser an `eps` that float16 has, if the user set none; return the warning that says so."""
    chosen = config.optimizer
    options = chosen.get("init_args", Namespace()) if isinstance(chosen, Namespace) else Namespace()
    eps = options.get("eps")
    if config.trainer.precision != "16-true" or not isinstance(eps, float) or not underflows(eps):
        return None
    if _asks_for_eps(argv):
        return None
    options.eps = HALF_EPS
    return f"eps (={eps:g}), the default of the optimizer, is 0 in float16: eps (={HALF_EPS:g}) is used."


def _asks_for_eps(argv: list[str]) -> bool:
    """Whether the optimiser's `eps` is the user's choice: in the words, or in a configuration."""
    files = [value for option, value in _pairs(argv) if option in ("--config", "-c")]
    chosen = [_loaded(file).get("optimizer") for file in files]
    options = [optimizer.get("init_args") or {} for optimizer in chosen if isinstance(optimizer, dict)]
    said = _said(argv, "--optimizer.eps", "--optimizer.init_args.eps")
    return said is not None or any("eps" in each for each in options)


def _refuse_null(group: str, made: Any, values: Namespace) -> None:
    """Raise `UsageError` for a `null` where the constructor wants something, which jsonargparse lets through."""
    kinds: dict[str, Any] = {}
    with suppress(NameError, AttributeError, TypeError):  # what only a type checker can read
        kinds = get_type_hints(getattr(made, "__init__", made))
    defaults = inspect.signature(made).parameters
    for name, value in values.items():
        if value is not None or name in _LINKED or name not in defaults or defaults[name].default is None:
            continue
        kind = kinds.get(name, Any)
        if kind is not Any and None not in get_args(kind) and type(None) not in get_args(kind):
            raise UsageError(f"--{group}.{name} needs a value.")


def _asks_for_slots(argv: list[str]) -> bool:
    """Whether the least memory is the user's choice: in the words, or in a configuration of theirs."""
    files = [value for option, value in _pairs(argv) if option in ("--config", "-c")]
    theirs = [file for file in files if Path(file) not in words.presets().values()]
    return _said(argv, "--min_memory_slots") is not None or any("min_memory_slots" in _loaded(file) for file in theirs)


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
        for name in ("max_steps", "max_epochs"):
            if (most := trainer[name]) is not None:
                at_least(-1, **{name: most})
        if (clip := trainer["gradient_clip_val"]) is not None and clip < 0:
            raise ValueError(f"gradient_clip_val (={clip:g}) must be at least 0.")
        if not isinstance(interval, int):
            return
        at_least(1, val_check_interval=interval)
        if epochs is not None and interval > batches_per_epoch:
            raise ValueError(
                f"val_check_interval (={interval}) must be at most the {batches_per_epoch} batches of an epoch; "
                "to count batches across epochs, leave out --trainer.check_val_every_n_epoch."
            )


def _parser(argv: list[str]) -> ArgumentParser:
    forbid_imports()
    parser = ArgumentParser(
        prog="ntm train",
        description="Train one network on one task into a run folder.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    add = parser.add_argument
    add("-c", "--config", action=ActionConfigFile, help=f"A YAML file, or a preset: {', '.join(words.presets())}.")
    add("--name", type=str | None, default=None, help="Name of the run folder; by default network-task-seedN.")
    add("--runs", type=str, default="runs", help="The folder that holds run folders.")
    add("--resume", type=str | None, default=None, help="A run folder to go on with; no other option is needed.")
    add("--seed", type=int, default=1, help="Of the initial weights and of the episodes, at least 0.")
    add(
        "--threads",
        type=int,
        default=1,
        help="Of PyTorch on a CPU. Another number rounds differently, so trains another run.",
    )
    add("--stop_when_solved", type=int, default=0, help="End after N validations in a row without a wrong bit.")
    known = ", ".join(path.rpartition(".")[2] for path in words.short_names("task").values())
    parser.add_subclass_arguments(MemoryModel, "model", required=True, help="NTM, LSTM, or an import path.")
    parser.add_subclass_arguments(Task, "task", required=True, help=f"{known}, or an import path.")
    add("--optimizer", type=OptimizerFactory, help="Any optimiser of torch.optim, or an import path.")
    add("--scheduler", type=SchedulerFactory | None, default=None, help="Any of torch.optim.lr_scheduler, each step.")
    add(
        "--decay_after",
        type=float,
        default=0.5,
        help="Without a scheduler, the share of all steps after which the learning rate falls linearly to zero.",
    )
    add(
        "--loss",
        type=Literal["mean", "sum"],
        default="mean",
        help="mean over the bits of all answers, or sum over each answer.",
    )
    add(
        "--on_nonfinite",
        type=Literal["stop", "skip"],
        default="stop",
        help="At a loss or gradient that is not finite: stop, or skip that step.",
    )
    add(
        "--min_memory_slots",
        type=int,
        default=0,
        help="Train each batch with a number of memory slots drawn from this to all; 0 always with all.",
    )
    add(
        "--weight_noise",
        type=float,
        default=0.0,
        help="Standard deviation of noise on the weights, 0 to 1, drawn anew for each batch of training; 0 puts none.",
    )
    parser.add_class_arguments(EpisodeData, "data", skip={"task", "seed"}, instantiate=False)
    parser.add_class_arguments(L.Trainer, "trainer", instantiate=False)
    for size in _LINKED:
        parser.link_arguments(f"task.{size}", f"model.init_args.{size}", apply_on="instantiate")
    parser.set_defaults(_defaults(argv))
    return parser


def _defaults(argv: list[str]) -> dict[str, Any]:
    """Return the default recipe without what the user replaced by a choice of their own."""
    chosen, recipe = _chosen(argv), _recipe(argv)
    if _ours(_said(argv, "--model")) == _ours(recipe["model"]["class_path"]):
        chosen.discard("model")  # named, but not replaced: the recipe has arguments for it
    return {key: value for key, value in recipe.items() if not chosen & _REPLACED.get(key, set())}


def _recipe(argv: list[str]) -> dict[str, Any]:
    """Return our own recipe for the task; for one of the user's, and under a configuration of theirs, the default."""
    recipes = words.presets()
    flat = _flat(yaml.safe_load(recipes["default"].read_text(encoding="utf-8")))
    if _said(argv, "--config", "-c") is None:
        task = _ours(_said(argv, "--task") or flat["task"]["class_path"])
        for name in recipes:
            if name.replace("-", "") == task:
                flat |= _flat(yaml.safe_load(recipes[name].read_text(encoding="utf-8")))
    return flat


def _ours(path: str | None) -> str | None:
    """Return the name of a class of this package, in lower case, whichever way it is imported."""
    package, _, name = (path or "").rpartition(".")
    return name.casefold() if package.partition(".")[0] == "lightning_ntm" else None


def _said(argv: list[str], *options: str) -> str | None:
    """Return what the words say last of an option."""
    return next((value for option, value in reversed(_pairs(argv)) if option in options), None)


def _pairs(argv: list[str]) -> list[tuple[str, str]]:
    """Return each word with what is said of it: after its equals sign, or in the next word."""
    parts = [word.partition("=") for word in argv]
    return [
        (word, said if equals else after) for (word, equals, said), after in zip(parts, [*argv[1:], ""], strict=True)
    ]


def _chosen(argv: list[str]) -> set[str]:
    """Return the names of all options that the user set, by words or in configurations."""
    chosen: set[str] = set()
    for option, value in _pairs(argv):
        if option in ("--config", "-c"):
            chosen |= {key for key, said in _flat(_loaded(value)).items() if said is not None}
        elif option in ("--data", "--trainer"):  # all at once, as JSON
            chosen |= _flat({option[2:]: _yaml(value)}).keys()
        elif option.startswith("--"):
            chosen.add(option[2:])
    return chosen


def _yaml(text: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError:
        return None  # jsonargparse says what is wrong with it


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Return options by dotted name; a class with its arguments is one option."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in ("trainer", "data") and isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def _loaded(path: str) -> dict[str, Any]:
    try:
        config = parse_yaml(read_text(Path(path), CONFIG_BYTES))
    except (OSError, ValueError) as error:
        raise UsageError(f"--config {path}: not readable as YAML ({words.one_line(error)}).") from error
    if not isinstance(config, dict):
        raise UsageError(f"--config {path}: not a configuration, but {type(config).__name__}.")
    for key in ("data", "trainer"):
        if not isinstance(config.get(key, {}), dict):
            raise UsageError(f"--config {path}: {key} must hold options by name, not {config[key]!r}.")
    for key in ("model", "task", "optimizer"):
        if not isinstance(config.get(key, ""), (dict, str)):
            raise UsageError(f"--config {path}: {key} must be a class, not {config[key]!r}.")
    for key in ("model", "task", "optimizer", "scheduler"):
        said = config.get(key)
        if isinstance(said, dict) and said and not {"class_path", "init_args"} & said.keys():
            options = ", ".join(map(str, said))
            raise UsageError(f"--config {path}: {key} must have a class_path, and {options} in init_args.")
    return config


def _resumed(argv: list[str]) -> tuple[RunFolder | None, list[str]]:
    """Return the run folder to go on with, and the arguments with its configuration first."""
    for i, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if option == "--resume":
            value = value if equals else (argv[i + 1 : i + 2] or [""])[0]
            if not value or value.startswith("--"):
                raise UsageError("--resume needs a value.")
            rest = argv[:i] + argv[i + (1 if equals else 2) :]
            for other in rest:
                if other.partition("=")[0] in ("--name", "--runs"):
                    raise UsageError(f"{other.partition('=')[0]} cannot be changed when a run is resumed.")
            folder = RunFolder(Path(value))
            with explained("--resume: "):
                folder.require()
            return folder, ["--config", str(folder.config), *rest]
    return None, argv


def _saved(parser: ArgumentParser, config: Namespace) -> str:
    kept = config.clone()
    for key in ("config", "resume"):
        kept.pop(key, None)
    with explained("the options cannot be kept: ", yaml.YAMLError, TypeError):
        text: str = parser.dump(kept, skip_unset=False, skip_validation=True)
        yaml.safe_load(text)
        text.encode()
    if lost := re.search(r"^ *(\w+): (Unable to serialize instance .*)", text, re.MULTILINE):
        raise UsageError(f"{lost[1]} cannot be kept in config.yaml: {lost[2].lower()}.")
    return text


@rank_zero_only
def _report(run: Run, result: dict[str, Any]) -> None:
    if not run.keeps:
        say(f"{result['step']} steps; nothing was kept.")
        return
    if not run.folder.best.exists():
        say(f"{result['step']} steps in {result['seconds']:.0f} s; no weights were kept.")
        return
    best = result["best"]
    judge, *others = run.data.task.answer.measures.each
    measured = judge.phrase(best[judge.name]) if best else ""
    for other in others:
        if other.above == judge.name and other.name in best:
            measured += f", {other.phrase(best[other.name])},"
    kept = f"step {best['step']} with {measured} in validation" if best else "the last weights, without a validation"
    path = run.folder.path
    say(f"{result['step']} steps in {result['seconds']:.0f} s; kept: {kept}.")
    say(f"{path}: {words.command('ntm', 'evaluate', path)}, {words.command('ntm', 'figure', path)}")
