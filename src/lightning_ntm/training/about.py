"""What a run was trained with: versions, code, machine."""

import os
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def about(**more: Any) -> dict[str, Any]:
    """Return what tells one training from another by other means than its configuration.

    `commit` and `own_commit` are those of the working folder and of this package's source; null where
    they are under no version control. A commit with changes on top ends in `-dirty`.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("lightning-ntm", "torch", "lightning", "numpy")},
        },
        "commit": _commit(Path.cwd()),
        "own_commit": _commit(Path(__file__).parent),
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        **more,
    }


def _commit(folder: Path) -> str | None:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
