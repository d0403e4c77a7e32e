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
    """Matches features of two pictures within a window, and reads the likenesses around each place to say how it moved.

    Every round starts from what the last one found, as in PWC-Net (arXiv:1709.02371) with one level.

    Args:
        width: of the features.
        radius: of the window, in cells of 4 x 4 pixels.
        rounds: number of them.
    """

    @register_to_config
    def __init__(self, width: int = 48, radius: int = 4, rounds: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width // 2, 5, stride=2, padding=2), nn.GELU()]
        layers += [nn.Conv2d(width // 2, width, 3, stride=2, padding=1), nn.GELU()]
        for dilation in (1, 2, 1):
            layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, width, 1))
        self.sharpness = nn.Parameter(torch.tensor(5.0))
        reading: list[nn.Module] = [nn.Conv2d((2 * radius + 1) ** 2 + width + 2, width, 3, padding=1), nn.GELU()]
        for dilation in (1, 2, 4, 8, 4, 2, 1):
            reading += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.GELU()]
        self.reading = nn.Sequential(*reading, nn.Conv2d(width, 2, 3, padding=1))

    def forward(self, gray: Tensor, other: Tensor) -> Tensor:
        """Where each pixel of grey pictures lies in others.

        Args:
            gray: (B, 1, H, W) in [0, 1], sides multiples of 4.
            other: (B, 1, H, W), likewise.

        Returns:
            Offsets x and y in pixels, (B, 2, H, W): what is at p in `gray` is at p plus these in `other`.
        """
        return self.found(gray, other)[-1]

    def found(self, gray: Tensor, other: Tensor) -> list[Tensor]:
        """The offsets after each round."""
        ours, theirs = (F.instance_norm(self.layers(2 * one - 1)) for one in (gray, other))
        cells, made = torch.zeros_like(ours[:, :2]), []
        for _ in range(self.config["rounds"]):
            likeness = self._likeness(ours, warped(theirs, cells))
            cells = cells + self.reading(torch.cat((self.sharpness * likeness, ours, cells), dim=1))
            made.append(CELL * F.interpolate(cells, scale_factor=CELL, mode="bilinear", align_corners=False))
        return made

    def _likeness(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Cosines of the features of each cell with those in a window around it, (B, K, h, w)."""
        radius, (height, width) = self.config["radius"], ours.shape[2:]
        ours, padded = F.normalize(ours, dim=1), F.pad(F.normalize(theirs, dim=1), (radius,) * 4)
        shifts = [(y, x) for y in range(2 * radius + 1) for x in range(2 * radius + 1)]
        return torch.stack([(ours * padded[:, :, y : y + height, x : x + width]).sum(1) for y, x in shifts], dim=1)


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
