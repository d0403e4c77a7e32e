"""Every configuration composes and instantiates."""

import itertools
from pathlib import Path

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from dequant.cli.coloring import Bench
from dequant.colorization.diffusing_colors import DiffusingColors
from dequant.colorization.pipeline import ColorizePipeline
from dequant.colorization.ranker import RankerTraining
from dequant.colorization.semantic import SemanticColors
from dequant.data.sources import bundled
from dequant.edit.diffcolor import TuneSettings
from dequant.errors import InputError
from dequant.models.latent import LatentBase
from dequant.training.aligner import AlignerTraining
from dequant.training.autoencoder import Autoencoder
from dequant.training.dequantizer import Dequantizer
from dequant.training.image_text import ImageTextTraining
from dequant.training.learner import Learner
from dequant.training.luma_decoder import LumaDecoder
from tests.support import latents
from tests.support.configs import GROUPS, TINY_BASE, load
from tests.support.paths import CONF, GOLDEN
from train import prepared

KINDS = {
    **dict.fromkeys(("vae", "small_vae"), Autoencoder),
    **dict.fromkeys(("luma_decoder", "small_luma_decoder", "semantic_decoder"), LumaDecoder),
    **dict.fromkeys(("diffusing_colors", "small_diffusing_colors"), DiffusingColors),
    **dict.fromkeys(("semantic", "semantic_unet", "small_semantic"), SemanticColors),
    **dict.fromkeys(("ranker", "small_ranker"), RankerTraining),
    **dict.fromkeys(("image_text", "small_image_text"), ImageTextTraining),
    **dict.fromkeys(("aligner", "small_aligner"), AlignerTraining),
}
"""Of other models than Dequantizer, by the name of the run."""

NEEDED = {
    "data=folder": [f"data.root={GOLDEN}"],
    "data=shards": [f"data.shards={bundled()}"],
    "data=laion": ["data.shards='photos/{000..009}.tar'"],
    "experiment=small_prior": [f"data.shards={bundled()}"],
    "experiment=small_prior_palettes": [f"data.shards={bundled()}"],
    "experiment=small_control": [f"data.shards={bundled()}"],
    "experiment=small_texture": [f"data.shards={bundled()}"],
    "experiment=edit": [f"data.shards={bundled()}"],
    "experiment=small_vae": [f"data.shards={bundled()}"],
    "experiment=small_luma_decoder": [f"data.shards={bundled()}"],
    "experiment=small_semantic": [f"data.shards={bundled()}"],
    "experiment=semantic_unet": [f"data.shards={bundled()}"],
    "experiment=semantic_decoder": [f"data.shards={bundled()}"],
    "experiment=small_diffusing_colors": [f"data.shards={bundled()}"],
    "experiment=small_ranker": [f"data.shards={bundled()}"],
    "experiment=small_image_text": [f"data.shards={bundled()}"],
    "experiment=small_aligner": [f"data.shards={bundled()}"],
}

LATENT = ("colors", "ranker", "semantic")
"""In the names of configurations on a latent base."""

TINY_LATENT = [
    *("base=latent_init", "base.block_out_channels=[8,16]", "base.norm_num_groups=4"),
    *("base.text_width=32", "base.text_layers=1"),
]


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an autoencoder."""
    folder = tmp_path_factory.mktemp("base") / "vae"
    latents.vae().save_pretrained(folder)
    return folder


def tiny(option: str, coder: Path | str = "nowhere") -> list[str]:
    """Options that make the base of a configuration small."""
    if any(name in option for name in ("prior", "vae", "image_text", "aligner", "diffcolor")):
        return []
    if "_decoder" in option:
        return [f"model.vae.path={coder}/.."]
    return [*TINY_LATENT, f"base.vae={coder}"] if any(name in option for name in LATENT) else TINY_BASE


def options(*groups: str) -> list[str]:
    return [f"{group}={name}" for group in groups for name in GROUPS.get(group, [])]


@pytest.mark.parametrize(
    "option",
    options("variant", "condition", "data", "sampler", "model", "callbacks", "logger", "trainer", "experiment"),
)
def test_train(option: str, coder: Path, tmp_path: Path) -> None:
    if option == "model=diffcolor":
        pytest.skip("is not trained")
    cfg = load("train", tmp_path, *tiny(option, coder), option, *NEEDED.get(option, []))
    model = instantiate(cfg.model)
    assert isinstance(model, KINDS.get(cfg.name, Dequantizer)) and isinstance(model, Learner)
    assert (cfg.data.window or cfg.data.size) % model.multiple == 0
    instantiate(cfg.data.module)
    logger, callbacks = (list(instantiate(part).values()) for part in (cfg.logger, cfg.callbacks))
    if option == "trainer=gpu" and not torch.cuda.is_available():
        with pytest.raises(InstantiationException, match="No supported gpu backend"):
            instantiate(cfg.trainer)
        return
    assert isinstance(instantiate(cfg.trainer, logger=logger, callbacks=callbacks), L.Trainer)


def test_the_tuning_of_diffcolor_is_the_usual_one(tmp_path: Path) -> None:
    cfg = load("evaluate", tmp_path, "eval=edit_control", "model=diffcolor")
    assert instantiate(cfg.model) == TuneSettings() and callable(getattr(Bench, cfg.eval.measure))


def test_diffcolor_is_not_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model=diffcolor is not trained: dequant colorize --method diffcolor"):
        prepared(load("train", tmp_path, "model=diffcolor"))


@pytest.mark.parametrize("option", NEEDED)
def test_photos_that_are_not_named_are_asked_for(option: str, tmp_path: Path) -> None:
    cfg = load("train", tmp_path, *tiny(option), option)
    with pytest.raises(InstantiationException, match="Say where the photos are"):
        instantiate(cfg.data.module)


@pytest.mark.parametrize("option", options("eval", "variant", "sampler", "data"))
def test_evaluate(option: str, tmp_path: Path) -> None:
    cfg = load("evaluate", tmp_path, *TINY_BASE, option, *NEEDED.get(option, []))
    assert isinstance(instantiate(cfg.model, optimizer=None, lr_schedule=None), Dequantizer)
    instantiate(cfg.data.module)


@pytest.mark.parametrize(
    "option",
    [
        f"eval={name}"
        for name in ("colorization", "color_scale", "text_control", "ablation", "decoders", "region_control")
    ],
)
def test_evaluations_of_colorizers(option: str, tmp_path: Path) -> None:
    cfg = load("evaluate", tmp_path, option, "model=diffusing_colors")
    assert callable(getattr(Bench, cfg.eval.measure)) and cfg.run_dir == str(tmp_path)
    assert len(list(itertools.islice(instantiate(cfg.eval.seen).photos("train", 32), 3))) == 3
    assert instantiate(cfg.data.module).source.keys(cfg.data.eval_split)


@pytest.mark.parametrize("name", ["base=latent", "model=ranker"])
def test_the_bundled_latent_base_loads(name: str, tmp_path: Path) -> None:
    base = instantiate(load("train", tmp_path, "model=ranker" if name == "model=ranker" else "model=vae", name).base)
    assert isinstance(base, LatentBase) and base.side == 128
    assert ColorizePipeline.load().ranker is not None


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
