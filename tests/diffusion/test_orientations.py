"""The mean over orientations: turning loses nothing, textures turn with their photo, and predictions are averaged."""

from dataclasses import replace

import pytest
import torch

from dequant.condition.channels import for_palette, for_patch
from dequant.condition.texture import TEXTURES
from dequant.diffusion.orientations import Orientation
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.training.dequantizer import Dequantizer

ALL = Orientation.first(8)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_orientations_are_all_different(n: int) -> None:
    x = torch.arange(6.0).reshape(1, 2, 3)
    turned = [orientation.turn(x) for orientation in Orientation.first(n)]
    assert len(turned) == n == len({(tuple(one.shape), tuple(one.flatten().tolist())) for one in turned})
    assert torch.equal(turned[0], x)


@pytest.mark.parametrize("orientation", ALL)
def test_back_undoes_turn(orientation: Orientation) -> None:
    x = torch.rand(2, 3, 5, 7)
    for one in (x, x[0], x[0, 0]):
        assert torch.equal(orientation.back(orientation.turn(one)), one)


@pytest.mark.parametrize("variant", TEXTURES)
@pytest.mark.parametrize("orientation", ALL)
def test_a_turned_condition_is_that_of_the_turned_photo(variant: str, orientation: Orientation) -> None:
    photo = torch.randint(256, (3, 12, 20), generator=torch.Generator().manual_seed(0)) / 255
    mask = torch.zeros(12, 20, dtype=torch.bool)
    mask[3:8, 4:15] = True
    color, turned, texture_map = torch.tensor([0.2, 0.4, 0.6]), orientation.turn(photo), TEXTURES[variant].map
    for given, wanted in (
        (for_palette(photo, 8, texture_map(photo)), for_palette(turned, 8, texture_map(turned))),
        (for_palette(photo, 8, None), for_palette(turned, 8, None)),
        (
            for_patch(photo, mask, color, texture_map(photo), keep_inside=False),
            for_patch(turned, orientation.turn(mask), color, texture_map(turned), keep_inside=False),
        ),
    ):
        torch.testing.assert_close(orientation.condition(given, TEXTURES[variant]), wanted, rtol=0, atol=1e-6)


def seeds() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(3) for _ in range(2)]


def test_predictions_are_averaged(tiny_base: DiffusionBase, condition: torch.Tensor) -> None:
    def model(orientations: int) -> Dequantizer:
        torch.manual_seed(0)
        made = Dequantizer(tiny_base, ControlEncoder.from_base, Sampler(orientations=orientations)).eval()
        assert made.control is not None
        for conv in (*made.control.zero_convs, made.control.zero_conv_mid):
            torch.nn.init.normal_(conv.weight, std=0.1)
        return made

    one, eight = model(1), model(8)
    mean = torch.zeros_like(condition[:, :3])
    x = torch.randn(tiny_base.latent_shape(*condition.shape[-2:]), generator=seeds()[0])
    for orientation in ALL:
        turned = orientation.condition(condition, TEXTURES["T"])
        x_t = orientation.turn(x).expand(len(condition), -1, -1, -1)
        with torch.no_grad():
            predicted = one.controlled.denoise(x_t, torch.full((len(condition),), 999), turned)[0]
        mean += orientation.back(predicted) / 8
    drawn = eight.draw(condition, seeds())
    torch.testing.assert_close(drawn, (mean.clamp(-1, 1) + 1) / 2, rtol=0, atol=2e-5)
    large = condition.tile(2, 2)
    tiled, plain = (replace(made.sampler, tile=32).draw(made.controlled, large, seeds()) for made in (eight, one))
    assert tiled.shape[-2:] == (64, 64)
    assert not torch.equal(tiled, plain)


def test_other_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="3 orientations is not possible: give 1, 2"):
        Orientation.first(3)
