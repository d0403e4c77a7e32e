"""The noise schedule: `x_t = a x + s n` and what follows from it.

Notation: `x` is the clean image on [-1, 1] and `x_t = a x + s n` its noised version, where `a^2 = alphas_cumprod[t]`
and `s^2 = 1 - a^2`; `color` is the quantized image on [-1, 1], whose error has standard deviation `color_std`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

Generator = torch.Generator | list[torch.Generator] | None


def signal_and_noise(scheduler: SchedulerMixin, t: Tensor) -> tuple[Tensor, Tensor]:
    """`a` and `s` of `x_t = a x + s n`, each float32 (B, 1, 1, 1), for timesteps `t` (B,)."""
    power = scheduler.alphas_cumprod
    a, s = power.sqrt().float().to(t.device)[t], (1 - power).sqrt().float().to(t.device)[t]
    return a.view(-1, 1, 1, 1), s.view(-1, 1, 1, 1)


def cosine_alphas_cumprod(steps: int) -> Tensor:
    """`a^2` of every step of the cosine schedule (arXiv:2102.09672, equation 17) in float64, (steps,).

    diffusers computes `squaredcos_cap_v2` in float32, which is off by 1e-5 of the last values.
    """
    u = torch.arange(steps + 1, dtype=torch.float64) / steps
    power = ((u + 0.008) / 1.008 * math.pi / 2).cos() ** 2
    return (power[1:] / power[:-1]).clamp(min=1 - 0.999).cumprod(0)


def posterior(x_t: Tensor, color: Tensor, std: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of x given two Gaussian observations of it: x_t / a and the quantized image.

    `p = a^2 / s^2 + 1 / std^2`, `mean = (a x_t / s^2 + color / std^2) / p`, deviation `p^(-1/2)`.
    The network predicts `(x - mean) / deviation`: near t = 999 it restores the quantized image, near t = 0 it removes
    the noise, and both ends are well conditioned (the skip and output scalings of EDM, arXiv:2206.00364 section 5,
    for two inputs).

    Args:
        x_t: (B, 3, H, W) on [-1, 1].
        color: likewise.
        std: standard deviation of the error of `color`, (B, 1, H, W).
        a: (B, 1, 1, 1), from `signal_and_noise`.
        s: likewise.
    """
    precision = (a / s) ** 2 + std**-2
    mean = (a / s**2 * x_t + color / std**2) / precision
    return mean, precision.rsqrt()


def predicted_clean(output: Tensor, x_t: Tensor, t: Tensor, scheduler: SchedulerMixin) -> Tensor:
    """The clean image behind a model output of the scheduler's `prediction_type`.

    Args:
        output: (B, C, H, W).
        x_t: likewise.
        t: timesteps (B,), or one for all.
    """
    a, s = signal_and_noise(scheduler, t.reshape(-1))
    inverse: dict[str, Callable[[], Tensor]] = {
        "sample": lambda: output,
        "epsilon": lambda: (x_t - s * output) / a,
        "v_prediction": lambda: a * x_t - s * output,
    }
    return inverse[scheduler.config.prediction_type]()
