"""NTM and DNC as most PyTorch implementations write them, in operations of PyTorch.

`step.py`, `gpu.py` and `dnc.py` compare with them. They have the same equations as our networks. The NTM has
one module per head, and a loop over the batch for the shift. The DNC has one layer for each part of the interface,
sorts the usage in each step, and updates the links in several operations over the whole matrix.
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


class DNCMemoryOfTensors(nn.Module):
    """The memory of a DNC; what it remembers is a dictionary of tensors."""

    def __init__(self, input_size: int, slots: int, width: int, reads: int):
        super().__init__()
        self.slots, self.width, self.reads = slots, width, reads
        sizes = {"read_keys": reads * width, "read_strengths": reads, "write_key": width, "write_strength": 1}
        sizes |= {"erase": width, "write": width, "free_gates": reads, "allocation_gate": 1, "write_gate": 1}
        self.layers = nn.ModuleDict({name: nn.Linear(input_size, size) for name, size in sizes.items()})
        self.layers["modes"] = nn.Linear(input_size, 3 * reads)
        self.register_buffer("diagonal", 1 - torch.eye(slots))

    def reset(self, batch_size: int) -> dict[str, Tensor]:
        shapes = {"memory": (self.slots, self.width), "link": (1, self.slots, self.slots), "usage": (self.slots,)}
        shapes |= {"precedence": (1, self.slots), "read_weights": (self.reads, self.slots), "write": (1, self.slots)}
        like = self.diagonal
        return {name: like.new_zeros(batch_size, *shape) for name, shape in shapes.items()}

    def content(self, memory: Tensor, keys: Tensor, strengths: Tensor) -> Tensor:
        lengths = (memory.square().sum(2, keepdim=True) + 1e-12).sqrt(), (keys.square().sum(2) + 1e-12).sqrt()
        similarity = torch.bmm(keys, (memory / lengths[0]).transpose(1, 2)) / lengths[1].unsqueeze(2)
        return F.softmax(similarity * strengths.unsqueeze(2), dim=2)

    def allocation(self, usage: Tensor) -> Tensor:
        # Ties as our network has them: otherwise the two would write to different slots.
        steps = 1e-6 * torch.arange(self.slots, dtype=usage.dtype)
        order = torch.sort(usage.detach() + steps, dim=1, stable=True)[1]
        ordered = usage.gather(1, order)
        before = torch.cat([torch.ones_like(ordered[:, :1]), ordered], dim=1).cumprod(dim=1)[:, :-1]
        back = torch.sort(order, dim=1)[1]
        return ((1 - ordered) * before).gather(1, back)

    def links(self, link: Tensor, write: Tensor, precedence: Tensor) -> Tensor:
        to, source = write.unsqueeze(3), write.unsqueeze(2)
        scale = 1 - to - source
        added = torch.matmul(to, precedence.unsqueeze(2))
        return self.diagonal.expand_as(link) * (scale * link + added)

    def forward(self, hidden: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        p = {name: layer(hidden) for name, layer in self.layers.items()}
        size = len(hidden)
        read_keys, erase = p["read_keys"].view(size, self.reads, self.width), p["erase"].sigmoid()
        free, modes = p["free_gates"].sigmoid(), F.softmax(p["modes"].view(size, self.reads, 3), dim=2)
        allocation_gate, write_gate = p["allocation_gate"].sigmoid(), p["write_gate"].sigmoid()
        kept = torch.prod(1 - free.unsqueeze(2) * state["read_weights"], dim=1)
        usage = (state["usage"] + (1 - state["usage"]) * state["write"].squeeze(1)) * kept
        content = self.content(state["memory"], p["write_key"].unsqueeze(1), 1 + F.softplus(p["write_strength"]))
        allocation = self.allocation(usage).unsqueeze(1)
        allocation_gate, write_gate = allocation_gate.unsqueeze(2), write_gate.unsqueeze(2)
        write = write_gate * (allocation_gate * allocation + (1 - allocation_gate) * content)
        erased = torch.bmm(write.transpose(1, 2), erase.unsqueeze(1))
        memory = state["memory"] * (1 - erased) + torch.bmm(write.transpose(1, 2), p["write"].unsqueeze(1))
        link = self.links(state["link"], write, state["precedence"])
        precedence = (1 - write.sum(dim=2, keepdim=True)) * state["precedence"] + write
        found = self.content(memory, read_keys, 1 + F.softplus(p["read_strengths"]))
        along = torch.matmul(state["read_weights"].unsqueeze(1), link.transpose(2, 3)).squeeze(1)
        against = torch.matmul(state["read_weights"].unsqueeze(1), link).squeeze(1)
        looks = modes[..., 0:1] * against + modes[..., 1:2] * found + modes[..., 2:3] * along
        reads = torch.bmm(looks, memory).flatten(1)
        after = {"memory": memory, "link": link, "usage": usage, "precedence": precedence, "read_weights": looks}
        return reads, {**after, "write": write}


class ModulePerPartDNC(nn.Module):
    """A DNC in this structure."""

    def __init__(self, input_size: int, output_size: int, hidden_size: int, slots: int, width: int, reads: int):
        super().__init__()
        self.controller = nn.LSTM(input_size + reads * width, hidden_size)
        self.memory = DNCMemoryOfTensors(hidden_size, slots, width, reads)
        self.output = nn.Linear(hidden_size + reads * width, output_size)
        self.hidden_size = hidden_size

    def forward(self, inputs: Tensor) -> Tensor:
        size, outputs, memory = len(inputs), [], self.memory.reset(len(inputs))
        reads = inputs.new_zeros(size, self.memory.reads * self.memory.width)
        state = (inputs.new_zeros(1, size, self.hidden_size), inputs.new_zeros(1, size, self.hidden_size))
        for x in inputs.unbind(1):
            hidden, state = self.controller(torch.cat([x, reads], dim=1).unsqueeze(0), state)
            reads, memory = self.memory(hidden[0], memory)
            outputs.append(self.output(torch.cat([hidden[0], reads], dim=1)))
        return torch.stack(outputs, dim=1)

    @torch.no_grad()
    def take(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of our DNC with an LSTM controller of one layer."""
        both = weights["controller.layers.0.weight"], weights["controller.layers.0.bias"]
        of_inputs = self.controller.input_size
        for name, tensor in (("weight_ih_l0", both[0][:, :of_inputs]), ("weight_hh_l0", both[0][:, of_inputs:])):
            getattr(self.controller, name).copy_(tensor)
        self.controller.bias_ih_l0.copy_(both[1])
        self.controller.bias_hh_l0.zero_()
        order = ("read_keys", "write_key", "write", "erase", "free_gates", "allocation_gate", "write_gate")
        order += ("read_strengths", "write_strength", "modes")
        layers = [self.memory.layers[name] for name in order]
        sizes = [layer.out_features for layer in layers]
        for layer, weight, bias in zip(
            layers, weights["heads.weight"].split(sizes), weights["heads.bias"].split(sizes), strict=True
        ):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        self.output.weight.copy_(weights["output.weight"])
        self.output.bias.copy_(weights["output.bias"])
