"""What happens around the steps of a run: keeping, stopping."""

import io
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.profilers import PassThroughProfiler
from torch import Tensor, nn

from lightning_ntm.evaluation.weights import FORMAT, kept_config, save_weights
from lightning_ntm.measures import BITS, Measures
from lightning_ntm.records import RunFolder, write_whole
from lightning_ntm.training.recorder import compared, validated
from lightning_ntm.training.states import by_itself, check_like

_OF_TENSORS = ("state_dict", "optimizer_states")  # in a training state


class Keeper(Checkpoint):
    """Keeps the whole state of the last validation, and the weights of the best one.

    The first measure decides which is the best. Ties go to the next measures, and then to the latest validation.

    Args:
        folder: Where they are kept.
        model: The network whose weights are kept.
        measures: Of the task's answer.
        config: Of the run, as YAML; the file of weights holds what is needed of it to make the network again.
    """

    def __init__(self, folder: RunFolder, model: nn.Module, measures: Measures = BITS, config: str = ""):
        self.folder, self.model, self.measures, self.config = folder, model, measures, kept_config(config)
        self.best: dict[str, float] = {}
        self.saved: int | None = None  # the step of the state on disk
        self.validated: dict[str, Tensor] = {}  # the weights that are measured, by now perhaps not those of the network

    def state_dict(self) -> dict[str, Any]:
        """Return what the best validation measured."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        best = state_dict.get("best")
        if best != {}:
            like = {"step": 0, **dict.fromkeys(compared(self.measures), 0.0)}
            known = {name: best.get(name) for name in like} if isinstance(best, dict) else best
            check_like(known, like, "the best validation in the saved state")
        self.best = dict(best or {})

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Note what a resumed run has on disk."""
        self.saved = trainer.global_step if trainer.ckpt_path else None

    def on_validation_batch_end(self, *args: Any) -> None:
        """Copy the weights that are measured: a callback, as one that averages them, may swap them for a validation."""
        if not self.validated:
            self.validated = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep what was just validated."""
        weights, self.validated = self.validated, {}
        if trainer.sanity_checking:
            return
        seen = validated(trainer)
        measured = {name: seen[key] for name in self.measures.names if (key := f"validation_{name}") in seen}
        if not self.best or self.measures.rank(measured) <= self.measures.rank(self.best):
            self.best = {"step": trainer.global_step, **measured}
            if trainer.is_global_zero:
                self._keep(weights or self.model, trainer.global_step)
        self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the end; without any validation, its weights are the best there are.

        A state that was saved after this step already stays: by now Lightning counts an epoch more, which a run
        that was killed in between, and has nothing left to train, would not.
        """
        if not self.best and trainer.is_global_zero:
            self._keep(self.model, trainer.global_step)
        if self.saved != trainer.global_step:
            self._save(trainer)

    def _keep(self, weights: nn.Module | dict[str, Tensor], step: int) -> None:
        network = type(self.model).__name__
        save_weights(weights, self.folder.best, network=network, step=step, config=self.config)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            self.folder.sync()  # no state without the measurements before it, even if the power fails
        trainer.save_checkpoint(self.folder.last)
        self.saved = trainer.global_step


class StopWhenSolved(Callback):
    """Ends training after a number of validations in a row without an error.

    Args:
        validations: That number, at least 1.
    """

    def __init__(self, validations: int):
        self.validations, self.in_a_row = validations, 0

    def state_dict(self) -> dict[str, Any]:
        """Return how many there were so far."""
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        check_like(state_dict, self.state_dict(), "the saved state of what was solved")
        self.in_a_row = state_dict["in_a_row"]

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Count, and stop when it is enough."""
        if trainer.sanity_checking:
            return
        self.in_a_row = self.in_a_row + 1 if trainer.callback_metrics["validation_perfect"] == 1 else 0
        if self.in_a_row >= self.validations:
            trainer.should_stop = True


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, but whole or absent even where the run folder is on another disk.

    Args:
        config: What was trained, as YAML; it is kept beside the state.
    """

    def __init__(self, config: str = "") -> None:
        super().__init__()
        self.config = config

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        saved = {key: by_itself(part) if key in _OF_TENSORS else part for key, part in checkpoint.items()}
        written = io.BytesIO()  # PyTorch's own writer says of a full disk that an internal check failed
        torch.save({**saved, "lightning_ntm": FORMAT, "config": self.config}, written)
        write_whole(Path(path), written.getbuffer())


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's own without profiling, without making an object for each of 50 hooks a step."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Return what does nothing."""
        return _NOTHING


_NOTHING = nullcontext()
