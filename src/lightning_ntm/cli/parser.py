"""The parser of `ntm train`: its options are the arguments of constructors."""

import re
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import lightning as L
import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import register_type
from yaml.representer import RepresenterError

from lightning_ntm.cli.classes import arguments, class_path, short_names
from lightning_ntm.cli.help import class_help
from lightning_ntm.cli.hints import meant
from lightning_ntm.cli.named import check_named, forbid_imports
from lightning_ntm.cli.said import CLASSES, Said, read
from lightning_ntm.cli.words import Prints, UnknownOptionError, UsageError, explained, one_line
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.recipes import presets, resolve
from lightning_ntm.tasks.base import Task
from lightning_ntm.training.data import EpisodeData
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.settings import Settings

#: What the task tells the network.
LINKED = ("input_size", "output_size")


#: Devices and enumerations of texts, as among the arguments of callbacks, are written as texts.
register_type(torch.device, fail_already_registered=False)
yaml.add_multi_representer(str, lambda dumper, text: dumper.represent_str(str.__str__(text)), yaml.SafeDumper)

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


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
    said = read(argv)
    given = (said.mapping.get("model") or {}).get("init_args") or {}
    for name in given.keys() & {*LINKED}:
        raise UsageError(f"--model.{name} (={given[name]}) cannot be given: the task sets it.")
    configuration = resolve(said.mapping, whole=said.whole)
    asked = dict(said.printing)
    for option in asked.keys() - {"--help-all", "--print_config"}:
        print(_class_help(option, asked[option], configuration), end="")
        parser.exit()
    config = _checked(parser, configuration)
    for option in asked:
        _print_help(parser, config) if option == "--help-all" else print(saved(parser, config), end="")
        parser.exit()
    check_named(config, said.words)
    return parser, said, config


def _checked(parser: ArgumentParser, configuration: dict[str, Any]) -> Namespace:
    """Return the configuration, once the parser has checked it."""
    for group in CLASSES:
        spec = reduce(lambda options, name: options.get(name) or {}, group.split("."), configuration)
        if spec and "class_path" not in spec:
            raise UsageError(f"--{group} needs a class: {', '.join(short_names(group))}.")
        if spec.keys() == {"class_path"} and group in ("optimizer", "scheduler"):
            configuration[group] = spec["class_path"]  # may be a function, which is a name alone
    callbacks = configuration["trainer"].get("callbacks")
    if isinstance(callbacks, dict) or (str(callbacks)[:1].isalpha() and callbacks not in (None, "null")):
        configuration["trainer"]["callbacks"] = [callbacks]  # jsonargparse says what is wrong with one of a list
    model = configuration["model"]
    model["init_args"] = {**dict.fromkeys(LINKED, 1), **(model.get("init_args") or {})}  # sizes until there is a task
    try:
        return parser.parse_object(configuration)
    except ArgumentError as error:
        options = [f"--{name}" for name in (*parser.get_defaults().keys(), "config", "resume")]
        raise _explained(error, configuration, options) from error
    except Exception as error:  # a type of PyTorch's or a user's constructor raises anything for a wrong value
        raise UsageError(f"the options cannot be read: {one_line(error)}") from error
    finally:
        set_parsing_settings(unset_sentinel=False)  # else it cannot write `null` for a function


def _class_help(option: str, name: str, configuration: dict[str, Any]) -> str:
    """Return the options of a class, with the values of the configuration."""
    group = option[2:].removesuffix(".help")
    path = class_path(group, name) if name else (configuration.get(group) or {}).get("class_path")
    if not path:
        raise UsageError(f"{option} needs a value.")
    with explained():
        return class_help(group, path, configuration, LINKED if group == "model" else ())


def _print_help(parser: ArgumentParser, config: Namespace) -> None:
    """Print all options with the values of the configuration."""
    values = {name: config[name] for name in [*parser.get_defaults().keys()] if name in config}
    values = {name: value.as_dict() if isinstance(value, Namespace) else value for name, value in values.items()}
    parser.set_defaults(values)
    parser.add_argument("-c", "--config", help=f"A YAML file, or a preset: {', '.join(presets())}.")
    parser.add_argument("--resume", help="A run folder to resume; no other option is needed.")
    parser.print_help()


def saved(parser: ArgumentParser, config: Namespace) -> str:
    """Return the configuration as YAML."""
    lost: list[str] = []
    with explained("the options cannot be kept: ", yaml.YAMLError, TypeError):
        try:
            text: str = parser.dump(config, skip_unset=False, skip_validation=True)
            lost += _options(yaml.safe_load(text), lambda value: str(value).startswith(_UNWRITTEN))
            text.encode()
        except RepresenterError as error:
            unwritten = error.args[-1]
            lost += _options(config, lambda value: value is unwritten)
            if not lost:
                raise
    if lost:
        raise UsageError(f"{lost[0]} cannot be kept in config.yaml: it is neither a number nor a text.")
    return text


#: What jsonargparse writes for an object that it cannot write.
_UNWRITTEN = "Unable to serialize instance "


def _options(configuration: Any, found: Callable[[Any], bool], option: str = "--") -> Iterator[str]:
    """Yield the options of a configuration whose value is found."""
    if isinstance(configuration, dict | Namespace):
        inside = configuration if isinstance(configuration, dict) else vars(configuration)
        for name, value in inside.items():
            inner = option if name == "init_args" else f"{option}{name}" if option == "--" else f"{option}.{name}"
            yield from _options(value, found, inner)
    elif isinstance(configuration, list):
        for value in configuration:
            yield from _options(value, found, option)
    elif found(configuration):
        yield option


def arguments_for(made: type, config: Namespace) -> dict[str, Any]:
    """Return the values of the options that are arguments of a class."""
    return {name: config[name] for name in arguments(made) if name in config}


def _parser() -> ArgumentParser:
    forbid_imports()
    set_parsing_settings(unset_sentinel=True)  # check that an option takes `null`
    parser = _Parser(
        prog="ntm train",
        usage="ntm train [--task TASK] [--model MODEL] [OPTIONS]",
        description="Train a network on a task into a run folder. --seeds 1-10 trains ten runs, as ntm sweep.",
        allow_abbrev=False,
        exit_on_error=False,
    )
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


def _explained(error: BaseException | None, configuration: dict[str, Any], options: list[str]) -> UsageError:
    """Return what jsonargparse refuses in one line: the option, its value and what is allowed.

    jsonargparse raises the error of an option from that of the class which it names, and so on inwards.
    """
    causes: list[str] = []
    while error:
        causes.append(" ".join(str(error).split()))
        error = error.__cause__
    of_keys = [cause for cause in causes if cause.startswith('Parser key "')]
    keys = dict.fromkeys(cause.split('"')[1] for cause in of_keys)
    option = "--" + ".".join(keys)
    what, got, value = causes[-1].partition(". Got value:")
    if unknown := re.fullmatch("(?:Group '(.*)' does not accept o|O)ption '(.*?)'(?: is not accepted)?", what):
        specs = {f"--{group}": configuration[group] for group in ("model", "task", "optimizer")}
        classes = {place: spec if isinstance(spec, str) else spec["class_path"] for place, spec in specs.items()}
        inner = re.findall(r"class_path[ =]'([\w.]+)'", " ".join(causes))
        classes |= {option: inner[-1]} if inner else {}
        known = [*options, *(f"{place}.{name}" for place, made in classes.items() for name in arguments(made))]
        name = "--" + ".".join(filter(None, [*keys, *unknown.groups()]))
        return UnknownOptionError(name, meant(name, known))
    if required := re.fullmatch("the following arguments are required: (.*)", what):
        names = [f"{option}.{name}" for name in required[1].split(", ")]
        return UsageError(f"{' and '.join(names)} need{'s' * (len(names) == 1)} a value.")
    if denied := re.match("Importing '(.*?)'", what):
        return UsageError(f"{option} (={denied[1]}) is Python's own: no option may name it.")
    if value == " None":
        return UsageError(f"{option} needs a value.")
    if of_keys and what.startswith("Expected a") and (allowed := _allowed(of_keys[-1])):
        wrong = value.strip() if got else what.rpartition(": ")[2]
        return UsageError(f"{option} (={wrong}) must be {' or '.join(allowed)}.")
    return UsageError(what if option == "--" else f"{option}: {what}")


def _allowed(message: str) -> list[str]:
    """Return the types that jsonargparse expects, in words."""
    types = re.split(r" Errors: |\. Got value:", message)[0]
    found = re.findall(r"<class '(?:\w+\.)*(\w+)'>|Literal\[(.*?)\]", types)
    kinds = [f"one of {values}" if "," in values else values or _KINDS.get(kind, f"a {kind}") for kind, values in found]
    return [kind for kind in dict.fromkeys(kinds) if kind not in ("a NoneType", "a Tensor", "a list", "a Iterable")]
