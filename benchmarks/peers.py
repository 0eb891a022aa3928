"""An NTM as most PyTorch implementations write it: one module per head, and a loop over the batch for the shift.

`step.py` and `gpu.py` compare with it. It has the same equations and sizes as our network with its defaults.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Memory(nn.Module):
    """The memory with its addressing."""

    def __init__(self, slots: int, width: int):
        super().__init__()
        self.slots, self.width = slots, width
        self.register_buffer("start", torch.full((slots, width), 1e-6))

    def reset(self, batch_size: int) -> None:
        self.content = self.start.repeat(batch_size, 1, 1)

    def read(self, weights: Tensor) -> Tensor:
        return torch.matmul(weights.unsqueeze(1), self.content).squeeze(1)

    def write(self, weights: Tensor, erase: Tensor, add: Tensor) -> None:
        erased = torch.matmul(weights.unsqueeze(-1), erase.unsqueeze(1))
        added = torch.matmul(weights.unsqueeze(-1), add.unsqueeze(1))
        self.content = self.content * (1 - erased) + added

    def address(
        self, key: Tensor, strength: Tensor, gate: Tensor, shift: Tensor, sharpening: Tensor, previous: Tensor
    ) -> Tensor:
        similarity = F.cosine_similarity(self.content + 1e-16, key.unsqueeze(1) + 1e-16, dim=-1)
        content = F.softmax(strength * similarity, dim=1)
        gated = gate * content + (1 - gate) * previous
        moved = torch.zeros_like(gated)
        for sample in range(len(gated)):
            around = torch.cat([gated[sample, -1:], gated[sample], gated[sample, :1]])
            moved[sample] = F.conv1d(around.view(1, 1, -1), shift[sample].view(1, 1, -1)).view(-1)
        powers = moved**sharpening
        return powers / (powers.sum(dim=1, keepdim=True) + 1e-16)


class Head(nn.Module):
    """One head: a linear layer for each of its parameters."""

    def __init__(self, memory: Memory, hidden_size: int, *, writes: bool):
        super().__init__()
        self.memory, self.writes = memory, writes
        sizes = {"key": memory.width, "strength": 1, "gate": 1, "shift": 3, "sharpening": 1}
        if writes:
            sizes |= {"erase": memory.width, "add": memory.width}
        self.layers = nn.ModuleDict({name: nn.Linear(hidden_size, size) for name, size in sizes.items()})

    def forward(self, hidden: Tensor, previous: Tensor) -> tuple[Tensor | None, Tensor]:
        emitted = {name: layer(hidden) for name, layer in self.layers.items()}
        weights = self.memory.address(
            emitted["key"].tanh(),
            F.softplus(emitted["strength"]),
            emitted["gate"].sigmoid(),
            F.softmax(emitted["shift"], dim=1),
            1 + F.softplus(emitted["sharpening"]),
            previous,
        )
        if not self.writes:
            return self.memory.read(weights), weights
        self.memory.write(weights, emitted["erase"].sigmoid(), emitted["add"].tanh())
        return None, weights


class ModulePerHeadNTM(nn.Module):
    """The paper's copy network in this structure."""

    def __init__(self, input_size: int, output_size: int, hidden_size: int = 100, slots: int = 128, width: int = 20):
        super().__init__()
        self.memory = Memory(slots, width)
        self.controller = nn.LSTM(input_size + width, hidden_size)
        self.heads = nn.ModuleList(Head(self.memory, hidden_size, writes=writes) for writes in (False, True))
        self.output = nn.Linear(hidden_size + width, output_size)
        self.hidden_size = hidden_size

    def forward(self, inputs: Tensor) -> Tensor:
        size = len(inputs)
        self.memory.reset(size)
        read = inputs.new_zeros(size, self.memory.width)
        state = (inputs.new_zeros(1, size, self.hidden_size), inputs.new_zeros(1, size, self.hidden_size))
        weights = [F.one_hot(inputs.new_zeros(size, dtype=torch.long), self.memory.slots).float() for _ in self.heads]
        outputs = []
        for x in inputs.unbind(1):
            hidden, state = self.controller(torch.cat([x, read], dim=1).unsqueeze(0), state)
            for index, head in enumerate(self.heads):
                found, weights[index] = head(hidden[0], weights[index])
                read = found if found is not None else read
            outputs.append(self.output(torch.cat([hidden[0], read], dim=1)).sigmoid())
        return torch.stack(outputs, dim=1)
