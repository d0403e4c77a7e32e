"""The 8-bit grey, Lab and HSV conversions behind the released weights and the paper's evaluation.

OpenCV's fixed-point arithmetic, reproduced bit for bit in integer tensors. Luminance is its 8-bit L channel, texture
comes from its 8-bit grey image, and the robustness test (paper, figure 9) shifts its 8-bit HSV.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dequant.color.rgb import check_rgb, to_uint8
from dequant.errors import InputError

RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))


XYZ_TO_RGB = (
    (3.240479, -1.537150, -0.498535),
    (-0.969256, 1.875991, 0.041556),
    (0.055648, -0.204043, 1.057311),
)


WHITE = (0.950456, 1.0, 1.088754)


GRAY_WEIGHTS = (9798, 19235, 3735)
"""0.299, 0.587 and 0.114 times 2^15."""


ONE = 1 << 14
"""1 in the fixed point of XYZ and of its cube root, in the conversion from Lab to RGB."""


XZ_MIN = -8145
"""Smallest cube root in the table of X and Z, whose indices start there."""


VECTOR_WIDTH = 32
"""Pixels that OpenCV converts from HSV at a time, rounding down; it rounds the rest of a row to nearest."""


def gray_uint8(rgb: Tensor) -> Tensor:
    """Grey image in 8 bits, exactly OpenCV's RGB2GRAY.

    Args:
        rgb: (..., 3, H, W) in [0, 1], rounded to 8 bits first.

    Returns:
        (..., H, W) uint8.

    Raises:
        InputError: `rgb` is not a floating-point image.
    """
    check_rgb(rgb)
    red, green, blue = to_uint8(rgb).int().unbind(-3)
    weighted = GRAY_WEIGHTS[0] * red + GRAY_WEIGHTS[1] * green + GRAY_WEIGHTS[2] * blue
    return _descale(weighted, 15).to(torch.uint8)


def luminance(rgb: Tensor) -> Tensor:
    """Luminance L* / 100 rounded to 8 bits, exactly the L channel of OpenCV's 8-bit RGB2LAB over 255.

    Args:
        rgb: (..., 3, H, W) in [0, 1], rounded to 8 bits first.

    Returns:
        (..., H, W) float32 in [0, 1], multiples of 1/255.

    Raises:
        InputError: `rgb` is not a floating-point image.
    """
    check_rgb(rgb)
    return _lightness(_xyz_roots(to_uint8(rgb), rows=(1,))[0]).float() / 255


def replace_luminance(rgb: Tensor, luminance: Tensor) -> Tensor:
    """Give an image the luminance of another one and keep its a and b: the paper's "ours - L - post".

    As in the released evaluation, both arguments are rounded down to 8 bits and the exchange happens in 8-bit
    Lab.

    Args:
        rgb: (..., 3, H, W) in [0, 1].
        luminance: (..., H, W) in [0, 1], from `luminance`.

    Returns:
        (..., 3, H, W) float32 in [0, 1], multiples of 1/255.

    Raises:
        InputError: `rgb` is not a floating-point image or `luminance` does not have its size.
    """
    check_rgb(rgb)
    if luminance.shape != rgb[..., 0, :, :].shape:
        raise InputError(
            f"A luminance of shape {tuple(luminance.shape)} does not fit an image of shape "
            f"{tuple(rgb.shape)}: give {tuple(rgb[..., 0, :, :].shape)}."
        )
    x, y, z = _xyz_roots(to_uint8(rgb, truncate=True), rows=(0, 1, 2))
    a = _descale(500 * (x - y) + (128 << 15), 15).clamp(0, 255)
    b = _descale(200 * (y - z) + (128 << 15), 15).clamp(0, 255)
    return _lab8_to_rgb8(to_uint8(luminance, truncate=True).int(), a, b).float() / 255


def hsv_jitter(rgb: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Shift hue, saturation and value at random, as in the paper's robustness test (figure 9, "Aug value").

    Args:
        rgb: (..., 3, H, W) in [0, 1]; all images of a batch get the same shift.
        strength: 0 to 1; the hue turns by up to `strength` full turns either way (0.5 already reaches every
            hue), and saturation and value are scaled by `1 - strength` to `1 + strength`.
        rng: three uniform numbers are drawn, for hue, saturation and value.

    Returns:
        (..., 3, H, W) float32 in [0, 1], multiples of 1/255.

    Raises:
        InputError: `rgb` is not a floating-point image or `strength` is not in [0, 1].
    """
    if not 0 <= strength <= 1:
        raise InputError(f"An HSV jitter of strength {strength} is not possible: give a number from 0 to 1.")
    hue_shift = rng.uniform(-strength, strength) * 180
    scales = (rng.uniform(1 - strength, 1 + strength), rng.uniform(1 - strength, 1 + strength))
    return shift_hsv(rgb, hue_shift, *scales)


def shift_hsv(rgb: Tensor, hue_shift: float, saturation_scale: float, value_scale: float) -> Tensor:
    """Shift the hue and scale saturation and value in 8-bit HSV, exactly as OpenCV (with AVX2) does.

    OpenCV rounds the last `W % 32` columns to the nearest level and all others down, and so does this. To shift the
    palette (K, 3) of a quantized image, pass it as the image `palette.T[:, None]`.

    Args:
        rgb: (..., 3, H, W) in [0, 1], rounded to 8 bits first.
        hue_shift: in units of 2 degrees, the steps of 8-bit hue: 180 is a full turn.
        saturation_scale: 0 or more; saturation is clipped afterwards.
        value_scale: the same for value.

    Returns:
        (..., 3, H, W) float32 in [0, 1], multiples of 1/255.

    Raises:
        InputError: `rgb` is not a floating-point image or a scale is negative.
    """
    check_rgb(rgb)
    if saturation_scale < 0 or value_scale < 0:
        raise InputError(f"HSV scales {saturation_scale} and {value_scale} are not possible: give none below 0.")
    hue, saturation, value = _rgb8_to_hsv8(to_uint8(rgb))
    hue = torch.remainder(hue.float() + hue_shift, 180).to(torch.uint8)
    saturation = (saturation.float() * saturation_scale).clamp(0, 255).to(torch.uint8)
    value = (value.float() * value_scale).clamp(0, 255).to(torch.uint8)
    return _hsv8_to_rgb8(hue, saturation, value).float() / 255


class _LabTables(NamedTuple):
    gamma: Tensor
    """(256,) sRGB level -> linear, 0 to 2040."""
    root: Tensor
    """(2041,) linear X, Y or Z -> its cube root (CIE Lab's f) times 2^15."""
    y: Tensor
    """(256,) L -> Y times 2^14."""
    y_root: Tensor
    """(256,) L -> f(Y) times 2^14."""
    xz: Tensor
    """(36864,) f - `XZ_MIN`, times 2^14 -> X or Z times 2^14."""
    inverse_gamma: Tensor
    """(4096,) linear level -> sRGB level."""


@cache
def _lab_tables(device: torch.device) -> _LabTables:
    """Lookup tables, in single precision where OpenCV's are: the last bit decides some entries."""
    f32 = np.float32
    level = np.arange(256)
    srgb = (f32(level) / f32(255)).astype(float)
    gamma = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(f32) * f32(2040)

    linear = (f32(1) / f32(2040) * f32(np.arange(2041))).astype(float)
    exact = np.cbrt(linear)
    root = exact.astype(f32)
    root = np.where(root > exact, np.nextafter(root, f32(0)), root)  # OpenCV's cube root rounds down
    root = np.where(linear < 216 / 24389, (linear * f32(841 / 108) + f32(16 / 116)).astype(f32), root)

    low = (
        f32(level * ONE * 180) / f32(17 * 29**3),
        f32(ONE) * (f32(16) / f32(116) + f32(level * 5) / f32(51 * 29)),
    )
    high_root = f32(level * 100 * ONE) / f32(255 * 116) + f32(16 * ONE) / f32(116)
    high = high_root * high_root * high_root / f32(ONE * ONE), high_root

    f = np.arange(XZ_MIN, ONE * 9 // 4 + XZ_MIN)
    line = np.sign(f) * (np.abs(f) * 108 // 841) - ONE * 16 // 116 * 108 // 841
    xz = np.where(f <= 3390, line, f * f // ONE * f // ONE)

    linear = np.arange(4096) / 4096
    curve = np.where(linear <= 0.0031308, linear * 12.92, linear ** (1 / 2.4) * 1.055 - 0.055)
    tables = (
        gamma,
        f32(1 << 15) * root,
        np.where(level <= 20, low[0], high[0]),
        np.where(level <= 20, low[1], high[1]),
        xz,
        f32(255) * curve.astype(f32),
    )
    return _LabTables(*(torch.from_numpy(np.rint(table).astype(np.int32)).to(device) for table in tables))


def _xyz_roots(rgb: Tensor, rows: tuple[int, ...]) -> list[Tensor]:
    """f(X), f(Y) or f(Z) (rows 0, 1, 2) times 2^15 of uint8 (..., 3, H, W), each (..., H, W)."""
    tables = _lab_tables(rgb.device)
    red, green, blue = _look_up(tables.gamma, rgb.int()).unbind(-3)
    roots = []
    for row in rows:
        c_red, c_green, c_blue = (round(4096 * c / WHITE[row]) for c in RGB_TO_XYZ[row])
        roots.append(_look_up(tables.root, _descale(c_red * red + c_green * green + c_blue * blue, 12)))
    return roots


def _lightness(y_root: Tensor) -> Tensor:
    """L in 0..255 from f(Y) times 2^15: L* = 116 f(Y) - 16, times 2.55."""
    return _descale(296 * y_root - (16 * 255 * (1 << 15) + 50) // 100, 15)


def _lab8_to_rgb8(light: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """8-bit Lab channels (..., H, W), a and b shifted by 128 -> levels (..., 3, H, W)."""
    tables = _lab_tables(light.device)
    y_root = tables.y_root[light]
    x_root = y_root + ((5 * a * 53687 + (1 << 7)) >> 13) - 128 * ONE // 500
    z_root = y_root - (((b * 41943 + (1 << 4)) >> 9) - 128 * ONE // 200 + 1)
    xyz = (tables.xz[x_root - XZ_MIN], tables.y[light], tables.xz[z_root - XZ_MIN])
    channels = []
    for row in XYZ_TO_RGB:
        c_x, c_y, c_z = (round(4096 * c * white) for c, white in zip(row, WHITE, strict=True))
        linear = _descale(c_x * xyz[0] + c_y * xyz[1] + c_z * xyz[2], 14)
        channels.append(tables.inverse_gamma[linear.clamp(0, 4095)])
    return torch.stack(channels, dim=-3)


def _rgb8_to_hsv8(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Levels uint8 (..., 3, H, W) -> hue in 0..179, saturation and value in 0..255, each (..., H, W)."""
    red, green, blue = rgb.int().unbind(-3)
    value = rgb.int().amax(-3)
    chroma = value - rgb.int().amin(-3)
    level = torch.arange(1, 256, dtype=torch.float64, device=rgb.device)
    zero = level.new_zeros(1)
    per_chroma = torch.cat((zero, ((180 << 12) / (6 * level)).round())).int()
    per_value = torch.cat((zero, ((255 << 12) / level).round())).int()
    sector = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    hue = _descale(sector * _look_up(per_chroma, chroma), 12)
    return torch.where(hue < 0, hue + 180, hue), _descale(chroma * _look_up(per_value, value), 12), value


def _hsv8_to_rgb8(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """8-bit HSV channels (..., H, W) -> levels (..., 3, H, W), single precision with fused multiply-add."""
    sixths = hue.float() * (6 / 180)
    sector = sixths.trunc()
    fraction = sixths - sector
    saturation, value = saturation.float() * (1 / 255), value.float() * (1 / 255)
    low = value * (1 - saturation)
    falling = value * (1 - saturation.double() * fraction.double()).float()
    rising = value * (1 - saturation.double() * (1 - fraction).double()).float()
    shades = torch.stack((value, low, falling, rising))
    by_sector = torch.tensor(((0, 2, 1, 1, 3, 0), (3, 0, 0, 2, 1, 1), (1, 1, 3, 0, 0, 2)), device=hue.device)
    choice = torch.stack([_look_up(shade, sector.long() % 6) for shade in by_sector])
    levels = shades.gather(0, choice).movedim(0, -3) * 255
    width = levels.shape[-1]
    in_vector = torch.arange(width, device=hue.device) < width - width % VECTOR_WIDTH
    return torch.where(in_vector, levels.trunc(), levels.round()).clamp(0, 255)


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """`table[index]` for int32 or int64 indices of any shape, but several times faster."""
    return table.index_select(0, index.flatten()).view(index.shape)


def _descale(x: Tensor, bits: int) -> Tensor:
    return (x + (1 << (bits - 1))) >> bits
