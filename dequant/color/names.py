"""Words for colours, and the colours that they stand for."""

import functools

import torch
from torch import Tensor

from dequant.color.spaces import rgb_to_lab

FOCAL = {
    "black": ("#0c0c0c", "#262626"),
    "gray": ("#4c4c4c", "#808080", "#b4b4b4"),
    "white": ("#e2e2e2", "#fafafa"),
    "red": ("#d01c1c", "#8e1818", "#e04038"),
    "orange": ("#f08414", "#d86a1c", "#f0a040"),
    "yellow": ("#f0d820", "#e8d868", "#c8ac20"),
    "green": ("#2e9e2e", "#1e4c20", "#8cb44c", "#6c7c3c", "#a8d8a0"),
    "turquoise": ("#20b0b0", "#78ccc8", "#186468"),
    "blue": ("#2050d0", "#142060", "#5890d8", "#a0c8f0", "#48688c"),
    "purple": ("#7030a0", "#a878d0", "#44205c"),
    "pink": ("#f080b0", "#f4b8c8", "#d83c88"),
    "brown": ("#704424", "#94683c", "#482c18"),
    "beige": ("#e4d0ac", "#d4b490", "#bca488"),
}
"""The eleven basic colour terms of Berlin and Kay (1969), turquoise and beige, with some colours of each."""

WORDS = tuple(FOCAL)


def named(rgb: Tensor) -> Tensor:
    """The word for each pixel, that of the nearest colour of `FOCAL` in CIE Lab.

    Args:
        rgb: (3, H, W) in [0, 1].

    Returns:
        Indices into `WORDS`, (H, W).

    Raises:
        InputError: `rgb` is not a floating-point image.
    """
    colors, owners = _focal()
    lab = rgb_to_lab(rgb).flatten(1).T
    return owners[torch.cdist(lab, colors.to(lab)).argmin(1)].view(rgb.shape[1:])


@functools.cache
def _focal() -> tuple[Tensor, Tensor]:
    """Lab of the focal colours, (n, 3), and the index of the word of each."""
    digits = [code for codes in FOCAL.values() for code in codes]
    rgb = torch.tensor([[int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)] for code in digits])
    owners = [number for number, codes in enumerate(FOCAL.values()) for _ in codes]
    return rgb_to_lab(rgb.T[:, :, None])[:, :, 0].T, torch.tensor(owners)
