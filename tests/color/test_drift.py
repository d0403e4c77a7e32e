"""The map of colours between a photo and what an editor made of it."""

import numpy as np
import pytest

from dequant.color.drift import BLOCK, TERMS, Drift, _block_means, _smooth, _terms, fit_drift
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


def test_terms_are_the_monomials_up_to_the_third_degree() -> None:
    r, g, b = 0.5, 2.0, 3.0
    wanted = [1, r, g, b, r * r, r * g, r * b, g * g, g * b, b * b]
    wanted += [r**3, r * r * g, r * r * b, r * g * g, r * g * b, r * b * b, g**3, g * g * b, g * b * b, b**3]
    assert len(TERMS) == 20 and _terms(np.float32([[[r, g, b]]]))[0, 0].tolist() == wanted


def test_means_of_whole_blocks() -> None:
    image = np.arange(9 * 5.0).reshape(9, 5, 1)
    assert _block_means(image)[..., 0].tolist() == [[image[:4, :4].mean()], [image[4:8, :4].mean()]]
    assert _block_means(image[:3])[..., 0].tolist() == [[image[:3, :4].mean()]]
    assert _block_means(image[:, :2])[..., 0].tolist() == [[image[:4, :2].mean()], [image[4:8, :2].mean()]]


def test_what_is_applied_is_undone() -> None:
    rng = np.random.default_rng(0)
    drift = Drift(rng.normal(0, 0.03, (20, 3)), np.zeros((1, 1, 3), np.float32))
    rgb = rng.uniform(0.3, 0.7, (5, 6, 3)).astype(np.float32)
    wanted = rgb + _terms(rgb) @ drift.coefficients + np.float32(0.02)
    moved = drift.apply(rgb, 0.02)
    assert np.abs(moved - wanted).max() < 1e-5 and np.abs(moved - rgb).max() > 0.05
    away = [np.abs(drift.undo(moved, 0.02, rounds) - rgb).max() for rounds in (1, 3, 6)]
    assert away[0] > 10 * away[1] > 100 * away[2] and np.array_equal(
        drift.undo(moved, 0.02), drift.undo(moved, 0.02, 6)
    )
    assert drift.apply(rgb, 5).max() == drift.undo(rgb, -5).max() == 1
    assert drift.apply(rgb, -5).min() == drift.undo(rgb, 5).min() == 0


def test_a_clipped_channel_has_no_vote_in_its_blocks() -> None:
    """Red is clipped in a column of some blocks: these do not count for it at all."""
    rng = np.random.default_rng(0)
    source = np.repeat(np.repeat(rng.uniform(0.3, 0.75, (24, 24, 3)), 4, 0), 4, 1).astype(np.float32)
    source[:, 64:, 0] += np.float32(0.25) * (np.arange(32) % 4 == 0)
    edited = np.clip(source * np.float32([1.3, 1.1, 0.8]), 0, 1)
    clipped = edited[..., 0] > 254.5 / 255
    assert 0.03 < clipped.mean() < 0.2
    drift = fit_drift(source, edited, np.ones((96, 96), bool))
    found = drift.apply(source, enlarged(drift.field, BLOCK, source.shape))
    assert np.abs(found - edited)[~clipped].mean() < 0.002
    dark = fit_drift(1 - source, 1 - edited, np.ones((96, 96), bool))
    assert (
        np.abs(dark.apply(1 - source, enlarged(dark.field, BLOCK, source.shape)) - 1 + edited)[~clipped].mean() < 0.002
    )


def test_the_field_is_a_weighted_mean_nearby() -> None:
    rest, weight = np.zeros((33, 40, 3)), np.ones((33, 40, 3))
    rest[16, 20] = [1, 2, 0]
    found = _smooth(rest, weight)
    sigma = 40 / 16
    assert np.allclose(found[16, 20], [1 / (2 * np.pi * sigma**2), 2 / (2 * np.pi * sigma**2), 0], rtol=0.02)
    assert np.allclose(found[16, 25, :2] / found[16, 20, :2], np.exp(-2), rtol=0.05)
    weight[:, :10] = 0
    rest[:] = 0.5
    rest[:, :10] = 9
    found = _smooth(rest, weight)
    assert np.abs(found[:, 9:] - 0.5).max() < 0.01 and found[16, 0, 0] < 0.2


def test_the_field_covers_parts_of_blocks_too() -> None:
    source = np.full((13, 18, 3), 0.5, np.float32)
    drift = fit_drift(source, source + np.float32(0.1), np.ones((13, 18), bool))
    assert drift.field.shape == (4, 5, 3)
    assert np.array_equal(drift.field[3], drift.field[2]) and np.array_equal(drift.field[:, 4], drift.field[:, 3])
