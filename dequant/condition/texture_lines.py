"""Pictures that follow the local colour lines of a photo, as far as its texture map says what these are.

`dequant.condition.texture_bounds` moves a picture along the grey axis to what a texture map says. Here its channels
follow the photo with their own slopes, which may be negative: a negative stays one. Bands of a palette, steps where the
photo has none, become slow shading; a step may stay where the photo has an edge.
"""

import torch
from torch import Tensor

from dequant.color import guided
from dequant.color.spaces import lab_to_rgb
from dequant.condition.texture_bounds import nearest_thresholded_gradients
from dequant.condition.texture_maps import GRADIENT_THRESHOLD

N_COLORS, STIFFNESS = 8, 16.0
"""Weight of the differences of a flat area where that of its colours is 1, for a palette of 8 colours. It falls as
1 / sqrt(N), as the error of the colours does. A step is spread over about the root of it in pixels."""


EDGE_STIFFNESS = 0.05
"""Share of it that is left at a strong edge."""


CONTRAST = 0.5
"""Share of the photo's contrast that a picture has at least, whatever its colours."""


MARGINS = (0.5, 0.6)
"""Grey levels kept below and above the threshold of an edge, so that flat areas and edges remain what they are."""


GRAY = (0.299, 0.587, 0.114)


def follow_luminance(
    rgb: Tensor, texture: Tensor, given: Tensor, free: Tensor | None = None, n_colors: float = N_COLORS
) -> Tensor:
    """Follow the grey photo of the luminance given.

    Args:
        rgb: (3, H, W); clamped to [0, 1] first.
        texture: (2, H, W) in [0, 1], from `texture_maps.luminance_map`.
        given: where the texture is given, (H, W) bool.
        free: the pixels that may change, (H, W) bool; None for all.
        n_colors: size of the palette, which says how far to trust the colours.

    Returns:
        (3, H, W) float32 in [0, 1].
    """
    light = 100 * texture[0].float()
    return follow(rgb, lab_to_rgb(torch.stack((light, *[torch.zeros_like(light)] * 2)))[0], given, free, n_colors)


def follow_gradients(
    rgb: Tensor, texture: Tensor, given: Tensor, free: Tensor | None = None, n_colors: float = N_COLORS
) -> Tensor:
    """Follow the grey photo that has the gradients given; arguments and result as in `follow_luminance`.

    Its central differences, one-sided at the border, determine a grey photo of 8 bits up to a constant.
    """
    return follow(rgb, integrated((510 * texture.float() - 255).mul(2).round().div(2)) / 255, given, free, n_colors)


def follow_edges(
    rgb: Tensor, texture: Tensor, given: Tensor, free: Tensor | None = None, n_colors: float = N_COLORS
) -> Tensor:
    """The nearest image with the thresholded gradients given, which know no lines; arguments as above."""
    return nearest_thresholded_gradients(rgb, texture, given, free)


def follow(rgb: Tensor, gray: Tensor, given: Tensor, free: Tensor | None = None, n_colors: float = N_COLORS) -> Tensor:
    """Follow a grey photo (H, W) in [0, 1], up to a constant; other arguments and result as in `follow_luminance`."""
    with torch.autocast(rgb.device.type, enabled=False):
        image = rgb.float().clamp(0, 1)
        steps = guided.differences(gray.float())
        wanted = guided.local_slopes(image, gray.float()[None])[:, None] * steps
        found, asked = 255 * _gray(wanted), 255 * steps
        # At least a share of the photo's contrast, with the local sign; an edge stays one, and flat areas stay flat
        sign = torch.where(found * asked < 0, -1.0, 1.0) * torch.where(asked < 0, -1.0, 1.0)
        contrast = found.abs().maximum(CONTRAST * asked.abs())
        below, above = GRADIENT_THRESHOLD - MARGINS[0], GRADIENT_THRESHOLD + MARGINS[1]
        contrast = torch.where(asked.abs() > GRADIENT_THRESHOLD, contrast.clamp(min=above), contrast.clamp(max=below))
        wanted = wanted + (sign * contrast - found) / 255
        stiffness = (
            STIFFNESS
            * (N_COLORS / n_colors) ** 0.5
            * (1 / (1 + (asked / GRADIENT_THRESHOLD).square()) + EDGE_STIFFNESS)
        )
        return _nearest(image, wanted, stiffness * _both(given), free).clamp(0, 1)


def _nearest(image: Tensor, wanted: Tensor, stiffness: Tensor, free: Tensor | None) -> Tensor:
    """`guided.with_differences`; across the border of a patch only brightness follows the photo."""
    if free is None or free.all():
        return guided.with_differences(image, wanted, stiffness, free)
    across = guided.differences(free.float()) != 0
    colors = guided.with_differences(image, wanted, stiffness.masked_fill(across, 0), free)
    gray = guided.with_differences(_gray(image)[None], _gray(wanted)[None], stiffness, free)
    return torch.where(free, colors + gray - _gray(colors), image)


def _gray(rgb: Tensor) -> Tensor:
    """(3, ...) -> (...)."""
    return torch.tensordot(rgb.new_tensor(GRAY), rgb, 1)


def integrated(gradients: Tensor) -> Tensor:
    """The image (H, W) of central differences (2, H, W), one-sided at the border, with a mean of 0.

    Exact where they are those of an 8-bit image. In a part cut out of one, pixels of even and of odd number are
    joined where the image varies least.
    """
    down, across = gradients[0], gradients[1].T
    first = _integrated(across[:, :1], *_has_borders(across))[:, 0]
    image = first + _integrated(down, *_has_borders(down))
    return (image - image.mean()).float()


def _has_borders(gradients: Tensor) -> list[bool]:
    """Whether the first and the last row (n, m) are of differences of neighbours, which are whole levels."""
    return [bool((side == side.round()).all()) for side in (gradients[0], gradients[-1])]


def _integrated(gradients: Tensor, at_start: bool, at_end: bool) -> Tensor:
    """Along the first axis, from 0: (n, m) -> (n, m), by `x[i + 1] = x[i - 1] + 2 g[i]`."""
    if at_end and not at_start:
        backwards = _integrated(-gradients.flip(0), at_end, at_start).flip(0)
        return backwards - backwards[:1]
    g = gradients.double()
    result = torch.zeros_like(g)
    result[2::2] = 2 * g[1:-1:2].cumsum(0)
    result[3::2] = 2 * g[2:-1:2].cumsum(0)
    if at_start:
        return _joined(result, g[0])
    steps = result.diff(dim=0)
    steps[1::2] *= -1
    return _joined(result, -steps.mean(0))


def _joined(image: Tensor, offset: Tensor) -> Tensor:
    """An image whose pixels of odd number are moved by an offset for each column."""
    image[1::2] += offset
    return image


def _both(given: Tensor) -> Tensor:
    """Whether both pixels of each difference are given, (2, H, W) of 0 and 1."""
    both = given.float().expand(2, -1, -1).clone()
    both[0, :-1] *= given[1:]
    both[1, :, :-1] *= given[:, 1:]
    return both
