"""Any task as Lightning data: batches by number, so that none of it has a state to lose."""

from collections.abc import Callable, Iterator

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_ntm.checks import at_least, at_most
from lightning_ntm.evaluation.device import works_ahead
from lightning_ntm.evaluation.episodes import chunks, sequences_of
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch


class EpisodeData(L.LightningDataModule):
    """Training batches without end, and a fixed validation set of the hardest training difficulty.

    Args:
        task: What is learned.
        seed: Of the episodes, at least 0.
        batch_size: Episodes in a training batch, on each device.
        batches_per_epoch: Batches that Lightning calls an epoch; the data never repeat.
        validation_sequences: Episodes in the validation set; by default 100, of a task of files all.
        num_workers: Processes that draw batches ahead; 0 draws them in the training process. The
            batches are the same.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        task: Task,
        seed: int = 1,
        batch_size: int = 8,
        batches_per_epoch: int = 500,
        validation_sequences: int | None = None,
        num_workers: int = 0,
    ):
        super().__init__()
        at_least(1, batch_size=batch_size, batches_per_epoch=batches_per_epoch)
        at_least(0, seed=seed, num_workers=num_workers)
        at_most(10**6, batch_size=batch_size, validation_sequences=validation_sequences or 0)  # more would never end
        self.task, self.seed, self.batch_size, self.num_workers = task, seed, batch_size, num_workers
        self.batches_per_epoch = batches_per_epoch
        self.validation_sequences = sequences_of(task, "validation", validation_sequences=validation_sequences)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of this process, from where training stands."""
        assert self.trainer is not None
        sampler = _Numbers(self.batches_per_epoch, self.trainer.global_rank, self.trainer.world_size, self._trained)
        step = self.trainer.world_size * max(1, self.num_workers)  # from one number to the next in one process
        drawn = _Drawn(self.task, self.seed, self.batch_size, self.batches_per_epoch, step)
        _check(self.task, self.task.batch(self.seed, "train", 0, self.batch_size))
        return self._loader(drawn, sampler, self.num_workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation set: the whole set in every process, so that all agree."""
        drawn = list(chunks(self.task, self.seed, "validation", self.validation_sequences, self.task.difficulty))
        for batch in drawn:
            _check(self.task, batch)
        return self._loader(_Held(drawn), None, 0)

    def _trained(self) -> int:
        assert self.trainer is not None
        return self.trainer.fit_loop.total_batch_idx + 1

    def _loader(self, dataset: Dataset[Batch], sampler: Sampler[int] | None, num_workers: int) -> DataLoader[Batch]:
        assert self.trainer is not None
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=num_workers,
            # A loader without a generator draws from the global one, which a network may use.
            generator=torch.Generator(),
            # From pinned memory Lightning copies to a GPU in the background; from other memory a copy waits.
            pin_memory=works_ahead(self.trainer.strategy.root_device),
        )


def _check(task: Task, batch: Batch) -> None:
    """Raise `ValueError` unless the targets of a batch are what the task asks for."""
    fault = task.answer.fault(batch) or ("" if batch.mask.any() else "the mask is true in no step of a batch")
    if fault:
        raise ValueError(f"{type(task).__name__}: {fault}.")


class _Drawn(Dataset[Batch]):
    """Training batches by number; those of the first epoch are all that a Trainer told to overfit sees.

    Asked for one number it draws the next few as well: between two training steps everything has left the
    processor's caches, and the first batch costs as much as four. It does so in the training thread, for a GPU too:
    a second thread competes for the interpreter lock with the calls that are queued for the GPU, and steps of 0.80 ms
    then take 0.95 ms.
    """

    def __init__(self, task: Task, seed: int, batch_size: int, length: int, step: int):
        self.task, self.seed, self.batch_size, self.length, self.step = task, seed, batch_size, length, step
        self.ahead: dict[int, Batch] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Batch:
        if number not in self.ahead:
            numbers = range(number, number + 8 * self.step, self.step)
            self.ahead = {n: self.task.batch(self.seed, "train", n, self.batch_size) for n in numbers}
        return self.ahead.pop(number)


class _Held(Dataset[Batch]):
    """Batches kept in memory."""

    def __init__(self, batches: list[Batch]):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return self.batches[number]


class _Numbers(Sampler[int]):
    """The numbers of one process's batches in an epoch, from where training stands when it starts."""

    def __init__(self, length: int, rank: int, world_size: int, trained: Callable[[], int]):
        self.length, self.rank, self.world_size, self.trained = length, rank, world_size, trained

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        first = self.trained()
        return (self.world_size * i + self.rank for i in range(first, first + self.length))
