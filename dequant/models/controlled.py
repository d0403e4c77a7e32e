"""Draw photographs under conditions: many of one condition, all steps' residuals ahead, large ones in tiles."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.diffusion.fidelity import Fidelity, requests
from dequant.diffusion.orientations import Orientation
from dequant.diffusion.schedule import Generator
from dequant.diffusion.tiles import Tile, blend, tiles

if TYPE_CHECKING:
    from dequant.models.base import DiffusionBase, Residuals
    from dequant.models.control import ControlEncoder

BYTES_AHEAD = 2**29
"""Of the residuals that are computed before they are used."""


@torch.no_grad()
def draw(
    base: "DiffusionBase",
    control: "ControlEncoder | None",
    sampler: Callable[..., Tensor],
    condition: Tensor,
    generator: Generator = None,
    num_images: int = 1,
    tile: int | None = None,
    fidelity: Fidelity | None = None,
    orientations: int = 1,
) -> Tensor:
    """Draw photographs.

    Args:
        base: what denoises.
        control: what reads the condition, or None for the base alone.
        sampler: `diffusion.sample` with its settings bound.
        condition: (B, 7, H, W) in [0, 1], any H and W: padded to the base's multiple and back.
        generator: CPU generators, one for the batch or one per image drawn.
        num_images: of each condition; they follow each other.
        tile: side in pixels of the pieces in which larger images are denoised, so that memory grows by little more
            than the images; their predictions are blended in every step. None for all at once.
        fidelity: how strictly they keep the colours and the texture asked for, in every step and in the end; None for
            not at all.
        orientations: over how many the predictions of each step are averaged: 1, 2 (mirrored) or 8 (turned too).

    Returns:
        rgb (B * num_images, 3, H, W) in [0, 1].

    Raises:
        InputError: the tiles are too small, or there are no such orientations.
    """
    height, width = condition.shape[-2:]
    padding = (0, -width % base.multiple, 0, -height % base.multiple)
    padded = F.pad(condition, padding, mode="replicate") if any(padding) else condition
    rows, columns = padded.shape[-2:]
    shape = base.latent_shape(rows, columns)
    generators = generator if isinstance(generator, list) else [generator] * (len(padded) * num_images)
    noise = torch.stack([torch.randn(shape, generator=one) for one in generators]).to(condition.device)
    pieces = [] if tile is None else list(tiles(rows, columns, tile, base.multiple))
    in_tiles = len(pieces) > 1
    views = Orientation.first(orientations)
    variant = "" if control is None else str(control.config["variant"])

    def seen_from(condition: Tensor) -> list[Steps]:
        limit = BYTES_AHEAD // len(views)
        return [Steps(base, control, view.condition(condition, variant), num_images, limit) for view in views]

    def of_views(steps: list[Steps], x_t: Tensor, t: Tensor) -> Tensor:
        pairs = zip(views, steps, strict=True)
        predicted = [view.back(one.predict(view.turn(x_t), t, generator)) for view, one in pairs]
        return predicted[0] if len(views) == 1 else torch.stack(predicted).mean(0)

    whole = [] if in_tiles else seen_from(padded)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        return of_views(whole, x_t, t)

    def denoise_tiles(x_t: Tensor, t: Tensor) -> Tensor:
        def of_tile(tile: Tile, part: Tensor) -> Tensor:
            return of_views(seen_from(padded[..., tile.rows, tile.columns]), part, t)

        return blend(of_tile, x_t, pieces, base.downscale)

    def plan(timesteps: Tensor) -> None:
        for one in whole:
            one.plan(timesteps)

    def decode(z: Tensor) -> Tensor:
        return base.decode(z.float(), in_tiles)

    asked = [] if fidelity is None else requests(condition, variant)
    project = None
    if fidelity is not None and not fidelity.idle(asked):
        project = fidelity.in_steps(asked, None if base.vae is None else decode, height, width)
    step = denoise_tiles if in_tiles else denoise
    z = sampler(step, noise, base.scheduler, generator, plan=plan, project=project)
    rgb = decode(z)[..., :height, :width]
    return rgb if fidelity is None else fidelity.finish(rgb, asked)


class Steps:
    """The predictions under one condition at every step of a sampler, and the residuals of a control encoder for them.

    The condition is read once. An encoder that does not see x_t is run on many of the planned steps at once, as many as
    fit into the limit, and once for all images of one condition.

    Args:
        base: tells the encoder what else the UNet is told.
        control: the encoder, None for no residuals.
        condition: (B, 7, H, W) in [0, 1], H and W multiples of the base's multiple.
        num_images: of each condition.
        limit: bytes of the residuals that are computed before they are used.
    """

    def __init__(
        self, base: "DiffusionBase", control: "ControlEncoder | None", condition: Tensor, num_images: int, limit: int
    ) -> None:
        self.base, self.control, self.num_images = base, control, num_images
        self.condition, self.limit = condition, limit
        self.reads_x_t = control is not None and bool(control.config["x_channels"])
        self.features = None if control is None else control.features(condition)
        self.planned: list[int] = []
        self.ready: dict[int, Residuals] = {}
        self.at_once = 1

    def plan(self, timesteps: Tensor) -> None:
        """Say which steps are coming, in their order."""
        self.planned, self.ready = [int(t) for t in timesteps], {}

    def predict(self, x_t: Tensor, t: Tensor, generator: Generator) -> Tensor:
        """The base's prediction (B * num_images, C, h, w) of `num_images` per condition at one timestep."""
        given = self.condition.repeat_interleave(self.num_images, 0)
        color, level = 2 * given[:, :3] - 1, given[:, 5:6]
        return self.base.denoise(x_t, t.expand(len(x_t)), color, level, self.residuals(t, x_t), generator)[0]

    def residuals(self, t: Tensor, x_t: Tensor) -> "Residuals | None":
        """Residuals at timestep `t`, for `x_t` (B * num_images, C, h, w), which only some encoders read."""
        if self.control is None or self.features is None:
            return None
        if self.reads_x_t:
            features = self.features.repeat_interleave(self.num_images, 0)
            return self.control.residuals(features, t.expand(len(x_t)), x_t, *self.base.context(len(x_t)))
        step = int(t)
        if step not in self.ready:
            self._run(step, t)
        found = self.ready[step]
        if self.num_images == 1:
            return found
        down, mid = found
        return tuple(one.repeat_interleave(self.num_images, 0) for one in down), mid.repeat_interleave(
            self.num_images, 0
        )

    def _run(self, step: int, t: Tensor) -> None:
        """The encoder at this step and the next ones."""
        assert self.control is not None and self.features is not None
        coming = self.planned[self.planned.index(step) :] if step in self.planned else [step]
        steps, n = coming[: self.at_once], len(self.features)
        times = torch.tensor(steps, device=t.device).repeat_interleave(n)
        down, mid = self.control.residuals(
            self.features.repeat(len(steps), 1, 1, 1), times, None, *self.base.context(len(times))
        )
        parts = zip(mid.split(n), *(one.split(n) for one in down), strict=True)
        self.ready = {at: (tuple(rest), first) for at, (first, *rest) in zip(steps, parts, strict=True)}
        if self.at_once == 1:
            size = sum(one.numel() * one.element_size() for one in (*down, mid))
            self.at_once = max(1, self.limit // size)
