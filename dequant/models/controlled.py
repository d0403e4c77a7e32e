"""A base under the control of an encoder: the denoiser that samplers draw from."""

from dataclasses import dataclass

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from dequant.condition.texture import Texture
from dequant.diffusion.schedule import Generator
from dequant.diffusion.solver import Predict
from dequant.models.base import DiffusionBase, Residuals
from dequant.models.control import ControlEncoder
from dequant.models.prompt import having_read

BYTES_AHEAD = 2**25
"""Of the residuals that are computed before they are used."""


@dataclass(frozen=True)
class Controlled:
    """A base and what steers it, a `sampler.Denoiser`.

    Attributes:
        base: the diffusion base.
        control: the encoder of a condition, None for the base alone.
    """

    base: DiffusionBase
    control: ControlEncoder | None

    @property
    def scheduler(self) -> SchedulerMixin:
        """The base's noise schedule."""
        return self.base.scheduler

    @property
    def texture(self) -> Texture | None:
        """The texture that the encoder reads."""
        return None if self.control is None else self.control.texture

    @property
    def is_latent(self) -> bool:
        """Whether diffusion runs in the latents of an autoencoder."""
        return self.base.vae is not None

    @property
    def multiple(self) -> int:
        """Heights and widths of conditions must be multiples of this."""
        return self.base.multiple

    @property
    def downscale(self) -> int:
        """Pixels per side of one place of x_t."""
        return self.base.downscale

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (C, h, w) of x_t for one image."""
        return self.base.latent_shape(height, width)

    def read(self, condition: Tensor) -> Tensor:
        """The conditions (B, 7, H, W) as the networks read them."""
        if self.texture is None or self.control is None or not self.control.config["guided"]:
            return condition
        return self.texture.followed(condition)

    def denoise(
        self, x_t: Tensor, t: Tensor, condition: Tensor, generator: Generator = None
    ) -> tuple[Tensor, Tensor | None]:
        """`DiffusionBase.denoise` with the encoder's residuals, for a condition (B, 7, H, W)."""
        residuals, condition = None, self.read(condition)
        if self.control is not None:
            residuals = self.control(condition, t, x_t, *self.base.context(len(x_t)))
        return self.base.denoise(x_t, t, condition, residuals, generator)

    def start(
        self,
        condition: Tensor,
        *,
        num_images: int = 1,
        generator: Generator = None,
        timesteps: Tensor | None = None,
        memory_share: float = 1.0,
    ) -> Predict:
        """See `sampler.Denoiser.start`; an encoder that does not read x_t runs ahead of the steps."""
        condition, base, control = self.read(condition), self.base.having_read(), self.control
        planned = [] if timesteps is None else [int(t) for t in timesteps]
        ahead = None
        if control is not None:
            control = having_read(control, base.context(1).text)
            ahead = ResidualsAhead(base, control, condition, num_images, planned, int(memory_share * BYTES_AHEAD))
        given = condition.repeat_interleave(num_images, 0)

        def predict(x_t: Tensor, t: Tensor) -> Tensor:
            residuals = None if ahead is None else ahead.at(t, x_t)
            return base.denoise(x_t, t.expand(len(x_t)), given, residuals, generator)[0]

        return predict

    def decode(self, z: Tensor, in_tiles: bool = False) -> Tensor:
        """Images (B, 3, H, W) in [0, 1]."""
        return self.base.decode(z, in_tiles)


class ResidualsAhead:
    """The residuals of an encoder under one condition, at every step.

    The condition is read once. An encoder that does not read x_t is run on many of the planned steps at once, as many
    as fit into the limit, and once for all images of one condition.

    Args:
        base: shares what its UNet is conditioned on.
        control: the encoder.
        condition: (B, 7, H, W) in [0, 1], H and W multiples of the base's multiple.
        num_images: of each condition.
        planned: timesteps in their order, if known.
        limit: bytes of the residuals that are computed before they are used.
    """

    def __init__(
        self,
        base: DiffusionBase,
        control: ControlEncoder,
        condition: Tensor,
        num_images: int,
        planned: list[int],
        limit: int,
    ) -> None:
        self.base, self.control, self.num_images = base, control, num_images
        self.planned, self.limit = planned, limit
        self.features = control.features(condition)
        self.ready: dict[int, Residuals] = {}
        self.at_once = 1

    def at(self, t: Tensor, x_t: Tensor) -> Residuals:
        """Residuals at timestep `t`, for `x_t` (B * num_images, C, h, w), which only some encoders read."""
        if self.control.config["x_channels"]:
            features = self.features.repeat_interleave(self.num_images, 0)
            return self.control.residuals(features, t.expand(len(x_t)), x_t, *self.base.context(len(x_t)))
        step = int(t)
        if step not in self.ready:
            self._run(step, t)
        if self.num_images == 1:
            return self.ready[step]
        down, mid = self.ready[step]
        n = self.num_images
        return tuple(one.repeat_interleave(n, 0) for one in down), mid.repeat_interleave(n, 0)

    def _run(self, step: int, t: Tensor) -> None:
        """The encoder at this step and the next ones."""
        coming = self.planned[self.planned.index(step) :] if step in self.planned else [step]
        steps, n = coming[: self.at_once], len(self.features)
        times = torch.tensor(steps, device=t.device).repeat_interleave(n)
        features = self.features.repeat(len(steps), 1, 1, 1)
        down, mid = self.control.residuals(features, times, None, *self.base.context(len(times)))
        parts = zip(mid.split(n), *(one.split(n) for one in down), strict=True)
        self.ready = {at: (tuple(rest), first) for at, (first, *rest) in zip(steps, parts, strict=True)}
        if self.at_once == 1:
            size = sum(one.numel() * one.element_size() for one in (*down, mid))
            self.at_once = max(1, self.limit // size)
