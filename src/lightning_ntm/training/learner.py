"""The system that is trained: a network, a loss, an optimiser."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_ntm.checks import between, one_of
from lightning_ntm.evaluation.device import HostCopy, works_ahead
from lightning_ntm.evaluation.noise import HeadNoise, WeightNoise, check_head_noise
from lightning_ntm.kernels.loss import Loss
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.answers import Bits
from lightning_ntm.tasks.batch import Batch
from lightning_ntm.training.drawn import DrawsForBatches
from lightning_ntm.training.hyperparameters import check_parts, hyperparameters
from lightning_ntm.training.late_check import LateCheck, first_fault
from lightning_ntm.training.loss import fused_loss, learner_refusal, loss_refusal, methods_between
from lightning_ntm.training.optimizer import clip, default_optimizer, late_decay, together, total_norm, with_schedule
from lightning_ntm.training.own_trainer import InOwnTrainer
from lightning_ntm.training.safety import DivergenceError, largest_gradients
from lightning_ntm.training.short_step import ShortStep, TakesShortSteps, step_refusal
from lightning_ntm.training.slots import check_slots

OptimizerFactory = Callable[[Iterable[Any]], torch.optim.Optimizer]
SchedulerFactory = Callable[[torch.optim.Optimizer], LRScheduler | ReduceLROnPlateau]


class SequenceLearner(DrawsForBatches, TakesShortSteps, InOwnTrainer):
    """Trains any `MemoryModel` on the batches of any `Task`, by the cost of the task's answer.

    In a Trainer of your own the answer is that of the datamodule's `task`. Without one it is that of the last training,
    also of a training in a checkpoint; before any training it is `Bits(model.output_size)`.
    Loss and measures are logged as `train_loss`, `validation_loss`, `test_loss` and so on, with the names of a run's
    metrics. Batches may also be tuples `(inputs, targets)`, `(inputs, targets, mask)` or dictionaries with these names.
    `load_from_checkpoint(path)` restores the learner if network, optimizer and scheduler are classes, or
    `functools.partial` of classes, with plain values as arguments.

    Args:
        model: The network.
        optimizer: Makes the optimiser from the parameters.
        scheduler: Makes the schedule of the learning rate from the optimiser. It advances with every step, or with
            every validation if it watches a plateau.
        decay_after: Without a scheduler, the share of all steps after which the learning rate falls
            linearly to zero, in [0, 1]; 1 keeps it to the end.
        loss: `mean` over all units (bits, symbols, numbers) of the answers in a batch, or `sum` over each answer and
            mean over the batch.
        on_nonfinite: `stop` with `DivergenceError` at a loss or gradient that is not finite, or `skip` that step.
        min_memory_slots: Lowest number of memory slots in training. Each batch has a random number of slots, from this
            number to all slots of the network, so that the network cannot rely on unused slots. 0 always trains with
            all.
        weight_noise: Standard deviation of Gaussian noise on the weights, in [0, 1], drawn for each batch, for its
            forward and backward pass. Networks that rely on a slow drift of their state then fail in training. 0 adds
            no noise; validation never has noise.
        noise_warmup: Share of all steps in which noise rises linearly from 0, in [0, 1]; see `Noise`.
        head_noise: Standard deviation of Gaussian noise on the parameters of the heads of an NTM, at least 0, drawn for
            each step of each episode of training, before the activations; see `HeadNoise`. Heads then learn to move
            without an error. Only short steps are fast with it.
        answer: Kind of the answers, as `Symbols(5)` of `lightning_ntm.tasks.answers`; by default the one above.
    """

    def __init__(
        self,
        model: MemoryModel,  # type: ignore[type-arg]  # LightningCLI makes no subclass of `MemoryModel[Any]`
        optimizer: OptimizerFactory = default_optimizer,
        scheduler: SchedulerFactory | None = None,
        decay_after: float = 0.5,
        loss: Literal["mean", "sum"] = "mean",
        on_nonfinite: Literal["stop", "skip"] = "stop",
        min_memory_slots: int = 0,
        weight_noise: float = 0.0,
        noise_warmup: float = 0.0,
        head_noise: float = 0.0,
        answer: Answer | None = None,
    ):
        super().__init__()
        self.save_hyperparameters(hyperparameters(locals()))
        one_of(("mean", "sum"), loss=loss)
        one_of(("stop", "skip"), on_nonfinite=on_nonfinite)
        between(0, 1, decay_after=decay_after, weight_noise=weight_noise, noise_warmup=noise_warmup)
        check_slots(model, min_memory_slots)
        check_head_noise(model, head_noise)
        check_parts(optimizer, scheduler, answer)
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.own_answer, self.answer = answer, answer or Bits(model.output_size)
        self.decay_after, self.loss, self.on_nonfinite = decay_after, loss, on_nonfinite
        self.min_memory_slots, self.noise = min_memory_slots, WeightNoise(weight_noise, noise_warmup)
        self.head_noise = HeadNoise(head_noise, noise_warmup)
        self.gradient_norm: float | Tensor = 0.0
        self.gradients: list[Tensor] | None = None  # of a short step
        self.latest_loss, self.in_run_folder = torch.zeros(()), False
        self.skipped, self.late_check = False, LateCheck()
        self.losses: list[Tensor] = []  # of the batches of the step under way
        self.latest_outputs: dict[str, Tensor | None] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. `nn.Module` first asks if it is a module: Lightning sets a name 50 times in each step."""
        attributes = self.__dict__  # parameters, modules and buffers are elsewhere
        if name in attributes and (value is None or type(value) in _PLAIN):
            attributes[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, inputs: Tensor, slots: int | None = None, lengths: Tensor | None = None) -> Tensor:
        """Return the logits of whole sequences, with so many memory slots or, by default, all; see `MemoryModel`."""
        return self.model(inputs, self._start(inputs, slots), *([] if lengths is None else [lengths]))[0]

    def _start(self, inputs: Tensor, slots: int | None) -> Any:
        start: Any = self.model.initial_state
        return None if slots is None else start(len(inputs), slots=slots)

    def _fused_loss(self, batch: Batch, slots: int | None) -> Loss | None:
        if learner_refusal(self, _METHODS):
            return None
        return fused_loss(self.model, self._objective, batch, slots=slots, scaled=self._scales_loss())

    def loss_refusal(self, inputs: Tensor) -> str | None:
        """Return why loss and gradients are not computed in one call for such inputs, or `None` if they are."""
        return learner_refusal(self, _METHODS) or loss_refusal(
            self.model, self._objective, inputs, scaled=self._scales_loss()
        )

    def step_refusal(self) -> str | None:
        """Return why training steps are not short, or `None` if they are; see `ShortStep`."""
        if type(self) is not SequenceLearner:
            return f"the learner is a {type(self).__name__}."
        return learner_refusal(self, _METHODS) or step_refusal(self.trainer, self.model, self.prepared())

    def _scales_loss(self) -> bool:
        return self.trainer.accumulate_grad_batches != 1 or type(self).backward is not InOwnTrainer.backward

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor | None]:
        """Return the loss, and what measuring it needs."""
        batch = self.episodes(batch)
        slots = self.begin_batch()
        noise = self.noise_of_heads(batch)
        short = None if self.short is None else self.short.losses([batch], [slots], [noise])
        if short is None or self.short is None:
            self.gradients = None
            with self.head_noise.added(self.model, noise):
                found = self._fused_loss(batch, slots) or self.loss_of(self._answered(batch, slots), batch)
        else:
            self.gradients, (found,) = self.short.gradients[0], short
        return self.outputs(found, batch)

    def loss_of(self, logits: Tensor, batch: Batch) -> Loss:
        """Return the loss of the network's answer to a batch."""
        return self._objective.of(logits, batch)

    def outputs(self, found: Loss, batch: Batch) -> dict[str, Tensor | None]:
        """Return what a training step returns for a loss."""
        loss, costs, logits, errors = found
        self.latest_loss = loss.detach()
        trainer = self._attached_to()
        self.losses = [*self.losses, self.latest_loss][-(trainer.accumulate_grad_batches if trainer else 1) :]
        if self.logs_itself:
            self.log_training(self.latest_loss, costs, logits, batch)
        # Lightning divides "loss" when gradients are accumulated; "undivided" is what is measured.
        undivided = self.latest_loss
        outputs = {"loss": loss, "undivided": undivided, "costs": costs, "logits": logits, "errors": errors}
        self.latest_outputs = None if self.logs_itself else outputs
        return outputs

    def on_after_backward(self) -> None:
        """Take the noise off the weights again."""
        self.noise.take_off()

    def on_train_start(self) -> None:
        """Forget the last step of an earlier training that ended with an error; take short steps if possible."""
        self.late_check = LateCheck()
        self.gradients = None
        if self.in_run_folder and not self.step_refusal():
            self.begin_short_steps(ShortStep([self.model], [self.prepared()]))

    def on_validation_start(self) -> None:
        """Check that the last step was finite before a validation."""
        self.check_last_step()

    def on_train_epoch_end(self) -> None:
        """Check that the last step was finite before the end."""
        self.check_last_step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the last step was finite, and save the weights without noise, even in the middle of a batch."""
        super().on_save_checkpoint(checkpoint)
        self.check_last_step()
        checkpoint["state_dict"].update(self.noise.without(self.named_parameters()))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Measure the gradient, check that it is finite, and clip it.

        On a GPU the check comes one step later; a step with a gradient that is not finite is undone.

        Raises:
            DivergenceError: Gradient or loss is not finite, and `on_nonfinite` is `stop`.
        """
        gradients = self.gradients or together([p.grad for p in self.parameters() if p.grad is not None])
        late = self.gradients is None and self._checks_late()
        norm = total_norm(gradients, clipped=bool(gradient_clip_val), unread=late)
        if late:
            self._check_late(norm, optimizer)
        else:
            self._check(norm)
        if self.skipped and not self._scales_gradients():
            self.zero_grad()  # not the optimizer's: it may train other networks, too
        elif gradient_clip_val and self.holds_whole_gradients():  # those of this network alone; see above
            if gradient_clip_algorithm == "value":
                torch.nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
            elif late:
                torch.nn.utils.clip_grads_with_norm_(self.parameters(), gradient_clip_val, norm)
            else:
                clip(gradients, gradient_clip_val, norm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        self.begin_update(optimizer)

    def _check(self, norm: Tensor) -> None:
        """See that a step is finite before it is taken."""
        self.gradient_norm = float(norm)
        losses = list(map(float, self._losses_of_step()))
        self.skipped = not all(map(math.isfinite, (self.gradient_norm, *losses)))
        if self.skipped and self.on_nonfinite == "stop" and not self._scales_gradients():
            numbers = self._batches_of_step(len(losses))
            raise self._divergence(*first_fault(self.trainer.global_step + 1, numbers, losses))

    def _check_late(self, norm: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """See that the step before was finite, and let this one be taken, to be checked later."""
        self.gradient_norm = norm
        losses = self._losses_of_step()
        measured = HostCopy(torch.stack([*losses, norm.to(self.latest_loss)]))
        self.check_last_step()
        tensors = [*self.parameters(), *self.buffers()]
        numbers = self._batches_of_step(len(losses))
        self.late_check.begin(self.trainer.global_step + 1, numbers, measured, tensors, optimizer)

    def _losses_of_step(self) -> list[Tensor]:
        """Return the losses of the batches whose gradients are added up, and forget them."""
        losses, self.losses = [*self.losses[:-1], self.latest_loss], []
        return losses

    def _batches_of_step(self, count: int) -> list[int]:
        """Return the numbers of the last batches, so many."""
        last, apart = self._batch_number(), self.trainer.world_size
        return [last - apart * ago for ago in reversed(range(count))]

    def check_last_step(self) -> None:
        """Check that the last step was finite, if that was not checked before its update.

        Raises:
            DivergenceError: It was not finite; weights, gradients and optimiser state are set back to those before its
                update.
        """
        if fault := self.late_check.fault():
            self.noise.take_off()  # of the batch under way: what is without it is not finite either
            self.late_check.undo()
            raise self._divergence(*fault)

    def _divergence(self, step: int, batch: int, loss: float) -> DivergenceError:
        return DivergenceError(step, batch, loss, largest_gradients(self.model))

    def _checks_late(self) -> bool:
        # A step to be skipped must not be taken at all: the next one would begin with other weights.
        late = works_ahead(self.device) and self.on_nonfinite == "stop"
        return late and self.holds_whole_gradients() and not self._scales_gradients()

    def _scales_gradients(self) -> bool:
        """Return whether a scaler of mixed precision looks after gradients that are not finite."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def on_validation_epoch_end(self) -> None:
        """Pass the result of the validation to a scheduler that watches a plateau."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau) and not self.trainer.sanity_checking:
            scheduler.step(float(self.trainer.callback_metrics["validation_loss"]))

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule.

        Raises:
            ValueError: The optimiser cannot take a step with its settings, or its `eps` is 0 in float16.
        """
        return self.optimizers_for(self.model.parameters())

    def optimizers_for(self, parameters: Iterable[nn.Parameter]) -> dict[str, Any]:
        """Return the optimiser of these parameters and its schedule, as `configure_optimizers`."""
        make = self.scheduler or (lambda optimizer: late_decay(optimizer, self.decay_after, self._all_steps))
        return with_schedule(self.optimizer(parameters), make)


_PLAIN = (str, bool, float, list, dict, Tensor)  # types of attributes that are set as they are
_METHODS = methods_between(SequenceLearner)
