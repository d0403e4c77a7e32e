"""The ranker of scales: its pairs, its loss on an easy task, and the scale that it chooses."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dequant.color.luminance import grayscale
from dequant.color.spaces import colorfulness
from dequant.colorization import ranker as module
from dequant.colorization.pictures import decoded
from dequant.colorization.ranker import CANDIDATES, RankerTraining, choose, features_of, score
from dequant.errors import InputError
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models.latent import LatentBase
from dequant.models.ranker import STATISTICS, ScaleRanker, chroma_statistics
from tests.support import latents


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LatentBase:
    folder = tmp_path_factory.mktemp("vae")
    latents.vae().save_pretrained(folder)
    return latents.base(folder)


@pytest.fixture
def training(base: LatentBase) -> RankerTraining:
    made = RankerTraining(base, latents.Toy(), latents.ranker(12), partial(torch.optim.AdamW, lr=1e-2))
    made.log = lambda *args, **kwargs: None
    return made


def test_scores_and_statistics() -> None:
    rgb = latents.batch(3)["target"]
    statistics = chroma_statistics(rgb)
    assert statistics.shape == (3, STATISTICS) and (statistics[:, 2] <= statistics[:, 3]).all()
    assert score(latents.ranker(12), latents.Toy(), rgb).shape == (3,)
    assert chroma_statistics(grayscale(rgb)).abs().max() < 1e-3
    paler = chroma_statistics(torch.lerp(grayscale(rgb), rgb, 0.5))
    assert (paler < statistics).all()


@pytest.mark.parametrize("drawn", [False, True])
def test_margins_compare_two_scales_of_each_photo(training: RankerTraining, drawn: bool) -> None:
    photo, which = latents.batch(3)["target"], torch.full((3,), drawn)
    pairs = torch.tensor([[1.0, 1.0, 0.6], [0.4, 1.0, 2.0]])
    margins = training._margins(photo, which, pairs)
    assert margins.shape == (3,) and margins[1].abs() < 1e-5
    torch.testing.assert_close(margins, training._margins(photo, which, pairs.flip(0)), atol=1e-5, rtol=1e-4)


def test_the_better_scale_is_as_colourful_as_the_photo(
    training: RankerTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by what ranks colourful pictures first: of the photo's own colour scale 1 is better than paler ones."""
    photo = latents.batch(3)["target"]
    z, z_gray = training.base.encode(torch.cat([photo, grayscale(photo)])).chunk(2)
    own = decoded(training.base, z_gray, z - z_gray, grayscale(photo))
    monkeypatch.setattr(module, "score", lambda ranker, features, rgb: colorfulness(rgb))
    for drawn in (False, True):
        if drawn:
            monkeypatch.setattr(module, "draw", lambda *args: 0.5 * (z - z_gray))
        best = 2.0 if drawn else 1.0
        pairs = torch.tensor([[best] * 3, [0.4 * best] * 3])
        assert (training._margins(own, torch.full((3,), drawn), pairs) > 0).all()
        assert (training._margins(own, torch.full((3,), drawn), 1.4 * pairs.clamp(min=best)) == 0).all()


def test_only_the_ranker_learns(training: RankerTraining) -> None:
    training.training_step(latents.batch(), 0).backward()
    assert all(weight.grad is not None for weight in training.ranker.parameters())
    assert all(weight.grad is None for weight in training.base.parameters())
    checkpoint = {"state_dict": training.state_dict()}
    training.on_save_checkpoint(checkpoint)
    assert set(checkpoint["state_dict"]) == {f"ranker.{name}" for name in training.ranker.state_dict()}


@pytest.mark.slow
def test_it_learns_how_colourful_photos_are(training: RankerTraining) -> None:
    batch, accuracy, optimizer = latents.batch(6, side=16), list[float](), training.configure_optimizers()
    training.log = lambda name, value, **options: accuracy.append(float(value)) if name == "val/accuracy" else None
    assert torch.equal(training.validation_step(batch, 0), batch["target"])
    for step in range(25):
        optimizer.zero_grad()
        training.training_step(batch | {"seed": list(range(6 * step, 6 * step + 6))}, 0).backward()
        optimizer.step()
    training.validation_step(batch, 0)
    assert accuracy[-1] > max(0.65, accuracy[0] + 0.1)


@pytest.mark.parametrize("wanted", [0.4, 1.0, 2.8])
def test_the_highest_score_is_chosen(base: LatentBase, wanted: float, monkeypatch: pytest.MonkeyPatch) -> None:
    gray = grayscale(latents.batch(1)["target"])
    z_gray = base.encode(gray)
    delta = torch.randn_like(z_gray)

    def near(ranker: nn.Module, features: nn.Module, rgb: Tensor) -> Tensor:
        assert len(rgb) == len(CANDIDATES)
        return -(rgb - decoded(base, z_gray, wanted * delta, gray)).square().mean((1, 2, 3))

    monkeypatch.setattr(module, "score", near)
    assert choose(latents.ranker(12), latents.Toy(), base, z_gray, delta, gray) == wanted


def test_a_scale_is_chosen_for_one_photo(base: LatentBase) -> None:
    gray = grayscale(latents.batch(2)["target"])
    z_gray = base.encode(gray)
    with pytest.raises(InputError, match="drawn_share = -1 is not a share"):
        RankerTraining(base, latents.Toy(), latents.ranker(12), drawn_share=-1)
    with pytest.raises(InputError, match="one photo at a time, got 2"):
        choose(latents.ranker(12), latents.Toy(), base, z_gray, z_gray, gray)


def test_rankers_are_released_and_loaded(training: RankerTraining, tmp_path: Path) -> None:
    training.save_pretrained(tmp_path / "weights")
    other = RankerTraining(training.base, latents.Toy(), ScaleRanker(12, hidden=8))
    other.load_weights(tmp_path / "weights")
    rgb = latents.batch()["target"]
    expected = score(training.ranker, training.features, rgb)
    torch.testing.assert_close(score(other.ranker, other.features, rgb), expected, atol=1e-2, rtol=0)


def test_the_network_of_a_ranker_is_named_in_it() -> None:
    assert isinstance(features_of(latents.ranker()), EfficientNetLite0)
    with pytest.raises(InputError) as raised:
        features_of(ScaleRanker(8, network="nobody/nothing"))
    assert "\n" not in str(raised.value)
