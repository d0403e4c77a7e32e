"""What a frozen classifier recognizes in grey photos, told to a UNet."""

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models.latent import LatentBase
from dequant.models.recognition import CHANNELS, Recognizer, recognized
from tests.support import latents

KINDS = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LatentBase:
    folder = tmp_path_factory.mktemp("vae")
    latents.vae().save_pretrained(folder)
    return latents.base(folder, recognizes=True, block_out_channels=[8, 8, 16])


def predicted(base: LatentBase, gray: torch.Tensor, count: int = 1) -> torch.Tensor:
    z = base.encode(gray).repeat(count, 1, 1, 1)
    with torch.no_grad():
        seen = base.recognize(gray, z.shape[2:])
        return base.predict(z, torch.full((len(z),), 999), base.embed([""] * len(z)), seen)


@pytest.mark.parametrize("size", [(128, 128), (128, 256), (100, 300)])
def test_the_classifier_sees_the_photo_at_a_size_that_it_knows(size: tuple[int, int]) -> None:
    found = recognized(EfficientNetLite0(), torch.rand(1, 3, *size), 128)
    assert [one.shape[1] for one in found] == list(CHANNELS)
    rows, columns = found[-1].shape[2:]
    assert rows == round(6 * size[0] / 128) and columns == round(6 * size[1] / 128)


def test_it_fits_the_levels_of_a_unet() -> None:
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8, 16),
        down_block_types=KINDS,
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        cross_attention_dim=8,
    )
    recognizer = Recognizer.of(unet)
    assert recognizer.config["halvings"] == [1, 1, 2] and recognizer.config["outputs"] == [8, 8, 16]
    features = [torch.rand(2, channels, side, side) for channels, side in zip(CHANNELS, (12, 6, 3), strict=True)]
    found = recognizer(features, (16, 24))
    assert [tuple(one.shape) for one in found] == [(2, 8, 8, 12), (2, 8, 8, 12), (2, 16, 4, 6)]
    assert all((one == 0).all() for one in found)


def test_a_unet_is_told_what_is_seen(base: LatentBase) -> None:
    gray = torch.rand(1, 1, 32, 48, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    z = base.encode(gray)
    with torch.no_grad():
        untold = base.predict(z, torch.tensor([999]), base.embed([""]))
    told = predicted(base, gray)
    assert (told - untold).abs().max() > 1e-4
    torch.testing.assert_close(predicted(base, gray, 3)[2:], told, atol=1e-5, rtol=0)


def test_it_is_saved_with_its_base(base: LatentBase, tmp_path: Path) -> None:
    gray = torch.rand(1, 1, 32, 32).expand(-1, 3, -1, -1)
    base.save_pretrained(tmp_path, torch.float32)
    assert (tmp_path / "recognizer" / "config.json").is_file()
    assert torch.equal(predicted(LatentBase.from_pretrained(tmp_path), gray), predicted(base, gray))
