"""Methods of a learner in a Trainer of the user's own: logging, test, prediction, batches of other loaders.

A run with a run folder has a callback that measures. With this callback a learner logs nothing itself.
"""

from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from lightning_ntm.evaluation.calls import lengths_for
from lightning_ntm.kernels.cpu.prepared import Prepared
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.records.files import read_yaml
from lightning_ntm.tasks.answer import Answer, exact, mean
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training.data import check_targets
from lightning_ntm.training.exact_targets import keep_targets
from lightning_ntm.training.hyperparameters import plain, plain_network, restored, restored_answer
from lightning_ntm.training.lightning_internals import current_datamodule
from lightning_ntm.training.loss import Objective
from lightning_ntm.training.pictures import MemoryPictures, pictures_for
from lightning_ntm.training.user_batches import as_batch, inputs_of, mask_of


def _hyperparameters(checkpoint: Any, key: str, file: Any, weights_only: bool | None) -> dict[str, Any]:
    if file is not None:
        return dict(read_yaml(Path(file)))
    if hasattr(checkpoint, "read"):
        found = torch.load(checkpoint, weights_only=weights_only is not False, map_location="cpu")
        checkpoint.seek(0)
        return dict(found.get(key) or {})
    with get_filesystem(checkpoint).open(str(checkpoint), "rb") as opened:
        return _hyperparameters(opened, key, None, weights_only)


class InOwnTrainer(L.LightningModule):
    """The base class of `SequenceLearner` with the steps around training.

    Attributes:
        model: The network.
        answer: What is asked for.
        own_answer: The answer that was passed to the constructor, if one was.
        trained_answer: The answer of the last training, also of one in a checkpoint.
        loss: How a loss is computed from costs; see `Objective`.
        logs_itself: Whether loss and measures are logged by the learner.
        draws_memory: Whether loggers that take images get pictures of the memory, one after a validation.
    """

    model: MemoryModel[Any]
    answer: Answer
    own_answer: Answer | None
    trained_answer: Answer | None = None
    loss: Literal["mean", "sum"]
    logs_itself = False
    draws_memory = True
    _pictures: MemoryPictures | None = None

    def setup(self, stage: str) -> None:
        """Check whether a callback measures, and choose the answer.

        Raises:
            ValueError: The network's output does not fit the answer, or the targets of the task do not.
        """
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        measured = any(getattr(callback, "measures_learner", False) for callback in callbacks)
        self.logs_itself = not (measured or self.trainer.barebones)
        self._pictures = None
        keep_targets(self.trainer, InOwnTrainer)
        self._choose_answer()

    def _choose_answer(self) -> None:
        task = self._task
        of_task = None if task is None else task.answer
        known = (self.own_answer, of_task, self.trained_answer, Bits(self.model.output_size))
        self.answer = next(answer for answer in known if answer is not None)
        self.answer.check_size(self.model.output_size)
        if task is not None and self.own_answer is not None:
            check_targets(self.answer, task.batch(0, "train", 0, 1), type(task).__name__)
        if (trainer := self._attached_to()) is not None and trainer.state.fn == "fit":
            self.trained_answer = self.answer

    def _attached_to(self) -> L.Trainer | None:
        try:
            return self.trainer
        except RuntimeError:
            return None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the answer of the training in a checkpoint.

        Raises:
            ValueError: It cannot be made, and there is none of the constructor or of a task.
        """
        saved = checkpoint.get("answer")
        try:
            self.trained_answer = None if saved is None else restored_answer(saved)
        except ValueError:
            self.trained_answer = None
            if self.own_answer is None and self._task is None:
                raise
        self._choose_answer()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the answer of the training, and describe the network as it is now.

        A run folder, which has its configuration, needs no hyperparameters.
        """
        if self.logs_itself:
            self._describe_network(checkpoint)
            checkpoint["answer"] = None if self.trained_answer is None else plain(self.trained_answer)
        else:
            for name in (self.CHECKPOINT_HYPER_PARAMS_KEY, self.CHECKPOINT_HYPER_PARAMS_NAME):
                checkpoint.pop(name, None)
                checkpoint.pop(f"datamodule_{name}", None)

    def _describe_network(self, checkpoint: dict[str, Any]) -> None:
        known = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY) or {}
        whole = self._attached_to() is None or self.holds_whole_gradients()  # else strategies replace parts of it
        if "class_path" in (known.get("model") or {}) and whole:  # a learner of a user's own may have another `model`
            checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {**known, "model": plain_network(self.model)}

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **arguments: Any,
    ) -> Any:
        """Return the learner of a checkpoint that a Trainer saved, as in Lightning.

        Args:
            checkpoint_path: The checkpoint: a path, a URL or an open file.
            map_location: Device of the weights, as in `torch.load`.
            hparams_file: Hyperparameters in YAML that replace those of the checkpoint.
            strict: Whether the names of all weights must match.
            weights_only: As in `torch.load`; `False` runs code in the checkpoint.
            arguments: Arguments of the learner that replace those of the checkpoint.

        Raises:
            ValueError: The checkpoint does not contain the arguments of the network, and `model` is not given.
        """
        found = _hyperparameters(checkpoint_path, cls.CHECKPOINT_HYPER_PARAMS_KEY, hparams_file, weights_only)
        if "model" not in {*found, *arguments}:
            raise ValueError(
                f"{checkpoint_path} does not hold how its network was made; pass model= to load_from_checkpoint, or "
                "open a run folder with lightning_ntm.open_run."
            )
        made = restored({name: value for name, value in found.items() if name not in arguments})
        options: dict[str, Any] = {"strict": strict, "weights_only": weights_only, **made, **arguments}
        return super().load_from_checkpoint(checkpoint_path, map_location, **options)

    def holds_whole_gradients(self) -> bool:
        """Return whether a process has all numbers of each weight and of each gradient."""
        return isinstance(self.trainer.strategy, (SingleDeviceStrategy, DDPStrategy))

    @property
    def _task(self) -> Task | None:
        return getattr(current_datamodule(self._attached_to()), "task", None)

    def prepared(self) -> Prepared | None:
        """Return what computes the losses of a training, if one call of a kernel does."""
        with torch.enable_grad():
            inputs = next(self.model.parameters()).new_zeros(1, 1, self.model.input_size)
            return self.model.prepared_loss(inputs, self._objective)

    @property
    def _objective(self) -> Objective:
        return Objective(self.answer, self.loss, type(self._task).__name__ if self._task else "the data")

    def episodes(self, batch: Any) -> Batch:
        """Return what a loader gives as a `Batch`; that of a task is checked where it is drawn.

        Not a hook of data: Lightning warns of those that a module has beside a datamodule.

        Raises:
            ValueError: The loader's output is not a batch; see `as_batch`.
        """
        of_task = isinstance(batch, Batch) and self._task is not None
        return batch if of_task else as_batch(batch, self.answer, self._input_dtype())

    def _input_dtype(self) -> torch.dtype:
        weights: nn.Parameter | None = next(self.model.parameters(), None)
        return torch.get_default_dtype() if weights is None else weights.dtype

    def log_training(self, loss: Tensor, costs: Tensor, logits: Tensor, batch: Batch) -> None:
        """Log the loss and the measures of a batch, as `train_loss` and so on."""
        measured = self.answer.measure(logits, batch, costs)
        means = {"train_loss": loss, **{f"train_{name}": mean(values) for name, values in measured.items()}}
        self._log(means, len(costs), sync_dist=False)

    def measured(self, outputs: dict[str, Any], batch: Batch) -> dict[str, Tensor]:
        """Return what `Answer.raw` measures of a training batch, from what `training_step` returned."""
        if outputs["errors"] is not None:  # a kernel has counted them
            return self.answer.counted(outputs["errors"], batch, outputs["costs"])
        return self.answer.raw(outputs["logits"], batch, outputs["costs"])

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measure a batch of the validation set."""
        episodes = self.episodes(batch)
        self._log(self.validated(episodes), len(episodes.inputs), sync_dist=self.logs_itself)
        if batch_idx == dataloader_idx == 0 and self.draws_memory and not self.trainer.sanity_checking:
            if self._pictures is None:
                self._pictures = pictures_for(self.trainer, self.model, whole=self.holds_whole_gradients())
            self._pictures.keep(episodes)

    def on_validation_end(self) -> None:
        """Draw the memory."""
        if self._pictures is not None:
            self._pictures.draw(self.trainer, self.answer, self._task)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measure a batch of the test set."""
        episodes = self.episodes(batch)
        self._log(self._measured("test", episodes), len(episodes.inputs), sync_dist=self.logs_itself)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return probabilities, or for `Numbers` the numbers, `(batch, time, outputs)`.

        The batch may be inputs alone.
        """
        inputs, mask = inputs_of(batch, self._input_dtype()), mask_of(batch)
        return self.answer.shown(self._logits(inputs, mask))

    def _answered(self, batch: Batch, *slots: Any) -> Tensor:
        return self._logits(batch.inputs, batch.mask, *slots)

    def _logits(self, inputs: Tensor, mask: Tensor | None, *slots: Any) -> Tensor:
        """Return the logits of sequences whose padding, if the network must know of it, is told by the mask."""
        lengths = None if mask is None else lengths_for(self.model, inputs, mask)
        logits: Tensor = self(inputs, *slots) if lengths is None else self(inputs, *slots, lengths=lengths)
        return logits

    def validated(self, batch: Batch) -> dict[str, Tensor]:
        """Return the means over a batch of the validation set, by the names under which they are logged."""
        return self._measured("validation", batch)

    def _measured(self, split: str, batch: Batch) -> dict[str, Tensor]:
        logits = self._answered(batch)
        objective = self._objective
        costs, right = objective.costs(logits, batch), self.answer.errors(logits, batch) == 0
        measured = self.answer.measure(logits, batch, costs)
        means = {"loss": objective.loss(costs, batch), **{name: mean(values) for name, values in measured.items()}}
        means["perfect"] = mean(right.float())
        if (optimal := self._optimal_logits(batch)) is not None:
            means |= {name: mean(values) for name, values in self.answer.compare(measured, optimal, batch).items()}
        return {f"{split}_{name}": value for name, value in means.items()}

    def _log(self, means: dict[str, Tensor], sequences: int, *, sync_dist: bool) -> None:
        # In a run folder the recorder hands them to the loggers, and every process measures the same set.
        logger = None if self.logs_itself else False  # None is as True, without a warning where there is no logger
        shown = ("loss", self.answer.measures.each[0].name) if self.logs_itself else ()
        for name, value in means.items():
            in_bar = name.partition("_")[2] in shown
            self.log(name, value, prog_bar=in_bar, logger=logger, sync_dist=sync_dist, batch_size=sequences)

    def _optimal_logits(self, batch: Batch) -> Tensor | None:
        """Return the answers of the best possible network, if the task knows them."""
        # Tasks use no devices: they get batches on the CPU, as those that they draw.
        logits = self._task.optimal_logits(Batch(*(part.cpu() for part in batch))) if self._task else None
        return None if logits is None else logits.to(batch.targets.device, exact(batch.targets))
