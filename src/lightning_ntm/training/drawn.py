"""What a training draws for each batch besides its episodes: memory slots and noise.

All are functions of the seed and the number of the batch.
"""

from typing import Any

import lightning as L
from torch import Tensor

from lightning_ntm.evaluation.noise import HeadNoise, WeightNoise
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training.lightning_internals import current_datamodule
from lightning_ntm.training.slots import drawn_slots
from lightning_ntm.training.weight_noise import ensure_taken_off


class DrawsForBatches(L.LightningModule):
    """A learner that draws memory slots and noise for its batches."""

    model: Any
    noise: WeightNoise
    head_noise: HeadNoise
    min_memory_slots: int

    def begin_batch(self) -> int | None:
        """Put the noise of the next batch on the weights, and return its memory slots if they vary."""
        if self.noise.deviation:
            ensure_taken_off(self.trainer, self.noise)
            self.noise.warm_up(self.trainer.global_step, self._all_steps)
            self.noise.put_on(self.model.parameters(), self._seed, self._batch_number())
        return self.slots_of(self._batch_number()) if self.min_memory_slots else None

    def noise_of_heads(self, batch: Batch) -> Tensor | None:
        """Return the noise on the heads in a training step with a batch, if there is some."""
        if not self.head_noise.deviation:
            return None
        self.head_noise.warm_up(self.trainer.global_step, self._all_steps)
        return self.head_noise.drawn(self.model, batch.inputs, self._seed, self._batch_number())

    def slots_of(self, batch: int) -> int:
        """Return the memory slots of the batch of this number, where they vary."""
        return drawn_slots(self.min_memory_slots, self.model.memory_slots, self._seed, batch)

    @property
    def _seed(self) -> int:
        return getattr(current_datamodule(self.trainer), "seed", 0)

    def _batch_number(self) -> int:
        # As the sampler numbers batches: the processes take turns.
        return self.trainer.fit_loop.total_batch_idx * self.trainer.world_size + self.trainer.global_rank

    def _all_steps(self) -> float:
        return self.trainer.estimated_stepping_batches
