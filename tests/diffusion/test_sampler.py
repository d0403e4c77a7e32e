"""Samplers: their names, and settings that are refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dequant.diffusion.fidelity import Fidelity
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from tests.support.denoisers import Known
from tests.support.paths import CONF

NAMES = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_is_called_by_its_name(name: str) -> None:
    with initialize_config_dir(str(CONF / "sampler"), version_base="1.3"):
        assert instantiate(compose(name)).name == name


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "one_step"),
        ({"num_inference_steps": 4}, "ddim4"),
        ({"num_inference_steps": 16}, "ddim16"),
        ({"solver": UniPCMultistepScheduler, "num_inference_steps": 1}, "unipc1"),
        ({"solver": DDPMScheduler, "timesteps": [999, 500]}, "ddpm_at_999_500"),
        ({"orientations": 2, "draws": 3}, "one_step_x2_mean3"),
        ({"tile": 32}, "one_step_tile32"),
        ({"keep_palette": "exact", "keep_texture": "exact"}, "one_step+exact+texture"),
        ({"keep_palette": Fidelity()}, "one_step+exact"),
        ({"keep_palette": Fidelity(reach=2, scale=0.9)}, "one_step+exact+reach=2+scale=0.9"),
    ],
)
def test_names_say_what_differs(settings: dict[str, Any], name: str) -> None:
    assert Sampler(**settings).name == name


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_inference_steps": 0}, "at least 1 for num_inference_steps, got 0"),
        ({"draws": 0}, "at least 1 for draws, got 0"),
        ({"tile": 0.5}, "at least 1 for tile, got 0.5"),
        ({"orientations": 3}, "3 orientations"),
        ({"keep_palette": "perfect"}, "keep_palette='perfect'"),
        ({"keep_palette": True}, "keep_palette=True"),
        ({"keep_texture": "soft"}, "keep_texture='soft'"),
    ],
)
def test_impossible_settings_are_refused_when_they_are_made(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Sampler(**settings)


@pytest.mark.parametrize(
    ("sampler", "sentence"),
    [
        (Sampler(num_inference_steps=1001), "1001 steps are not possible: ask for 1 to 1000"),
        (Sampler(DDPMScheduler, num_inference_steps=4, timesteps=[5]), "Steps are given twice"),
        (Sampler(options={"timestep_spacin": "leading"}), "DDIMScheduler has no option timestep_spacin"),
        (Sampler(timesteps=[999, 0]), "DDIMScheduler spaces its steps itself"),
    ],
)
def test_steps_that_do_not_fit_a_schedule_are_refused(sampler: Sampler, sentence: str) -> None:
    model = Known(DDPMScheduler(prediction_type="sample"), lambda x_t, t: x_t)
    with pytest.raises(InputError, match=sentence):
        sampler.check(model.scheduler)
    with pytest.raises(InputError, match=sentence):
        sampler.draw(model, torch.zeros(1, 7, 8, 8))


def test_steps_can_be_replaced() -> None:
    assert replace(Sampler(), num_inference_steps=4).name == "ddim4"
    assert replace(Sampler(), num_inference_steps=None).name == "one_step"
