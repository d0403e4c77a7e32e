"""The loop from noise to a clean image, over any diffusers solver."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from dequant.diffusion.schedule import Generator, predicted_clean
from dequant.errors import InputError

Denoiser = Callable[[Tensor, Tensor], Tensor]


StepCallback = Callable[[int, Tensor, Tensor], Tensor]


Projection = Callable[[Tensor, int, int], Tensor]
"""Clean image predicted in a step (B, C, H, W), number of the step from 0, number of steps -> the one to go on with."""


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


def check_solver(solver: type[SchedulerMixin], scheduler: SchedulerMixin, chooses_timesteps: bool) -> None:
    """Refuse solvers that scale their noise or input, ask for more than it, or cannot visit given timesteps."""
    if not (isinstance(solver, type) and issubclass(solver, SchedulerMixin)):
        raise InputError(f"{solver!r} is not a solver: give a class of diffusers schedulers such as DDIMScheduler.")
    stepper: Any = solver.from_config(scheduler.config)
    needs = {name for name, one in inspect.signature(stepper.step).parameters.items() if one.default is one.empty}
    if needs != {"model_output", "timestep", "sample"} or getattr(stepper, "init_noise_sigma", None) != 1:
        raise InputError(
            f"{solver.__name__} does not sample from standard normal noise: "
            "choose a solver such as DDIMScheduler, DDPMScheduler or DPMSolverMultistepScheduler."
        )
    if chooses_timesteps and "timesteps" not in inspect.signature(stepper.set_timesteps).parameters:
        raise InputError(
            f"{solver.__name__} spaces its steps itself: give num_inference_steps, or a solver such as DDPMScheduler."
        )


def check_generators(generator: Generator, n: int) -> None:
    """Refuse generators that are not on the CPU, or not as many as there are images."""
    generators = generator if isinstance(generator, list) else [generator]
    if isinstance(generator, list) and len(generator) != n:
        raise InputError(f"{len(generator)} generators do not fit {n} images: give one for all, or one for each.")
    for one in generators:
        if one is not None and (not isinstance(one, torch.Generator) or one.device.type != "cpu"):
            raise InputError("A generator of noise lives on the CPU: give torch.Generator().manual_seed(SEED).")
