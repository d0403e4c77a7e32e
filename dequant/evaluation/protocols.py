"""The paper's experiments as data: the conditions that each makes from one photo, and the targets.

A protocol is a function `(rgb, rng, *, texture_map, ...) -> list[Case]` that needs no model. All its randomness
comes from `rng`, and it returns the same cells for every photo.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dequant.color.matching import match
from dequant.color.opencv import hsv_jitter
from dequant.color.palette import MAX_COLORS, apply_palette, colormap_palette, quantize, transfer
from dequant.color.palette import dither as dithered
from dequant.condition.channels import for_palette, for_patch, mean_color
from dequant.condition.examples import random_mask
from dequant.errors import InputError
from dequant.evaluation.cases import TEXTURES, Case, Labels

TextureMap = Callable[[Tensor], Tensor]


PATCH_PALETTE_COLORS = 16
"""Palette size of the palette error of recoloured patches (paper, supplement, section 6)."""


def dequantization(
    rgb: Tensor,
    rng: np.random.Generator,
    *,
    texture_map: TextureMap,
    n_colors: int | Sequence[int],
    texture: str | Sequence[str] = TEXTURES,
    dither: str | None = None,
) -> list[Case]:
    """Restore a quantized photo, without texture (figure 3) and with it (figure 4).

    Args:
        rgb: the photo, (3, H, W) in [0, 1].
        rng: not used, as nothing is random.
        texture_map: (3, H, W) -> (2, H, W), that of the variant.
        n_colors: palette sizes, 2 to 256.
        texture: "on", "off" or both.
        dither: of `palette.DITHERS`, None for none. Dithered images are none of the paper's, and a label says so.

    Returns:
        One case per palette size and texture.

    Raises:
        InputError: a palette size, a texture or a dither is not one of the above.
    """
    maps = _maps(rgb, texture_map, texture)
    cases = []
    for n in _sizes(n_colors):
        plain = quantize(rgb, n)
        quantized = plain.rgb if dither is None else dithered(rgb, plain.palette, dither).rgb
        for name, given in maps.items():
            item = "Figure 4" if given is not None else "Figure 3"
            labels: dict[str, str | int | float] = {"n_colors": n, "texture": name}
            labels |= {} if dither is None else {"method": dither}
            cases.append(Case(labels, "" if dither else item, for_palette(quantized, n, given), rgb, rgb, n))
    return cases


def palette_transfer(
    rgb: Tensor,
    rng: np.random.Generator,
    reference: Tensor,
    *,
    texture_map: TextureMap,
    methods: str | Sequence[str],
    n_colors: int | Sequence[int],
    texture: str | Sequence[str] = TEXTURES,
) -> list[Case]:
    """Show a photo in the palette of another one (tables 1 and 2); there is no target.

    Args:
        rgb: the photo, (3, H, W) in [0, 1].
        rng: not used, as the reference is given.
        reference: the photo that the palette comes from, (3, H', W') in [0, 1].
        texture_map: (3, H, W) -> (2, H, W), that of the variant.
        methods: of `matching.match`; "color" is table 1, "negative_color" table 2.
        n_colors: palette sizes, 2 to 256.
        texture: "on", "off" or both.

    Returns:
        One case per method, palette size and texture.

    Raises:
        InputError: a method, a palette size or a texture does not exist.
    """
    maps = _maps(rgb, texture_map, texture)
    items = {"color": "Table 1", "negative_color": "Table 2"}
    cases = []
    for n in _sizes(n_colors):
        source, target = quantize(rgb, n), quantize(reference, n)
        for method in _each(methods):
            assignment = match(
                source.palette,
                target.palette,
                method,
                source_counts=source.counts,
                target_counts=target.counts,
            )
            asked = transfer(source, target.palette, assignment).rgb
            for name, given in maps.items():
                labels = {"n_colors": n, "texture": name, "method": method}
                condition = for_palette(asked, n, given)
                cases.append(Case(labels, items.get(method, ""), condition, rgb, None, n, reference))
    return cases


def inpainting(
    rgb: Tensor,
    rng: np.random.Generator,
    *,
    texture_map: TextureMap,
    methods: str | Sequence[str],
    texture: str | Sequence[str] = TEXTURES,
) -> list[Case]:
    """Fill a random patch with one colour; texture "off" drops only the texture inside the patch.

    Args:
        rgb: the photo, (3, H, W) in [0, 1].
        rng: draws the patch, the same for all cases, and the random colour.
        texture_map: (3, H, W) -> (2, H, W), that of the variant.
        methods: "mean" for the mean colour of the patch, whose target is the photo (table 3), "random" for any 8-bit
            colour, which has no target (table 4), or both.
        texture: "on", "off" or both.

    Returns:
        One case per method and texture.

    Raises:
        InputError: a method or a texture is not one of the above.
    """
    mask = random_mask(rgb, rng)
    any_color = torch.from_numpy(rng.integers(0, 256, 3)).float() / 255
    fills = {
        "mean": ("Table 3", mean_color(rgb, mask), rgb),
        "random": ("Table 4", any_color, None),
    }
    given = texture_map(rgb)
    cases = []
    for method in _each(methods):
        if method not in fills:
            raise InputError(f"Expected a patch colour of {' or '.join(fills)}, got {method!r}.")
        item, color, target = fills[method]
        for name in _textures(texture):
            condition = for_patch(rgb, mask, color, given, keep_inside=name == "on")
            labels = {"texture": name, "method": method}
            cases.append(Case(labels, item, condition, rgb, target, PATCH_PALETTE_COLORS))
    return cases


def robustness(
    rgb: Tensor,
    rng: np.random.Generator,
    *,
    texture_map: TextureMap,
    n_colors: int | Sequence[int],
    strengths: float | Sequence[float],
    texture: str | Sequence[str] = TEXTURES,
) -> list[Case]:
    """Shift the palette of a quantized photo at random in HSV; the target is the photo, shifted likewise (figure 9).

    As in the released evaluation, texture and source remain those of the photo before the shift.

    Args:
        rgb: the photo, (3, H, W) in [0, 1].
        rng: draws the direction of the shift, which all cases of a photo share.
        texture_map: (3, H, W) -> (2, H, W), that of the variant.
        n_colors: palette sizes, 2 to 256.
        strengths: of `opencv.hsv_jitter`, 0 to 1.
        texture: "on", "off" or both.

    Returns:
        One case per strength, palette size and texture.

    Raises:
        InputError: a strength, a palette size or a texture is not one of the above.
    """
    maps = _maps(rgb, texture_map, texture)
    quantized = {n: quantize(rgb, n) for n in _sizes(n_colors)}
    seed = int(rng.integers(2**62))
    cases = []
    for strength in _each(strengths):
        if isinstance(strength, bool) or not isinstance(strength, (int, float)):
            raise InputError(f"Expected strengths from 0 to 1, got {strength!r}.")
        target = hsv_jitter(rgb, strength, np.random.default_rng(seed))
        for n, (palette, indices) in quantized.items():
            shifted = hsv_jitter(palette.T[:, None], strength, np.random.default_rng(seed))[:, 0].T
            asked = apply_palette(shifted, indices)
            for name, given in maps.items():
                labels: Labels = {"n_colors": n, "texture": name, "strength": strength}
                cases.append(Case(labels, "Figure 9", for_palette(asked, n, given), rgb, target, n))
    return cases


def colormap_transfer(
    rgb: Tensor,
    rng: np.random.Generator,
    *,
    texture_map: TextureMap,
    colormaps: str | Sequence[str],
    n_colors: int | Sequence[int],
    texture: str | Sequence[str] = TEXTURES,
    matching: str = "color",
) -> list[Case]:
    """Show a photo in the colours of a colour map (figures 14 to 17).

    Args:
        rgb: the photo, (3, H, W) in [0, 1].
        rng: not used, as nothing is random.
        texture_map: (3, H, W) -> (2, H, W), that of the variant.
        colormaps: names that matplotlib knows.
        n_colors: palette sizes, 2 to 256.
        texture: "on", "off" or both.
        matching: of `matching.match`: "color" is the paper's, "rank" keeps the order of lightness.

    Returns:
        One case per colour map, which is its method, palette size and texture.

    Raises:
        InputError: a colour map, a palette size or a texture does not exist.
    """
    maps = _maps(rgb, texture_map, texture)
    cases = []
    for n in _sizes(n_colors):
        source = quantize(rgb, n)
        for name in _each(colormaps):
            palette = colormap_palette(name, n)
            asked = transfer(source, palette, match(source.palette, palette, matching)).rgb
            for on_or_off, given in maps.items():
                labels = {"n_colors": n, "texture": on_or_off, "method": name}
                cases.append(Case(labels, "Figures 14-17", for_palette(asked, n, given), rgb, None, n))
    return cases


def _maps(rgb: Tensor, texture_map: TextureMap, texture: str | Sequence[str]) -> dict[str, Tensor | None]:
    return {name: texture_map(rgb) if name == "on" else None for name in _textures(texture)}


def _textures(texture: str | Sequence[str]) -> list[str]:
    for name in _each(texture):
        if name not in TEXTURES:
            raise InputError(f"Expected texture {' or '.join(TEXTURES)}, or both, got {name!r}.")
    return _each(texture)


def _sizes(n_colors: int | Sequence[int]) -> list[int]:
    for n in _each(n_colors):
        if not (isinstance(n, int) and not isinstance(n, bool) and 2 <= n <= MAX_COLORS):
            raise InputError(f"Expected a palette of 2 to {MAX_COLORS} colours, got {n!r}.")
    return _each(n_colors)


def _each(value: object) -> list[Any]:
    """One value or several, each once, as a list."""
    values = list(dict.fromkeys(value)) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not values:
        raise InputError("Expected at least one value of each of the protocol's options (eval.n_colors, ...), got [].")
    return values
