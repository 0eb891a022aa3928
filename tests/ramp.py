"""A task whose episodes and a network whose answers are known by hand."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from lightning_ntm import Batch, MemoryModel, Task
from lightning_ntm.models.lstm import LSTMState
from lightning_ntm.tasks.answers import Bits


class Constant(MemoryModel[LSTMState]):
    """Answers the same at every step: 0.8 that a bit is 1."""

    def __init__(self):
        super().__init__(1, 1)
        self.logit = torch.nn.Parameter(torch.tensor(math.log(4.0)))

    def initial_state(self, batch_size):
        return LSTMState(self.logit.new_zeros(batch_size, 1, 1), self.logit.new_zeros(batch_size, 1, 1))

    def step(self, x, state):
        return self.logit.expand(len(x), 1), state


@dataclass(frozen=True)
class Ramp(Task):
    """Episode k of a batch asks for 4 bits, the last k of them 1; the best network gives 1/4 to each."""

    input_size, answer = 1, Bits(1, uncertain=True)

    @property
    def difficulty(self):
        return {"length": 4}

    def sample(self, generator, batch_size, **difficulty):
        answers = (np.arange(4)[None] >= 4 - np.arange(batch_size)[:, None]).astype(np.float32)
        targets = torch.cat([torch.zeros(batch_size, 2, 1), torch.from_numpy(answers)[..., None]], dim=1)
        mask = torch.arange(6).expand(batch_size, 6) >= 2
        return Batch(torch.zeros(batch_size, 6, 1), targets, mask)

    def optimal_logits(self, batch):
        return torch.full(batch.targets.shape, math.log(1 / 3))
