"""Training stops at the first loss or gradient that is not finite, in time."""

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import train
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.finite import copy_for_release
from dequant.training.checkpoints import Diverged, LastCheckpoint, WholeCheckpoints, fault, newest_first
from dequant.training.dequantizer import Dequantizer
from dequant.training.divergence import Divergence
from tests.support.configs import TINY, job


class Fragile(L.LightningModule):
    """One weight; a batch of NaN makes its loss NaN, one of infinity its gradient alone."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if batch.isinf().any():
            return (self.weight - 1).abs().sqrt().sum() + (self.weight * 0).sqrt().sum()
        return (self.weight * batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def fit(folder: Path, values: list[float], accumulate: int = 1) -> Fragile:
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    callbacks = [Divergence(str(folder)), LastCheckpoint(str(folder), every_n_steps=2, keep=2)]
    model = Fragile()
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=callbacks, plugins=[WholeCheckpoints()], gradient_clip_val=1.0,
        accumulate_grad_batches=accumulate, **quiet,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(model, DataLoader(torch.tensor(values)[:, None], batch_size=1))
    return model


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_batch_is_kept_and_the_last_sound_checkpoint_named(tmp_path: Path, bad: float, accumulate: int) -> None:
    values = [1.0, 2.0, 3.0, bad, 5.0, 6.0, 7.0, 8.0, 9.0]
    at, named = {1: (3, "step_000002.ckpt"), 3: (1, "there is no checkpoint yet")}[accumulate]
    with pytest.raises(Diverged, match=f"after step {at} .*{named}.*kept in .*diverged"):
        fit(tmp_path, values, accumulate)
    kept = torch.load(tmp_path / f"diverged_step_{at:06d}_rank_0.pt", weights_only=True)
    if accumulate == 1 or math.isnan(bad):  # else the gradient is that of several batches
        assert kept.isnan().equal(torch.tensor([[math.isnan(bad)]])) and not kept.isfinite().any()
    assert all(fault(path) is None for path in newest_first(tmp_path))


def test_sound_training_goes_on(tmp_path: Path) -> None:
    assert fit(tmp_path, [1.0, 2.0, 3.0]).weight.isfinite()
    assert not list(tmp_path.glob("diverged*"))


@pytest.mark.parametrize(
    ("scale", "loss", "stops"),
    [(None, 1.0, True), (65536.0, 1.0, False), (65536.0, math.nan, True), (0.5, 1.0, True)],
)
def test_a_scaler_may_skip_steps(tmp_path: Path, scale: float | None, loss: float, stops: bool) -> None:
    """In float16 gradients that overflow are normal, a loss that is not finite is not."""
    model, callback = Fragile(), Divergence(str(tmp_path))
    model.log = lambda *args, **kwargs: None
    model.weight.grad = torch.tensor([math.inf])
    scaler = None if scale is None else SimpleNamespace(get_scale=lambda: scale)
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
    trainer: Any = SimpleNamespace(
        precision_plugin=SimpleNamespace(scaler=scaler), strategy=strategy, global_step=7, global_rank=0,
        checkpoint_callbacks=[],
    )  # fmt: skip
    callback.on_train_batch_start(trainer, model, torch.ones(1), 0)
    callback.on_before_backward(trainer, model, torch.tensor(loss))
    if stops:
        with pytest.raises(Diverged):
            callback.on_before_optimizer_step(trainer, model, None)
    else:
        callback.on_before_optimizer_step(trainer, model, None)


def test_weights_that_are_not_finite_are_neither_written_nor_loaded(tiny_base: DiffusionBase, tmp_path: Path) -> None:
    model = Dequantizer(tiny_base, ControlEncoder.from_base, Sampler())
    model.save_pretrained(tmp_path / "weights")
    with torch.no_grad():
        next(p for p in model.trained.parameters() if p.ndim == 1)[0] = 1e30  # beyond float16
    with pytest.raises(InputError, match="are not finite"):
        model.save_pretrained(tmp_path / "weights")
    assert ControlEncoder.read(tmp_path / "weights")
    copy_for_release(model.trained, None)
    with torch.no_grad():
        next(p for p in model.trained.parameters() if p.ndim == 1)[0] = math.nan
    model.trained.save_pretrained(tmp_path / "nan")
    with pytest.raises(InputError, match="nan are not finite"):
        model.load_weights(tmp_path / "nan")
    average = {name: value.detach() for name, value in model.trained.named_parameters()}
    checkpoint = {"identity": model.identity, "ema": average, "state_dict": {}}
    torch.save(checkpoint, tmp_path / "old.ckpt")
    with pytest.raises(InputError, match="are not finite"):
        model.load_weights(tmp_path / "old.ckpt")
    with pytest.raises(InputError, match="are not finite"):
        model.on_load_checkpoint(checkpoint)
    next(p for p in tiny_base.unet.parameters() if p.ndim == 1).data[0] = math.inf
    tiny_base.unet.save_pretrained(tmp_path / "base" / "unet")
    tiny_base.scheduler.save_pretrained(tmp_path / "base" / "scheduler")
    with pytest.raises(InputError, match="base/unet are not finite"):
        DiffusionBase.from_pretrained(tmp_path / "base")


@pytest.mark.slow
@pytest.mark.parametrize("lr", ["0.3", "1e4", "inf"])
def test_a_rate_that_is_too_high(tmp_path: Path, lr: str) -> None:
    options = ["base=small", f"model.optimizer.lr={lr}", "model.lr_schedule.num_warmup_steps=2"]
    tiny = [option for option in TINY if not option.startswith("base")]
    with pytest.raises(Diverged, match="batch is kept"):
        train.train(job("train", tmp_path, *tiny, *options, "trainer.max_steps=60", "trainer.val_check_interval=100"))
    (batch,) = tmp_path.glob("diverged_*.pt")
    assert torch.load(batch, weights_only=True)["target"].shape == (4, 3, 32, 32)
    assert batch.with_suffix(".png").is_file()
    assert not (tmp_path / "weights").exists()
    assert all(fault(path) is None for path in newest_first(tmp_path / "checkpoints"))


def test_a_validation_without_a_number_stops(tmp_path: Path) -> None:
    trainer = SimpleNamespace(
        callback_metrics={"val/psnr": torch.tensor(math.nan), "train/loss": torch.tensor(1.0)},
        sanity_checking=False,
        global_step=2,
        checkpoint_callbacks=[],
    )
    with pytest.raises(Diverged, match=r"diverged by step 2 \(val/psnr is nan\): there is no checkpoint yet"):
        Divergence(str(tmp_path)).on_validation_end(trainer, None)
    trainer.callback_metrics["val/psnr"] = torch.tensor(20.0)
    Divergence(str(tmp_path)).on_validation_end(trainer, None)
