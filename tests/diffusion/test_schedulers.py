"""Every scheduler of diffusers: it serves, or is refused by its name."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import schedulers
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError

CLASSES = sorted(
    (kind for kind in vars(schedulers).values() if isinstance(kind, type) and kind.__name__.endswith("Scheduler")),
    key=lambda kind: kind.__name__,
)
SERVING = """
    CogVideoXDDIM DDIM DDIMParallel DDPM DDPMParallel DEISMultistep DPMSolverMultistep DPMSolverSinglestep LCM SASolver
    TCD UniPCMultistep
"""
KINDS = ["sample", "epsilon", "v_prediction"]


@pytest.mark.parametrize("prediction_type", KINDS)
@pytest.mark.parametrize("solver", CLASSES, ids=lambda kind: kind.__name__)
def test_every_scheduler_serves_or_is_refused_by_name(solver: type, prediction_type: str) -> None:
    base = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=prediction_type, clip_sample=False)
    for steps in (1, 2, 7, 25):
        sampler = Sampler(solver, {}, num_inference_steps=steps)
        if solver.__name__.removesuffix("Scheduler") in SERVING.split():
            sampler.check(base)
            continue
        with pytest.raises(InputError, match=f"^{solver.__name__} ") as error:
            sampler.check(base)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("solver", "options", "sentence"),
    [
        (DPMSolverMultistepScheduler, {"use_flow_sigmas": True}, "DPMSolverMultistepScheduler does not sample"),
        (DPMSolverMultistepScheduler, {"final_sigmas_type": "sigma"}, "DPMSolverMultistepScheduler cannot"),
        (DPMSolverMultistepScheduler, {"solver_order": "two"}, "DPMSolverMultistepScheduler cannot"),
        (DDIMScheduler, {"prediction_type": "sample"}, "DDIMScheduler does not lead from noise"),
        (DDIMScheduler, {"prediction_type": "flow"}, "DDIMScheduler cannot take these steps"),
        (DDIMScheduler, {"timestep_spacing": "wide"}, "DDIMScheduler cannot take these steps"),
        (DDIMScheduler, {"beta_schedule": "linear"}, "beta_schedule belongs to the base's noise schedule"),
        (DDPMScheduler, {"variance_type": "learned_range"}, "DDPMScheduler cannot take these steps"),
        (SchedulerMixin, {}, "SchedulerMixin is not a solver"),
        (torch.nn.Linear, {}, "Linear is not a solver"),
        ("DDIM", {}, "str is not a solver"),
    ],
)
def test_settings_with_which_a_solver_does_not_serve(solver: Any, options: dict[str, Any], sentence: str) -> None:
    base = DDPMScheduler(beta_schedule="scaled_linear", prediction_type="epsilon", clip_sample=False)
    with pytest.raises(InputError, match=f"^{sentence}"):
        Sampler(solver, options, num_inference_steps=4).check(base)


@pytest.mark.parametrize("option", ["use_karras_sigmas", "use_exponential_sigmas", "use_lu_lambdas"])
def test_other_spacings_serve(option: str) -> None:
    base = DDPMScheduler(beta_schedule="scaled_linear", prediction_type="epsilon", clip_sample=False)
    Sampler(DPMSolverMultistepScheduler, {option: True}, num_inference_steps=8).check(base)


@pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler(), object(), None])
def test_what_is_no_schedule_of_a_base(scheduler: Any) -> None:
    with pytest.raises(InputError, match="is not the noise schedule of a base"):
        Sampler().check(scheduler)
    with pytest.raises(InputError, match="EulerDiscreteScheduler does not sample"):
        Sampler(EulerDiscreteScheduler, {}).check(EulerDiscreteScheduler())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_inference_steps": "a"}, "for num_inference_steps, got 'a'"),
        ({"num_inference_steps": 2.5}, "for num_inference_steps, got 2.5"),
        ({"num_inference_steps": True}, "for num_inference_steps, got True"),
        ({"num_inference_steps": float("nan")}, "for num_inference_steps, got nan"),
        ({"num_inference_steps": -1}, "for num_inference_steps, got -1"),
        ({"timesteps": "abc"}, "for timesteps, got 'abc'"),
        ({"timesteps": 5}, "for timesteps, got 5"),
        ({"timesteps": [1.5]}, "each of the timesteps, got 1.5"),
        ({"timesteps": [5, -1]}, "each of the timesteps, got -1"),
        ({"options": None}, "for options, got None"),
        ({"draws": None}, "for draws, got None"),
        ({"draws": "2"}, "for draws, got '2'"),
        ({"tile": True}, "for tile, got True"),
        ({"orientations": True}, "for orientations, got True"),
        ({"orientations": [1]}, r"for orientations, got \[1\]"),
        ({"keep_palette": 3}, "keep_palette=3"),
        ({"keep_palette": ["exact"]}, "keep_palette="),
        ({"keep_texture": None}, "keep_texture=None"),
    ],
)
def test_settings_of_the_wrong_type(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Sampler(**settings)


def test_numbers_of_numpy_are_fine() -> None:
    sampler = Sampler(DDPMScheduler, timesteps=np.array([999, 500]), draws=np.int64(2), tile=np.uint8(64))
    assert (sampler.timesteps, type(sampler.draws), sampler.tile) == ([999, 500], int, 64)
    assert Sampler(timesteps=torch.tensor([999, 0])).timesteps == [999, 0]
    assert Sampler(num_inference_steps=np.int64(4)) == Sampler(num_inference_steps=4)
