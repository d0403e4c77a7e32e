"""Where the things of one picture lie in another one: dense correspondences of two grey pictures.

It stands in the place of DiffColor's spatial alignment (arXiv:2308.01655), whose authors used CoCosNet.
"""

from pathlib import Path

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

CELL = 4
"""Pixels per side of the cells that are matched."""


class Aligner(ModelMixin, ConfigMixin):
    """Matches features of two pictures within a window and takes the mean of the places, weighted by likeness.

    Args:
        width: of the features.
        radius: of the window, in cells of 4 x 4 pixels.
    """

    @register_to_config
    def __init__(self, width: int = 48, radius: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width // 2, 5, stride=2, padding=2), nn.GELU()]
        layers += [nn.Conv2d(width // 2, width, 3, stride=2, padding=1), nn.GELU()]
        for dilation in (1, 2, 1):
            layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, width, 1))
        self.sharpness = nn.Parameter(torch.tensor(20.0))

    def forward(self, gray: Tensor, other: Tensor) -> Tensor:
        """Where each pixel of grey pictures lies in others.

        Args:
            gray: (B, 1, H, W) in [0, 1], sides multiples of 4.
            other: (B, 1, H, W), likewise.

        Returns:
            Offsets x and y in pixels, (B, 2, H, W): what is at p in `gray` is at p plus these in `other`.
        """
        ours, theirs = (F.normalize(F.instance_norm(self.layers(2 * one - 1)), dim=1) for one in (gray, other))
        radius = self.config["radius"]
        side, (height, width) = 2 * radius + 1, ours.shape[2:]
        padded = F.pad(theirs, (radius,) * 4)
        inside = F.pad(torch.ones_like(theirs[:1, 0]), (radius,) * 4)
        shifts = [(y, x) for y in range(side) for x in range(side)]
        likeness = torch.stack([(ours * padded[:, :, y : y + height, x : x + width]).sum(1) for y, x in shifts], dim=1)
        there = torch.stack([inside[:, y : y + height, x : x + width] for y, x in shifts], dim=1)
        weights = (self.sharpness * likeness).masked_fill(there == 0, -torch.inf).softmax(1)
        offsets = torch.tensor([(x - radius, y - radius) for y, x in shifts]).to(weights) * CELL
        flow = torch.einsum("bkhw,kc->bchw", weights, offsets)
        return F.interpolate(flow, scale_factor=CELL, mode="bilinear", align_corners=False)


def warped(picture: Tensor, flow: Tensor) -> Tensor:
    """Pictures (B, C, H, W) read at each pixel plus its offset (B, 2, H, W); beyond the border the border counts."""
    height, width = picture.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((columns, rows)).to(flow) + flow
    sides = torch.tensor([width, height]).to(flow)[:, None, None]
    grid = ((2 * places + 1) / sides - 1).movedim(1, -1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


def bundled() -> str:
    """Folder of the aligner that comes with the package."""
    return str(Path(__file__).parents[1] / "weights" / "aligner")
