"""The lock: what was not to change is the photo's again, without a seam."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dequant.color.levels import difference, to_levels, to_rgb
from dequant.edit import lock as module
from dequant.edit.lock import lock
from dequant.errors import InputError
from tests.support.edited import UINT8, disc, drifted, edited, photo, with_moved_patch


def off(levels: NDArray, source: NDArray) -> NDArray[np.float32]:
    return difference(to_rgb(levels), to_rgb(source))


def steps(levels: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Differences of neighbours of which one is inside."""
    rgb = to_rgb(levels)
    pairs = [(rgb[1:] - rgb[:-1])[mask[1:] != mask[:-1]], (rgb[:, 1:] - rgb[:, :-1])[mask[:, 1:] != mask[:, :-1]]]
    return np.abs(np.concatenate(pairs))


@pytest.mark.parametrize("name", ["caps", "plane", "womanhat"])
def test_drift_is_undone_outside_and_nothing_happens_inside(name: str) -> None:
    source, mask = photo(name), disc()
    picture = edited(source, mask)
    found = lock(picture, source, mask)
    before, after = off(picture, source)[~mask], off(found.levels, source)[~mask]
    assert before.mean() > 2
    assert after.mean() < 0.5 and np.quantile(after, 0.99) < 2
    assert np.array_equal(found.levels[mask], picture[mask])
    assert steps(found.levels, mask).mean() == pytest.approx(steps(picture, mask).mean(), rel=0.01)
    assert not found.moved.any()
    assert found.drift.mean_before == pytest.approx(before.mean(), rel=1e-3)
    assert found.drift.p99_after == pytest.approx(np.quantile(after, 0.99), rel=1e-2)


def test_away_from_the_mask_it_is_the_source_to_the_bit() -> None:
    source, mask = photo(), disc()
    found = lock(edited(source, mask), source, mask, feather=10)
    assert np.array_equal(found.levels[~disc(radius=31)], source[~disc(radius=31)])
    rim = disc(radius=24) & ~mask
    assert (found.levels[rim] != source[rim]).any(axis=-1).mean() > 0.9
    assert found.feather == 10


def test_a_wider_feather_is_less_steep() -> None:
    source, mask = np.full((192, 192, 3), 128, np.uint8), disc()
    picture = drifted(source)
    rows = {
        feather: lock(picture, source, mask, feather=feather).levels[60, 90:190].astype(int) for feather in (1, 8, 60)
    }
    steepest = {feather: np.abs(np.diff(row, axis=0)).max() for feather, row in rows.items()}
    offset = np.abs(picture[0, 0].astype(int) - 128).max()
    assert steepest[1] == offset > steepest[8] > steepest[60] == 1
    pasted = np.where(mask[..., None], picture, source)
    assert steps(pasted, mask).max() * 255 == pytest.approx(offset)
    assert steps(lock(picture, source, mask).levels, mask).max() == 0


def test_large_drift_beside_a_small_picture_is_mentioned() -> None:
    source = photo()
    notes = lock(to_levels(to_rgb(source) ** 1.5, UINT8), source, disc()).notes
    assert len(notes) == 1 and "feather" in notes[0]
    assert lock(edited(source, disc()), source, disc(), feather=40).notes == ()


@pytest.mark.parametrize("step", [2, 5, 12])
def test_moved_content_keeps_its_place_and_loses_its_drift(step: int) -> None:
    source, mask = photo("plane"), disc()
    truth, place = with_moved_patch(source, step)
    picture = edited(truth, mask)
    found = lock(picture, source, mask)
    assert off(picture, truth)[place].mean() > 2
    assert off(found.levels, truth)[place].mean() < 0.8
    assert off(source, truth)[place].mean() > 2
    changed = off(truth, source) > 4
    assert found.moved[changed & place].mean() > 0.95
    assert found.moved[~place & ~mask].mean() < 0.05
    still = ~found.moved & ~disc(radius=20 + 100)
    assert np.array_equal(found.levels[still], source[still])


def test_clipped_colours_are_as_near_to_the_photo_as_can_be() -> None:
    """A gain sends everything above 241 to 255: what is clipped there is taken to be as bright as the photo is."""
    rng = np.random.default_rng(0)
    source = np.repeat(np.repeat(rng.integers(60, 250, (24, 24, 1), dtype=np.uint8), 8, 0), 8, 1).repeat(3, 2)
    source[100:, 80:] = 250
    source[130:150, 100:120] = 90
    truth = source.copy()
    truth[130:150, 100:106], truth[130:150, 120:126] = 250, 90
    picture = to_levels(to_rgb(truth) * np.float32(1.06), UINT8)
    found = lock(picture, source, disc())
    changed = (truth != source).any(axis=-1)
    assert found.moved[changed].all()
    around = found.moved & ~changed
    assert around.sum() > 100
    assert np.abs(found.levels[around].astype(int) - truth[around]).max() <= 2
    assert np.abs(found.levels[changed].astype(int) - truth[changed]).max() <= 10


def test_the_edited_area_is_found() -> None:
    source, mask = photo("womanhat"), disc(radius=35)
    picture = edited(source, mask)
    found = lock(picture, source)
    assert (found.mask & mask).sum() / (found.mask | mask).sum() > 0.9
    assert np.array_equal(found.levels[found.mask], picture[found.mask])
    assert off(found.levels, source)[~found.mask & ~mask].mean() < 0.5
    assert found.notes[0].startswith("found an edited area of 1")


def test_without_an_edit_it_is_the_source() -> None:
    source = photo()
    for mask in (None, np.zeros((192, 192), bool)):
        found = lock(drifted(source), source, mask)
        assert np.array_equal(found.levels, source)
        assert found.drift.mean_before > 2 and found.drift.mean_after == 0
    assert lock(drifted(source), source).notes == ("found no edit",)


def test_a_soft_mask_blends() -> None:
    source, picture = np.full((192, 192, 3), 100, np.uint8), np.full((192, 192, 3), 120, np.uint8)
    mask = np.zeros((192, 192))
    mask[:, :60], mask[:, 60:80] = 1, np.linspace(1, 0, 20)
    levels = lock(picture, source, mask, feather=1).levels[50, :, 0]
    assert (levels[:60] == 120).all() and (levels[82:] == 100).all()
    assert np.abs(levels[62:80] - (100 + 20 * mask[50, 62:80])).max() <= 0.5


def test_16_bits_stay() -> None:
    rng, mask = np.random.default_rng(0), disc()
    source = photo().astype(np.uint16) * 256 + rng.integers(0, 256, (192, 192, 3), dtype=np.uint16)
    picture = drifted(source)
    found = lock(picture, source, mask, feather=4)
    assert found.levels.dtype == np.uint16
    assert np.array_equal(found.levels[mask], picture[mask])
    assert np.array_equal(found.levels[~disc(radius=26)], source[~disc(radius=26)])


def test_another_depth_and_size_are_converted() -> None:
    source, mask = photo(), disc()
    small = np.array(Image.fromarray(edited(source, mask)).resize((176, 176), Image.Resampling.LANCZOS))
    found = lock(small, source.astype(np.uint16) * 257, mask)
    assert found.notes[:2] == (
        "resampled the edited picture from 176 x 176 to 192 x 192",
        "converted the edited picture to 16 bits, as the source has them",
    )
    after = off(found.levels, source)[~mask]
    assert after.mean() < 0.5 and np.quantile(after, 0.99) < 2.5
    assert lock(edited(source, mask).astype(np.uint16) * 257, source, mask).levels.dtype == np.uint8


def test_another_aspect_ratio_is_refused() -> None:
    with pytest.raises(InputError, match="170 x 192 pixels and another aspect ratio than the source with 192 x 192"):
        lock(photo()[:, :170], photo())


def test_stripes_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    source, mask = photo(), disc()
    picture = edited(with_moved_patch(source)[0], mask)
    whole = lock(picture, source, mask, feather=20)
    monkeypatch.setattr(module, "STRIPE_PIXELS", 192 * 50)
    striped = lock(picture, source, mask, feather=20)
    assert np.array_equal(striped.levels, whole.levels) and np.array_equal(striped.moved, whole.moved)
    mask[48:102] = True
    assert np.array_equal(lock(picture, source, mask).levels[mask], picture[mask])


@pytest.mark.parametrize("pixels", [20_000, 9_000])
def test_large_pictures_are_looked_at_reduced(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With factors of 2 and 3, which do not divide the sides."""
    source, mask = photo()[:191, :185], disc()[:191, :185]
    picture = edited(source, mask)
    monkeypatch.setattr(module, "WORKING_PIXELS", pixels)
    monkeypatch.setattr(module, "STRIPE_PIXELS", 185 * 50)
    found = lock(picture, source, mask)
    after = off(found.levels, source)[~mask]
    assert after.mean() < 0.5 and np.quantile(after, 0.99) < 2
    assert np.array_equal(found.levels[mask], picture[mask])
    assert np.array_equal(steps(found.levels, mask), steps(picture, mask))
    far = lock(picture, source, mask, feather=60).levels[60, 91:150].astype(int) - source[60, 91:150]
    assert np.abs(np.diff(far, axis=0)).max() <= 8


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 5), (40, 2)])
def test_tiny_pictures(shape: tuple[int, int]) -> None:
    source = np.random.default_rng(0).integers(20, 200, (*shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, bool)
    assert np.array_equal(lock(source + 10, source, mask).levels, source)
    lock(source + 10, source)
    mask[:, 0] = shape[1] > 1
    found = lock(source + 10, source, mask).levels
    assert np.array_equal(found[mask], source[mask] + 10)


def test_wrong_inputs_are_refused() -> None:
    source = photo()
    for wrong in (to_rgb(source), source[..., 0], source.tolist()):
        with pytest.raises(InputError, match="the edited picture"):
            lock(wrong, source)
        with pytest.raises(InputError, match="the source"):
            lock(source, wrong)
    with pytest.raises(InputError, match="mask of 192 x 192 pixels, as the source has, got 192 x 191"):
        lock(source, source, disc()[1:])
    for mask in (disc().astype(np.uint8), disc()[None], disc().tolist()):
        with pytest.raises(InputError, match=r"mask of bools or floats of the source's shape \(192, 192\), got"):
            lock(source, source, mask)
    for value in (1.5, -0.1, np.nan):
        with pytest.raises(InputError, match=r"\[0, 1\]"):
            lock(source, source, np.full((192, 192), value))
    with pytest.raises(InputError, match="Everything is inside the mask"):
        lock(source, source, np.ones((192, 192), bool))
    for feather in (0.5, float("nan")):
        with pytest.raises(InputError, match="feather of at least 1 pixel"):
            lock(source, source, disc(), feather=feather)
