"""Losses: of what the network predicts, of a learned variance, and of the texture of the estimate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.condition.texture_maps import GRADIENT_THRESHOLD, thresholded_gradient_map
from dequant.diffusion.schedule import signal_and_noise

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin


def loss(
    output: Tensor,
    x: Tensor,
    noise: Tensor,
    scheduler: SchedulerMixin,
    deviation: Tensor | None = None,
    t: Tensor | None = None,
) -> Tensor:
    """Mean squared error of what the scheduler's `prediction_type` says the network predicts.

    `epsilon`: `|output - noise|^2`. `v_prediction`: `|output - (a noise - s x)|^2`. `sample`:
    `|output - x|^2 / deviation^2`, with the `posterior`'s deviation: the error in the network's own units.
    An output of 2 C channels holds a learned variance too, and its `variational_bound` is added.

    Args:
        output: (B, C or 2 C, H, W).
        x: (B, C, H, W).
        noise: likewise.
        deviation: (B, 1, H, W), for `sample`.
        t: timesteps (B,), for `v_prediction` and learned variances.
    """
    if scheduler.config.prediction_type == "sample":
        error = output - x
        return (error if deviation is None else error / deviation).square().mean()
    target = noise
    if scheduler.config.prediction_type == "v_prediction":
        assert t is not None
        a, s = signal_and_noise(scheduler, t)
        target = a * noise - s * x
    error = (output[:, : x.shape[1]] - target).square().mean()
    if output.shape[1] == x.shape[1]:
        return error
    assert t is not None
    return error + variational_bound(output, x, noise, scheduler, t).mean()


def variational_bound(output: Tensor, x: Tensor, noise: Tensor, scheduler: SchedulerMixin, t: Tensor) -> Tensor:
    """One step's term of the variational bound, which trains a learned variance only (arXiv:2102.09672, section 3.1).

    For t > 0 it is the divergence of the model's step from the true one, for t = 0 the likelihood of 8-bit values.
    The two steps' means differ by `beta / (sqrt(alpha) s) (output - noise)`.

    Args:
        output: (B, 2 C, H, W), the predicted noise and the variance's place v on [-1, 1] between its bounds.
        x: (B, C, H, W).
        noise: likewise.
        t: timesteps (B,).

    Returns:
        (B,), in bits per value.
    """
    power = scheduler.alphas_cumprod.double()
    before = torch.cat([power.new_ones(1), power[:-1]])
    beta = 1 - power / before
    least = (beta * (1 - before) / (1 - power)).log()
    least[0] = least[1]

    def at(values: Tensor) -> Tensor:
        return values.float().to(t.device)[t].view(-1, 1, 1, 1)

    epsilon, place = output.split(x.shape[1], dim=1)
    log_variance = at(least).lerp(at(beta.log()), (place + 1) / 2)
    error = epsilon.detach() - noise
    shift = at(beta / ((1 - beta).sqrt() * (1 - power).sqrt())) * error
    divergence = 0.5 * (
        log_variance - at(least) - 1 + (at(least) - log_variance).exp() + shift.square() * (-log_variance).exp()
    )
    bits = torch.where((t == 0).view(-1, 1, 1, 1), _nats_of_8_bits(x, shift, log_variance / 2), divergence)
    return bits.flatten(1).mean(1) / math.log(2)


def _nats_of_8_bits(x: Tensor, offset: Tensor, log_scale: Tensor) -> Tensor:
    """Negative log likelihood of 8-bit `x` on [-1, 1] under a Gaussian about `x - offset`, in nats."""

    def cdf(value: Tensor) -> Tensor:
        return 0.5 * (1 + (math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)).tanh())

    above = cdf((offset + 1 / 255) * (-log_scale).exp())
    below = cdf((offset - 1 / 255) * (-log_scale).exp())
    inner = torch.where(x > 0.999, 1 - below, above - below)
    return -torch.where(x < -0.999, above, inner).clamp(min=1e-12).log()


EDGE_WIDTH = 3.0
"""Width of the softened threshold of `disagreement`, in grey levels."""


def disagreement(rgb: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """How far the edges of an estimate are from those of its target: a loss that sees neither sign nor size.

    Where luminance changes by more than `GRADIENT_THRESHOLD` in the target, it should in the estimate. The threshold is
    softened to a logistic function of width `EDGE_WIDTH`; the loss is its cross-entropy against the target's bits. The
    mean of the photos that share their bits has no edges; this term makes an estimate decide for some.

    Args:
        rgb: the estimates, (B, 3, H, W) about [0, 1].
        target: (B, 3, H, W) in [0, 1].
        weight: of the pixels, (B, 1, H, W), 0 where they do not count.

    Returns:
        The weighted entropy over the number of pixels that count, averaged over the images that have some: a scalar, 0
        where none has.
    """
    gray = 255 * (0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2]).float()
    steepness = torch.stack(torch.gradient(gray, dim=(-2, -1)), dim=1).abs()
    bits = thresholded_gradient_map(target)
    entropy = F.binary_cross_entropy_with_logits((steepness - GRADIENT_THRESHOLD) / EDGE_WIDTH, bits, reduction="none")
    counted = (weight > 0).sum((1, 2, 3))
    per_image = (entropy.mean(1, keepdim=True) * weight).sum((1, 2, 3)) / counted.clamp(min=1)
    return per_image.sum() / (counted > 0).sum().clamp(min=1)
