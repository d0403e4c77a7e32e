import logging
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from dequant.data.module import ImageData
from dequant.data.sources import Folder, Shards, bundled
from dequant.errors import InputError
from dequant.io.formats import DAMAGED, NOT_AN_IMAGE, TOO_SMALL
from tests.support.data import SIZE, condition, conditions, data, fill, jpeg

# --- the stream


@pytest.mark.parametrize("weights", [None, {"photo_01": 3.0}])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_stream(folder: Path, workers: int, weights: dict[str, float] | None) -> None:
    alone = conditions(data(folder, weights=weights))
    assert torch.equal(conditions(data(folder, weights=weights, num_workers=workers)), alone)


def test_seed_changes_the_stream_and_global_state_does_not(folder: Path) -> None:
    first = conditions(data(folder))
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(conditions(data(folder)), first)
    assert not torch.equal(conditions(data(folder, seed=6)), first)


class Probe(lightning.LightningModule):
    """Remembers the training samples it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[Tensor] = []

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        self.seen.append(batch["condition"])
        return (self.weight * batch["target"].mean()).sum()

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        assert batch["condition"].shape[1:] == (7, SIZE, SIZE)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(
    module: ImageData, path: Path, steps: int, ckpt_path: Path | None = None, **options: Any
) -> tuple[lightning.Trainer, Tensor]:
    probe = Probe()
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=path,
        check_val_every_n_epoch=None,
        val_check_interval=2,
        **quiet | options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(probe, module, ckpt_path=ckpt_path)
    return trainer, torch.cat(probe.seen)


def test_a_resumed_run_continues_the_stream(folder: Path, tmp_path: Path) -> None:
    whole = conditions(data(folder), 6)
    trainer, first = fit(data(folder), tmp_path, 4)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    _, rest = fit(data(folder, num_workers=1), tmp_path, 6, tmp_path / "a.ckpt")
    assert torch.equal(torch.cat([first, rest]), whole)
    _, accumulated = fit(data(folder), tmp_path, 3, accumulate_grad_batches=2, limit_train_batches=2)
    assert torch.equal(accumulated, whole)


# --- photos that cannot serve


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    fill(tmp_path, 6, "train")
    fill(tmp_path, 2, "val", start=10)
    for split, seed in (("train", 20), ("train", 21), ("val", 22)):
        (tmp_path / split / f"cut_{seed}.jpg").write_bytes(jpeg(seed, width=200, height=200)[:2500])
    (tmp_path / "train" / "text.jpg").write_text("not a photo")
    (tmp_path / "train" / "small.jpg").write_bytes(jpeg(30, width=200, height=SIZE - 1))
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_unusable_photos_are_skipped_and_counted_by_cause(
    damaged: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    module = data(damaged, num_workers=workers)
    with caplog.at_level(logging.WARNING):
        module.setup("fit")
        assert module.skipped == {"train": {NOT_AN_IMAGE: 1, TOO_SMALL: 1}}
        samples = conditions(module, 6)
    assert len(samples) == 18
    assert module.skipped == {"train": {NOT_AN_IMAGE: 1, TOO_SMALL: 1, DAMAGED: 2}}
    assert "Skipped photos among the 10 of split 'train': 1 not an image, 1 too small." in caplog.text
    if workers == 0:
        assert len([line for line in caplog.messages if "is damaged" in line]) == 2
    else:
        assert torch.equal(samples, conditions(data(damaged), 6))


def test_damaged_photos_are_left_out_of_evaluation(damaged: Path) -> None:
    module = data(damaged)
    assert [len(batch["target"]) for batch in module.val_dataloader()] == [2]
    assert module.skipped["val"] == {DAMAGED: 1}
    assert [name for name, _ in module.photos("val")] == ["val/photo_10.jpg", "val/photo_11.jpg"]


# --- the module


def test_batches_have_the_promised_form(folder: Path) -> None:
    batch = next(iter(data(folder).train_dataloader()))
    assert set(batch) == {"condition", "target", "seed"}
    assert len(set(batch["seed"])) == 3 and all(0 <= seed < 2**63 for seed in batch["seed"])
    assert batch["condition"].shape == (3, 7, SIZE, SIZE) and batch["target"].shape == (3, 3, SIZE, SIZE)
    assert batch["condition"].dtype == batch["target"].dtype == torch.float32


def test_photos_at_native_size_and_scaled(folder: Path) -> None:
    native = dict(data(folder).photos("test"))
    assert {tuple(rgb.shape) for rgb in native.values()} == {(3, 40, 48)}
    assert list(native) == Folder(folder).keys("test")
    assert {tuple(rgb.shape) for _, rgb in data(folder).photos("all", 16)} == {(3, 16, 16)}


def test_module_errors(folder: Path) -> None:
    for name, least in (("size", 1), ("batch_size", 1), ("num_workers", 0), ("seed", 0), ("window", 1)):
        with pytest.raises(InputError, match=f"{name} is {least - 1}: expected at least {least}"):
            data(folder, **{name: least - 1})
    with pytest.raises(InputError, match="max_val is 0: expected at least 1"):
        data(folder, limit=0)
    with pytest.raises(InputError, match="window is 33: expected at most data.size, which is 32"):
        data(folder, window=33)
    with pytest.raises(InputError, match="There is no split 'dev'"):
        data(folder, split="dev").setup("test")


def test_bundled_photos_serve() -> None:
    options = {"condition": condition, "size": 64, "batch_size": 4, "num_workers": 0, "seed": 0}
    module = ImageData(source=Shards(bundled()), weights={"object/": 0.2}, **options)
    module.setup("fit")
    assert conditions(module, 1).shape == (4, 7, 64, 64)
    assert module.skipped == {"train": {}}
    assert 8 <= sum(1 for _ in module.photos("test", 64)) <= 12
