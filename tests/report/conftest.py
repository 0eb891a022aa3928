import pytest

from lightning_ntm.cli import main
from lightning_ntm.report import style

COMMON = "--task.bits 2 --task.max_length 3 --data.batch_size 16 --optimizer.lr 0.01 --model.hidden_size 24"
STEPS = (
    "--trainer.max_steps 80 --trainer.val_check_interval 10 --trainer.log_every_n_steps 10 "
    "--data.validation_sequences 20 --trainer.enable_progress_bar false"
)
NETWORKS = {
    "NTM": "--model NTM --model.controller lstm --model.stay_bias 2 --model.memory_slots 8 --model.memory_width 6",
    "LSTM": "--model LSTM --model.num_layers 1",
}


@pytest.fixture(scope="session", autouse=True)
def _coarse_pictures():
    """Draw reports with fewer pixels, which takes most of the time of a PNG."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._RC, "savefig.dpi", 40)
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Three seeds of two networks, really trained; those of the NTM are evaluated."""
    folder = tmp_path_factory.mktemp("trained") / "runs"
    for name, network in NETWORKS.items():
        for seed in (1, 2, 3):
            words = f"--runs {folder} --seed {seed} {network} {COMMON} {STEPS}"
            assert main(["train", *words.split()]) == 0
            if name == "NTM":
                run = folder / f"ntm-copy-seed{seed}"
                assert main(["evaluate", str(run), "--lengths", "2,3,5", "--sequences", "20"]) == 0
    return folder


@pytest.fixture(scope="session")
def page(trained):
    """Their report."""
    assert main(["report", str(trained)]) == 0
    return trained / "report.html"
