"""Several runs in one loop: trains networks side by side and writes the run folder of each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.optim import LBFGS, SparseAdam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.training.callbacks import NoProfiler
from lightning_ntm.training.processes import plugins_of
from lightning_ntm.training.refusals import backend_of
from lightning_ntm.training.side_by_side.loop import refusal
from lightning_ntm.training.side_by_side.member import Member
from lightning_ntm.training.side_by_side.module import Members, RegroupError, SideBySide, SideBySideData
from lightning_ntm.training.side_by_side.states import MembersCheckpointIO
from lightning_ntm.training.states import training_state


class SideBySideRun:
    """Trains networks side by side, each into its own run folder.

    Each run trains as `Run` trains it alone: with the same bits where a kernel runs the network, up to rounding where
    none does and all networks are run at once. A run that ends before the others, since it is solved,
    diverges or loses its folder, leaves; runs that were resumed at different steps join when they have the same step.

    Args:
        members: The runs. They differ in seed and folder only.
        trainer: Arguments of the Lightning Trainer.

    Raises:
        ValueError: They cannot be trained side by side; or a folder exists or cannot be resumed, as for `Run`.
    """

    def __init__(self, members: Sequence[Member], trainer: dict[str, Any]):
        if reason := why_alone(members, trainer):
            raise ValueError(f"the runs cannot be trained side by side: {reason}")
        self.members, self.options = members, {**trainer, "plugins": plugins_of(trainer)}
        trial = L.Trainer(**{**self.options, "logger": False})
        if (device := trial.strategy.root_device.type) != "cpu":
            raise ValueError(f"the runs cannot be trained side by side: they train on {device}, not on a CPU.")
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
        models = [member.learner.model for member in members]
        self.at_once = backend_of(trial, models[0], members[0].data.task) == "reference"
        if self.at_once and (reason := _head_noise(members) or refusal(models, _longest(members))):
            raise ValueError(f"the runs cannot be trained side by side: no kernel runs the network, and {reason}")
        with self._closing_after_errors():
            for member in members:
                member.record.open(trial, saves=True)
        self.steps = [_step(member) for member in members]

    def fit(self) -> None:
        """Train all members. How each ended is in its `done` and `end`.

        Raises:
            InterruptionError: A signal ended the trainings after a complete step. The step is saved.
            ValueError: Training could not begin. New folders are removed again.
            OSError: A file cannot be written. Files that were written before are complete.
        """
        with self._closing_after_errors():
            while training := [i for i, member in enumerate(self.members) if not member.left]:
                least = min(self.steps[i] for i in training)
                together = [i for i in training if self.steps[i] == least]
                until = min((self.steps[i] for i in training if self.steps[i] > least), default=None)
                reached = self._train([self.members[i] for i in together], until)
                for i in together:
                    self.steps[i] = reached

    def _train(self, members: Sequence[Member], until: int | None) -> int:
        """Train members until they end or the members change. Return their step."""
        trainer, module = self._trainer(members, until), SideBySide(members, at_once=self.at_once)
        state = members[0].folder.last if members[0].record.goes_on() else None
        if state and trainer.precision == "64-true":
            module.double()  # as in `Run`
        try:
            trainer.fit(module, datamodule=SideBySideData(members), ckpt_path=state, weights_only=True)
        except RegroupError:
            for member in members:
                member.record.resume = True
        except Exception as error:
            if all(member.record.began for member in members):
                raise
            for member in members:
                member.record.abandon()
            raise ValueError(f"training cannot begin: {type(error).__name__}: {error}") from error
        else:
            for member in members:
                if not member.left:
                    member.finish(trainer.global_step)
        finally:
            module.end_short_steps()
        return int(trainer.global_step)

    def _trainer(self, members: Sequence[Member], until: int | None) -> L.Trainer:
        return L.Trainer(
            **{
                **self.options,
                "default_root_dir": members[0].folder.path,
                "logger": False,
                "enable_progress_bar": False,
                "enable_checkpointing": False,
                "callbacks": [Members(members, until)],
                "plugins": [MembersCheckpointIO(members), *self.options["plugins"]],
                "profiler": NoProfiler(),
            }
        )

    @contextmanager
    def _closing_after_errors(self) -> Iterator[None]:
        """Let go of all folders after an error."""
        try:
            yield
        except BaseException:
            for member in self.members:
                member.record.close()
            raise


def _head_noise(members: Sequence[Member]) -> str | None:
    deviation = members[0].learner.head_noise.deviation
    return f"head_noise is {deviation}." if deviation else None


def _longest(members: Sequence[Member]) -> list[Tensor]:
    """Return inputs of each member, some as long as any in training, the others shorter."""
    data = members[0].data
    inputs = next(chunks(data.task, data.seed, "validation", 2, data.task.difficulty)).inputs
    return [inputs[:, : -(-inputs.shape[1] // (1 + number % 3))] for number in range(len(members))]


def _step(member: Member) -> int:
    """Return the step from which a member goes on."""
    if not member.record.goes_on():
        return 0
    return int(training_state(member.learner.model, member.folder.last)["global_step"])


#: Arguments of the Trainer that may have any value.
_ANY = {
    "max_steps", "max_epochs", "min_steps", "min_epochs", "val_check_interval", "check_val_every_n_epoch",
    "log_every_n_steps", "gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "limit_val_batches",
    "limit_test_batches", "limit_predict_batches", "num_sanity_val_steps", "overfit_batches", "enable_progress_bar",
    "enable_model_summary", "default_root_dir", "deterministic", "benchmark", "inference_mode",
    "use_distributed_sampler", "enable_autolog_hparams", "sync_batchnorm", "accelerator",
}  # fmt: skip
#: The values of those that may have some.
_SOME: dict[str, tuple[Any, ...]] = {
    "devices": ("auto", 1, "1"), "num_nodes": (1,), "strategy": ("auto",), "enable_checkpointing": (None, True),
    "precision": (None, "32", 32, "32-true", "64", 64, "64-true"), "accumulate_grad_batches": (1,),
}  # fmt: skip


def _shapes(member: Member) -> list[tuple[Any, ...]]:
    return [(name, p.shape, p.dtype) for name, p in member.learner.model.named_parameters()]


def why_alone(members: Sequence[Member], trainer: dict[str, Any]) -> str | None:
    """Return why runs are trained alone, each with a Trainer of its own; or `None`."""
    for name, value in trainer.items():
        if name not in _ANY and value not in _SOME.get(name, ()) and value:
            return f"each has its own --trainer.{name}."
    for name in ("min_steps", "min_epochs") if any(member.stop_when_solved for member in members) else ():
        if trainer.get(name):
            return f"each ends when it is solved, but not before --trainer.{name}."
    learner = members[0].learner
    if any(_shapes(member) != _shapes(members[0]) for member in members):
        return "their networks have different parameters."
    optimizer = learner.optimizer(learner.model.parameters())
    if not type(optimizer).__module__.startswith("torch.optim.") or isinstance(optimizer, (LBFGS, SparseAdam)):
        return f"{type(optimizer).__name__} may not treat each parameter by itself."
    if len(optimizer.param_groups) > 1:
        return "the optimizer has several groups of parameters."
    schedule = learner.scheduler and learner.scheduler(optimizer)
    if isinstance(schedule, ReduceLROnPlateau) or not type(schedule).__module__.startswith(
        ("torch.optim.", "builtins")
    ):
        return f"{type(schedule).__name__} may depend on more than the step."
    return None
