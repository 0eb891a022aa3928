"""Targets that half precision does not round: with `bf16-true` a Trainer converts all numbers of a batch."""

from typing import Any

import lightning as L

from lightning_ntm.training.user_batches import targets_of, with_targets


class _KeepsTargets:
    """Converts a batch as a Trainer does, except for its targets.

    Args:
        trainer: The Trainer. It converts the batches of modules of other kinds as before.
        kind: Of the modules whose targets are kept.
    """

    def __init__(self, trainer: L.Trainer, kind: type[L.LightningModule]):
        self.trainer, self.kind, self.convert = trainer, kind, trainer.precision_plugin.convert_input

    def __call__(self, data: Any) -> Any:
        converted, targets = self.convert(data), targets_of(data)
        if targets is None or not isinstance(self.trainer.lightning_module, self.kind):
            return converted
        return with_targets(converted, targets)


def keep_targets(trainer: L.Trainer, kind: type[L.LightningModule]) -> None:
    """Let a Trainer of half precision leave the targets of a batch as they are.

    In bfloat16 the target 329 is 328. The loss is computed in float32, and needs the targets in it.

    Args:
        trainer: The Trainer.
        kind: Of the modules whose batches are episodes.
    """
    plugin: Any = trainer.precision_plugin
    if trainer.precision in ("bf16-true", "16-true") and not isinstance(plugin.convert_input, _KeepsTargets):
        plugin.convert_input = _KeepsTargets(trainer, kind)
