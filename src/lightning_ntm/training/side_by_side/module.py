"""What a Trainer trains if several trainings share it."""

from collections.abc import Iterator, Sequence
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training.safety import DivergenceError, FinishStep, LostFolderError
from lightning_ntm.training.short_step import ShortStep, TakesShortSteps
from lightning_ntm.training.side_by_side.loop import logits_of
from lightning_ntm.training.side_by_side.member import Member, prefix_of


class SideBySide(TakesShortSteps):
    """The networks of several trainings.

    Args:
        members: The trainings.
        at_once: Whether all networks are run at once, since no kernel runs them.
    """

    def __init__(self, members: Sequence[Member], *, at_once: bool = False):
        super().__init__()
        self.members, self.at_once = members, at_once
        self.networks = nn.ModuleList([member.learner.model for member in members])

    def setup(self, stage: str) -> None:
        """Attach the members to the Trainer."""
        for number, member in enumerate(self.members):
            member.attach(self.trainer, number, len(self.members))
            member.learner.setup(stage)

    def training_step(self, batches: list[Batch], batch_idx: int) -> dict[str, Any]:
        """Return the sum of the losses. Each network has the gradients of its own."""
        outputs = self._step_at_once(batches) if self.at_once else self._short_step(batches) if self.short else None
        if outputs is None:
            outputs = []
            for member, batch in zip(self.members, batches, strict=True):
                with member.random.installed():
                    outputs.append(member.learner.training_step(batch, batch_idx))
        return {"loss": torch.stack([output["loss"] for output in outputs]).sum(), "members": outputs}

    def _short_step(self, batches: list[Batch]) -> list[dict[str, Any]] | None:
        """Return what the members' training steps return if all are short: these draw no random numbers."""
        assert self.short is not None
        learners = [member.learner for member in self.members]
        episodes = [learner.episodes(batch) for learner, batch in zip(learners, batches, strict=True)]
        slots = [learner.begin_batch() for learner in learners]
        noise = [learner.noise_of_heads(batch) for learner, batch in zip(learners, episodes, strict=True)]
        found = self.short.losses(episodes, slots, noise)
        for learner, gradients in zip(learners, self.short.gradients, strict=True):
            learner.gradients = gradients if found else None
        if found is None:
            return None
        calls = zip(learners, found, episodes, strict=True)
        return [learner.outputs(one, batch) for learner, one, batch in calls]

    def _step_at_once(self, batches: list[Batch]) -> list[dict[str, Any]]:
        """Return what the members' training steps return, from networks that draw no random numbers.

        Raises:
            ValueError: The networks cannot be run at once any longer.
        """
        learners = [member.learner for member in self.members]
        episodes = [learner.episodes(batch) for learner, batch in zip(learners, batches, strict=True)]
        slots = [learner.begin_batch() for learner in learners]
        try:
            logits = logits_of([learner.model for learner in learners], [batch.inputs for batch in episodes], slots)
        except ValueError as error:
            raise ValueError(f"the runs cannot be trained side by side any longer: {error}") from error
        calls = zip(learners, logits, episodes, strict=True)
        return [learner.outputs(learner.loss_of(one, batch), batch) for learner, one, batch in calls]

    def on_train_start(self) -> None:
        """Take short steps if all members can."""
        learners = [member.learner for member in self.members]
        if not any(learner.step_refusal() for learner in learners):
            models, prepared = [one.model for one in learners], [one.prepared() for one in learners]
            self.begin_short_steps(ShortStep(models, prepared))

    def on_after_backward(self) -> None:
        """Call the members' own."""
        for member in self.members:
            member.learner.on_after_backward()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of each member by its own norm. One whose step is not finite ends before its update."""
        for member in self.members:
            try:
                member.learner.configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            except DivergenceError as error:
                member.record.keep_step(error)
                member.fail(error)
        self.begin_update(optimizer)

    def validation_step(self, batches: list[Batch], batch_idx: int) -> None:
        """Measure a batch of the validation set of each member."""
        for number, (member, batch) in enumerate(zip(self.members, batches, strict=True)):
            with member.random.installed():
                measured = member.learner.validated(batch)
            own = {f"{prefix_of(number)}{name}": value for name, value in measured.items()}
            self.log_dict(own, batch_size=len(batch.inputs), logger=False, sync_dist=False)

    def configure_optimizers(self) -> Any:
        """Return one optimizer of all members' parameters, and its schedule."""
        parameters = [p for member in self.members for p in member.learner.model.parameters()]
        return self.members[0].learner.optimizers_for(parameters)


class SideBySideData(L.LightningDataModule):
    """The episodes of several trainings: each batch is a list of the members' batches.

    Args:
        members: The trainings.
    """

    def __init__(self, members: Sequence[Member]):
        super().__init__()
        self.members = members

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training batches, from the current step on."""
        return self._together([member.data.train_dataloader() for member in self._attached()])

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation sets."""
        return self._together([member.data.val_dataloader() for member in self._attached()])

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the batches as they are: all members train on the CPU."""
        return batch

    def _attached(self) -> Iterator[Member]:
        for member in self.members:
            member.data.trainer = self.trainer
            yield member

    @staticmethod
    def _together(loaders: list[DataLoader[Batch]]) -> DataLoader[Any]:
        first = loaders[0]
        return DataLoader(
            _Zipped([loader.dataset for loader in loaders]),
            batch_size=None,
            sampler=first.sampler,
            num_workers=first.num_workers,
            generator=torch.Generator(),
        )


class _Zipped(Dataset[list[Any]]):
    """Datasets with the same numbers of items."""

    def __init__(self, datasets: Sequence[Any]):
        self.datasets = datasets

    def __len__(self) -> int:
        return len(self.datasets[0])

    def __getitem__(self, number: int) -> list[Any]:
        return [dataset[number] for dataset in self.datasets]


class RegroupError(Exception):
    """Members have left, or others have the same step by now."""


class Members(FinishStep):
    """Calls the callbacks of the members, and ends the training when the members change.

    Args:
        members: The trainings.
        until: Ends it at this step, too; `None` trains all steps.
    """

    def __init__(self, members: Sequence[Member], until: int | None):
        super().__init__()
        self.members, self.until = members, until

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: `MembersCheckpointIO` saves the states of each member in its own file."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the states of the members."""
        for member, states in zip(self.members, state_dict["members"], strict=True):
            member.load_states(states)

    def _call(self, hook: str, *args: Any, outputs: Sequence[tuple[Any, ...]] = ()) -> None:
        for number, member in enumerate(self.members):
            if not member.left:
                try:
                    member.call(hook, *(outputs[number] if outputs else ()), *args)
                except LostFolderError as error:  # ends one member alone
                    member.fail(error)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Record that training has begun."""
        super().on_train_start(trainer, module)
        for member in self.members:
            member.learner.on_train_start()
            member.begin(len(self.members))
        self._call("on_train_start")

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Call the members' own."""
        self._call("on_train_batch_start", index, outputs=[(own,) for own in batch])

    def on_before_optimizer_step(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Call the members' own."""
        self._call("on_before_optimizer_step", optimizer)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Call the members' own, and end here if the members change and no validation follows."""
        self._call("on_train_batch_end", index, outputs=list(zip(outputs["members"], batch, strict=True)))
        super().on_train_batch_end(trainer, module, outputs, batch, index)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Call the members' own."""
        for member in self.members:
            member.learner.on_validation_start()
        self._call("on_validation_start")

    def on_validation_batch_end(self, *args: Any) -> None:
        """Call the members' own."""
        self._call("on_validation_batch_end")

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Call the members' own."""
        self._call("on_validation_epoch_end")

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Call the members' own, finish those that stop here, and end here if the members change."""
        self._call("on_validation_end")
        for member in self.members:
            if not member.left and member.trainer.should_stop:
                try:
                    member.call("on_train_end")
                    member.finish(trainer.global_step)
                except LostFolderError as error:
                    member.fail(error)
        super().on_validation_end(trainer, module)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Call the members' own."""
        self._call("on_train_end")

    def due(self, trainer: L.Trainer) -> bool:
        """Return whether to end: by a signal, or since the members change."""
        joins = self.until is not None and trainer.global_step >= self.until
        return super().due(trainer) or joins or any(member.left for member in self.members)

    def _end(self, trainer: L.Trainer) -> None:
        for member in self.members:
            if not member.left and member.record.keeper.saved != trainer.global_step:
                member.folder.sync()
                trainer.save_checkpoint(member.folder.last)
        if self.signal:
            super()._end(trainer)
        raise RegroupError
