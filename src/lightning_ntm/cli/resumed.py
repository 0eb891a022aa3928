"""What may change when a run is resumed: not what the run has behind it, nor what its training state sets."""

from contextlib import suppress
from typing import Any, NoReturn

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import Precision

from lightning_ntm.cli.said import Said
from lightning_ntm.cli.words import UsageError, explained
from lightning_ntm.evaluation.build import class_of
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.records import RunFolder
from lightning_ntm.records.files import read_yaml
from lightning_ntm.records.parsing import parse_yaml
from lightning_ntm.training.states import training_state


def check_resumed(now: dict[str, Any], model: MemoryModel[Any], folder: RunFolder, said: Said) -> None:
    """Raise `UsageError` for a change of an option that a resumed run cannot change any more."""
    began = read_yaml(folder.config)
    _check_same(said, "", now, began, ("name", "runs"))
    if not folder.last.exists():
        return  # nothing has been trained
    _check_spec(said, "task", now["task"], began.get("task"))  # first: the sizes of the network follow from it
    with explained():
        state = training_state(model, folder.last)
    with suppress(ValueError):
        began = parse_yaml(state.get("config") or "") or began
    _check_same(said, "", now, began, ("seed",))
    for group in ("task", "optimizer", "scheduler"):
        _check_spec(said, group, now[group], began.get(group))
    _check_same(said, "model.", _options(now["model"]), _options(began.get("model")), model.initial)
    for group in ("callbacks", "plugins"):
        parts, before = (_specs((config.get("trainer") or {}).get(group)) for config in (now, began))
        for part in filter(_restores, parts):
            if same := next((other for other in before if _made(other) is _made(part)), None):
                before.remove(same)
                _check_spec(said, f"trainer.{group}", part, same)


def _check_spec(said: Said, group: str, now: Any, before: Any) -> None:
    made, other = _made(now), _made(before)
    if made != other:
        _refuse(said, f"--{group}", *(getattr(one, "__name__", one) for one in (made, other)))
    _check_same(said, f"{group}.", _options(now), _options(before), tuple(_options(now)))


def _check_same(said: Said, group: str, now: dict[str, Any], before: dict[str, Any], names: tuple[str, ...]) -> None:
    """Refuse other values of these options; an option that an older run does not have had its default."""
    for name in names:
        if name in now and before.get(name, now[name]) != now[name]:
            _refuse(said, f"--{group}{name}", now[name], before[name])


def _refuse(said: Said, option: str, now: Any, before: Any) -> NoReturn:
    source = "" if said.in_words(option) else "--config: "
    raise UsageError(f"{source}{option} (={now}) cannot be changed when a run is resumed: it began with {before}.")


def _specs(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value] if value else []


def _made(spec: Any) -> Any:
    """Return the class or function that is named, or its name if it does not exist any more."""
    path = spec.get("class_path") if isinstance(spec, dict) else spec
    with suppress(ValueError):
        return class_of(path)
    return path


def _options(spec: Any) -> dict[str, Any]:
    return {**(spec.get("dict_kwargs") or {}), **(spec.get("init_args") or {})} if isinstance(spec, dict) else {}


def _restores(spec: Any) -> bool:
    """Return whether a part of the Trainer loads anything from a training state, such as its settings."""
    made = _made(spec)
    hooks = ("load_state_dict", "on_load_checkpoint")
    inherited = [getattr(base, name, None) for base in (Callback, Precision) for name in hooks]
    own = [getattr(made, name, None) for name in hooks]
    return any(hook is not None and hook not in inherited for hook in own)
