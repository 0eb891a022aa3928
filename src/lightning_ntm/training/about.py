"""Record of a training: versions, commit, machine."""

import os
import platform
import re
import socket
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import torch

from lightning_ntm.kernels.cpu.thread_counts import most_threads
from lightning_ntm.tasks.base import Task
from lightning_ntm.training.learner import SequenceLearner
from lightning_ntm.training.refusals import backend_of
from lightning_ntm.version import installed


def about(**more: Any) -> dict[str, Any]:
    """Return a record of a training beside its configuration.

    `id` is unique. The `id` of the first training identifies copies of a run. `commit` and `own_commit` are the commits
    of the working folder and of this package's source, or null without version control. A commit with uncommitted
    changes ends in `-dirty`. It ends in `-unchecked` if the changes were not determined, because the repository
    configures programs that git would run for it.
    """
    return {
        "id": uuid.uuid4().hex,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {
            "python": platform.python_version(),
            **{name: installed(name) for name in ("lightning-ntm", "torch", "lightning", "numpy")},
        },
        "commit": _commit(Path.cwd()),
        "own_commit": _commit(Path(__file__).parent),
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "kernel_threads": most_threads(),
        **more,
    }


def computation(trainer: L.Trainer, learner: SequenceLearner, task: Task) -> dict[str, str]:
    """Return the backend of a training, how gradients are computed, and whether its steps are short.

    Raises:
        ValueError: The backend that was asked for by name cannot run the sequences of the task.
    """
    inputs = next(learner.model.parameters()).new_zeros(1, 1, task.input_size)
    with trainer.precision_plugin.forward_context(), torch.enable_grad():
        refusal, of_steps = learner.loss_refusal(inputs), learner.step_refusal()
    backend = backend_of(trainer, learner.model, task)
    return {
        "backend": backend,
        "gradients": f"by autograd: {refusal}" if refusal else "in one call of the kernel",
        "steps": f"general: {of_steps}" if of_steps else "short",
    }


#: Settings of a repository with which git runs programs when it compares files with a commit.
_RUNS_PROGRAMS = re.compile(r"^filter\.|partialclone|\.(promisor|vcs|uploadpack)$", re.IGNORECASE)
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}


def _commit(folder: Path) -> str | None:
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    settings = _git(folder, "config", "--list", "--name-only", "--show-scope")
    if commit is None or commit.returncode or settings is None:
        return None
    local = [name for scope, _, name in (line.partition("\t") for line in settings.stdout.splitlines())
           if scope in ("local", "worktree")]  # fmt: skip
    if settings.returncode or any(map(_RUNS_PROGRAMS.search, local)):
        return f"{commit.stdout.strip()}-unchecked"
    comparison = ("diff", "--quiet", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "HEAD")
    changed = _git(folder, *comparison)
    suffix = "-unchecked" if changed is None or changed.returncode not in (0, 1) else "-dirty" * changed.returncode
    return f"{commit.stdout.strip()}{suffix}"


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """Run git. It writes nothing, does not prompt, and runs no program that the repository configures."""
    command = ["git", "-C", str(folder), *_SAFE, *arguments]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            env={**os.environ, **_QUIET},
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
