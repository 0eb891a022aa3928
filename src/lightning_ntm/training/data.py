"""Any task as Lightning data. A batch is a function of its number, so there is no state to save."""

import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_all_start_methods, get_start_method
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_ntm.checks import at_least, at_most, check_kind, check_whole
from lightning_ntm.cores import cores
from lightning_ntm.evaluation.device import works_ahead
from lightning_ntm.evaluation.episodes import chunks, sequences_of
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.base import Task
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.tasks.curricula import Curriculum, training_batch
from lightning_ntm.tasks.faults import TargetsError as TargetsError, check_batch
from lightning_ntm.tasks.randomness import Split
from lightning_ntm.training.hyperparameters import hyperparameters

#: The most processes that sample batches, for each core.
_WORKERS = 4


class EpisodeData(L.LightningDataModule):
    """Endless training batches, and a fixed validation set.

    The validation set has the maximum training difficulty. `trainer.test` and `trainer.predict` use the first episodes
    of `ntm evaluate`: same number and difficulty, in neither set. With a task of files, validation, test and prediction
    use the validation file.

    Args:
        task: The task.
        seed: Seed of the episodes, at least 0.
        batch_size: Episodes in a training batch, on each device.
        batches_per_epoch: Number of batches that Lightning treats as an epoch. Drawn episodes never repeat; those of a
            file repeat after all of them were used.
        validation_sequences: Episodes in the validation set; by default 100, or the whole file of a task of files.
        num_workers: Processes that sample batches in advance, at most 4 for each core. 0 samples them in the training
            process. The batches do not depend on it.
        curriculum: Chooses the difficulty of each training batch; by default the task draws from all of its values.

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
        curriculum: Curriculum | None = None,
    ):
        super().__init__()
        check_kind(Task, "a task, as Copy()", task=task)
        self.save_hyperparameters(hyperparameters(locals()))
        check_whole(seed=seed, batch_size=batch_size, batches_per_epoch=batches_per_epoch, num_workers=num_workers)
        check_whole(validation_sequences=0 if validation_sequences is None else validation_sequences)
        at_least(1, batch_size=batch_size, batches_per_epoch=batches_per_epoch)
        at_least(0, seed=seed, num_workers=num_workers)
        at_most(sys.maxsize, batches_per_epoch=batches_per_epoch)  # more cannot be the length of a sequence in Python
        at_most(10**6, batch_size=batch_size, validation_sequences=validation_sequences or 0)  # more would take forever
        if num_workers > (most := _WORKERS * cores()):
            raise ValueError(
                f"num_workers (={num_workers}) must be at most {most}, {_WORKERS} for each core of this process."
            )
        if curriculum is not None:
            check_kind(Curriculum, "a curriculum, as RegularIncrease()", curriculum=curriculum)
            curriculum.check(task)
        self.task, self.seed, self.batch_size, self.num_workers = task, seed, batch_size, num_workers
        self.curriculum = curriculum
        self.batches_per_epoch = batches_per_epoch
        self.validation_sequences = sequences_of(task, "validation", validation_sequences=validation_sequences)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of this process, from the current step on."""
        assert self.trainer is not None
        sampler = _Numbers(self.batches_per_epoch, self.trainer.global_rank, self.trainer.world_size, self._trained)
        step = self.trainer.world_size * max(1, self.num_workers)  # difference of successive numbers in one process
        # Not a method: a worker that is not forked gets it pickled, and this object has the Trainer.
        batch = partial(training_batch, self.task, self.curriculum, self.seed, batch_size=self.batch_size)
        check_batch(self.task.answer, batch(0), type(self.task).__name__, sequences=self.batch_size)
        batches = _TrainingBatches(batch, self.batches_per_epoch, step)
        if self.num_workers and (get_start_method(allow_none=True) or get_all_start_methods()[0]) != "fork":
            self._check_sent(batches)
        return self._loader(batches, sampler, self.num_workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation set. Every process validates the whole set, so that all get the same result."""
        return self._fixed("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the first episodes of an evaluation at the maximum training difficulty, the same in every process."""
        return self._fixed("evaluation")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the episodes of `test_dataloader`."""
        return self._fixed("evaluation")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return a batch on a device, as Lightning does; it stays as it is on the CPU, where it was sampled."""
        if device.type == "cpu" and type(batch) is Batch:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def units_per_sequence(self) -> dict[str, float]:
        """Return how many bits, symbols or numbers the answer of a validation sequence has, a mean over some.

        Where measures do not count all of them, as after the end of an answer, also how many they count.
        """
        answer = self.task.answer
        batch = next(chunks(self.task, self.seed, "validation", self.validation_sequences, self.task.difficulty))
        counted = batch._replace(mask=answer.measured_steps(batch))
        units, measured = (float(answer.units(one).double().mean()) for one in (batch, counted))
        more = {} if measured == units else {"measured_units_per_sequence": measured}
        return {"units_per_sequence": units, **more}

    def _fixed(self, split: Split) -> DataLoader[Batch]:
        batches = list(chunks(self.task, self.seed, split, self.validation_sequences, self.task.difficulty))
        return self._loader(_FixedBatches(batches), None, 0)

    def _check_sent(self, batches: Dataset[Batch]) -> None:
        try:
            pickle.dumps(batches)
        except Exception as error:  # PicklingError, AttributeError, TypeError
            name, reason = type(self.task).__name__, str(error).splitlines()[0]
            raise ValueError(f"num_workers (={self.num_workers}) must be 0 for {name} here: {reason}") from error

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
            # Without a generator the loader uses the global one, which a network may use too.
            generator=torch.Generator(),
            # Lightning copies pinned memory to a GPU in the background. A copy of other memory blocks.
            pin_memory=works_ahead(self.trainer.strategy.root_device),
        )


def check_targets(answer: Answer, batch: Batch, source: str) -> None:
    """Raise `TargetsError` unless a batch is one for an answer; `source` is where it is from."""
    check_batch(answer, batch, source)


class _TrainingBatches(Dataset[Batch]):
    """Training batches by number. With `overfit_batches` the Trainer sees only those of the first epoch.

    A request for one number also samples the next few. After a training step the data have left the processor's caches,
    and the first batch takes as long as four. Sampling runs in the training thread, also for a GPU: a second thread
    competes for the interpreter lock with the calls that queue work for the GPU, and steps of 0.80 ms then take 0.95
    ms.
    """

    def __init__(self, batch: Callable[[int], Batch], length: int, step: int):
        self.batch, self.length, self.step = batch, length, step
        self.ahead: dict[int, Batch] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Batch:
        if number not in self.ahead:
            numbers = range(number, number + 8 * self.step, self.step)
            self.ahead = {n: self.batch(n) for n in numbers}
        return self.ahead.pop(number)


class _FixedBatches(Dataset[Batch]):
    """Batches kept in memory."""

    def __init__(self, batches: list[Batch]):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return self.batches[number]


class _Numbers(Sampler[int]):
    """The numbers of one process's batches in an epoch, from the current step on."""

    def __init__(self, length: int, rank: int, world_size: int, trained: Callable[[], int]):
        self.length, self.rank, self.world_size, self.trained = length, rank, world_size, trained

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        first = self.trained()
        return (self.world_size * i + self.rank for i in range(first, first + self.length))
