"""The environment of the processes in which the runs of a sweep are trained."""

import os

#: Variables by which a launcher tells a process that it is one of several. A run of a sweep is a single process.
_RANKS = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NNODES"),
    *("SLURM_NTASKS_PER_NODE", "SLURM_STEP_NUM_TASKS"),
)
_PREFIXES = ("TORCHELASTIC_", "JSM_NAMESPACE_", "OMPI_COMM_WORLD_", "PMI_", "PMIX_", "MV2_COMM_WORLD_")


def without_ranks(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment without the variables of launchers."""
    return {name: value for name, value in environment.items() if name not in _RANKS and not name.startswith(_PREFIXES)}


def environment() -> dict[str, str]:
    """Return the environment of a run: one thread, UTF-8, and the standard library before working folders."""
    settings = {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}
    return {**without_ranks(dict(os.environ)), **settings}
