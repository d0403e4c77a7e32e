"""What a classifier says of photos: its words, captions of photos, and where things are."""

import pytest
import torch

from dequant.color.luminance import grayscale
from dequant.color.names import WORDS
from dequant.colorization import priors
from dequant.colorization.priors import THINGS, Describer, numbers, vocabulary
from dequant.condition.captions import thing_of
from tests.support.photos import golden_photo


@pytest.fixture(scope="module")
def describer() -> Describer:
    return Describer()


def test_things_are_classes_of_imagenet() -> None:
    for thing in THINGS:
        found = numbers(thing)
        assert found and all(0 <= number < 1000 for number in found), thing
    assert numbers("fish")[:2] == [0, 1] and numbers("banana") == [954]


def test_the_vocabulary_has_all_words_of_captions() -> None:
    words = set(vocabulary())
    assert set(WORDS) <= words and {word for thing in THINGS for word in thing.split()} <= words
    assert {"a", "an", "on", "and"} <= words and all(word == word.lower() for word in words)


def test_probabilities_of_things(describer: Describer) -> None:
    found = describer.things(torch.stack([golden_photo(name)[:, :64, :64] for name in ("caps", "plane")]))
    assert found.shape == (2, len(THINGS)) and (found >= 0).all() and (found.sum(1) < len(THINGS)).all()


def test_what_is_sure_is_named(describer: Describer, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = golden_photo("plane")
    assert describer.thing(photo) == "" and thing_of(describer.caption(photo)) == ""
    monkeypatch.setattr(priors, "SURE", 0.15)
    assert describer.thing(photo) == "plane" and thing_of(describer.caption(photo)) == "plane"
    assert describer.caption(photo) == describer.caption(photo)
    assert describer.thing(photo, gray=True) == describer.thing(grayscale(photo))


def test_where_a_thing_is(describer: Describer) -> None:
    photo = golden_photo("plane")
    weight = describer.where(photo, "plane")
    assert max(weight.shape) <= 128 and weight.min() >= 0 and weight.max() == 1
    assert weight.shape[0] / weight.shape[1] == pytest.approx(photo.shape[1] / photo.shape[2], abs=0.05)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5)])
def test_small_photos_have_captions(describer: Describer, size: tuple[int, int]) -> None:
    text = describer.caption(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)))
    assert set(text.replace(",", "").split()) & set(WORDS)
    assert describer.where(torch.rand(3, *size), "car").shape == size
