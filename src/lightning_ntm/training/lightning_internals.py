"""What Lightning knows and offers no public name for.

`tests/test_private_names.py` lists the names, and the version of Lightning with which they were checked.
"""

from typing import Any

import lightning as L


def current_datamodule(trainer: L.Trainer | None) -> Any:
    """Return the datamodule of the call under way, or `None`; `Trainer.datamodule` may be that of an earlier call."""
    selector = None if trainer is None else trainer._data_connector._datahook_selector
    if selector is None or selector.datamodule is None:
        return None
    return getattr(trainer, "datamodule", None)  # of one member, where several train side by side
