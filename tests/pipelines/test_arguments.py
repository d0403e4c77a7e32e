"""diffusers' manners: callbacks, interruption, components, latents, numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.callbacks import SDXLCFGCutoffCallback
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler

from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.pipelines.dequant import DequantPipeline
from tests.support.pipelines import SIZE, draw, encoder, seeded


def test_tensors_of_the_callback_are_chosen_by_name(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    seen: list[set[str]] = []

    def look(pipe: DequantPipeline, i: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> None:
        seen.append(set(tensors))

    for names in (["latents"], ("latents",), []):
        draw(pipe, photo, callback_on_step_end=look, callback_on_step_end_tensor_inputs=names)
    assert seen == [{"latents"}] * 6 + [set()] * 3


@pytest.mark.parametrize("names", [["prompt_embeds"], ["latents", "x"], "latents", 3, [["latents"]], None])
def test_other_names_are_one_sentence(pipe: DequantPipeline, photo: torch.Tensor, names: Any) -> None:
    with pytest.raises(InputError, match=r"Expected names out of \['latents'\]"):
        draw(pipe, photo, callback_on_step_end=print, callback_on_step_end_tensor_inputs=names)


@pytest.mark.parametrize("answer", [torch.zeros(1), {"latents": torch.zeros(1)}, {"latents": None}, 3])
def test_what_a_callback_may_return(pipe: DequantPipeline, photo: torch.Tensor, answer: Any) -> None:
    with pytest.raises(InputError, match="from callback_on_step_end, got"):
        draw(pipe, photo, callback_on_step_end=lambda *_: answer)
    with pytest.raises(InputError, match="Expected a function for callback_on_step_end, got 3"):
        draw(pipe, photo, callback_on_step_end=3)


def test_callbacks_of_diffusers_say_what_they_need(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    with pytest.raises(InputError, match="Expected names out of"):
        draw(pipe, photo, callback_on_step_end=SDXLCFGCutoffCallback(cutoff_step_ratio=0.5))


def test_interrupting_leaves_out_the_steps_that_are_left(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    steps: list[int] = []
    answers: list[bool] = []

    def stop(pipe: DequantPipeline, i: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict:
        steps.append(i)
        answers.append(pipe.interrupt)
        pipe._interrupt = i == 1
        return {"latents": torch.full_like(tensors["latents"], 0.5)}

    found = draw(pipe, photo, callback_on_step_end=stop)
    assert (steps, answers) == ([0, 1], [False, False])
    torch.testing.assert_close(found, torch.full((1, 3, *SIZE), 0.75))
    assert pipe.interrupt
    whole = draw(pipe, photo)
    assert not pipe.interrupt
    assert torch.equal(whole, draw(pipe, photo))


def test_interrupted_draws_are_not_averaged(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    def stop(pipe: DequantPipeline, i: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict:
        pipe._interrupt = True
        return {"latents": torch.full_like(tensors["latents"], 0.5)}

    found = draw(pipe, photo, sampler=Sampler(num_inference_steps=3, draws=4), callback_on_step_end=stop)
    torch.testing.assert_close(found, torch.full((1, 3, *SIZE), 0.75))


def test_components_make_the_pipeline_again(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    again = DequantPipeline(**pipe.components, num_inference_steps=np.int64(3))
    assert torch.equal(draw(again, photo), draw(pipe, photo))
    assert again.config["patch_size"] == 2
    edits = DequantPipeline.bundled("T")
    assert DequantPipeline(**edits.components).config["keep_texture"] == "guided"


def test_parts_that_do_not_belong_together(tiny_base: DiffusionBase) -> None:
    control, unet, scheduler = encoder(tiny_base), tiny_base.unet, tiny_base.scheduler
    parts = {"unet": unet, "scheduler": scheduler, "control": control}
    epsilon = DDPMScheduler(prediction_type="epsilon")
    for changes, sentence in (
        ({"patch_size": 1}, "patch_size=1 and this noise schedule, got one from 28 to 12"),
        ({"scheduler": epsilon}, "Expected a network from 3 to 3"),
        ({"scheduler": FlowMatchEulerDiscreteScheduler()}, "FlowMatchEulerDiscreteScheduler is not the noise schedule"),
        ({"scheduler": None}, "Expected SchedulerMixin for scheduler, got NoneType"),
        ({"unet": control}, "Expected UNet2DConditionModel for unet, got ControlEncoder"),
        ({"control": unet}, "Expected ControlEncoder for control, got UNet2DConditionModel"),
        ({"vae": unet}, "Expected AutoencoderKL or AutoencoderTiny or None for vae, got UNet2DConditionModel"),
        ({"text_embedding": torch.zeros(1, 77, 8)}, "Expected TextEmbedding or None for text_embedding, got Tensor"),
        ({"num_inference_steps": "4"}, "for num_inference_steps, got '4'"),
        ({"timesteps": "abc"}, "for timesteps, got 'abc'"),
        ({"keep_texture": "soft"}, "keep_texture='soft'"),
    ):
        with pytest.raises(InputError, match=sentence):
            DequantPipeline(**parts | changes)


def test_a_base_that_attends_to_a_prompt_needs_its_embedding(latent_base: DiffusionBase) -> None:
    control = ControlEncoder.from_base(latent_base, "T", stem_widths=[8, 16])
    with pytest.raises(InputError, match="Expected a text_embedding of width 12, which this unet attends to, got none"):
        DequantPipeline(latent_base.unet, latent_base.scheduler, control, latent_base.vae)


def test_latents_of_a_latent_base(latent_base: DiffusionBase, photo: torch.Tensor) -> None:
    control = ControlEncoder.from_base(latent_base, "T", stem_widths=[8, 16])
    pipe = DequantPipeline.of(latent_base, control, Sampler(num_inference_steps=2))
    latents = draw(pipe, photo, output_type="latent")
    assert latents.shape == (1, 4, 12, 18)
    height, width = SIZE
    torch.testing.assert_close(latent_base.decode(latents)[..., :height, :width], draw(pipe, photo))


def test_steps_of_a_latent_base_are_seen_as_pictures(latent_base: DiffusionBase) -> None:
    options = {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
    latent_base.scheduler = DDPMScheduler(**options, clip_sample=False)  # as real ones have it: latents have no bounds
    control = ControlEncoder.from_base(latent_base, "T", stem_widths=[8, 16])
    pipe, seen = DequantPipeline.of(latent_base, control, Sampler(num_inference_steps=2)), list[Any]()
    conditions = [torch.rand(7, *SIZE, generator=seeded(i)) for i in range(2)]
    drawn = pipe.draw(conditions, seeded(), seen=lambda *one: seen.append(one))
    assert [one[:2] for one in seen] == [(1, 2), (2, 2)]
    assert all(one[2].shape == (2, 3, *SIZE) and 0 <= one[2].min() <= one[2].max() <= 1 for one in seen)
    torch.testing.assert_close(seen[-1][2], torch.stack(drawn), atol=1e-4, rtol=0)
    assert all(map(torch.equal, drawn, pipe.draw(conditions, seeded())))


def test_a_base_of_pixels_has_no_latents(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"no output type 'latent': choose pil, np or pt\."):
        draw(pipe, photo, output_type="latent")


def test_a_scheduler_that_cannot_serve_is_named(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    pipe.scheduler = PNDMScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(InputError, match="PNDMScheduler cannot take these steps"):
        draw(pipe, photo)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler()
    with pytest.raises(InputError, match="FlowMatchEulerDiscreteScheduler is not the noise schedule"):
        draw(pipe, photo)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("num_inference_steps", ["4", 2.5, True, float("nan"), float("inf"), -1, 0, 10**30, [4]]),
        ("timesteps", ["abc", [1.5], [], [True], 7, [[1]], [10**30]]),
        ("k", [0, 1.5, "1", True, None, 10**30]),
        ("n_colors", [8.5, "8", 0, 257, True, float("nan"), [8], -3]),
        ("num_images", [0, "2", 1.5, True, None, 10**30]),
        ("seeds", [["a"], "ab", 3, [1.5], [2**70], [True], []]),
        ("orientations", [3, "2", True, [1], float("nan")]),
        ("tile", ["64", 0, -5, 64.0, True, [64]]),
        ("generator", ["x", 3, [3], ["x"], (torch.Generator(),)]),
        ("keep_palette", ["perfect", 3, True, ["exact"], {}]),
        ("keep_texture", ["perfect", 3, True, ["exact"], {}]),
        ("sampler", ["ddim", 3, Sampler]),
        ("output_type", ["jpg", None, 3, ["pil"], []]),
    ],
)
def test_wrong_values_are_one_sentence(pipe: DequantPipeline, photo: torch.Tensor, name: str, values: list) -> None:
    for value in values:
        with pytest.raises(InputError) as error:
            pipe(photo, **{name: value})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("blend", ["x", float("nan"), 2, [0.5, None], ["0.5"], {}, float("inf")])
def test_wrong_blends_are_one_sentence(pipe: DequantPipeline, photo: torch.Tensor, blend: Any) -> None:
    with pytest.raises(InputError):
        pipe(photo, 4, palette=["#fff", "#000"], blend=blend)


def test_numbers_of_numpy_are_fine(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    four = np.int64(4)
    expected = draw(pipe, photo, n_colors=4, num_inference_steps=4, tile=16)
    assert torch.equal(draw(pipe, photo, n_colors=four, num_inference_steps=four, tile=np.int32(16)), expected)
    draws = draw(pipe, photo, num_inference_steps=1, generator=None, seeds=[np.int64(3), 4], k=np.int8(1))
    assert len(draws) == len(draw(pipe, photo, num_inference_steps=1, num_images=np.int64(2), k=np.int64(1))) == 2


def test_usual_switches_of_diffusers(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    before = draw(pipe, photo)
    pipe.set_progress_bar_config(disable=True, desc="steps")
    pipe.enable_attention_slicing()
    pipe.disable_attention_slicing()
    assert torch.equal(draw(pipe.to("cpu"), photo), before)
    assert draw(pipe.to(torch.float64), photo).isfinite().all()


def test_pictures_that_are_not_finite_are_refused(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    pipe.unet.conv_out.bias.data[:] = float("nan")
    with pytest.raises(InputError, match="pictures are not finite"):
        draw(pipe, photo)
