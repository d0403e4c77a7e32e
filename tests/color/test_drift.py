"""The map of colours between a photo and what an editor made of it."""

import numpy as np
import pytest

from dequant.color.drift import BLOCK, fit_drift
from dequant.color.levels import difference, to_rgb
from dequant.color.scaling import enlarged
from tests.support.edited import disc, drifted, edited, photo

EVERYWHERE = np.ones((192, 192), bool)


def test_drift_is_found_and_undone() -> None:
    source, picture = to_rgb(photo("plane")), to_rgb(drifted(photo("plane")))
    drift = fit_drift(source, picture, EVERYWHERE)
    field = enlarged(drift.field, BLOCK, source.shape)
    assert drift.field.shape == (48, 48, 3)
    assert difference(source, picture).mean() > 3
    assert difference(drift.apply(source, field), picture).mean() < 0.3
    unclipped = (picture < 1).all(axis=-1)
    assert difference(drift.undo(picture, field), source)[unclipped].mean() < 0.35


def test_an_edit_has_no_vote() -> None:
    """Neither where it is masked, nor where it is not."""
    source, picture = to_rgb(photo("plane")), to_rgb(edited(photo("plane"), disc(radius=40)))
    wanted = to_rgb(drifted(photo("plane")))
    for same in (~disc(radius=40), EVERYWHERE):
        drift = fit_drift(source, picture, same)
        field = enlarged(drift.field, BLOCK, source.shape)
        assert difference(drift.apply(source, field), wanted).mean() < 0.4


def test_lost_detail_is_no_drift() -> None:
    source = np.random.default_rng(0).uniform(0.2, 0.8, (192, 192, 3)).astype(np.float32)
    soft = source.reshape(48, 4, 48, 4, 3).mean((1, 3), keepdims=True)
    picture = np.broadcast_to(soft, (48, 4, 48, 4, 3)).reshape(source.shape) + np.float32(0.05)
    drift = fit_drift(source, picture, EVERYWHERE)
    assert np.abs(drift.apply(source, drift.field.mean((0, 1))) - source - 0.05).max() < 0.02


def test_drift_may_depend_on_the_place() -> None:
    source = to_rgb(photo("womanhat")) * np.float32(0.9)
    picture = source + np.linspace(0, 0.06, 192, dtype=np.float32)[:, None]
    drift = fit_drift(source, picture, EVERYWHERE)
    found = drift.apply(source, enlarged(drift.field, BLOCK, source.shape))
    assert np.abs(found - picture).mean() < 0.004
    assert np.abs(drift.apply(source, 0) - picture).mean() > 0.01


def test_no_drift_is_none() -> None:
    source = to_rgb(photo())
    drift = fit_drift(source, source, EVERYWHERE)
    assert np.abs(drift.coefficients).max() < 1e-6 and np.abs(drift.field).max() < 1e-6


@pytest.mark.parametrize("shape", [(1, 1), (3, 9), (5, 5)])
def test_small_pictures(shape: tuple[int, int]) -> None:
    source = np.full((*shape, 3), 0.4, np.float32)
    drift = fit_drift(source, source + np.float32(0.1), np.ones(shape, bool))
    found = drift.apply(source, enlarged(drift.field, BLOCK, source.shape))
    assert found.shape == source.shape
    assert np.abs(found - 0.5).max() < 0.01
    nothing = fit_drift(source, source + np.float32(0.1), np.zeros(shape, bool))
    assert not nothing.coefficients.any() and not nothing.field.any()
