"""Peers that see the texture: what each is by definition, and that a patch confines it."""

from functools import partial

import pytest
import torch

from dequant.color.palette import quantize
from dequant.evaluation import peers
from dequant.metrics.image import psnr
from dequant.metrics.texture import gradient_agreement
from tests.support.photos import golden_photo

PEERS = {
    "luminance_residual": peers.luminance_residual,
    "guided_filter": peers.guided_filter_of,
    "guided_filter_color": partial(peers.guided_filter_of, guide="color"),
    "bounds_T": partial(peers.within_bounds, variant="T"),
    "bounds_L": partial(peers.within_bounds, variant="L"),
    "lines_G": partial(peers.along_lines, variant="G"),
}


@pytest.mark.parametrize("name", ["luminance_residual", "bounds_T", "bounds_L", "lines_G"])
def test_peers_with_texture_beat_the_quantized_image(name: str) -> None:
    photo = golden_photo("caps")
    quantized = quantize(photo, 8).rgb
    restored = PEERS[name](quantized, photo, 8, None)
    assert psnr(restored[None], photo[None]) > psnr(quantized[None], photo[None]) + 0.05


def test_the_luminance_residual_restores_a_grey_photo() -> None:
    gray = (golden_photo("caps").mean(0, keepdim=True) * 255).round().div(255).expand(3, -1, -1)
    found = peers.luminance_residual(quantize(gray, 4).rgb, gray, 4)
    torch.testing.assert_close(found, gray, atol=1.5 / 255, rtol=0)


@pytest.mark.parametrize("peer", [peers.palette_interpolation, partial(peers.color_map, width=1.0)])
def test_colour_maps_take_old_colours_to_new_ones(peer: partial[torch.Tensor]) -> None:
    photo = quantize(golden_photo("caps"), 4)
    swapped = photo._replace(palette=photo.palette.flip(0)).rgb
    torch.testing.assert_close(peer(swapped, photo.rgb, 4), swapped, atol=0.03, rtol=0)
    torch.testing.assert_close(peer(photo.rgb, photo.rgb, 4), photo.rgb, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", PEERS)
def test_outside_a_patch_nothing_changes(name: str) -> None:
    photo = golden_photo("caps")
    patch = torch.zeros(photo.shape[1:], dtype=torch.bool)
    patch[16:48, 16:48] = True
    filled = torch.where(patch, photo[:, patch].mean(1)[:, None, None], photo)
    found = PEERS[name](filled, photo, 16, patch)
    assert torch.equal(found[:, ~patch], filled[:, ~patch])
    if name in ("bounds_T", "bounds_L", "lines_G"):
        better, before = (gradient_agreement(one[None], photo[None], patch).item() for one in (found, filled))
        assert better > before
