"""DiffColor: what each loop changes, resumption, and that the base stays as it is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from dequant.color.spaces import rgb_to_lab
from dequant.colorization.aligning import alignment, drawn, matched
from dequant.colorization.diffcolor import DiffColor, contrast
from dequant.colorization.pictures import decoded
from dequant.colorization.semantic import Sampling, draw
from dequant.colorization.tuning import ANCHORS, DOCUMENT, DONE, MODES, STAGES, Tuning
from dequant.condition.captions import rewritten
from dequant.errors import InputError
from dequant.models.aligner import Aligner
from dequant.models.digest import weights_sha256
from tests.support import latents
from tests.support.tunings import few, subject


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae")
    latents.vae().save_pretrained(folder)
    return folder


def run(made: DiffColor, steps: int | None = None) -> list[dict[str, float]]:
    """So many steps, or all; what they said."""
    said = []
    for parts in made.tune():
        said.append(parts)
        if len(said) == steps:
            break
    return said


@pytest.mark.parametrize("mode", MODES)
def test_each_loop_changes_what_it_shall_and_nothing_else(coder: Path, mode: str) -> None:
    own = subject(coder)
    parts = (own.base.vae, own.base.unet, own.base.text_encoder, own.mix, own.likeness)
    known = dict(zip("abcde", parts, strict=True))
    before = weights_sha256(**known)
    made, first = DiffColor(own, few(mode=mode)), own.base.unet.state_dict()
    whole = {name: value.clone() for name, value in made.base.unet.state_dict().items()}
    states = []
    for _ in made.tune():
        states.append((made.stage, made.state))
    assert made.stage == DONE and len(states) == 9
    (_, start), (_, color), (_, embedding), (_, network) = (states[0], states[2], states[5], states[8])
    assert not torch.equal(color.embedding, embedding.embedding) and torch.equal(start.embedding, color.embedding)
    assert torch.equal(embedding.embedding, network.embedding)
    for name in color.weights:
        assert torch.equal(color.weights[name], embedding.weights[name])
    assert any(not torch.equal(embedding.weights[name], network.weights[name]) for name in network.weights)
    changed = {name for name, value in made.base.unet.state_dict().items() if not torch.equal(value, whole[name])}
    assert changed and changed <= set(made.learned)
    assert {"attention": ".attn", "lora": ".lora_", "full": ""}[mode] in min(changed)
    assert (len(made.learned) == len(first)) == (mode == "full")
    assert weights_sha256(**known) == before
    assert all(value.grad is None for part in parts for value in part.parameters())


@pytest.mark.slow
def test_the_losses_fall(coder: Path) -> None:
    """Noise and time are other ones at each step, so means of many are compared."""
    tuning = few(mode="full", color_steps=60, embedding_steps=0, network_steps=0, color_lr=3e-3, contrast_weight=5.0)
    said = run(DiffColor(subject(coder), tuning))
    first, last = (sum(one["contrast"] for one in part) / 15 for part in (said[:15], said[-15:]))
    assert last < first
    tuning = few(mode="full", color_steps=0, embedding_steps=0, network_steps=80, network_lr=3e-3)
    said = run(DiffColor(subject(coder), tuning))
    first, last = (sum(one["noise"] for one in part) / 20 for part in (said[:20], said[-20:]))
    assert last < first and "contrast" not in said[0]


def test_a_tuning_that_was_stopped_goes_on_as_if_it_had_not_been(coder: Path) -> None:
    whole = DiffColor(subject(coder), few())
    run(whole)
    for stop in (2, 3, 5, 7):
        first = DiffColor(subject(coder), few())
        run(first, stop)
        second = DiffColor(subject(coder), few(), first.state)
        assert len(run(second)) == 9 - stop
        assert torch.equal(second.embedding, whole.embedding)
        assert all(torch.equal(value, whole.learned[name]) for name, value in second.learned.items())
        assert torch.equal(second.drawn(second.towards(None, 1)), whole.drawn(whole.towards(None, 1)))


def test_the_same_seed_draws_the_same_and_another_one_does_not(coder: Path) -> None:
    made = [DiffColor(subject(coder, Sampling(2, 2.0, seed)), few()) for seed in (1, 1, 2)]
    for one in made:
        run(one)
    first, again, other = (one.drawn(one.embedding.detach()) for one in made)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_strength_goes_from_the_tuned_embedding_to_the_edit_and_beyond(coder: Path) -> None:
    made = DiffColor(subject(coder), few())
    run(made)
    own, edit = made.embedding.detach(), made.base.embed(["a red car"]).detach()
    assert torch.equal(made.towards("a red car", 0), own) and torch.equal(made.towards(None, 1), own)
    torch.testing.assert_close(made.towards("a red car", 1), edit)
    torch.testing.assert_close(made.towards("a red car", 1.5), own + 1.5 * (edit - own))
    assert torch.equal(made.drawn(made.towards("a red car", 0)), made.drawn(own))


def test_without_tuning_it_draws_what_the_base_draws(coder: Path) -> None:
    own = subject(coder)
    made = DiffColor(own, few(color_steps=0, embedding_steps=0, network_steps=0))
    assert run(made) == [] and made.stage == DONE
    text = own.base.embed([own.prompt]).detach()
    delta = draw(own.base, own.mix, own.gray, made.z_gray, [own.prompt], own.sampling)
    assert torch.equal(made.drawn(text), decoded(own.base, made.z_gray, delta, own.gray))


def test_contrast_is_one_where_all_texts_are_as_near(coder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = subject(coder).likeness
    picture = latents.batch(1)["target"]
    features = torch.eye(32)
    monkeypatch.setattr(judge, "of_images", lambda rgb: features[:1])
    monkeypatch.setattr(judge, "of_texts", lambda texts: features[1 : 1 + len(texts)])
    assert contrast(judge, picture, "a car", ["x", "y", "z"]).item() == pytest.approx(1)
    monkeypatch.setattr(judge, "of_texts", lambda texts: features[: len(texts)])
    sure = -F.log_softmax(judge.sharpness.detach() * features[0, :4], 0)[0] / torch.tensor(4.0).log()
    assert contrast(judge, picture, "a car", ["x", "y", "z"]).item() == pytest.approx(float(sure), rel=1e-4)


def test_a_smaller_autoencoder_may_show_the_judge_its_pictures(coder: Path) -> None:
    plain, own = DiffColor(subject(coder), few()), subject(coder)
    same = DiffColor(own._replace(preview=own.base.vae), few())
    run(plain)
    run(same)
    for name, value in plain.learned.items():
        torch.testing.assert_close(value, same.learned[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a dog sitting on a wooden bench", "a * dog sitting on a * wooden bench"),
        ("A dog with grass and sky", "A * dog with * grass and * sky"),
        ("an apple on the table", "an * apple on the * table"),
        ("", ""),
    ],
)
def test_placeholders_stand_before_nouns(prompt: str, wanted: str) -> None:
    assert rewritten(prompt) == wanted


def test_the_embedding_begins_as_that_of_the_prompt_or_with_placeholders(coder: Path) -> None:
    own = subject(coder)
    plain, marked = (DiffColor(own, few(placeholders=on)).embedding.detach() for on in (False, True))
    assert torch.equal(plain, own.base.embed([own.prompt]))
    assert torch.equal(marked, own.base.embed([rewritten(own.prompt)])) and not torch.equal(plain, marked)


@pytest.mark.parametrize("target", ["v_prediction", "epsilon"])
def test_one_step_is_tuned_where_it_draws(coder: Path, target: str) -> None:
    """The loss looks at the colour that is drawn, and leaves a network alone that draws the right one."""
    made = DiffColor(subject(coder, Sampling(1, 1.0, 3, target=target)), few(contrast_weight=0.0))
    for step in (0, 1):
        value, parts = made._loss(made._anchor(), made.context, step)
        assert value.item() == parts["noise"] == pytest.approx(0, abs=1e-6)
    losses = [made._loss(made.z_gray, made.context, step)[0] for step in (0, 1)]
    colour = made.colors(made.context).delta.square().mean()
    assert losses[0] == losses[1] and losses[0].item() == pytest.approx(colour.item(), rel=1e-3)


def test_the_first_loop_keeps_to_what_was_drawn_or_to_grey(coder: Path) -> None:
    """With noise on colour alone, the grey photo draws colour to 0, and the network's own picture does not."""
    own, errors = subject(coder), {}
    for anchor in ANCHORS:
        made = DiffColor(own, few(mode="full", anchor=anchor, color_steps=30, color_lr=1e-3, contrast_weight=0.0))
        first = made.colors(made.context).delta
        wanted = first if anchor == "drawn" else torch.zeros_like(first)
        z = made.z_gray + wanted
        torch.testing.assert_close(made._anchor(), z)
        run(made, 30)
        assert torch.equal(made._anchor(), z)
        errors[anchor] = float((made.colors(made.context).delta - wanted).square().mean() / first.square().mean())
    assert errors["drawn"] < errors["gray"]


def test_alignments(coder: Path) -> None:
    own = subject(coder)
    made = DiffColor(own, few())
    delta = torch.randn(made.z_gray.shape, generator=torch.Generator().manual_seed(0))
    given: tuple[Any, ...] = (own.base, made.z_gray, delta, own.gray)
    assert alignment("luma") is decoded and alignment("none") is drawn
    assert torch.equal(drawn(*given), own.base.decode(made.z_gray + delta, own.gray))
    torch.manual_seed(0)
    still = Aligner(16, 1)
    torch.nn.init.zeros_(still.reading[-1].weight)
    torch.nn.init.zeros_(still.reading[-1].bias)
    torch.testing.assert_close(matched(still, *given), decoded(*given), atol=1e-4, rtol=0)
    found = matched(Aligner(16, 1), *given)
    torch.testing.assert_close(rgb_to_lab(found)[:, 0], rgb_to_lab(own.gray)[:, 0], atol=0.6, rtol=0)
    with pytest.raises(InputError, match="no alignment 'x': choose luma, correlation, none"):
        alignment("x")


def test_wrong_settings_are_one_sentence(coder: Path) -> None:
    assert DOCUMENT.mode == "full" and [DOCUMENT.steps(stage) for stage in STAGES] == [1500, 500, 1000]
    with pytest.raises(InputError, match="no mode 'x' of tuning: choose attention, lora, full"):
        Tuning(mode="x")
    with pytest.raises(InputError, match="from 1e-12 to 1 for network_lr"):
        Tuning(network_lr=0)
    with pytest.raises(InputError, match="color_steps, got -1"):
        Tuning(color_steps=-1)
    state = DiffColor(subject(coder), few()).state
    with pytest.raises(InputError, match="of another network"):
        DiffColor(subject(coder), few(mode="full"), state)
