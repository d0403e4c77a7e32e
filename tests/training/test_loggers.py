"""What a training leaves in Weights & Biases, TensorBoard and CSV, read back from their files."""

import csv
import json
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

import train
from dequant.errors import InputError
from dequant.training.loggers import ended, wandb_logger
from tests.support.configs import TINY, job
from tests.support.wandb_store import offline_runs


def fit(folder: Path, *options: str) -> float | None:
    return train.train(job("train", folder, *TINY, *options))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 steps, resumed up to 6, logged offline."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    fit(folder, "trainer.max_steps=4", "logger=wandb", "variant=G")
    newest = max((folder / "checkpoints").glob("*.ckpt"), key=lambda path: path.name)
    fit(folder, "trainer.max_steps=6", "logger=wandb", "variant=G", f"ckpt_path={newest}")
    return folder


@pytest.mark.slow
def test_wandb_has_metrics_by_step(trained: Path) -> None:
    first, second = offline_runs(trained)
    for key in ("train/loss", "train/grad_norm", "lr-AdamW", "val/palette_psnr", "val/psnr/n_4", "val/ssim_input/n_64"):
        assert key in first.keys, key
    assert [row["trainer/global_step"] for row in first.history if "val/psnr" in row] == [1, 3]
    assert second.values("trainer/global_step")[0] >= 4
    for n in (4, 16, 64):
        gain = first.values(f"val/psnr/n_{n}")[-1] - first.values(f"val/psnr_input/n_{n}")[-1]
        assert gain == pytest.approx(first.values(f"val/gain/n_{n}")[-1], abs=1e-4)
    mean = sum(first.values(f"val/psnr/n_{n}")[-1] for n in (4, 16, 64)) / 3
    assert first.values("val/psnr")[-1] == pytest.approx(mean, abs=1e-4)


@pytest.mark.slow
def test_wandb_resumes_the_run_of_the_folder(trained: Path) -> None:
    first, second = offline_runs(trained)
    assert first.id == second.id == (trained / "ours-G.wandb_id").read_text()
    assert (first.group, first.job_type) == ("ours-G", "train")


@pytest.mark.slow
def test_wandb_has_the_table_of_pictures(trained: Path) -> None:
    files = offline_runs(trained)[0].artifact("run_table")
    table = json.loads(files["val/pictures.table.json"].read_text())
    names = table["columns"]
    assert names[:5] == ["step", "variant", "n_colors", "texture", "psnr"]
    assert [row[1:4] for row in table["data"]] == [["G", n, "on"] for n in (4, 4, 16, 16, 64, 64)]
    for row in table["data"]:
        pictures = dict(zip(names[5:], (Image.open(files[cell["path"]]) for cell in row[5:]), strict=True))
        assert list(pictures) == [f"{name} picture" for name in ("quantized", "texture", "output", "truth")]
        assert {picture.size for picture in pictures.values()} == {(32, 32)}
        assert len(pictures["quantized picture"].getcolors()) <= row[2]


@pytest.mark.slow
def test_wandb_has_config_commit_and_weights(trained: Path) -> None:
    run = offline_runs(trained)[0]
    assert run.config["data"]["val_n_colors"] == [4, 16, 64]
    assert run.config["model"]["variant"] == "G"
    assert {"command", "commit", "hardware"} <= set(run.config)
    (artifact,) = (found for found in run.artifacts if found.type == "model")
    assert artifact.name == "ours-G" and set(artifact.aliases) == {"latest", "step_4"}
    assert json.loads(run.artifact("model")["config.json"].read_text())["variant"] == "G"


def test_csv_has_the_metrics_once_it_is_ended(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    with ended([logger]):
        logger.log_metrics({"eval/psnr": 30.0})
    assert "eval/psnr" in (Path(logger.log_dir) / "metrics.csv").read_text()


@pytest.mark.slow
def test_csv_and_tensorboard_have_the_same_keys(trained: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(tmp_path / "csv", "trainer.max_steps=2")
    fit(tmp_path / "tensorboard", "trainer.max_steps=2", "logger=tensorboard")
    (path,) = (tmp_path / "csv").glob("csv/*/metrics.csv")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "tensorboard")).Reload()
    columns = set(next(csv.reader(path.open()))) - {"step", "epoch"}
    assert columns == set(events.Tags()["scalars"]) - {"epoch"}
    logged = {key for key in offline_runs(trained)[0].keys if not key.startswith(("val/pictures", "_", "trainer/"))}
    assert columns == logged - {"epoch"}
    assert events.Tags()["images"] == ["val/grid"]


@pytest.mark.slow
def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    value = fit(tmp_path, "trainer.max_steps=2", "ckpt_path=here")
    before = (tmp_path / "weights").stat().st_mtime_ns
    assert fit(tmp_path, "trainer.max_steps=2", "ckpt_path=here") == value
    assert value is not None
    assert (tmp_path / "weights").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="other options .*trainer.max_steps"):
        fit(tmp_path, "trainer.max_steps=3", "ckpt_path=here")


@pytest.mark.slow
def test_a_secret_of_the_command_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "+data.token=hunter2hunter2"])
    fit(tmp_path, "trainer.max_steps=1", "logger=[csv,wandb]", "+data.token=hunter2hunter2")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"hparams.yaml", "config.yaml"} <= {path.name for path in files}
    assert list(tmp_path.rglob("*.wandb"))
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []


def test_offline_without_a_key_and_online_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    options = {"project": "p", "entity": None, "name": "n", "group": "g", "job_type": "train", "log_model": False}
    monkeypatch.delenv("WANDB_MODE")
    for key, mode in ((False, "offline"), (True, "online")):
        monkeypatch.setattr(wandb, "login", lambda key=key, **_: key)
        logger = wandb_logger(str(tmp_path), str(tmp_path / "id"), **options)
        assert logger._wandb_init["mode"] == mode
    assert logger._wandb_init["id"] == (tmp_path / "id").read_text()
    monkeypatch.setenv("WANDB_RUN_ID", "of-an-agent")
    logger = wandb_logger(str(tmp_path), str(tmp_path / "id"), **options)
    assert logger._wandb_init["id"] == "of-an-agent"
