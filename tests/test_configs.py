"""Every configuration composes and instantiates."""

from pathlib import Path

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from dequant.data.sources import bundled
from dequant.training.dequantizer import Dequantizer
from tests.support.configs import GROUPS, TINY_BASE, load
from tests.support.paths import CONF, GOLDEN

NEEDED = {
    "data=folder": [f"data.root={GOLDEN}"],
    "data=shards": [f"data.shards={bundled()}"],
    "data=laion": ["data.shards='photos/{000..009}.tar'"],
    "experiment=small_prior": [f"data.shards={bundled()}"],
    "experiment=small_prior_palettes": [f"data.shards={bundled()}"],
    "experiment=small_control": [f"data.shards={bundled()}"],
    "experiment=small_texture": [f"data.shards={bundled()}"],
    "experiment=edit": [f"data.shards={bundled()}"],
}


def options(*groups: str) -> list[str]:
    return [f"{group}={name}" for group in groups for name in GROUPS.get(group, [])]


@pytest.mark.parametrize(
    "option",
    options("variant", "condition", "data", "sampler", "model", "callbacks", "logger", "trainer", "experiment"),
)
def test_train(option: str, tmp_path: Path) -> None:
    cfg = load("train", tmp_path, *([] if "prior" in option else TINY_BASE), option, *NEEDED.get(option, []))
    assert isinstance(instantiate(cfg.model), Dequantizer)
    instantiate(cfg.data.module)
    logger, callbacks = (list(instantiate(part).values()) for part in (cfg.logger, cfg.callbacks))
    if option == "trainer=gpu" and not torch.cuda.is_available():
        with pytest.raises(InstantiationException, match="No supported gpu backend"):
            instantiate(cfg.trainer)
        return
    assert isinstance(instantiate(cfg.trainer, logger=logger, callbacks=callbacks), L.Trainer)


@pytest.mark.parametrize("option", NEEDED)
def test_photos_that_are_not_named_are_asked_for(option: str, tmp_path: Path) -> None:
    cfg = load("train", tmp_path, *([] if "prior" in option else TINY_BASE), option)
    with pytest.raises(InstantiationException, match="Say where the photos are"):
        instantiate(cfg.data.module)


@pytest.mark.parametrize("option", options("eval", "variant", "sampler", "data"))
def test_evaluate(option: str, tmp_path: Path) -> None:
    cfg = load("evaluate", tmp_path, *TINY_BASE, option, *NEEDED.get(option, []))
    assert isinstance(instantiate(cfg.model, optimizer=None, lr_schedule=None), Dequantizer)
    instantiate(cfg.data.module)


def test_bundled_base_loads(tmp_path: Path) -> None:
    cfg = load("train", tmp_path)
    assert instantiate(cfg.model).base.multiple == 16


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ([], "dequantization/one_step"),
        (["sampler.keep_palette=soft"], "dequantization/one_step+soft"),
        (["sampler.keep_texture=exact", "sampler=ddim8"], "dequantization/ddim8+texture"),
        (["sampler=super27", "eval=robustness"], "robustness/super27"),
    ],
)
def test_results_are_kept_apart_by_sampler(overrides: list[str], folder: str, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("evaluate", overrides).run_dir == f"outputs/evaluate/{folder}"
