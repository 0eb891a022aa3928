"""Networks on the Hugging Face hub: repositories with `config.json`, `model.safetensors` and a model card."""

import re
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

from lightning_ntm.exchange.described import CONFIG, WEIGHTS
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.tasks.base import Task

#: The model card, which the hub shows first.
CARD = "README.md"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(name: str | PathLike[str]) -> bool:
    """Return whether a name is of the form `owner/name` and neither a path nor in a folder that exists here."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and not Path(name).parent.exists()


def downloaded(name: str | PathLike[str]) -> Path:
    """Download the network of a repository, unless it is in the cache, and return its folder.

    Raises:
        ValueError: The package is missing, there is no such repository, or the hub cannot be reached.
    """
    hub, name = _hub(str(name)), str(name)
    try:
        folder = hub.snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS])
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        raise ValueError(f"there is no folder {name}, and {_reason(hub, name, error)}") from None
    return Path(folder)


def uploaded(folder: Path, name: str, *, private: bool | None, token: str | None, message: str) -> str:
    """Upload the files of a folder to a repository, which is made if it is missing, and return its address.

    Raises:
        ValueError: The package is missing, the name is not valid, or the hub refuses or cannot be reached.
    """
    hub = _hub(name)
    files = [CONFIG, WEIGHTS, CARD]
    try:
        api = hub.HfApi(token=token)
        address = str(api.create_repo(name, private=private, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=files, commit_message=message)
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        raise ValueError(_reason(hub, name, error)) from None
    return address


def _hub(name: str) -> Any:
    if find_spec("huggingface_hub") is None:
        raise ValueError(
            f"{name} does not exist here, and a network of the Hugging Face hub needs huggingface_hub: "
            "pip install 'lightning-ntm[hub]'."
        )
    import huggingface_hub

    return huggingface_hub


def _reason(hub: Any, name: str, error: Exception) -> str:
    """Return what went wrong in one sentence; those of the hub's client have several lines."""
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return f"the Hugging Face hub has no repository {name} that you may see."
    if isinstance(error, hub.errors.HFValidationError):
        return f"{name!r} cannot be the name of a repository: it must be as owner/name."
    unreached = isinstance(error, hub.errors.HTTPError) and not isinstance(error, hub.errors.HfHubHTTPError)
    if unreached or isinstance(error, hub.errors.LocalEntryNotFoundError | ConnectionError):
        return f"the Hugging Face hub cannot be reached for {name}."
    told = " ".join((str(error).splitlines() or [type(error).__name__])[0].split())
    return f"the Hugging Face hub does not take {name}: {told}"


def card(model: MemoryModel[Any], task: Task | None) -> str:
    """Return the model card of a network: what it is, and how it is loaded."""
    name, count = type(model).__name__, sum(parameter.numel() for parameter in model.parameters())
    tags = ["memory-augmented-neural-network", name.lower(), *([type(task).__name__.lower()] if task else [])]
    trained = f", trained on `{task}`" if task else ""
    listed = "\n".join(f"- {tag}" for tag in ["pytorch", *tags])
    room = "lightning_ntm" if type(model).__module__.startswith("lightning_ntm.models.") else type(model).__module__
    return f"""---
library_name: lightning-ntm
tags:
{listed}
---

# {name}{f" on {type(task).__name__}" if task else ""}

A network of the class `{name}` with {count:,} parameters{trained}: {model.input_size} inputs and {model.output_size}
logits in each step. `{CONFIG}` has the arguments of its constructor, `{WEIGHTS}` its weights.

```python
import torch
from {room} import {name}

model = {name}.from_pretrained("owner/name")  # this repository, or a folder with its files
logits, state = model(torch.zeros(1, 20, {model.input_size}))
```

It needs `pip install lightning-ntm`; to load it from the Hugging Face hub by its name, `pip install
'lightning-ntm[hub]'`.
"""
