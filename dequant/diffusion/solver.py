"""The loop from noise to a clean image, over any diffusers solver."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dequant.diffusion.schedule import Generator, predicted_clean, signal_and_noise
from dequant.errors import InputError

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

Predict = Callable[[Tensor, Tensor], Tensor]
"""x_t (B, C, h, w), its timestep -> what the schedule's `prediction_type` names, and behind it a learned variance."""
StepCallback = Callable[[int, Tensor, Tensor], Tensor]
"""Number of the step, timestep, x after the step -> the x to continue with."""
Interrupted = Callable[[], bool]
"""Whether to leave out the steps that are to come."""
Projection = Callable[[Tensor, int, int], Tensor]
"""Predicted clean image (B, C, h, w), number of the step from 0, number of steps -> the image to use in its place."""
Seen = Callable[[int, int, Tensor], None]
"""Number of the step from 1, number of steps, predicted clean image; what it raises ends the draw."""
SCHEDULE = {"beta_start", "beta_end", "beta_schedule", "trained_betas", "num_train_timesteps", "rescale_betas_zero_snr"}
"""Options of solvers that are the base's to choose, not a sampler's."""
NEAR = 0.1
"""Root mean square error on [-1, 1] that a perfect model's image may have: some solvers leave a little noise."""


def prepare(
    solver: type[SchedulerMixin],
    options: Mapping[str, Any],
    scheduler: SchedulerMixin,
    num_inference_steps: int | None,
    timesteps: Sequence[int] | None,
    device: torch.device | str = "cpu",
) -> Any:
    """A diffusers solver on the noise schedule of a base, with its timesteps set.

    Args:
        solver: diffusers scheduler class that takes the steps.
        options: settings of the solver that differ from the schedule's.
        scheduler: the base's noise schedule.
        num_inference_steps: number of steps, spaced by the solver; or else
        timesteps: the steps themselves, descending.
        device: of the timesteps.

    Raises:
        InputError: the solver cannot start from standard normal noise, or the steps are impossible.
    """
    check_schedule(scheduler)
    check_steps(num_inference_steps, timesteps, len(scheduler.alphas_cumprod))
    check_solver(solver, scheduler, timesteps is not None, options)
    stepper = _made(solver, scheduler, options)
    stepper.alphas_cumprod = scheduler.alphas_cumprod
    try:
        if timesteps is not None:
            stepper.set_timesteps(timesteps=list(timesteps), device=device)
        else:
            stepper.set_timesteps(num_inference_steps, device=device)
    except Exception as error:
        raise _cannot_serve(solver, f"cannot take these steps ({' '.join(str(error).split())})") from error
    return stepper


def solve(
    predict: Predict,
    noise: Tensor,
    scheduler: SchedulerMixin,
    stepper: Any,
    generator: Generator = None,
    callback: StepCallback | None = None,
    project: Projection | None = None,
    interrupted: Interrupted | None = None,
    seen: Seen | None = None,
) -> Tensor:
    """Draw a clean image from noise.

    Args:
        predict: the model; solvers that know no learned variance ignore one.
        noise: (B, C, h, w), standard normal.
        scheduler: the base's noise schedule.
        stepper: from `prepare`; with `project` its option `prediction_type` is "sample".
        generator: one for the batch, or one per image so that an image's draw does not depend on its neighbours.
        callback: called after each step.
        project: what replaces the clean image predicted in a step. What a solver of several orders makes of it may
            still lie elsewhere.
        interrupted: asked before each step; the rest is left out where it says so.
        seen: sees the clean image that each step predicts.

    Returns:
        (B, C, h, w), on [-1, 1] for pixels.
    """
    learns_variance = vars(stepper).get("variance_type", "").startswith("learned")
    n = noise.shape[1]
    channels = (2 if learns_variance else 1) * n
    draws = {"generator": generator} if "generator" in inspect.signature(stepper.step).parameters else {}
    x = noise
    for i, t in enumerate(stepper.timesteps):
        if interrupted is not None and interrupted():
            break
        output = predict(x, t)[:, :channels]
        if project is not None or seen is not None:
            clean = predicted_clean(output[:, :n], x, t, scheduler)
            if project is not None:
                clean = project(clean, i, len(stepper.timesteps))
                output = torch.cat((clean, output[:, n:]), dim=1)
            if seen is not None:
                seen(i + 1, len(stepper.timesteps), clean)
        x = stepper.step(output, t, x, **draws).prev_sample
        if callback is not None:
            x = callback(i, t, x)
    return x


def check_steps(num_inference_steps: int | None, timesteps: Sequence[int] | None, most: int) -> None:
    """Raise `InputError` unless exactly one of the two is given and its steps are among `most`."""
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


def check_schedule(scheduler: Any) -> None:
    """Raise `InputError` for what is not the noise schedule of a base."""
    config = getattr(scheduler, "config", {})
    power = getattr(scheduler, "alphas_cumprod", None)
    kinds = "sample", "epsilon", "v_prediction"
    if not isinstance(power, Tensor) or len(power) != config["num_train_timesteps"]:
        raise InputError(
            f"{type(scheduler).__name__} is not the noise schedule of a base: give a scheduler of diffusers with "
            "alphas_cumprod, such as DDPMScheduler or DDIMScheduler."
        )
    if config.get("prediction_type") not in kinds:
        raise InputError(
            f"Expected a scheduler whose prediction_type is one of {', '.join(kinds)}, got "
            f"{config.get('prediction_type')!r}."
        )


def check_solver(
    solver: type[SchedulerMixin], scheduler: SchedulerMixin, chooses_timesteps: bool, options: Mapping[str, Any]
) -> None:
    """Raise `InputError` for solvers that scale their noise or input, cannot visit given timesteps, or lack options."""
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    name = getattr(solver, "__name__", type(solver).__name__)
    if not (isinstance(solver, type) and issubclass(solver, SchedulerMixin) and hasattr(solver, "from_config")):
        raise InputError(f"{name} is not a solver: give a class of diffusers schedulers such as DDIMScheduler.")
    if unknown := set(options) - set(inspect.signature(solver.__init__).parameters):
        raise InputError(f"{name} has no option {min(unknown, key=str)}: see its page in the docs of diffusers.")
    if fixed := set(options) & SCHEDULE:
        raise InputError(f"{min(fixed)} belongs to the base's noise schedule: leave it out of the solver's options.")
    stepper = _made(solver, scheduler, options)
    step = inspect.signature(stepper.step).parameters if hasattr(stepper, "step") else {}
    needs = {name for name, one in step.items() if one.default is one.empty}
    scaled = getattr(stepper, "init_noise_sigma", None) != 1 or stepper.config.get("use_flow_sigmas")
    if needs != {"model_output", "timestep", "sample"} or scaled:
        raise _cannot_serve(solver, "does not sample from standard normal noise along the base's noise schedule")
    if chooses_timesteps and "timesteps" not in inspect.signature(stepper.set_timesteps).parameters:
        raise InputError(
            f"{name} spaces its steps itself: give num_inference_steps, or a solver such as DDPMScheduler."
        )


def check_result(stepper: Any, scheduler: SchedulerMixin, n_steps: int) -> None:
    """Raise `InputError` unless a solver finds a known image in as many steps as were asked for.

    Its model is perfect: it answers with what the schedule's `prediction_type` names of an image of one colour. So
    solvers that lead away from the image, or read predictions and timesteps in another way, are found at once.

    Args:
        stepper: from `prepare`.
        scheduler: the base's noise schedule.
        n_steps: how many steps were asked for.
    """
    truth = torch.full((1, 3, 8, 8), 0.5)
    learned = str(scheduler.config.get("variance_type")).startswith("learned")

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        a, s = signal_and_noise(scheduler, t.reshape(1))
        noise = (x_t - a * truth) / s
        answers = {"sample": truth, "epsilon": noise, "v_prediction": a * noise - s * truth}
        answer = answers[scheduler.config.prediction_type]
        return torch.cat((answer, torch.zeros_like(answer)), dim=1) if learned else answer

    generator = torch.Generator().manual_seed(0)
    try:
        found = solve(predict, torch.randn(truth.shape, generator=generator), scheduler, stepper, generator)
        error = (found - truth).square().mean().sqrt().item()
    except Exception as reason:
        raise _cannot_serve(type(stepper), f"cannot take these steps ({' '.join(str(reason).split())})") from reason
    if len(stepper.timesteps) != n_steps:
        raise _cannot_serve(type(stepper), f"visits {len(stepper.timesteps)} timesteps in place of {n_steps}")
    if not error < NEAR:
        raise _cannot_serve(type(stepper), "does not lead from noise to the image that a base predicts")


def _made(solver: type[SchedulerMixin], scheduler: SchedulerMixin, options: Mapping[str, Any]) -> Any:
    """A solver on a schedule, without its timesteps."""
    known = inspect.signature(solver.__init__).parameters
    config = {name: value for name, value in scheduler.config.items() if name in known or name.startswith("_")}
    try:
        return solver.from_config(config, **options)
    except Exception as error:
        raise _cannot_serve(solver, f"cannot be made with these settings ({' '.join(str(error).split())})") from error


def _cannot_serve(solver: type, why: str) -> InputError:
    return InputError(
        f"{solver.__name__} {why}: choose a solver such as DDIMScheduler, DDPMScheduler or DPMSolverMultistepScheduler."
    )


def check_generators(generator: Generator, n: int) -> None:
    """Raise `InputError` unless generators are on the CPU, and one for all or one for each of `n` images."""
    generators = generator if isinstance(generator, list) else [generator]
    if isinstance(generator, list) and len(generator) != n:
        raise InputError(f"{len(generator)} generators do not fit {n} images: give one for all, or one for each.")
    for one in generators:
        if one is not None and (not isinstance(one, torch.Generator) or one.device.type != "cpu"):
            raise InputError("A generator of noise lives on the CPU: give torch.Generator().manual_seed(SEED).")
