"""Semantic-aware colorization: what it is at first, what learns, and regions with texts of their own."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from dequant.color.luminance import grayscale
from dequant.colorization.semantic import SCHEDULE, Sampling, SemanticColors, draw
from dequant.condition.captions import Labelled
from dequant.errors import InputError
from dequant.models.latent import LatentBase
from dequant.models.mixing import GrayMix
from tests.support import latents


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae")
    latents.vae().save_pretrained(folder)
    return folder


def model(coder: Path, sampling: Sampling | None = None, **options: Any) -> SemanticColors:
    base = latents.base(coder)
    made = SemanticColors(
        base, optimizer=partial(torch.optim.AdamW, lr=1e-3), sampling=sampling or Sampling(3), **options
    )
    made.log = lambda *args, **kwargs: None
    return made


def shown(coder: Path) -> tuple[LatentBase, GrayMix, torch.Tensor, torch.Tensor]:
    """A base, a mix that looks at the grey latents, one grey photo and its latents."""
    base, gray = latents.base(coder), grayscale(latents.batch(1)["target"])
    mix = GrayMix(4)
    torch.nn.init.normal_(mix.layer.weight, std=0.3)
    return base, mix, gray, base.encode(gray)


def test_at_first_it_is_the_base_itself(coder: Path) -> None:
    """Deterministic DDIM of the untouched UNet, whatever the grey photo."""
    base, _, gray, z_gray = shown(coder)
    found = draw(base, GrayMix(4), gray, z_gray, ["a red car"], Sampling(4, 1.0, 7)) + z_gray
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(4)
    z, text = torch.randn(z_gray.shape[1:], generator=torch.Generator().manual_seed(7))[None], base.embed(["a red car"])
    for step in scheduler.timesteps:
        with torch.no_grad():
            noise = base.predict(z, torch.full((1,), int(step)), text)
        z = scheduler.step(noise, step, z).prev_sample
    torch.testing.assert_close(found, z, atol=1e-5, rtol=1e-4)


def test_the_same_seed_draws_the_same(coder: Path) -> None:
    first, again, other = (draw(*shown(coder), ["a red car"], Sampling(3, 2.0, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_regions_that_say_nothing_new_change_nothing(coder: Path) -> None:
    everywhere, half = torch.ones(32, 32), torch.zeros(32, 32)
    half[:, :16] = 1
    plain = draw(*shown(coder), ["a red car"], Sampling(4, 2.0))
    for regions, strength in (
        ([Labelled(half, "a blue car")], 0.0),
        ([Labelled(everywhere, "a red car")], 1.0),
        ([Labelled(torch.zeros(32, 32), "a blue car")], 1.0),
    ):
        found = draw(*shown(coder), ["a red car"], Sampling(4, 2.0, 0, strength), regions)
        torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-4)


def test_the_first_step_leaves_what_is_outside_of_regions_alone(coder: Path) -> None:
    """Later steps see the regions beside them."""
    left, right = torch.zeros(2, 32, 32)
    left[:, :8], right[:, 24:] = 1, 1
    regions = [Labelled(left, "a blue car"), Labelled(right, "blue")]
    plain = draw(*shown(coder), ["a red car"], Sampling(1, 2.0))
    found = draw(*shown(coder), ["a red car"], Sampling(1, 2.0, 0, 1.0), regions)
    torch.testing.assert_close(found[..., 2:6], plain[..., 2:6], atol=1e-5, rtol=1e-4)
    assert (found - plain)[..., :2].abs().max() > 1e-4 and (found - plain)[..., 6:].abs().max() > 1e-4


def test_regions_drawn_apart_are_put_together_once(coder: Path) -> None:
    """Two guided steps of four differ, one does not, and a region that says nothing new changes nothing."""
    half = torch.zeros(32, 32)
    half[:, :16] = 1
    regions, wanted = [Labelled(half, "a blue car")], ["a red car"]
    one, two = (draw(*shown(coder), wanted, Sampling(4, 2.0, 0, 0.5, apart=apart), regions) for apart in (False, True))
    assert (one - two).abs().max() > 1e-4
    same = [draw(*shown(coder), wanted, Sampling(4, 2.0, 0, 0.25, apart=apart), regions) for apart in (False, True)]
    torch.testing.assert_close(*same)
    whole = [Labelled(torch.ones(32, 32), "a red car")]
    plain = draw(*shown(coder), wanted, Sampling(4, 2.0))
    torch.testing.assert_close(draw(*shown(coder), wanted, Sampling(4, 2.0, 0, 1.0, apart=True), whole), plain)


@pytest.mark.parametrize("train_text", [False, True])
def test_gradients_reach_what_learns_and_never_what_is_frozen(coder: Path, train_text: bool) -> None:
    learner = model(coder, train_text=train_text)
    loss = learner.training_step(latents.batch(4), 0)
    loss.backward()
    assert loss.isfinite() and all(weight.grad is not None for weight in learner.mix.parameters())
    assert all(weight.grad is not None for weight in learner.base.unet.parameters())
    assert all((weight.grad is not None) == train_text for weight in learner.base.text_encoder.parameters())
    assert all(weight.grad is None for weight in learner.base.vae.parameters())


def test_seeds_decide_noise_and_time(coder: Path) -> None:
    learner = model(coder)
    first, again = (learner._drawn_at_random(3, (4, 8, 8)) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert torch.stack([learner._drawn_at_random(seed, (4, 8, 8))[0] for seed in range(200)]).float().mean() > 400


def test_what_a_mask_hides_teaches_nothing(coder: Path) -> None:
    """The loss is that of the pixels inside, whatever the colours outside are."""
    learner, batch = model(coder), latents.batch(2)
    batch["mask"] = torch.zeros(2, 1, 32, 32)
    batch["mask"][..., :16] = 1
    shown = learner._shown(batch, torch.zeros(2, 4, 8, 8))
    assert shown.shape == (2, 1, 8, 8) and shown[..., :4].all() and not shown[..., 4:].any()
    assert learner._shown(latents.batch(2), torch.zeros(2, 4, 8, 8)).all()
    whole = learner.training_step(latents.batch(2), 0)
    assert learner.training_step(batch, 0).isfinite() and not torch.equal(learner.training_step(batch, 0), whole)


def test_one_step_is_what_a_network_says_of_pure_noise(coder: Path) -> None:
    """v = sqrt(a) noise - sqrt(1 - a) x for a network that says v; x itself up to the noise that is left at t = 999."""
    base, _, gray, z_gray = shown(coder)
    wanted = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    base.predict = lambda z, t, text, seen=None: -wanted
    drawn = [
        draw(base, mix, gray, z_gray, [""], Sampling(1, 1.0, target="v_prediction"))
        for mix in (GrayMix(4), GrayMix(4, color_scale=2.0))
    ]
    torch.testing.assert_close(drawn[0] + z_gray, wanted, atol=0.3, rtol=0)
    torch.testing.assert_close(2 * drawn[1], drawn[0] + z_gray, atol=1e-5, rtol=1e-4)


def test_noise_is_added_to_photos_or_to_their_colour() -> None:
    z, z_gray = torch.randn(2, 1, 4, 8, 8)
    for mix in (GrayMix(4), GrayMix(4, gray=0.5, color_scale=3.0)):
        torch.testing.assert_close(mix.color(mix.of_photo(z, z_gray), z_gray), z - z_gray, atol=1e-5, rtol=1e-5)
    assert torch.equal(GrayMix(4)(z, z_gray), z) and torch.equal(GrayMix(4).of_photo(z, z_gray), z)
    torch.testing.assert_close(mix(z, z_gray), z + 0.5 * z_gray, atol=1e-6, rtol=0)
    assert mix.of_photo(z, z_gray).std() > 2


def test_a_shift_of_the_timesteps_trains_where_most_is_noise(coder: Path) -> None:
    """s u / (1 + (s - 1) u) of what is drawn at random without a shift; all noise stays all noise."""
    plain, shifted = model(coder), model(coder, timestep_shift=4.0)
    pairs = [tuple(int(one._drawn_at_random(seed, (1,))[0]) for one in (plain, shifted)) for seed in range(500)]
    for before, after in pairs:
        share = (before + 1) / 1000
        assert after == round(1000 * 4 * share / (1 + 3 * share)) - 1
    assert max(after for _, after in pairs) <= 999 and sorted(after for _, after in pairs)[250] == pytest.approx(
        800, abs=30
    )


def test_a_photo_that_no_classifier_may_see_tells_nothing(coder: Path) -> None:
    learner, told = model(coder), [torch.ones(2, 3, 4, 4), torch.ones(2, 5, 2, 2)]
    learner.base.recognize = lambda gray, size: told
    batch = latents.batch(2)
    gray = grayscale(batch["target"])
    assert learner._seen(batch, gray, (8, 8)) is told
    first, second = learner._seen(batch | {"seen": torch.tensor([True, False])}, gray, (8, 8)) or []
    assert first[0].all() and not first[1].any() and second[0].all() and not second[1].any()


def test_training_lowers_the_loss(coder: Path) -> None:
    learner, batch = model(coder), latents.batch(4)
    losses = latents.losses(learner, batch, 15)
    assert losses[-1] < losses[0]


def test_weights_are_released_and_loaded(coder: Path, tmp_path: Path) -> None:
    learner = model(coder)
    torch.nn.init.normal_(learner.mix.layer.weight)
    learner.save_pretrained(tmp_path / "weights")
    about = json.loads((tmp_path / "weights" / "colorizer.json").read_text())
    assert about == {
        "method": "semantic",
        "num_inference_steps": 3,
        "guidance_scale": 5.0,
        "target": "epsilon",
    }
    other = model(coder)
    other.load_weights(tmp_path / "weights")
    torch.testing.assert_close(other.mix.layer.weight, learner.mix.layer.weight, atol=1e-2, rtol=0)
    with pytest.raises(InputError, match="mix has another color_scale than the network"):
        model(coder, mix=GrayMix(4, color_scale=2.0)).load_weights(tmp_path / "weights")
    assert learner.validation_step(latents.batch(), 0).shape == (2, 3, 32, 32)


def test_wrong_settings_are_one_sentence(coder: Path) -> None:
    with pytest.raises(InputError, match="no target 'x': choose epsilon or v_prediction"):
        model(coder, Sampling(target="x"))
    with pytest.raises(InputError, match="timestep_shift above 0, got 0"):
        model(coder, timestep_shift=0)
    base, mix, gray, z_gray = shown(coder)
    with pytest.raises(InputError, match="one photo at a time, got 2"):
        pair = (gray.repeat(2, 1, 1, 1), z_gray.repeat(2, 1, 1, 1))
        draw(base, mix, *pair, ["", ""], Sampling(2), [Labelled(torch.ones(4, 4), "")])
    with pytest.raises(InputError, match="num_inference_steps"):
        draw(base, mix, gray, z_gray, [""], Sampling(0))
