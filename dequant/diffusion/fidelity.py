"""How strictly a picture keeps the colours and the texture asked for (`Sampler.keep_palette`, `Sampler.keep_texture`).

A condition says in which set each pixel of the photo lies: in the Voronoi cell of its palette colour
(`dequant.color.cells`), or, outside a patch, at its true colour. Of a colour it also says roughly the mean over its
pixels. Its texture bounds the luminance or the gradients (`dequant.condition.texture_bounds`). The clean image
predicted in each step is projected onto the cells and moved towards the texture within them, and so is the finished
picture. Cells are convex, so projecting brings an estimate nearer to every photo that lies in them; and what an ideal
denoiser predicts, a mean of such photos, lies in them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import NamedTuple, Self

import torch
from torch import Tensor

from dequant.color import cells
from dequant.color.guided import box_mean
from dequant.color.palette import Quantized
from dequant.condition.channels import Condition, color_std
from dequant.condition.texture import Texture
from dequant.diffusion.solver import Projection
from dequant.errors import InputError, whole_number

ROUNDS = 6
"""How often pixels move by the blurred way to their cells, and how often means and cells are projected onto in turn."""


TRUST = 20
"""A prediction that is to follow the photo is trusted like a palette of so many times as many colours."""


class Request(NamedTuple):
    """The colours and the texture that a condition asks for.

    Attributes:
        asked: the quantized or patched image, (3, H, W) in [0, 1].
        free: the pixels whose true colour is not given, (H, W) bool.
        cells: the colours of these n pixels and which pixel has which, as an index map (1, n).
        error: root mean square error to be expected of a palette of this size, in levels.
        n_colors: see `Condition.n_colors`.
        texture: what the texture map is, None for a model that reads none.
        texture_map: (2, H, W) in [0, 1].
        textured: where it is given, (H, W) bool.
    """

    asked: Tensor
    free: Tensor
    cells: Quantized
    error: float
    n_colors: float
    texture: Texture | None
    texture_map: Tensor
    textured: Tensor

    @classmethod
    def of(cls, condition: Tensor, texture: Texture | None) -> Self:
        """What a condition (7, H, W) asks for: a level of 1 everywhere is a palette of 256, not a true image."""
        asked = Condition.of(condition)
        colors, free, n_colors = asked.colors.float(), asked.free, asked.n_colors
        error = 127.5 * color_std(asked.level[0][free].amin()).item()
        textured = (asked.given[0] > 0) & (texture is not None)
        cell_map = cells.cells_of(colors[:, None, free])
        return cls(colors, free, cell_map, error, n_colors, texture, asked.texture, textured)


@dataclass(frozen=True)
class Fidelity:
    """How strictly the colours and the texture asked for are kept.

    Attributes:
        share: how far pixels move towards the colours asked for. With 1, the pixels of the finished picture also stay
            in their cells when they are rounded to 8 bits; with less, gradients stay smoother; with 0, colours do not
            count.
        reach: distance in pixels over which a correction spreads, since what made a pixel wrong made its neighbours
            wrong too. Before the projection, `ROUNDS` times, pixels move by the blurred way to their cells.
        scale: 1 for the cells; less for cells shrunk about their colours, down to 0 for the quantized image.
        mean_radius: how far the mean over the pixels of a colour may be from that colour, in units of the error to be
            expected of a palette of this size (`color_std`); None for any distance. It is not 0 for photos, because
            the colours of a median cut are means of boxes, and cells are no boxes.
        patch_radius: levels by which the mean over the pixels of a patch may differ from its colour, which is that
            mean rounded down; None for any.
        power: the strength in step i of n is `((i + 1) / n) ** power`; 0 for full strength always.
        texture: one of `KEEP_TEXTURE`; pixels then move towards the picture with the texture given, as far as their
            cells allow: "exact" to the nearest one (`Texture.nearest`), "guided" to the one that follows the local
            colour lines of the photo (`Texture.follow`).

    Raises:
        InputError: a number is out of its range.
    """

    share: float = 1.0
    reach: int = 8
    scale: float = 1.0
    mean_radius: float | None = None
    patch_radius: float | None = 2.0
    power: float = 0.0
    texture: str = "off"

    def __post_init__(self) -> None:
        """Refuse impossible settings with an `InputError`."""
        numbers = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "texture"}
        numbers = {name: value for name, value in numbers.items() if value is not None or not name.endswith("_radius")}
        for name, value in numbers.items():
            if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
                raise InputError(f"Expected a finite number for {name}, got {value!r}.")
        whole_number("reach", self.reach, 0)
        if not 0 <= self.scale <= 1 or not 0 <= self.share <= 1:
            raise InputError(f"Scale {self.scale} and share {self.share} are not possible: give numbers from 0 to 1.")
        if min(self.reach, self.power, self.mean_radius or 0, self.patch_radius or 0) < 0:
            raise InputError(f"{self} is not possible: give no number below 0.")
        if self.texture not in list(KEEP_TEXTURE):
            raise InputError(f"There is no keep_texture={self.texture!r}: choose {', '.join(KEEP_TEXTURE)}.")

    def project(self, rgb: Tensor, request: Request) -> Tensor:
        """The picture moved to what is asked for, (3, H, W) -> (3, H, W), in [0, 1] where it is moved."""
        textured = self.texture != "off" and bool(request.textured.any())
        if not self.share:
            return self._with_texture(rgb, request) if textured else rgb.float()
        wanted, free = request.cells, request.free
        pixels = rgb.float()[:, None, free]
        for _ in range(ROUNDS if self.reach else 0):
            way = torch.zeros_like(request.asked)
            way[:, free] = (cells.project(pixels, wanted, self.scale) - pixels)[:, 0]
            if not way.any():
                break
            pixels = pixels + _blur(way, self.reach)[:, None, free]
        picture = request.asked.clone()
        if textured:
            pixels = cells.project(pixels, wanted, self.scale)
            picture[:, free] = pixels[:, 0]
            moved = self._with_texture(picture, request)[:, None, free]
            pixels = cells.toward(pixels, moved, wanted, self.scale)
        radius = self.patch_radius
        if free.all():
            radius = None if self.mean_radius is None else self.mean_radius * request.error
        if radius is not None:
            for _ in range(ROUNDS):
                pixels = cells.project(_with_means(pixels, wanted, radius), wanted, self.scale)
        picture[:, free] = cells.project(pixels, wanted, self.scale)[:, 0]
        return rgb.float().lerp(picture, self.share)

    def _with_texture(self, rgb: Tensor, request: Request) -> Tensor:
        assert request.texture is not None
        texture, asked = request.texture, (request.texture_map, request.textured, request.free)
        return (
            texture.nearest(rgb, *asked)
            if self.texture == "exact"
            else texture.follow(rgb, *asked, TRUST * request.n_colors)
        )

    def is_idle(self, requests: Sequence[Request]) -> bool:
        """Whether nothing that is asked for counts."""
        return not self.share and not (self.texture != "off" and any(one.textured.any() for one in requests))

    def finish(self, rgb: Tensor, requests: Sequence[Request]) -> Tensor:
        """The finished pictures, (B, 3, H, W) -> (B, 3, H, W) in [0, 1], B a multiple of the requests'."""
        pictures = [self.project(*pair) for pair in _pairs(rgb, requests)]
        for picture, request in zip(pictures, [one for _, one in _pairs(rgb, requests)], strict=True):
            if self.share == 1:
                picture[:, request.free] = cells.settle(picture[:, None, request.free], request.cells)[:, 0]
        return torch.stack(pictures)

    def in_steps(
        self, requests: Sequence[Request], decode: Callable[[Tensor], Tensor] | None, height: int, width: int
    ) -> Projection:
        """The projection for `solver.solve`.

        Args:
            requests: one for all pictures of the batch, or for equally many in turn.
            decode: latents -> rgb, differentiable; None for pixels on [-1, 1].
            height: of the pictures without padding.
            width: likewise.
        """

        def nearest(rgb: Tensor) -> Tensor:
            moved = rgb.clone()
            for one, request in _pairs(moved[..., :height, :width], requests):
                one.copy_(self.project(one, request))
            return moved

        def in_pixels(x: Tensor) -> Tensor:
            return 2 * nearest((x.float() + 1) / 2) - 1

        def in_latents(z: Tensor) -> Tensor:
            assert decode is not None
            return toward(z, decode, nearest)

        move = in_pixels if decode is None else in_latents

        def project(x: Tensor, step: int, steps: int) -> Tensor:
            return x.lerp(move(x).to(x), ((step + 1) / steps) ** self.power)

        return project


KEEP_TEXTURE = ("off", "exact", "guided")
"""What `keep_texture` may be."""


MODES: dict[str, Fidelity | None] = {
    "off": None,
    "soft": Fidelity(share=0.5),
    "exact": Fidelity(),
    "strict": Fidelity(scale=0.9, reach=2, mean_radius=0.25),
}
"""By the name that `keep_palette` gives them: `exact` is nearest to photos, `strict` to an edited palette."""


def requests_of(condition: Tensor, texture: Texture | None) -> list[Request]:
    """What each of some conditions (B, 7, H, W) with a texture asks for."""
    return [Request.of(one, texture) for one in condition]


def named(palette: str | Fidelity, texture: str = "off") -> Fidelity | None:
    """One of `MODES`, with the texture given or without.

    Args:
        palette: name of the mode, or a mode.
        texture: one of `KEEP_TEXTURE`.

    Raises:
        InputError: there is no such mode or texture.
    """
    if not isinstance(palette, Fidelity) and palette not in list(MODES):
        raise InputError(f"There is no keep_palette={palette!r}: choose {', '.join(MODES)}, or a Fidelity.")
    fidelity = MODES[palette] if isinstance(palette, str) else palette
    return fidelity if texture == "off" else replace(fidelity or Fidelity(share=0), texture=texture)


def toward(z: Tensor, decode: Callable[[Tensor], Tensor], nearest: Callable[[Tensor], Tensor]) -> Tensor:
    """Move latents so that what they decode to comes nearer to a set, by one step of gradient descent.

    The squared distance f of a picture to the set has the step `f / |gradient|^2`, which would bring a linear f to 0
    (Polyak's step).

    Args:
        z: (B, C, h, w).
        decode: latents -> rgb (B, 3, H, W), differentiable.
        nearest: rgb -> the nearest rgb of the set.
    """
    with torch.inference_mode(False), torch.enable_grad():
        latents = z.detach().clone().requires_grad_()
        rgb = decode(latents)
        with torch.no_grad():
            target = nearest(rgb.detach())
        distance = (rgb - target).flatten(1).square().sum(1)
        (gradient,) = torch.autograd.grad(distance.sum(), latents)
    size = gradient.flatten(1).square().sum(1)
    step = torch.where(size > 0, distance.detach() / size, 0)
    return z - step.view(-1, 1, 1, 1) * gradient


def _with_means(pixels: Tensor, wanted: Quantized, radius: float) -> Tensor:
    """Pixels (3, 1, n) whose mean over each colour is moved straight to within `radius` levels of the colour."""
    flat, index = pixels.flatten(1), wanted.indices.flatten()
    sums = flat.new_zeros(3, len(wanted.palette)).index_add_(1, index, flat)
    missing = wanted.palette.T.to(flat) - sums / wanted.counts
    length = missing.norm(dim=0)
    share = (1 - radius / 255 / length.clamp(min=1e-9)).clamp(min=0)
    return (flat + (missing * share)[:, index]).view_as(pixels)


def _blur(image: Tensor, reach: int) -> Tensor:
    """Mean over squares about each pixel of (3, H, W), twice, so that it reaches `reach` pixels far."""
    for side in ((reach + 1) // 2, reach // 2):
        image = box_mean(image, side) if side else image
    return image


def _pairs(rgb: Tensor, requests: Sequence[Request]) -> list[tuple[Tensor, Request]]:
    each = len(rgb) // len(requests)
    return [(one, requests[i // each]) for i, one in enumerate(rgb)]
