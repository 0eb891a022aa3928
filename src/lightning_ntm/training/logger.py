"""Where Lightning's loggers write in a run folder."""

from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from lightning_ntm.records import RunFolder


class JsonLinesLogger(Logger):
    """Adds what is measured to the metrics of a run folder, one line a logged step."""

    def __init__(self, folder: RunFolder):
        super().__init__()
        self.folder = folder

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.place.name

    @property
    def version(self) -> str:
        """Nothing: a run has one version."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a line."""
        self.folder.append({"step": step, **metrics})

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration is in the folder."""
