"""`python train.py` as a user runs it: short, killed, resumed, and with bad input."""

import csv
import io
import json
import re
import shutil
import signal
import tarfile
import time
from pathlib import Path

import pytest
import torch

from dequant.cli.runs import held
from dequant.data.sources import Shards, bundled
from dequant.training.checkpoints import newest_first
from tests.support.programs import Done, Program, run

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


def start(folder: Path, *overrides: str) -> Program:
    run = f"hydra.run.dir={folder}/${{name}}/${{now:%H-%M-%S-%f}}"
    return Program("train.py", *TINY, run, *overrides, cwd=folder)


def train(folder: Path, *overrides: str) -> Done:
    return start(folder, *overrides).wait()


def last_checkpoint(folder: Path) -> dict:
    (path,) = folder.glob("*/*/checkpoints/last.ckpt")
    return torch.load(path, weights_only=True)


def streamed(folder: Path) -> list[str]:
    """Options for streaming four shards of the bundled photos."""
    photos, keys = Shards(bundled()), Shards(bundled()).keys("train")[:22]
    for number in range(4):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for key in keys[number::4]:
                info = tarfile.TarInfo(Path(key).name)
                info.size = len(photos.read(key))
                tar.addfile(info, io.BytesIO(photos.read(key)))
    shards = f"'{folder}/{{0..3}}.tar'"
    return ["data=laion", f"data.shards={shards}", "data.stream.lanes=2", "data.num_workers=2", "data.stream.shuffle=3"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["bundled", "streamed"])
def test_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path, source: str) -> None:
    """SIGKILL mid-epoch and a checkpoint cut short: all that is in the last checkpoint equals that of a quiet run."""
    data = streamed(tmp_path) + ["data.source.held_out=0.4"] if source == "streamed" else []
    (tmp_path / "quiet").mkdir()
    (tmp_path / "killed").mkdir()
    steps = [*data, "trainer.max_steps=24", "callbacks.pictures.rows=1"]
    done = train(tmp_path / "quiet", *steps)
    assert done.returncode == 0, done.stderr

    process = start(tmp_path / "killed", *steps)
    while len(list((tmp_path / "killed").glob("*/*/checkpoints/step_*.ckpt"))) < 2:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    newest = newest_first(next((tmp_path / "killed").glob("*/*/checkpoints")))[0]
    assert 0 < torch.load(newest, weights_only=True)["global_step"] < 24
    newest.write_bytes(newest.read_bytes()[:9000])

    resumed = train(tmp_path / "killed", *steps, "ckpt_path=last")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{newest.name} is damaged or cut short: the one before is used" in resumed.stdout + resumed.stderr
    quiet, killed = last_checkpoint(tmp_path / "quiet"), last_checkpoint(tmp_path / "killed")
    assert killed["global_step"] == quiet["global_step"] == 24
    for part in ("state_dict", "ema", "optimizer_states", "lr_schedulers", "ImageData"):
        assert_same(quiet.get(part), killed.get(part), part)
    assert ("ImageData" in quiet) == (source == "streamed")


def assert_same(a: object, b: object, where: str) -> None:
    """Equal to the last bit, at any depth."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key, value in a.items():
            assert_same(value, b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}.{index}")
    else:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, where


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "signum"), [(1, signal.SIGTERM), (2, signal.SIGTERM), (1, signal.SIGINT)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, devices: int, signum: int) -> None:
    steps = ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={devices}", "trainer.max_steps=100000"]
    process = start(tmp_path, *steps, "callbacks.last.every_n_steps=100000")
    while not list(tmp_path.glob("*/*/pictures/*.png")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signum)
    done = process.wait(timeout=60)
    assert done.returncode != 0
    assert re.search(r"stopped by (SIGTERM|Ctrl-C) at step \d+: resume with ckpt_path=last", done.stderr)
    assert "Traceback" not in done.stderr
    assert last_checkpoint(tmp_path)["global_step"] >= 8


@pytest.mark.slow
def test_run_leaves_weights_pictures_and_metrics(tmp_path: Path) -> None:
    done = train(tmp_path, "trainer.max_steps=8", "variant=G")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "ours-G").iterdir()
    assert f"dB; weights in {run / 'weights'}" in done.stdout + done.stderr
    assert {"checkpoints", "pictures", "weights", "csv"} <= {path.name for path in run.iterdir()}
    assert list((run / "pictures").glob("*.png"))
    assert "val/psnr_input" in next((run / "csv").rglob("metrics.csv")).read_text()
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["identity"]["variant"] == "G"
    assert all(name.startswith("control.") for name in checkpoint["state_dict"])

    before = contents(tmp_path)
    for options in (["variant=T"], ["variant=G", "base.unet.block_out_channels=[8,32]"]):
        refused = train(tmp_path, "trainer.max_steps=9", *options, f"ckpt_path={run}/checkpoints/last.ckpt")
        assert refused.returncode != 0
        assert "Traceback" not in refused.stderr
        assert {path: text for path, text in contents(tmp_path).items() if run in path.parents} == before


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but locks and logs of refused runs."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.slow
def test_a_run_is_taken_up_where_it_was(tmp_path: Path) -> None:
    """No second folder is left, and what differs is said, unless another process holds the folder."""
    done = train(tmp_path, "trainer.max_steps=3")
    assert "no validation in 3 steps" in done.stdout
    (run,) = (tmp_path / "ours-T").iterdir()
    assert f"weights in {run / 'weights'}" in done.stdout
    with held(run):
        refused = train(tmp_path, "trainer.max_steps=5", "ckpt_path=last")
        assert "in use by another training" in refused.stderr
        assert refused.returncode != 0
    done = train(tmp_path, "trainer.max_steps=5", "ckpt_path=last", "data.batch_size=3")
    assert done.returncode == 0, done.stderr
    assert "other options than before: data.batch_size, " in done.stdout
    assert [path.name for path in (tmp_path / "ours-T").iterdir()] == [run.name]
    assert "weights in" in (run / "train.log").read_text()
    assert any("5/5" in line and len(line.rstrip()) <= 80 for line in done.stdout.splitlines())


@pytest.mark.slow
def test_a_kill_ahead_of_the_last_validation_does_not_spare_it(tmp_path: Path) -> None:
    run_dir = f"hydra.run.dir={tmp_path}/ours-T/one"
    steps = [*TINY[3:], run_dir, "trainer.max_steps=8", "model.optimizer.lr=0.01"]  # of a base that was trained
    done = run("train.py", *steps, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "ours-T" / "one"
    (weights,) = (folder / "weights").glob("*.safetensors")
    released = weights.read_bytes()
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text('{"step": 4}')
    shutil.rmtree(folder / "weights")
    done = run("train.py", *steps, "ckpt_path=last", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = json.loads((folder / "metrics.json").read_text())
    assert again["step"] == 8
    assert again == {name: value for name, value in metrics.items() if name in again}
    assert again["val/psnr"] != again["val/psnr_input"]
    assert weights.read_bytes() == released


def losses(folder: Path) -> list[float]:
    (path,) = folder.glob("*/*/csv/version_0/metrics.csv")
    with path.open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    steps = [
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",
        "trainer.max_steps=20",
        "trainer.val_check_interval=20",
    ]
    runs = {"one": ["data.batch_size=4"], "two": ["data.batch_size=2", "trainer=ddp", "trainer.devices=2"]}
    for name, options in runs.items():
        (tmp_path / name).mkdir()
        done = train(tmp_path / name, *options, *steps)
        assert done.returncode == 0, done.stderr
    one, two = (losses(tmp_path / name) for name in runs)
    assert len(one) == len(two) == 20
    assert two == pytest.approx(one, abs=1e-4)
    assert max(one) - min(one) > 0.01
    (run,) = (tmp_path / "two" / "ours-T").iterdir()
    assert (run / "weights" / "config.json").is_file()
    assert last_checkpoint(tmp_path / "two")["global_step"] == 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["variant=X"], "Could not find 'variant/X'"),
        (["data=folder", "data.root=no/such/folder"], "no/such/folder"),
        (["ckpt_path=last"], "There is no run of ours-T"),
        (["ckpt_path=missing.ckpt"], "There is no checkpoint missing.ckpt"),
        ([f"ckpt_path={__file__}"], "test_train.py is damaged or cut short"),
        (
            ["data=laion", "data.shards='gone/{0..7}.tar'", "data.source.wait=0"],
            "None of the first shards can be read",
        ),
        (["data=laion", "data.shards=0.tar"], "number of shards, 1, is below that of lanes, 8 in each"),
        (["data.size=4096"], "4096"),
        (["rebase=true"], "give init_weights as well"),
        (["seed=-1"], "seed is -1"),
        (["data.size=7"], "a multiple of 2"),
        (["model=vae", "rebase=true", "init_weights=bundled"], "leave it out"),
        (["model.optimizer.lr=abc"], "model.optimizer.lr is abc"),
        (["model.optimizer.lr=-1"], "model.optimizer.lr is -1"),
        (["data.batch_size=99999999999999999999"], "data.batch_size is 99999999999999999999"),
        (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches is 0"),
        (["model.lr_schedule.num_warmup_steps=abc"], "optimizer cannot be made"),
        (["trainer.max_steps=-1", "trainer.max_epochs=1"], "trainer.max_steps is -1"),
        (["variant=L_post"], "train variant=L, and evaluate it with variant=L_post"),
        (["data=folder", "data.root=my photos (1)"], "write \"data.root='my photos (1)'\""),
        (["data=folder", "data.root=2024"], "data.root is 2024"),
        (["callbacks.ema.decay=2"], "decay of the average is 2"),
        (["sampler.num_inference_steps=0"], "at least 1 for num_inference_steps, got 0"),
        (["sampler=super27", "sampler.num_inference_steps=4"], "Steps are given twice"),
        (["hydra.run.dir=/dev/null/run"], "/dev/null"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, overrides: list[str], sentence: str) -> None:
    done = train(tmp_path, *overrides)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1
