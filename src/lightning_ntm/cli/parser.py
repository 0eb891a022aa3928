"""The parser of `ntm train`: its options are the arguments of constructors."""

import re
from dataclasses import dataclass
from typing import Any, NoReturn

import lightning as L
import yaml
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from lightning_ntm.checks import at_least, between
from lightning_ntm.cli.classes import arguments, class_path, short_names
from lightning_ntm.cli.help import class_help
from lightning_ntm.cli.named import check_named, forbid_imports
from lightning_ntm.cli.said import CLASSES, Said, read
from lightning_ntm.cli.words import Prints, UsageError, explained, near, one_line
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.recipes import presets, resolve
from lightning_ntm.records.parsing import parse_yaml
from lightning_ntm.tasks.base import Task
from lightning_ntm.training.data import EpisodeData
from lightning_ntm.training.learner import SequenceLearner

#: Some libraries of threads end the process where they cannot start as many as they are asked for.
MOST_THREADS = 1024
#: What the task tells the network.
LINKED = ("input_size", "output_size")


@dataclass(frozen=True)
class Settings:
    """Settings of a run besides its parts.

    Args:
        name: Name of the run folder; by default network-task-seedN.
        runs: The folder that holds run folders.
        seed: Seed of the initial weights and of the episodes, at least 0.
        threads: PyTorch CPU threads, from 1 to 1024; changing this changes rounding, hence results.
        stop_when_solved: End after this many validations in a row without an error; 0 never.
        keep_weights_every: Keep the weights of every so many steps, for ntm explore and ntm figure --over training;
            0 keeps none.

    Raises:
        ValueError: An argument is out of its range.
    """

    name: str | None = None
    runs: str = "runs"
    seed: int = 1
    threads: int = 1
    stop_when_solved: int = 0
    keep_weights_every: int = 0

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed, stop_when_solved=self.stop_when_solved, keep_weights_every=self.keep_weights_every)
        between(1, MOST_THREADS, threads=self.threads)


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
#: Whose arguments are options, by the prefix of these.
SOURCES: dict[str, tuple[type, ...]] = {
    "": (Settings, SequenceLearner),
    "data": (EpisodeData,),
    "trainer": (L.Trainer,),
}


class _Parser(Prints, ArgumentParser):
    """The parser of jsonargparse."""


def parsed(argv: list[str]) -> tuple[ArgumentParser, Said, Namespace]:
    """Return the parser, what a command line says, and the configuration that follows.

    Raises:
        UsageError: Something cannot be read, or is none of the options or values allowed.
        SystemExit: A help text or the configuration was asked for, and is printed.
    """
    with explained():  # jsonargparse reads environment variables of its own
        parser = _parser()
    said = read(argv, [*parser.get_defaults().keys(), "data", "trainer", "print_config", "help-all"])
    given = (said.mapping.get("model") or {}).get("init_args") or {}
    for name in given.keys() & {*LINKED}:
        raise UsageError(f"--model.{name} (={given[name]}) cannot be given: the task sets it.")
    configuration = resolve(said.named("task"), said.named("model"), said.mapping, whole=said.whole)
    for group in ("optimizer", "scheduler"):
        if (configuration.get(group) or {}).keys() == {"class_path"}:  # may be a function, which is a name alone
            configuration[group] = configuration[group]["class_path"]
    if curriculum := (configuration.get("data") or {}).get("curriculum"):
        configuration["data"]["curriculum"] = _of_curriculum(curriculum)
    callbacks = configuration["trainer"].get("callbacks")
    if isinstance(callbacks, dict) or (isinstance(callbacks, str) and callbacks[:1].isalpha() and callbacks != "null"):
        configuration["trainer"]["callbacks"] = [callbacks]  # jsonargparse says what is wrong with one of a list
    try:
        for word in said.printing:
            if not word.startswith("--print_config"):
                _print_help(parser, word, configuration)
        config = parser.parse_object(configuration)
        parser.parse_args(said.printing, namespace=config)
    except UsageError:
        raise
    except ArgumentError as error:
        raise UsageError(_explained(error, configuration)) from error
    except Exception as error:  # a type of PyTorch's or a user's constructor raises anything for a wrong value
        raise UsageError(f"the options cannot be read: {one_line(error)}") from error
    check_named(config, said.words)
    return parser, said, config


def _of_curriculum(said: Any) -> Any:
    """Return what is said of a curriculum with its class written out; anything else is for jsonargparse to refuse."""
    if isinstance(said, str) and said.startswith("{"):
        with explained("--data.curriculum: "):
            said = parse_yaml(said)
    if isinstance(said, dict):
        if not isinstance(path := said.get("class_path"), str):
            raise UsageError(f"--data.curriculum needs a class: {', '.join(short_names('data.curriculum'))}.")
        return {**said, "class_path": class_path("data.curriculum", path)}
    return class_path("data.curriculum", said) if isinstance(said, str) and said != "null" else said


def _print_help(parser: ArgumentParser, word: str, configuration: dict[str, Any]) -> NoReturn:
    """Print all options, or those of a class, with the values of the configuration."""
    option, _, name = word.partition("=")
    group = option[2:].removesuffix(".help")
    if group in CLASSES:
        spec = configuration.get(group)
        path = name or (spec.get("class_path") if isinstance(spec, dict) else spec)
        if not path:
            raise UsageError(f"{option} needs a value.")
        print(class_help(group, path, configuration, LINKED if group == "model" else ()), end="")
        parser.exit()
    config = parser.parse_object(configuration)
    names = [*parser.get_defaults().keys()]
    values = {name: config[name] for name in names if name in config and name != "config"}
    values = {name: value.as_dict() if isinstance(value, Namespace) else value for name, value in values.items()}
    parser.set_defaults(values)
    parser.parse_args([word.replace("--help-all", "--help")])
    raise AssertionError(word)


def saved(parser: ArgumentParser, config: Namespace) -> str:
    """Return the configuration as YAML."""
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


def arguments_for(made: type, config: Namespace) -> dict[str, Any]:
    """Return the values of the options that are arguments of a class."""
    return {name: config[name] for name in arguments(made) if name in config}


def _parser() -> ArgumentParser:
    forbid_imports()
    parser = _Parser(
        prog="ntm train",
        usage="ntm train [--task TASK] [--model MODEL] [OPTIONS]",
        description="Train a network on a task into a run folder. --seeds 1-10 trains ten runs, as ntm sweep.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    configs = f"A YAML file, or a preset: {', '.join(presets())}."
    parser.add_argument("-c", "--config", action=ActionConfigFile, help=configs)
    parser.add_argument("--resume", type=str | None, help="A run folder to resume; no other option is needed.")
    parser.add_class_arguments(Settings)
    for base, group in ((MemoryModel, "model"), (Task, "task")):
        known = ", ".join(short_names(group))
        # Not `add_subclass_arguments`, with which jsonargparse opens any file that an argument of the class names.
        parser.add_argument(f"--{group}", type=base, required=True, help=f"{known}, or an import path.")
    parser.add_class_arguments(SequenceLearner, skip={"model", "answer"}, instantiate=False)
    parser.add_class_arguments(EpisodeData, "data", skip={"task", "seed"}, instantiate=False)
    parser.add_class_arguments(L.Trainer, "trainer", instantiate=False)
    titles = {"Settings": "run", "SequenceLearner": "optimization", "trainer": "Trainer of Lightning"}
    for name, options in (parser.groups or {}).items():
        options.title = titles.get(name, name)
    for size in LINKED:
        parser.link_arguments(f"task.{size}", f"model.init_args.{size}", apply_on="instantiate")
    return parser


def _explained(error: BaseException | None, configuration: dict[str, Any]) -> str:
    """Return one line on what jsonargparse refuses: the option, its value and what is allowed.

    jsonargparse raises the error of an option from that of the class which it names, and so on inwards.
    """
    causes: list[str] = []
    while error:
        causes.append(" ".join(str(error).split()))
        error = error.__cause__
    of_keys = [cause for cause in causes if cause.startswith('Parser key "')]
    option = ".".join(dict.fromkeys(cause.split('"')[1] for cause in of_keys))
    what, _, value = causes[-1].partition(". Got value:")
    if "not accept" in what:
        group = configuration.get(option.partition(".")[0])
        paths = [cause.split("'")[1] for cause in causes if cause.startswith("Problem with given class_path")]
        made = paths[-1] if paths else group.get("class_path") if isinstance(group, dict) else None
        name = what.split("'")[-2]
        return f"unknown option --{option}.{name}{near(name, arguments(made))}"
    if what.startswith("the following arguments are required: "):
        return f"--{option}.{what.rpartition(': ')[2]} needs a value."
    if what.startswith("Importing '"):
        quoted = what.split("'")[1]
        return f"--{option} (={quoted}) is Python's own: no option may name it."
    if value == " None":
        return f"--{option} needs a value."
    allowed = _allowed(of_keys[-1]) if of_keys and what.startswith("Expected a") else []
    given = value.strip() if ". Got value:" in causes[-1] else what.rpartition(": ")[2]
    return (
        f"--{option} (={given}) must be {' or '.join(allowed)}."
        if allowed
        else f"--{option}: {what}".removeprefix("--: ")
    )


def _allowed(message: str) -> list[str]:
    """Return the types that jsonargparse expects, in words."""
    types = re.split(r" Errors: |\. Got value:", message)[0]
    found = re.findall(r"<class '(?:\w+\.)*(\w+)'>|Literal\[(.*?)\]", types)
    kinds = [f"one of {values}" if values else _KINDS.get(kind, f"a {kind}") for kind, values in found]
    return [kind for kind in dict.fromkeys(kinds) if kind not in ("a NoneType", "a Tensor", "a list", "a Iterable")]
