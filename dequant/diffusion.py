"""Losses and samplers as functions over a diffusers scheduler.

Notation: `x` is the clean image on [-1, 1] and `x_t = a x + s n` its noised version, where `a^2 = alphas_cumprod[t]`
and `s^2 = 1 - a^2`; `color` is the quantized image on [-1, 1], whose error has standard deviation `color_std`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from dequant import InputError

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

Generator = torch.Generator | list[torch.Generator] | None
Denoiser = Callable[[Tensor, Tensor], Tensor]
StepCallback = Callable[[int, Tensor, Tensor], Tensor]
Projection = Callable[[Tensor, int, int], Tensor]
"""Clean image predicted in a step (B, C, H, W), number of the step from 0, number of steps -> the one to go on with."""

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
        x_t, color: (B, 3, H, W) on [-1, 1].
        std: standard deviation of the error of `color`, (B, 1, H, W).
        a, s: (B, 1, 1, 1), from `signal_and_noise`.
    """
    precision = (a / s) ** 2 + std**-2
    mean = (a / s**2 * x_t + color / std**2) / precision
    return mean, precision.rsqrt()


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
        x, noise: (B, C, H, W).
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
        x, noise: (B, C, H, W).
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


def predicted_clean(output: Tensor, x_t: Tensor, t: Tensor, scheduler: SchedulerMixin) -> Tensor:
    """The clean image behind a model output of the scheduler's `prediction_type`.

    Args:
        output, x_t: (B, C, H, W).
        t: timesteps (B,), or one for all.
    """
    a, s = signal_and_noise(scheduler, t.reshape(-1))
    inverse: dict[str, Callable[[], Tensor]] = {
        "sample": lambda: output,
        "epsilon": lambda: (x_t - s * output) / a,
        "v_prediction": lambda: a * x_t - s * output,
    }
    return inverse[scheduler.config.prediction_type]()


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
    project: Projection | None = None,
    plan: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Draw a clean image from noise.

    Args:
        denoise: maps (x_t, t) to the model output that the scheduler's `prediction_type` names; a learned variance
            behind it is used by solvers that know one.
        noise: (B, C, H, W), standard normal.
        scheduler: the base's noise schedule.
        generator: one for the batch, or one per image so that an image's draw does not depend on its neighbours.
        solver: diffusers scheduler class that takes the steps, made from the base's schedule.
        options: settings of the solver that differ from the schedule's.
        timesteps: descending steps to visit; or else
        num_inference_steps: their number, spaced by the solver.
        callback: maps (number of the step, t, x after the step) to the x to go on with.
        project: maps (predicted clean image, number of the step, number of steps) to the prediction that the solver
            is given in its place. What a solver of several orders returns may still lie elsewhere.
        plan: is told all timesteps (T,) before the first step, for a denoiser that can prepare them.

    Returns:
        (B, C, H, W) on [-1, 1].

    Raises:
        InputError: the steps are impossible, or none or both of `timesteps` and `num_inference_steps` are given.
    """
    settings = {**(options or {}), **({} if project is None else {"prediction_type": "sample"})}
    stepper: Any = solver.from_config(scheduler.config, **settings)
    stepper.alphas_cumprod = scheduler.alphas_cumprod
    learns_variance = vars(stepper).get("variance_type", "").startswith("learned")
    n = noise.shape[1]
    channels = (2 if learns_variance else 1) * n
    check_steps(num_inference_steps, timesteps, len(scheduler.alphas_cumprod))
    try:
        if timesteps is not None:
            stepper.set_timesteps(timesteps=list(timesteps), device=noise.device)
        else:
            stepper.set_timesteps(num_inference_steps, device=noise.device)
    except ValueError as error:
        raise InputError(f"{solver.__name__} cannot take these steps: {error}") from error
    if plan is not None:
        plan(stepper.timesteps)
    draws = {"generator": generator} if "generator" in inspect.signature(stepper.step).parameters else {}
    x = noise
    for i, t in enumerate(stepper.timesteps):
        output = denoise(x, t)[:, :channels]
        if project is not None:
            clean = project(predicted_clean(output[:, :n], x, t, scheduler), i, len(stepper.timesteps))
            output = torch.cat((clean, output[:, n:]), dim=1)
        x = stepper.step(output, t, x, **draws).prev_sample
        if callback is not None:
            x = callback(i, t, x)
    return x


def check_steps(num_inference_steps: int | None, timesteps: Sequence[int] | None, most: int) -> None:
    """Refuse steps that are not among `most`, and those given twice or not at all, with an `InputError`."""
    if timesteps is not None and num_inference_steps is not None:
        raise InputError("Steps are given twice: give num_inference_steps or timesteps, and null for the other.")
    if timesteps is not None:
        descending = all(later < earlier for earlier, later in zip(timesteps, timesteps[1:], strict=False))
        if not timesteps or not descending or timesteps[0] >= most or timesteps[-1] < 0:
            raise InputError(f"The timesteps {timesteps} are not possible: give descending ones from {most - 1} to 0.")
    elif num_inference_steps is None:
        raise InputError("There is no number of steps: give num_inference_steps or timesteps.")
    elif not 1 <= num_inference_steps <= most:
        raise InputError(f"{num_inference_steps} steps are not possible: ask for 1 to {most}.")


def mean_of_samples(
    denoise: Denoiser,
    noise: Tensor,
    scheduler: SchedulerMixin,
    generator: Generator = None,
    *,
    sampler: Callable[..., Tensor],
    draws: int,
    callback: StepCallback | None = None,
    project: Projection | None = None,
    plan: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Mean of independent draws, an estimate of the mean photo for bases that cannot give it in one step.

    Args:
        denoise: see `sample`.
        noise: of the first draw.
        scheduler: see `sample`.
        generator: see `sample`; further noise is drawn from it.
        sampler: `sample` with its settings bound.
        draws: how many are averaged.
        callback: see `sample`; its steps are numbered afresh in each draw.
        project: see `sample`.
        plan: see `sample`.

    Returns:
        (B, C, H, W) on [-1, 1].
    """
    total = torch.zeros_like(noise)
    for _ in range(draws):
        total += sampler(denoise, noise, scheduler, generator, callback=callback, project=project, plan=plan)
        noise = randn_tensor(noise.shape, generator, noise.device, noise.dtype)
    return total / draws
