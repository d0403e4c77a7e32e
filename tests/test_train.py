"""`python train.py` as a user runs it: short, killed, resumed, and with bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
TINY = [
    "base=small_init",
    "base.unet.block_out_channels=[8,16]",
    "base.unet.norm_num_groups=4",
    "data.size=32",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.max_val=2",
    "callbacks.last.every_n_steps=4",
    "trainer.val_check_interval=8",
    "trainer.log_every_n_steps=1",
]


def command(folder: Path, *overrides: str) -> list[str]:
    run = f"hydra.run.dir={folder}/${{name}}/${{now:%H-%M-%S-%f}}"
    return [sys.executable, str(ROOT / "train.py"), *TINY, run, *overrides]


def train(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command(folder, *overrides), capture_output=True, text=True, cwd=folder, env=environment)


def last_checkpoint(folder: Path) -> dict:
    (path,) = folder.glob("*/*/checkpoints/last.ckpt")
    return torch.load(path, weights_only=True)


@pytest.mark.slow
def test_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """SIGKILL mid-epoch, then ckpt_path=last: step, weights, average and optimizer equal those of a quiet run."""
    (tmp_path / "quiet").mkdir()
    (tmp_path / "killed").mkdir()
    done = train(tmp_path / "quiet", "trainer.max_steps=24")
    assert done.returncode == 0, done.stderr

    steps = ["trainer.max_steps=24", "callbacks.pictures.rows=1"]
    process = subprocess.Popen(
        command(tmp_path / "killed", *steps), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list((tmp_path / "killed").glob("*/*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = last_checkpoint(tmp_path / "killed")["global_step"]
    assert 0 < step < 24

    resumed = train(tmp_path / "killed", *steps, "ckpt_path=last")
    assert resumed.returncode == 0, resumed.stderr
    quiet, killed = last_checkpoint(tmp_path / "quiet"), last_checkpoint(tmp_path / "killed")
    assert killed["global_step"] == quiet["global_step"] == 24
    for part in ("state_dict", "ema"):
        assert quiet[part].keys() == killed[part].keys()
        for name, value in quiet[part].items():
            assert torch.equal(value, killed[part][name]), (part, name)


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    steps = ["trainer.max_steps=100000", "callbacks.last.every_n_steps=100000"]
    process = subprocess.Popen(command(tmp_path, *steps), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("*/*/pictures/*.png")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "go on with ckpt_path=last" in stderr
    assert "Traceback" not in stderr
    assert last_checkpoint(tmp_path)["global_step"] >= 8


@pytest.mark.slow
def test_run_leaves_weights_pictures_and_metrics(tmp_path: Path) -> None:
    done = train(tmp_path, "trainer.max_steps=8", "variant=G")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "ours-G").iterdir()
    assert {"checkpoints", "pictures", "weights", "csv"} <= {path.name for path in run.iterdir()}
    assert list((run / "pictures").glob("*.png"))
    assert "val/psnr_input" in next((run / "csv").rglob("metrics.csv")).read_text()
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["identity"]["variant"] == "G"
    assert all(name.startswith("control.") for name in checkpoint["state_dict"])

    refused = train(tmp_path, "trainer.max_steps=9", "variant=T", f"ckpt_path={run}/checkpoints/last.ckpt")
    assert refused.returncode != 0
    assert "variant 'G'" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_two_processes_leave_one_set_of_weights(tmp_path: Path) -> None:
    done = train(tmp_path, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=4")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "ours-T").iterdir()
    assert (run / "weights" / "config.json").is_file()
    assert last_checkpoint(tmp_path)["global_step"] == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["variant=X"], "Could not find 'variant/X'"),
        (["data=folder", "data.root=no/such/folder"], "no/such/folder"),
        (["ckpt_path=last"], "There is no run of ours-T"),
        (["ckpt_path=missing.ckpt"], "There is no checkpoint missing.ckpt"),
        (["data.size=4096"], "4096"),
        (["hydra.run.dir=/dev/null/run"], "/dev/null"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, overrides: list[str], sentence: str) -> None:
    done = train(tmp_path, *overrides)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1
