"""An image turned and mirrored: the mean of what a network says about all orientations is nearer to the photo."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from dequant.condition.channels import Condition
from dequant.condition.texture import Texture
from dequant.errors import InputError


class Orientation(NamedTuple):
    """A quarter turn counter-clockwise, `quarter_turns` times, and left and right exchanged after that."""

    quarter_turns: int
    mirrored: bool

    @classmethod
    def first(cls, n: int) -> list[Self]:
        """As it is; with its mirror image, 2; with the quarter turns of both, 8.

        Raises:
            InputError: there are no `n` orientations.
        """
        if isinstance(n, bool) or n not in (1, 2, 8):
            raise InputError(f"A mean over {n!r} orientations is not possible: give 1, 2 (mirrored) or 8 (turned too).")
        return [
            cls(turns, mirrored) for turns in range(4 if n == 8 else 1) for mirrored in ((False, True)[: min(n, 2)])
        ]

    def turn(self, x: Tensor) -> Tensor:
        """Images (..., H, W) in this orientation; H and W are exchanged by one or three turns."""
        turned = torch.rot90(x, self.quarter_turns, (-2, -1))
        return (turned.flip(-1) if self.mirrored else turned).contiguous()

    def back(self, x: Tensor) -> Tensor:
        """Images in this orientation as they were before `turn`."""
        return torch.rot90(x.flip(-1) if self.mirrored else x, -self.quarter_turns, (-2, -1))

    def condition(self, condition: Tensor, texture: Texture | None) -> Tensor:
        """The condition (..., 7, H, W) on the turned photo: gradients along rows become gradients along columns.

        Args:
            condition: in [0, 1].
            texture: that it carries, None for none.
        """
        turned = self.turn(condition)
        if texture is None or not texture.is_directional:
            return turned
        seen = Condition.of(turned)
        rows, columns = seen.texture.unbind(-3)
        for _ in range(self.quarter_turns):
            rows, columns = (1 - columns if texture.is_signed else columns), rows
        if self.mirrored and texture.is_signed:
            columns = 1 - columns
        seen.texture.copy_(torch.stack((rows, columns), dim=-3) * (seen.given > 0))
        return turned
