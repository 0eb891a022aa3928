"""One training among several in one loop."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor

from lightning_ntm.measures import Measures
from lightning_ntm.records import RunFolder, printable
from lightning_ntm.training.callbacks import StopWhenSolved
from lightning_ntm.training.data import EpisodeData
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.logger import JsonLinesLogger
from lightning_ntm.training.progress import validation_line
from lightning_ntm.training.recorded import RecordedRun
from lightning_ntm.training.refusals import check_stop
from lightning_ntm.training.run import recorder_of
from lightning_ntm.training.safety import KeepLock, PartialGradients, RandomStates
from lightning_ntm.training.steps_kept import steps_keepers


class Member:
    """One training among several in one loop.

    Args:
        learner: The network with its loss and optimizer.
        data: The episodes.
        trainer: Arguments of the Lightning Trainer.
        folder: The run folder.
        config: The resolved configuration, as YAML.
        resume: Resume from the training state in the folder instead of creating the folder.
        stop_when_solved: End after this many validations in a row without an error; 0 never.
        keep_weights_every: Steps between weights that are kept in the folder `weights`; 0 keeps none.
        tell: Is told what `ntm train` prints.
        command: Words of the command line that would train the run alone, to be recorded.
    """

    def __init__(
        self,
        learner: SequenceLearner,
        data: EpisodeData,
        trainer: dict[str, Any],
        folder: RunFolder,
        config: str,
        *,
        resume: bool = False,
        stop_when_solved: int = 0,
        keep_weights_every: int = 0,
        tell: Callable[[str], object] = print,
        command: Sequence[str] = (),
    ):
        check_stop(stop_when_solved, trainer)
        self.learner, self.data, self.folder, self.options = learner, data, folder, trainer
        self.stop_when_solved, self.tell, self.command = stop_when_solved, tell, command
        self.keep_weights_every = keep_weights_every
        self.random = OwnRandomStates()
        self.modes = [(module, module.training) for module in learner.model.modules()]
        self.record = RecordedRun(
            learner, data, folder, config, resume=resume, recorder=recorder_of(trainer, data), writes=True
        )
        #: Why the training ended, if it did.
        self.end: Exception | None = None
        self.done, self.result = False, dict[str, Any]()

    @property
    def left(self) -> bool:
        """Whether the training has ended."""
        return self.done or self.end is not None

    def attach(self, trainer: L.Trainer, number: int, together: int) -> None:
        """Take part in a training as the member of this number, of so many.

        What the callbacks have counted so far is in the training state.
        """
        for module, mode in self.modes:  # a training that ended in a validation left others
            module.training = mode
        self.trainer = MemberTrainer(trainer, self, number)
        self.learner.trainer = self.trainer
        self.record.measure_by(recorder_of(self.options, self.data))
        self.record.recorder.share = 1 / together
        self.hooks: dict[str, list[Callable[..., object]]] = {}
        self.callbacks: list[Callback] = [
            KeepLock(lambda: self.record.claim),
            self.record.recorder,
            _Lines(self.data.task.answer.measures, self.tell),
            *([StopWhenSolved(self.stop_when_solved)] if self.stop_when_solved else []),
            self.random,
            PartialGradients(self.learner),
            self.record.keeper,
            *steps_keepers(self.folder, self.learner.model, self.keep_weights_every),
        ]

    def call(self, hook: str, *args: Any) -> None:
        """Call a hook of the callbacks that have it."""
        if hook not in self.hooks:  # looked up once: some are called in each step
            inherited = getattr(Callback, hook)
            own = [callback for callback in self.callbacks if getattr(type(callback), hook) is not inherited]
            self.hooks[hook] = [getattr(callback, hook) for callback in own]
        for call in self.hooks[hook]:
            call(self.trainer, self.learner, *args)

    def states(self) -> dict[str, Any]:
        """Return the states of the callbacks, as Lightning has them in a training state."""
        states = {callback.state_key: callback.state_dict() for callback in self.callbacks}
        return {key: state for key, state in states.items() if state}

    def load_states(self, states: dict[str, Any]) -> None:
        """Go on from the states in a training state."""
        for callback in self.callbacks:
            if callback.state_key in states:
                callback.load_state_dict(states[callback.state_key])

    def begin(self, together: int) -> None:
        """Record that training has begun, with so many members."""
        if not self.record.began:
            self.tell(f"{printable(self.folder.place.name)}: means over sequences in validation")
            command = {"command": list(self.command)} if self.command else {}
            self.record.begin(self.trainer, side_by_side=together, **command)

    def finish(self, step: int) -> None:
        """End the training as one that was trained to its end."""
        self.record.check_began(step)
        self.result = self.record.finish(step)
        self.done = True
        self.record.close()

    def fail(self, error: Exception) -> None:
        """End the training by an error."""
        self.end = error
        self.record.close()


class _Lines(Callback):
    """Writes a line for each validation."""

    def __init__(self, measures: Measures, tell: Callable[[str], object]):
        self.measures, self.tell = measures, tell

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.tell(validation_line(trainer, self.measures))


class MemberTrainer(L.Trainer):
    """The Trainer as one member sees it: the one of all, with what is the member's own."""

    def __init__(self, trainer: L.Trainer, member: Member, number: int):
        # Not the init of a Trainer: what is not set here is that of the Trainer of all.
        self.together, self.member, self.prefix = trainer, member, prefix_of(number)
        self.written: list[Logger] = [JsonLinesLogger(member.folder)]
        self.should_stop = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.together, name)

    @property
    def datamodule(self) -> EpisodeData:
        """The episodes of the member."""
        return self.member.data

    @property
    def callbacks(self) -> list[Callback]:
        """The callbacks of the member."""
        return self.member.callbacks

    @property  # type: ignore[misc] # read-only
    def loggers(self) -> list[Logger]:
        """The logger of the member's folder."""
        return self.written

    @property  # type: ignore[misc] # read-only
    def ckpt_path(self) -> Any:
        """The training state that the member was resumed from."""
        return self.member.folder.last if self.member.record.goes_on() else None

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """What validation measured of the member."""
        seen = self.together.callback_metrics
        return {name.removeprefix(self.prefix): seen[name] for name in seen if name.startswith(self.prefix)}


def prefix_of(number: int) -> str:
    """Return what the names of a member's measures begin with."""
    return f"{number}/"


class OwnRandomStates(RandomStates):
    """The random states of one member. The members in turn have theirs in PyTorch's generator, the one networks use."""

    def __init__(self) -> None:
        super().__init__()
        self.now = super().state_dict()

    @property
    def state_key(self) -> str:
        """That of the states of a run alone."""
        return RandomStates.__qualname__

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the states of the member in PyTorch's generator."""
        torch.set_rng_state(self.now["torch"])
        yield
        self.now = {**self.now, "torch": torch.get_rng_state()}

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the member."""
        return self.now

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with saved states.

        Raises:
            ValueError: The states are invalid.
        """
        super().load_state_dict(state_dict)
        self.now, self.saved = state_dict, None
