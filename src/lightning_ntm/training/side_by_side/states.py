"""The training states of several trainings, each in the file of its own run."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from lightning_ntm.training.callbacks import WholeCheckpointIO
from lightning_ntm.training.side_by_side.member import Member
from lightning_ntm.training.side_by_side.module import Members


class MembersCheckpointIO(TorchCheckpointIO):
    """Saves the state of one member of a training, as that of a run alone, and loads those of all members as one.

    Args:
        members: The trainings.
    """

    def __init__(self, members: Sequence[Member]):
        super().__init__()
        self.members = members

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the state of the member whose file this is."""
        number, member = next((i, one) for i, one in enumerate(self.members) if one.folder.last == Path(path))
        WholeCheckpointIO(member.record.config).save_checkpoint(_of(checkpoint, number, member), path)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the states of all members.

        Raises:
            ValueError: They do not have the same progress and settings.
        """
        load = super().load_checkpoint
        return joined([load(member.folder.last, map_location, weights_only) for member in self.members])


def _of(checkpoint: dict[str, Any], number: int, member: Member) -> dict[str, Any]:
    """Return the state of one member."""
    (optimizer,), before = checkpoint["optimizer_states"], f"networks.{number}."
    count = sum(1 for _ in member.learner.model.parameters())
    state = {
        **checkpoint,
        "state_dict": OrderedDict(
            (f"model.{name.removeprefix(before)}", tensor)
            for name, tensor in checkpoint["state_dict"].items()
            if name.startswith(before)
        ),
        "callbacks": member.states(),
        "optimizer_states": [
            {
                "state": {i - number * count: kept for i, kept in optimizer["state"].items() if i // count == number},
                "param_groups": [_with_parameters(optimizer, count)],
            }
        ],
    }
    member.learner.on_save_checkpoint(state)
    return state


def _with_parameters(optimizer: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the settings of an optimizer of one group, for this number of parameters."""
    (group,) = optimizer["param_groups"]
    return {**group, "params": list(range(count))}


def joined(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one training state of several, each of a run.

    Raises:
        ValueError: They do not have the same progress and settings.
    """
    first, optimizers = states[0], [state["optimizer_states"][0] for state in states]
    count = len(optimizers[0]["param_groups"][0]["params"])
    for state in states:
        if any(state[name] != first[name] for name in ("global_step", "epoch", "loops", "lr_schedulers")):
            raise ValueError("the runs do not have the same progress.")
        if state["optimizer_states"][0]["param_groups"] != optimizers[0]["param_groups"]:
            raise ValueError("the runs do not have the same settings of the optimizer.")
    return {
        **first,
        "state_dict": {
            f"networks.{number}.{name.removeprefix('model.')}": tensor
            for number, state in enumerate(states)
            for name, tensor in state["state_dict"].items()
        },
        "callbacks": {Members.__qualname__: {"members": [state["callbacks"] for state in states]}},
        "optimizer_states": [
            {
                "state": {
                    number * count + i: kept
                    for number, optimizer in enumerate(optimizers)
                    for i, kept in optimizer["state"].items()
                },
                "param_groups": [_with_parameters(optimizers[0], count * len(states))],
            }
        ],
    }
