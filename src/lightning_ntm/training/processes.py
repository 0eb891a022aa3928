"""The number of processes of a run. It follows the options, not variables that a launcher left in the environment."""

import os
import re
from typing import Any

import torch
from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.plugins.environments import (
    LightningEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.accelerators import CPUAccelerator

from lightning_ntm.checks import at_least
from lightning_ntm.cores import cores

_LAUNCHERS = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment)


def check_devices(trainer: dict[str, Any]) -> None:
    """Raise `ValueError` for more processes than this machine has cores, and for nodes without a launcher."""
    nodes, devices = trainer.get("num_nodes", 1), _num_devices(trainer)
    at_least(1, num_nodes=nodes)
    if _on_cpu(trainer) and devices > (most := cores()):
        raise ValueError(f"devices (={trainer['devices']}) must be at most {most}, the cores of this process.")
    launched = "MASTER_ADDR" in os.environ or any(launcher.detect() for launcher in _LAUNCHERS)
    if nodes > 1 and not launched and not _names_cluster(_plugins(trainer)):
        raise ValueError(
            f"num_nodes (={nodes}) needs a launcher on each node (torchrun or srun), or MASTER_ADDR, MASTER_PORT and "
            "NODE_RANK in the environment."
        )


def plugins_of(trainer: dict[str, Any], *, alone: bool = False) -> list[Any]:
    """Return the requested plugins. For a run of one process, add one that ignores all launchers.

    Args:
        trainer: Arguments of the Lightning Trainer.
        alone: Ignore launchers for any number of processes.
    """
    plugins = _plugins(trainer)
    single = alone or trainer.get("num_nodes", 1) * _num_devices(trainer) == 1
    return [*plugins, LightningEnvironment()] if single and not _names_cluster(plugins) else plugins


def _plugins(trainer: dict[str, Any]) -> list[Any]:
    plugins = trainer.get("plugins") or []
    return list(plugins) if isinstance(plugins, (list, tuple)) else [plugins]


def _names_cluster(plugins: list[Any]) -> bool:
    return any(isinstance(plugin, ClusterEnvironment) for plugin in plugins)


def _num_devices(trainer: dict[str, Any]) -> int:
    """Return the number of requested devices. Lightning refuses invalid values."""
    devices = trainer.get("devices") or "auto"
    if isinstance(devices, str) and "," in devices:
        devices = devices.strip(" ,").split(",")
    if isinstance(devices, (list, tuple)):
        return len(devices)
    if str(devices).strip() in ("auto", "-1"):
        return 1 if _on_cpu(trainer) or not torch.cuda.is_available() else torch.cuda.device_count()
    return int(devices) if re.fullmatch(r"\s*\d{1,18}\s*", str(devices)) else 2**62


def _on_cpu(trainer: dict[str, Any]) -> bool:
    accelerator = trainer.get("accelerator") or "auto"
    if accelerator == "auto":
        return not torch.accelerator.is_available()
    return accelerator == "cpu" or isinstance(accelerator, CPUAccelerator)
