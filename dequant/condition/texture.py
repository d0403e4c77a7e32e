"""The textures of the paper's variants: L, G and T."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from dequant.condition.channels import Condition
from dequant.condition.texture_bounds import nearest_gradients, nearest_luminance, nearest_thresholded_gradients
from dequant.condition.texture_lines import follow_edges, follow_gradients, follow_luminance
from dequant.condition.texture_maps import gradient_map, luminance_map, thresholded_gradient_map

Nearest = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Image (3, H, W), texture (2, H, W), where it is given and which pixels may be moved (H, W) -> nearest image."""


Follow = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]
"""The same, and the number of colours of the image's palette -> image that follows the photo."""


class Texture(NamedTuple):
    """What a variant sees of a photo besides its colours (paper section 3, channels 5 and 6).

    Attributes:
        name: the variant's, which its weights carry.
        map: rgb (..., 3, H, W) in [0, 1] -> texture (..., 2, H, W) in [0, 1].
        nearest: the nearest image that has a given texture.
        follow: the image that follows the local colour lines of the photo with that texture.
        is_directional: whether its channels run along rows and columns, so that a quarter turn exchanges them.
        is_signed: whether mirroring turns a value x into 1 - x.
    """

    name: str
    map: Callable[[Tensor], Tensor]
    nearest: Nearest
    follow: Follow
    is_directional: bool
    is_signed: bool

    def followed(self, condition: Tensor) -> Tensor:
        """Conditions (B, 7, H, W) whose colours follow the photo, where its texture is given."""
        result = condition.clone()
        for one, moved in zip(condition, result, strict=True):
            asked = Condition.of(one)
            given = asked.given[0] > 0
            if (given & asked.free).any():
                moved[:3] = self.follow(asked.colors, asked.texture, given, asked.free, asked.n_colors)
        return result


TEXTURES = {
    texture.name: texture
    for texture in (
        Texture("L", luminance_map, nearest_luminance, follow_luminance, is_directional=False, is_signed=False),
        Texture("G", gradient_map, nearest_gradients, follow_gradients, is_directional=True, is_signed=True),
        Texture(
            "T",
            thresholded_gradient_map,
            nearest_thresholded_gradients,
            follow_edges,
            is_directional=True,
            is_signed=False,
        ),
    )
}
"""By name."""
