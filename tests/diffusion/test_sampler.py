"""Samplers: their names, and settings that are refused."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dequant.diffusion.fidelity import Fidelity
from dequant.diffusion.sampler import Sampler
from dequant.diffusion.solver import Predict
from dequant.diffusion.tiles import tiles
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


def _seen(sampler: Sampler, size: tuple[int, int] = (10, 13), **options: Any) -> tuple[Any, torch.Tensor]:
    """What is seen of a draw, and what is drawn; the model darkens what it gets."""
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False)
    model = replace(Known(scheduler, lambda x_t, t: 0.3 * x_t.clamp(-1, 1)), multiple=4)
    found, generator = list[tuple[int, int, torch.Tensor]](), torch.Generator().manual_seed(0)
    drawn = sampler.draw(
        model, torch.rand(1, 7, *size, generator=generator), generator, seen=lambda *one: found.append(one), **options
    )
    return found, drawn


def test_the_picture_seen_in_one_step_is_the_drawn_one() -> None:
    ((step, of, picture),), drawn = _seen(Sampler(), num_images=2)
    assert (step, of) == (1, 1) and picture.shape == drawn.shape == (2, 3, 10, 13)
    torch.testing.assert_close(picture, drawn, atol=1e-6, rtol=0)


@pytest.mark.parametrize("settings", [{}, {"keep_palette": "exact"}, {"tile": 8}, {"orientations": 2}])
def test_each_step_of_each_draw_is_seen(settings: dict[str, Any]) -> None:
    found, drawn = _seen(Sampler(num_inference_steps=3, draws=2, **settings), (12, 16))
    assert [one[:2] for one in found] == 2 * [(1, 3), (2, 3), (3, 3)]
    assert {one[2].shape for one in found} == {drawn.shape} and not found[0][2].equal(found[1][2])
    if not settings:
        torch.testing.assert_close((found[2][2] + found[5][2]) / 2, drawn, atol=1e-6, rtol=0)


@dataclass(frozen=True)
class Asked(Known):
    """One that notes what it is asked to read."""

    asked: list[tuple[torch.Tensor, dict[str, Any]]] = field(default_factory=list)

    def start(self, condition: torch.Tensor, **options: Any) -> Predict:
        self.asked.append((condition, options))
        return self.predict


@pytest.mark.parametrize(("tile", "parts"), [(None, 1), (64, 1), (8, 2)])
def test_a_model_reads_all_at_once_and_knows_the_steps_or_reads_tiles_again(tile: int | None, parts: int) -> None:
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False)
    model = replace(Asked(scheduler, lambda x_t, t: 0 * x_t), multiple=4)
    condition = torch.rand(1, 7, 5, 14)
    Sampler(num_inference_steps=3, orientations=2, tile=tile).draw(model, condition, num_images=2)
    padded = torch.nn.functional.pad(condition, (0, 2, 0, 3), mode="replicate")
    if parts == 1:
        assert len(model.asked) == 2 and torch.equal(model.asked[0][0], padded)
        assert all(options["timesteps"].tolist() == [999, 666, 332] for _, options in model.asked)
    else:
        assert len(model.asked) == 3 * 2 * len(list(tiles(8, 16, 8, 4)))
        assert torch.equal(model.asked[0][0], padded[..., :8]) and "timesteps" not in model.asked[0][1]
    assert all(options["memory_share"] == 0.5 and options["num_images"] == 2 for _, options in model.asked)


def test_no_step_is_seen_that_is_left_out() -> None:
    found, _ = _seen(Sampler(num_inference_steps=3), interrupted=iter([False, True]).__next__)
    assert [one[:2] for one in found] == [(1, 3)]


def test_steps_can_be_replaced() -> None:
    assert replace(Sampler(), num_inference_steps=4).name == "ddim4"
    assert replace(Sampler(), num_inference_steps=None).name == "one_step"


def test_steps_of_all_draws_are_counted() -> None:
    assert Sampler(num_inference_steps=4, draws=3).total_steps == 12
    assert Sampler(DDPMScheduler, timesteps=[999, 500, 0], draws=2).total_steps == 6 and Sampler().total_steps == 1
