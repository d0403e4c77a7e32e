"""Palettes: identity with Pillow and the released code, transfers, colour maps, bad input."""

import time
from itertools import product
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dequant.color import palette as palette_module
from dequant.color.matching import match
from dequant.color.palette import (
    DITHERS,
    KMEANS_PIXELS,
    Quantized,
    apply_palette,
    colormap_palette,
    dither,
    quantize,
    transfer,
)
from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.errors import InputError
from tests.support.colors import random_palette
from tests.support.paths import GOLDEN
from tests.support.photos import NAMES, golden_photo
from tests.support.released import ARRAYS

MATCHINGS = st.sampled_from(["color", "negative_color", "intensity"])
RELEASED_METHODS = {"color": "color", "neg": "negative_color", "freq": "frequency", "int": "intensity"}


def small_images() -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    ramp = torch.arange(32).float() / 31
    crop = golden_photo("caps")[:, 40:72, 40:72]
    return {
        "photo": crop,
        "photo of two colours": (crop > 0.5).float()[:1].expand(3, -1, -1) * 0.8,
        "noise": torch.from_numpy(rng.integers(0, 256, (3, 32, 32))).float() / 255,
        "gradient": torch.stack((ramp.expand(32, -1), ramp[:, None].expand(-1, 32), ramp.flip(0).expand(32, -1))),
        "grey": crop[:1].expand(3, -1, -1),
        "five colours": random_palette(5)[torch.from_numpy(rng.integers(0, 5, (32, 32)))].permute(2, 0, 1),
        "one colour": torch.full((3, 32, 32), 0.2),
    }


IMAGES = small_images()


def released(rgb: Tensor, n_colors: int) -> Image.Image:
    """What the released code calls."""
    levels = (255 * rgb).round().byte().permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(levels).convert("P", palette=Image.Palette.ADAPTIVE, colors=n_colors)


def assert_identical(quantized: Quantized, image: Image.Image) -> None:
    assert quantized.indices.numpy().astype(np.uint8).tobytes() == image.tobytes()
    assert (255 * quantized.palette).round().byte().numpy().tobytes() == bytes(image.getpalette())
    assert (255 * quantized.rgb).round().byte().permute(1, 2, 0).numpy().tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("name", IMAGES)
def test_median_cut_is_pillows_byte_for_byte(name: str) -> None:
    for n_colors in range(1, 257):
        assert_identical(quantize(IMAGES[name], n_colors), released(IMAGES[name], n_colors))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_colors", [4, 16, 64])
def test_median_cut_is_that_of_the_released_code(name: str, n_colors: int) -> None:
    arrays = np.load(GOLDEN / f"cond_{name}.npz")
    wanted = arrays["conditioning"][arrays["cases"].tolist().index(f"L_{n_colors}_tex"), :3]
    assert np.array_equal(quantize(golden_photo(name), n_colors).rgb.numpy(), wanted)


@pytest.mark.parametrize("method", ["median_cut", "kmeans", "octree"])
@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("n_colors", [1, 2, 7, 256])
def test_parts_fit_together(method: str, name: str, n_colors: int) -> None:
    quantized = quantize(IMAGES[name], n_colors, method)
    assert 1 <= len(quantized.palette) <= n_colors
    assert quantized.palette.dtype == torch.float32
    assert quantized.indices.dtype == torch.int64
    assert quantized.indices.shape == (32, 32)
    assert quantized.counts.sum() == 32 * 32
    assert torch.equal(quantized.rgb, quantized.palette[quantized.indices].permute(2, 0, 1))
    assert torch.equal((255 * quantized.palette).round() / 255, quantized.palette)


@pytest.mark.parametrize("method", ["median_cut", "kmeans"])
@pytest.mark.parametrize("name", ["five colours", "photo of two colours", "one colour"])
def test_few_colours_are_kept(method: str, name: str) -> None:
    quantized = quantize(IMAGES[name], 8, method)
    levels = (255 * IMAGES[name]).round() / 255
    assert len(quantized.palette) == len(levels.flatten(1).unique(dim=1).T)
    assert torch.equal(quantized.rgb, levels)


def test_octree_is_pillows() -> None:
    levels = (255 * golden_photo("caps")).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(levels).quantize(16, method=Image.Quantize.FASTOCTREE)
    wanted = np.array(image.convert("RGB"))
    assert np.array_equal(
        (255 * quantize(golden_photo("caps"), 16, "octree").rgb).round().byte().permute(1, 2, 0), wanted
    )


@pytest.mark.parametrize("n_colors", [4, 32])
def test_kmeans_is_closer_than_median_cut(n_colors: int) -> None:
    def difference(method: str) -> float:
        quantized = quantize(golden_photo("caps"), n_colors, method).rgb
        return ciede2000(rgb_to_lab(quantized), rgb_to_lab(golden_photo("caps"))).mean().item()

    assert difference("kmeans") < difference("median_cut") < difference("octree")


def test_kmeans_depends_on_its_rng_alone() -> None:
    large = golden_photo("caps").repeat(1, 2, 2)
    assert large[0].numel() > KMEANS_PIXELS
    once, twice = (quantize(large, 16, "kmeans") for _ in range(2))
    assert torch.equal(once.palette, twice.palette)
    assert torch.equal(once.indices, twice.indices)
    other = quantize(large, 16, "kmeans", rng=np.random.default_rng(1))
    assert not torch.equal(once.palette, other.palette)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 64))
def test_median_cut_is_idempotent(seed: int, scale: int, n_colors: int) -> None:
    levels = np.random.default_rng(seed).normal(128, scale, (3, 12, 17)).clip(0, 255).round()
    once = quantize(torch.from_numpy(levels).float() / 255, n_colors).rgb
    assert torch.equal(quantize(once, n_colors).rgb, once)


@pytest.mark.parametrize("name", NAMES)
def test_median_cut_of_a_photo_is_idempotent(name: str) -> None:
    for n_colors in (2, 8, 32, 128):
        once = quantize(golden_photo(name), n_colors).rgb
        assert torch.equal(quantize(once, n_colors).rgb, once)


def test_values_are_rounded_to_8_bits() -> None:
    rgb = IMAGES["photo"]
    assert torch.equal(quantize(rgb + 0.4 / 255, 8).rgb, quantize(rgb, 8).rgb)


@pytest.mark.parametrize(
    "bad",
    [
        torch.rand(8, 8),
        torch.rand(2, 3, 8, 8),
        torch.rand(3, 0, 8),
        torch.full((3, 8, 8), torch.nan),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
    ],
)
def test_refuses_what_is_not_one_image(bad: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        quantize(bad, 8)


@pytest.mark.parametrize("n_colors", [-1, 0, 257, 16.0, "16", None])
def test_refuses_impossible_palettes(n_colors: int) -> None:
    with pytest.raises(InputError, match="1 to 256"):
        quantize(IMAGES["photo"], n_colors)


def test_refuses_unknown_methods() -> None:
    with pytest.raises(InputError, match="median_cut, kmeans, octree"):
        quantize(IMAGES["photo"], 8, "neural")


@pytest.mark.parametrize("n_colors", [8, 32])
@pytest.mark.parametrize("method", [*RELEASED_METHODS, "cmap_viridis", "cmap_magma"])
def test_transfer_is_that_of_the_released_code(method: str, n_colors: int) -> None:
    source = quantize(golden_photo("womanhat"), n_colors)
    target = quantize(golden_photo("plane"), n_colors)
    colors = target.palette
    if method.startswith("cmap"):
        colors = colormap_palette(method.removeprefix("cmap_"), n_colors)
        np.testing.assert_allclose(colors, ARRAYS[f"{method}__{n_colors}__colours_f64"], atol=1e-7)
    assignment = match(
        source.palette,
        colors,
        RELEASED_METHODS.get(method, "color"),
        source_counts=source.counts,
        target_counts=target.counts,
    )
    case = f"womanhat__plane__{method}__{n_colors}"
    assert assignment.tolist() == ARRAYS[f"{case}__assign"].tolist()
    if f"{case}__matched_u8" in ARRAYS:
        levels = torch.from_numpy(ARRAYS[f"{case}__matched_u8"])
        assert torch.equal(transfer(source, colors, assignment).rgb, levels / 255)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20), MATCHINGS)
def test_every_pixel_becomes_its_matched_color(seed: int, n_sources: int, n_targets: int, method: str) -> None:
    indices = torch.from_numpy(np.random.default_rng(seed).integers(0, n_sources, (5, 7)))
    source = Quantized(random_palette(n_sources, seed), indices)
    target = random_palette(n_targets, seed + 1)
    assignment = match(source.palette, target, method)
    moved = transfer(source, target, assignment)
    assert torch.equal(moved.indices, indices)
    for row, column in product(range(5), range(7)):
        assert torch.equal(moved.rgb[:, row, column], target[assignment[indices[row, column]]])


def test_blend_goes_from_source_to_target() -> None:
    source = quantize(golden_photo("plane"), 8)
    target = random_palette(8)
    assignment = torch.arange(8).flip(0)
    assert torch.equal(transfer(source, target, assignment, blend=0).palette, source.palette)
    assert torch.equal(transfer(source, target, assignment, blend=1).palette, target.flip(0))
    half = transfer(source, target, assignment, blend=0.5).palette
    assert ((source.palette + target.flip(0)) / 2 - half).abs().max() <= 1 / 255
    assert torch.equal((255 * half).round() / 255, half)


def test_transfer_of_a_large_image_takes_milliseconds() -> None:
    """1080p at 64 colours has to stay well under 0.1 s; 4 ms is usual."""
    indices = torch.from_numpy(np.random.default_rng(0).integers(0, 64, (1080, 1920)))
    source = Quantized(random_palette(64), indices)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        target = random_palette(64, 1)
        assert transfer(source, target, match(source.palette, target)).rgb.shape == (3, 1080, 1920)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(4, 4), torch.zeros(3).long()), r"\(n, 3\)"),
        ((torch.rand(4, 3), torch.zeros(2).long()), "give 3 integers"),
        ((torch.rand(4, 3), torch.zeros(3)), "give 3 integers"),
        ((torch.rand(4, 3), torch.tensor([0, 1, 4])), "from 0 to 3"),
        ((torch.rand(4, 3), torch.tensor([0, 1, -1])), "from 0 to 3"),
        ((torch.rand(4, 3), torch.zeros(3).long(), 1.1), "from 0 to 1"),
    ],
)
def test_transfer_refuses_what_does_not_fit(arguments: tuple[Any, ...], message: str) -> None:
    source = Quantized(random_palette(3), torch.zeros(2, 2).long())
    with pytest.raises(InputError, match=message):
        transfer(source, *arguments)


@pytest.mark.parametrize(
    "indices", [torch.zeros(4).long(), torch.zeros(2, 2), torch.full((2, 2), 3), torch.full((2, 2), -1)]
)
def test_refuses_wrong_indices(indices: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        apply_palette(random_palette(3), indices)


def test_colormap_holds_the_ends() -> None:
    colors = colormap_palette("viridis", 5)
    expected = [matplotlib.colormaps["viridis"](position)[:3] for position in (0.0, 0.25, 0.5, 0.75, 1.0)]
    torch.testing.assert_close(colors, torch.tensor(expected, dtype=torch.float32))


def test_colormap_of_one_color_is_its_middle() -> None:
    assert torch.equal(colormap_palette("magma", 1)[0], colormap_palette("magma", 3)[1])


def test_colormap_refuses_unknown_names_and_sizes() -> None:
    with pytest.raises(InputError, match="'viridian'"):
        colormap_palette("viridian", 4)
    with pytest.raises(InputError, match="at least 1"):
        colormap_palette("viridis", 0)


@pytest.mark.parametrize("kind", DITHERS)
def test_dithered_images_have_the_colours_of_the_palette_and_the_mean_of_the_photo(kind: str) -> None:
    photo = golden_photo("caps")
    palette = quantize(photo, 16).palette
    found = dither(photo, palette, kind)
    assert torch.equal(found.palette, palette) and found.indices.max() < len(palette)
    near = [F.avg_pool2d(one[None], 8) for one in (found.rgb, quantize(photo, 16).rgb, photo)]
    errors = [(one - near[2]).abs().mean() for one in near[:2]]
    assert errors[0] < (0.8 if kind == "floyd_steinberg" else 3) * errors[1]


def test_impossible_dithers_are_refused() -> None:
    photo = golden_photo("caps")
    with pytest.raises(InputError, match="no dither 'noise'"):
        dither(photo, quantize(photo, 4).palette, "noise")
    with pytest.raises(InputError, match="at most 256 colours"):
        dither(photo, torch.rand(300, 3))


def test_thresholds_of_ordered_dithering_are_bayers() -> None:
    wanted = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]
    assert [[16 * one - 0.5 for one in row] for row in palette_module._bayer(4)] == wanted
    assert sorted(sum(palette_module.BAYER, [])) == [(k + 0.5) / 64 for k in range(64)]


def test_ordered_dithering_adds_thresholds_as_wide_as_the_palette_is_sparse() -> None:
    ramp = torch.arange(256.0).expand(16, 256)
    thresholds = torch.tensor(palette_module.BAYER).repeat(2, 32)
    for palette in (torch.tensor([[0.0] * 3, [1.0] * 3]), torch.cartesian_prod(*3 * [torch.tensor([0.0, 1.0])])):
        found = dither(ramp.expand(3, -1, -1) / 255, palette, "ordered")
        wanted = ramp + 255 * len(palette) ** (-1 / 3) * (thresholds - 0.5) > 127.5
        assert ((found.rgb == wanted) | (ramp + 255 * len(palette) ** (-1 / 3) * (thresholds - 0.5) == 127.5)).all()
