"""The base class of all networks: the interface of a recurrent network with a memory."""

import abc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint

from lightning_ntm.checks import at_least, one_of
from lightning_ntm.kernels.choice import Kernel, choose, choose_kernel, chosen, load, prepare
from lightning_ntm.kernels.cpu.prepared import Prepared
from lightning_ntm.kernels.loss import Criterion, Loss, known_loss, obstacle
from lightning_ntm.kernels.plain import Part, Shapes
from lightning_ntm.models import lengths as padding
from lightning_ntm.models.parts import follow_parameters
from lightning_ntm.models.passed import check_state
from lightning_ntm.models.pretrained import Pretrained
from lightning_ntm.states import apart, named


@runtime_checkable
class NamedTensors(Protocol):
    """A `NamedTuple` of tensors, each with leading batch axes, and of further such tuples."""

    def _asdict(self) -> dict[str, Any]: ...


State = TypeVar("State", bound=NamedTensors)


class MemoryModel(Pretrained, nn.Module, abc.ABC, Generic[State]):
    """A recurrent network whose whole memory is in the state it returns.

    A subclass defines `initial_state` and a pure `step`. The base defines everything else: whole sequences, streaming,
    traces, and the choice of a kernel. Do not subclass a finished network to change its computation; pass another part.
    If a subclass overrides `step`, no kernel runs it. A subclass may override `observe` to record more in a trace.

    Args:
        input_size: Numbers per step of the input, at least 1.
        output_size: Logits per step of the output, at least 1.
        backend: `"auto"` takes the fastest program that can run a call, `"reference"` the loop over `step`. With the
            name of a kernel, this kernel runs the call, or an error gives the reason why it cannot.
        checkpoint_every: With gradients, save only the states between segments of this many steps, and compute each
            segment again in the backward pass. This saves memory and takes about a third more time. 0 saves everything.

    Shape:
        - inputs: `(batch, time, input_size)`, with at least one step
        - logits: `(batch, time, output_size)`, in the dtype of the parameters

    With parameters in float16 or bfloat16 the state of the networks here stays in float32.
    """

    kernels: ClassVar[dict[str, Kernel]] = {}
    #: Kernels for the loop of any model. A step must depend on its arguments and on the model alone.
    common_kernels: ClassVar[dict[str, Kernel]] = {
        "graphs": Kernel("lightning_ntm.kernels.graphs:run", "lightning_ntm.kernels.graphs:refusal")
    }
    #: Methods that `kernels` replace: if a subclass overrides one of them, no kernel runs.
    replaced_methods: ClassVar[tuple[str, ...]] = ("unroll", "step")

    def __init__(self, input_size: int, output_size: int, backend: str = "auto", checkpoint_every: int = 0):
        super().__init__()
        at_least(0, checkpoint_every=checkpoint_every)
        at_least(1, input_size=input_size, output_size=output_size)
        one_of(("auto", "reference", *self.all_kernels), backend=backend)
        prepare(self.all_kernels)
        self.input_size, self.output_size = input_size, output_size
        self.backend, self.checkpoint_every = backend, checkpoint_every
        self.register_load_state_dict_post_hook(follow_parameters)

    @property
    def reads_ahead(self) -> bool:
        """Whether logits depend on later inputs, so that the network must know where padding begins.

        Evaluation and training then pass `lengths` for padded episodes.
        """
        return False

    @property
    def all_kernels(self) -> dict[str, Kernel]:
        """The kernels of the class, then those of any model: `auto` takes the first that can run a call."""
        return {**self.kernels, **self.common_kernels}

    def replaced_parts(self) -> Iterator[Part]:
        """Yield the modules that `kernels` compute, linear layers in the order of `replaced_shapes`."""
        raise NotImplementedError(f"{type(self).__name__} has kernels and does not declare what they replace.")

    def replaced_shapes(self, batch_size: int, state: State) -> Shapes:
        """Return the shapes that the tensors of a state and the linear layers must have for `kernels`."""
        raise NotImplementedError(f"{type(self).__name__} has kernels and does not declare what they replace.")

    @abc.abstractmethod
    def initial_state(self, *batch: int) -> State:
        """Return the state before the first step of a sequence; each tensor begins with the axes `*batch`.

        A network whose number of memory slots may differ between sequences takes it as `slots`.
        """

    @abc.abstractmethod
    def step(self, x: Float[Tensor, "*batch inputs"], state: State) -> tuple[Float[Tensor, "*batch outputs"], State]:
        """Run one step. Pure: returns the next state, changes nothing."""

    def forward(
        self,
        inputs: Float[Tensor, "batch time inputs"],
        state: State | None = None,
        lengths: Int64[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time outputs"], State]:
        """Run a sequence; pass the returned state back in to continue it.

        Args:
            inputs: The sequences of a batch.
            state: Before the first step; by default `initial_state`.
            lengths: Steps of each sequence, at least 1, if shorter sequences are padded at their ends. The padding is
                ignored: its logits are 0, as in PyTorch's `pad_packed_sequence`, and the returned state is the one
                after each sequence's last step. By default all steps count.

        Raises:
            ValueError: Inputs, state or lengths have the wrong shape, a length is not within the steps of the inputs,
                or `backend` cannot run the call.
            TypeError: Inputs are not a tensor, lengths not a tensor of int64, or the state differs in type or dtype
                from the states that the network returns.
        """
        state = self._checked(inputs, state)
        if lengths is None:
            return self._sequence(inputs, state)
        run = padding.run_by_length if self.reads_ahead else padding.run_padded
        return run(self._sequence, inputs, state, padding.checked(lengths, inputs))

    def _sequence(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        if not self.checkpoint_every or not torch.is_grad_enabled():
            return self._segment(inputs, state)
        return run_in_segments(self._segment, inputs, state, self.checkpoint_every)

    def _segment(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        program = choose(self.all_kernels, self.backend, self, inputs, state)
        return program(self, inputs, state) if program else self.unroll(inputs, state)

    def backend_for(self, inputs: Float[Tensor, "batch time inputs"]) -> str:
        """Return the name of the backend that runs such inputs: `reference` or one of `all_kernels`."""
        return chosen(self.all_kernels, self.backend, self, inputs, self._checked(inputs, None))

    def loss_by_kernel(
        self,
        episodes: Sequence[Shaped[Tensor, "batch time ..."]],
        criterion: Criterion,
        state: State | None = None,
        *,
        slots: int | None = None,
        scaled: bool = True,
    ) -> Loss | None:
        """Return the loss of a sequence from a kernel that computes all gradients at once.

        The gradients are those that autograd would find for the loss of the logits that `forward` returns. They are
        given to the parameters by the loss's `backward`.

        Args:
            episodes: The inputs of a batch, and what else the loss depends on.
            criterion: Called with the logits and all episodes; returns loss, costs and the gradient of the logits.
                Equal criteria must return the same for the same arguments.
            state: Before the first step; by default `initial_state`.
            slots: Memory slots of the initial state, if `state` is not given; by default those of `initial_state`.
            scaled: Whether the loss may be multiplied before its backward, as for accumulated gradients. With
                `gradient_limit`, the kernel for GPUs cannot support that.

        Returns:
            The loss, or `None` if this is not possible; `loss_refusal` returns the reason.

        Raises:
            ValueError: Inputs or state have the wrong shape, or `backend` cannot run the call.
        """
        inputs = episodes[0]
        state = self._checked(inputs, state, slots)
        kernel = choose_kernel(self.all_kernels, self.backend, self, inputs, state)
        if kernel is None or kernel.loss is None or self._loss_refusal(kernel, episodes, scaled=scaled):
            return None
        found: Loss = load(kernel.loss)(self, episodes, state, criterion, scaled=scaled)
        return found

    def loss_refusal(self, inputs: Float[Tensor, "batch time inputs"], *, scaled: bool = True) -> str | None:
        """Return why `loss_by_kernel` returns `None` for such inputs, or `None` if it returns a loss."""
        kernel = choose_kernel(self.all_kernels, self.backend, self, inputs, self._checked(inputs, None))
        return self._loss_refusal(kernel, [inputs], scaled=scaled)

    def prepared_loss(self, inputs: Float[Tensor, "batch time inputs"], criterion: Criterion) -> Prepared | None:
        """Return what computes losses of such inputs again and again, as `loss_by_kernel`, or `None`.

        Criterion and network must stay as they are, except for the numbers in the parameters.
        """
        kernel = choose_kernel(self.all_kernels, self.backend, self, inputs, self._checked(inputs, None))
        known, refusal = known_loss(criterion), self._loss_refusal(kernel, [inputs], scaled=False)
        if known is None or refusal or kernel is None or kernel.prepared is None:
            return None
        found: Prepared = load(kernel.prepared)(self, known)
        return found

    def _loss_refusal(self, kernel: Kernel | None, episodes: Sequence[Tensor], *, scaled: bool) -> str | None:
        if kernel is None or kernel.loss is None:
            return "the backend that runs the network has no such kernel."
        if type(self).forward is not _FORWARD or "forward" in self.__dict__:
            return "the network has a forward of its own."
        return obstacle(self, episodes, scaled=scaled)

    def unroll(
        self, inputs: Float[Tensor, "batch time inputs"], state: State
    ) -> tuple[Float[Tensor, "batch time outputs"], State]:
        """Run the reference: a loop over `step`."""
        outputs = []
        for x in inputs.unbind(dim=1):
            logits, state = self.step(x, state)
            outputs.append(logits)
        return torch.stack(outputs, dim=1), state

    def observe(
        self, x: Float[Tensor, "*batch inputs"], state: State
    ) -> tuple[Float[Tensor, "*batch outputs"], State, dict[str, Tensor]]:
        """Run one step and return tensors for a trace: by default, those of the new state."""
        logits, state = self.step(x, state)
        return logits, state, named(state)

    @torch.no_grad()
    def trace(
        self, inputs: Float[Tensor, "batch time inputs"], state: State | None = None
    ) -> dict[str, Float[Tensor, "batch time ..."]]:
        """Run a sequence step by step and return all that `observe` returns, with a time axis.

        Returns:
            Tensors by name, each `(batch, time, ...)`; `"logits"` is always among them. What `observe` returns under
            this name is `"network.logits"`.
        """
        state, steps = self._checked(inputs, state), []
        for x in inputs.unbind(dim=1):
            logits, state, seen = self.observe(x, state)
            steps.append({"logits": logits, **apart(seen, {"logits"})})
        return {name: torch.stack([step[name] for step in steps], dim=1) for name in steps[0]}

    def _checked(self, inputs: Any, state: Any, slots: int | None = None) -> State:
        if not isinstance(inputs, Tensor):
            more = "; for sequences of different lengths pass lengths" if isinstance(inputs, PackedSequence) else ""
            expected = f"a tensor of shape (batch, time, {self.input_size})"
            raise TypeError(f"inputs must be {expected}, got {type(inputs).__name__}{more}.")
        if inputs.ndim != 3 or inputs.shape[-1] != self.input_size or inputs.shape[1] == 0:
            raise ValueError(
                f"inputs must have shape (batch, time, {self.input_size}) with at least one step, "
                f"got {tuple(inputs.shape)}."
            )
        if state is None:
            options = {} if slots is None else {"slots": slots}
            return self.initial_state(inputs.shape[0], **options)
        check_state(state, self._start_like(state), inputs.shape[:1])
        return state

    def _start_like(self, state: Any) -> State:
        """Return the initial state of one sequence; a passed state must have its types, shapes and dtypes."""
        return self.initial_state(1)


#: Of the class as it is defined here.
_FORWARD = MemoryModel.forward


def run_in_segments(
    run: Callable[[Tensor, Any], tuple[Tensor, Any]],
    inputs: Float[Tensor, "*batch time inputs"],
    state: Any,
    steps: int,
) -> tuple[Tensor, Any]:
    """Run a sequence in segments of `steps` steps; only the states between them are saved for the backward."""
    logits = []
    for segment in inputs.split(min(steps, inputs.shape[-2]), dim=-2):
        answered, state = checkpoint(run, segment, state, use_reentrant=False)
        logits.append(answered)
    return torch.cat(logits, dim=-2), state
