"""Losses and samplers as functions over a diffusers scheduler.

Notation: `x` is the clean image on [-1, 1] and `x_t = a x + s n` its noised version, where `a^2 = alphas_cumprod[t]`
and `s^2 = 1 - a^2`; `color` is the quantized image on [-1, 1], whose error has standard deviation `color_std`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

Generator = torch.Generator | list[torch.Generator] | None
Denoiser = Callable[[Tensor, Tensor], Tensor]
StepCallback = Callable[[int, Tensor, Tensor], Tensor]

QUANTIZATION_RMSE = 0.3
"""A photo quantized to N colours by median cut is off by about 0.3 / sqrt(N) rms on [-1, 1] (measured, N = 4..128)."""


def color_std(level: Tensor) -> Tensor:
    """Standard deviation on [-1, 1] of the error of a quantized image.

    Args:
        level: colour level N / 256, any shape, in (0, 1].

    Returns:
        `QUANTIZATION_RMSE / sqrt(N)`, same shape.
    """
    return QUANTIZATION_RMSE / (256 * level).clamp(min=1).sqrt()


def signal_and_noise(scheduler: SchedulerMixin, t: Tensor) -> tuple[Tensor, Tensor]:
    """`a` and `s` of `x_t = a x + s n`, each (B, 1, 1, 1), for timesteps `t` (B,)."""
    power = scheduler.alphas_cumprod.to(t.device)[t].view(-1, 1, 1, 1)
    return power.sqrt(), (1 - power).sqrt()


def posterior(x_t: Tensor, color: Tensor, std: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of x given two Gaussian observations of it: x_t / a and the quantized image.

    `p = a^2 / s^2 + 1 / std^2`, `mean = (a x_t / s^2 + color / std^2) / p`, deviation `p^(-1/2)`.
    The network predicts `(x - mean) / deviation`: near t = 999 it restores the quantized image, near t = 0 it removes
    the noise, and both ends are well conditioned (the skip and output scalings of EDM, arXiv:2206.00364 section 5,
    for two inputs).

    Args:
        x_t, color: (B, 3, H, W) on [-1, 1].
        std: standard deviation of the error of `color`, (B, 1, H, W).
        a, s: (B, 1, 1, 1), from `signal_and_noise`.
    """
    precision = (a / s) ** 2 + std**-2
    mean = (a / s**2 * x_t + color / std**2) / precision
    return mean, precision.rsqrt()


def loss(
    output: Tensor, x: Tensor, noise: Tensor, scheduler: SchedulerMixin, deviation: Tensor | None = None
) -> Tensor:
    """Mean squared error of what the scheduler's `prediction_type` says the network predicts.

    `epsilon`: `|output - noise|^2`. `sample`: `|output - x|^2 / deviation^2`, with the `posterior`'s deviation: the
    error in the network's own units.

    Args:
        output, x, noise: (B, C, H, W).
        deviation: (B, 1, H, W), for `sample`.
    """
    if scheduler.config.prediction_type == "epsilon":
        return (output - noise).square().mean()
    error = output - x
    return (error if deviation is None else error / deviation).square().mean()


def sample(
    denoise: Denoiser,
    noise: Tensor,
    scheduler: SchedulerMixin,
    generator: Generator = None,
    *,
    solver: type[SchedulerMixin],
    options: dict[str, Any] | None = None,
    timesteps: Sequence[int] | None = None,
    num_inference_steps: int | None = None,
    callback: StepCallback | None = None,
) -> Tensor:
    """Draw a clean image from noise.

    Args:
        denoise: maps (x_t, t) to the model output that the scheduler's `prediction_type` names.
        noise: (B, C, H, W), standard normal.
        scheduler: the base's noise schedule.
        generator: one for the batch, or one per image so that an image's draw does not depend on its neighbours.
        solver: diffusers scheduler class that takes the steps, made from the base's schedule.
        options: settings of the solver that differ from the schedule's.
        timesteps: descending steps to visit; or else
        num_inference_steps: their number, spaced by the solver.
        callback: maps (number of the step, t, x after the step) to the x to go on with.

    Returns:
        (B, C, H, W) on [-1, 1].
    """
    stepper: Any = solver.from_config(scheduler.config, **(options or {}))
    if timesteps is not None:
        stepper.set_timesteps(timesteps=list(timesteps), device=noise.device)
    else:
        stepper.set_timesteps(num_inference_steps, device=noise.device)
    x = noise
    for i, t in enumerate(stepper.timesteps):
        x = stepper.step(denoise(x, t), t, x, generator=generator).prev_sample
        if callback is not None:
            x = callback(i, t, x)
    return x
