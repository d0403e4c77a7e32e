"""Training examples drawn at random: edits for control encoders, degradations for a base."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.opencv import gray_uint8, shift_hsv
from dequant.color.palette import DITHERS, MAX_COLORS, QUANTIZATION_RMSE, dither, quantize
from dequant.condition import patches
from dequant.condition.channels import Condition, check_photo, for_palette, for_patch, mean_color, stack
from dequant.condition.recoloring import as_photo, recolored
from dequant.errors import InputError

PALETTE_PATCH_SHARE = 0.1
"""Share of random patches drawn from the regions of a palette, not from segments (authors' released code)."""


def random_mask(
    rgb: Tensor, rng: np.random.Generator, segment: patches.Segmenter = patches.random_segmentation
) -> Tensor:
    """Draw a patch to recolour: segments of the photo, or one time in ten regions of a palette of 4 to 32.

    Args:
        rgb: (3, H, W) in [0, 1].
        rng: source of randomness.
        segment: makes the segments.

    Returns:
        mask (H, W) bool, 4-connected, neither empty nor full, about `patches.PATCH_SHARE` of it on average.

    Raises:
        InputError: `rgb` is not a photo of at least two pixels.
    """
    if rng.random() < PALETTE_PATCH_SHARE:
        labels = patches.components(quantize(rgb, int(2 ** rng.integers(2, 6))).indices)
    else:
        labels = segment(rgb, rng)
    return patches.random_patch(labels, rng)


def random_n_colors(rng: np.random.Generator, smallest: int = 4, largest: int = 128) -> int:
    """Draw the size of a palette, a power of two.

    The probability falls linearly over the powers, from the smallest to the largest, which is a third as likely.
    """
    exponents = np.arange(smallest.bit_length() - 1, largest.bit_length())
    weights = np.linspace(3, 1, len(exponents))
    return int(2 ** rng.choice(exponents, p=weights / weights.sum()))


@dataclass(frozen=True)
class RandomTraining:
    """Draw a training example from a photo: dequantization or patch recolouring, with or without texture.

    The photo is augmented first, so the condition and the target both come from the augmented photo. The
    defaults are those of the authors' released code, except that its palettes have 2^0 to 2^7 colours and
    those of the paper (section 3), as here, 2^2 to 2^7.

    Attributes:
        texture_map: (3, H, W) -> (2, H, W), one of `dequant.condition.texture_maps`; it makes the variant L, G or T.
        patch_share: share of examples that recolour a patch instead of dequantizing a photo.
        texture_dropout: share of examples without texture, be it in the whole photo or inside the patch.
        gray_share: share of photos made grey.
        saturation_share: share of photos whose saturation is changed.
        saturation: range of the factor by which it is changed.
        min_colors: size of the smallest palette, a power of two.
        max_colors: size of the largest, a power of two; in between as `random_n_colors` draws them.
        recolor_share: share of the examples with texture that recolour the photo, or fill the patch with any colour.
            Their target is what `recoloring.as_photo` makes of it.
        palettes: photos (P, 3, h, w) in [0, 1] whose palettes recolour others; None only without recolouring.
        dither_share: share of the other palettes that are dithered.
        dithers: of `palette.DITHERS`, all equally likely.
    """

    texture_map: Callable[[Tensor], Tensor]
    patch_share: float = 0.5
    texture_dropout: float = 0.65
    gray_share: float = 0.1
    saturation_share: float = 0.1
    saturation: tuple[float, float] = (0.0, 2.0)
    min_colors: int = 4
    max_colors: int = 128
    recolor_share: float = 0.0
    palettes: Tensor | None = None
    dither_share: float = 0.0
    dithers: Sequence[str] = ("floyd_steinberg",)

    def __post_init__(self) -> None:
        """Refuse impossible settings with an `InputError`."""
        powers = {2**exponent for exponent in range(9)}
        if not {self.min_colors, self.max_colors} <= powers or self.min_colors > self.max_colors:
            raise InputError(
                f"Palettes of {self.min_colors} to {self.max_colors} colours cannot be drawn: "
                "give two powers of two from 1 to 256, the smaller one first."
            )
        _check_probability("patch_share", self.patch_share)
        _check_probability("texture_dropout", self.texture_dropout)
        _check_probability("gray_share", self.gray_share)
        _check_probability("saturation_share", self.saturation_share)
        _check_probability("gray_share + saturation_share", self.gray_share + self.saturation_share)
        _check_probability("recolor_share", self.recolor_share)
        _check_probability("dither_share", self.dither_share)
        if self.recolor_share and self.palettes is None:
            raise InputError(f"recolor_share = {self.recolor_share} needs palettes: give photos (P, 3, h, w).")
        if unknown := set(self.dithers) - set(DITHERS):
            raise InputError(f"There is no dither {min(unknown)!r}: choose of {', '.join(DITHERS)}.")

    def __call__(
        self, rgb: Tensor, rng: np.random.Generator, segment: patches.Segmenter = patches.random_segmentation
    ) -> dict[str, Tensor]:
        """Draw one example.

        Args:
            rgb: (3, H, W) in [0, 1].
            rng: source of randomness.
            segment: makes the segments of which patches consist.

        Returns:
            "condition" (7, H, W) and "target" (3, H, W), float32 in [0, 1].
        """
        check_photo(rgb)
        photo = self.augment(rgb, rng)
        with_texture = rng.random() >= self.texture_dropout
        is_patch = rng.random() < self.patch_share
        recolors = self.recolor_share > 0 and with_texture and rng.random() < self.recolor_share
        texture, target = self.texture_map(photo), photo
        if is_patch:
            mask = random_mask(photo, rng, segment)
            color = torch.from_numpy(rng.random(3)).float() if recolors else mean_color(photo, mask)
            condition = for_patch(photo, mask, color, texture, keep_inside=with_texture)
            if recolors:
                target = as_photo(Condition.of(condition).colors, photo, mask)
        else:
            n_colors = random_n_colors(rng, self.min_colors, self.max_colors)
            if recolors and self.palettes is not None:
                asked, target = recolored(photo, n_colors, list(self.palettes), rng)
            else:
                asked = self._quantized(photo, n_colors, rng)
            condition = for_palette(asked, n_colors, texture if with_texture else None)
        return {"condition": condition, "target": target}

    def _quantized(self, photo: Tensor, n_colors: int, rng: np.random.Generator) -> Tensor:
        quantized = quantize(photo, n_colors)
        if self.dither_share and rng.random() < self.dither_share:
            return dither(photo, quantized.palette, self.dithers[int(rng.integers(len(self.dithers)))]).rgb
        return quantized.rgb

    def augment(self, rgb: Tensor, rng: np.random.Generator) -> Tensor:
        """Make the photo grey, change its saturation or, most often, return it: (3, H, W) -> (3, H, W)."""
        draw = rng.random()
        if draw >= self.gray_share + self.saturation_share:
            return rgb
        if draw < self.gray_share:
            return gray_uint8(rgb).to(rgb).div(255).repeat(3, 1, 1)
        return shift_hsv(rgb, 0, rng.uniform(*self.saturation), 1)


@dataclass(frozen=True)
class RandomDegradation:
    """Draw a training example for a small base: a photo made blurred, noisy, both, or quantized, and the photo.

    This stands in for the billions of images seen by the paper's frozen super-resolution base, DeepFloyd IF
    stage II (section 3). There is no texture. The colour level says how large the error is: it is that of a
    quantized image just as far from its photo, N / 256 where the error is `QUANTIZATION_RMSE / sqrt(N)`.

    Attributes:
        palette_share: share of photos quantized to a palette, drawn as in `RandomTraining`; the level is its size.
        resize_share: share of the others reduced and enlarged again (bicubic, antialiased).
        scale: range of the factor by which they are reduced.
        noise_share: share of the others with Gaussian noise. No photo stays intact: the two shares add up to at
            least 1, and what exceeds 1 is the share with both.
        max_sigma: largest standard deviation of the noise, where photos range from 0 to 1.
        level_jitter: range of the log-uniform factor by which the error is misjudged.
    """

    palette_share: float = 0.0
    resize_share: float = 0.75
    scale: tuple[float, float] = (1.33, 4.0)
    noise_share: float = 0.5
    max_sigma: float = 0.05
    level_jitter: tuple[float, float] = (0.7, 1.4)

    def __post_init__(self) -> None:
        """Refuse impossible settings with an `InputError`."""
        _check_probability("palette_share", self.palette_share)
        _check_probability("resize_share", self.resize_share)
        _check_probability("noise_share", self.noise_share)
        if self.resize_share + self.noise_share < 1:
            raise InputError(
                f"With resize_share = {self.resize_share} and noise_share = {self.noise_share} some photos "
                "would stay intact: let the two add up to at least 1."
            )

    def __call__(
        self, rgb: Tensor, rng: np.random.Generator, segment: patches.Segmenter | None = None
    ) -> dict[str, Tensor]:
        """Draw one example; arguments and result as in `RandomTraining`, but nothing is segmented."""
        check_photo(rgb)
        if self.palette_share and rng.random() < self.palette_share:
            n_colors = random_n_colors(rng)
            condition = for_palette(quantize(rgb, n_colors).rgb, n_colors, None)
            return {"condition": condition, "target": rgb}
        degraded = self.degrade(rgb, rng)
        rmse = 2 * (degraded - rgb).square().mean().sqrt().item()
        misjudged = rmse * math.exp(rng.uniform(*np.log(self.level_jitter)))
        equivalent = (QUANTIZATION_RMSE / max(misjudged, 1e-6)) ** 2
        level = rgb.new_full(rgb.shape[1:], min(max(equivalent, 1), MAX_COLORS) / MAX_COLORS)
        return {"condition": stack(degraded, None, level, torch.zeros_like(level)), "target": rgb}

    def degrade(self, rgb: Tensor, rng: np.random.Generator) -> Tensor:
        """Blur the photo, add noise to it, or both: (3, H, W) -> (3, H, W), clamped to [0, 1]."""
        draw = rng.random()
        size = list(rgb.shape[1:])
        degraded = rgb
        if draw < self.resize_share:
            scale = rng.uniform(*self.scale)
            degraded = _resize(_resize(degraded, [max(1, round(side / scale)) for side in size]), size)
        if draw >= 1 - self.noise_share:
            noise = torch.from_numpy(rng.standard_normal(tuple(rgb.shape), dtype=np.float32)).to(rgb)
            degraded = degraded + rng.uniform(0, self.max_sigma) * noise
        return degraded.clamp(0, 1)


def photo_alone(rgb: Tensor, rng: np.random.Generator, segment: patches.Segmenter | None = None) -> dict[str, Tensor]:
    """The example of what learns from photos alone: "target" (3, H, W); arguments as in `RandomTraining`."""
    check_photo(rgb)
    return {"target": rgb}


def random_window(sample: dict[str, Any], size: int, rng: np.random.Generator) -> dict[str, Any]:
    """Cut the same square out of condition and target, about a pixel of the patch where there is one.

    A palette of N colours fits a small square far better than the whole photo it is made for. So the examples of small
    networks are cut out after the photo was quantized.

    Args:
        sample: "target" (3, H, W) and, unless the photo alone is learned from, "condition" (7, H, W).
        size: side of the square, at most H and W.
        rng: source of randomness.

    Returns:
        "condition" (7, size, size) and "target" (3, size, size); what is no tensor, such as a caption, as it was.
    """
    height, width = sample["target"].shape[1:]
    places = Condition.of(sample["condition"]).patch.nonzero() if "condition" in sample else ()
    centre = places[int(rng.integers(len(places)))].tolist() if len(places) else None
    corner = []
    for axis, side in enumerate((height, width)):
        low, high = 0, side - size
        if centre is not None:
            low, high = (min(max(centre[axis] - reach, 0), side - size) for reach in (size - 1, 0))
        corner.append(int(rng.integers(low, high + 1)))
    top, left = corner
    square = (slice(None), slice(top, top + size), slice(left, left + size))
    return {name: one[square].contiguous() if isinstance(one, Tensor) else one for name, one in sample.items()}


def _resize(rgb: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(rgb[None], size=size, mode="bicubic", antialias=True)[0]


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} = {value} is not a probability: give a number from 0 to 1.")
