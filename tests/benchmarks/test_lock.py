"""The benchmark of the lock: its drifts, its edits, and its figures."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.lock import COLUMNS, DRIFTS, compare, edit, jpeg, low_pass, main, move, outline, steps, turn
from dequant.color.levels import to_rgb
from dequant.errors import InputError
from dequant.io.files import read_csv
from dequant.io.images import write_image
from tests.support.edited import photo
from tests.support.photos import golden_square


def test_drifts_do_what_they_say() -> None:
    grey, red = np.full((8, 8, 3), 0.5, np.float32), np.zeros((8, 8, 3), np.float32) + np.float32([0.7, 0.3, 0.3])
    assert np.allclose(DRIFTS["gain warm"][0](grey), np.float32([0.54, 0.5, 0.465]))
    assert np.allclose(DRIFTS["gamma"][0](grey), 0.5**1.15)
    assert np.allclose(turn(grey, 8), grey, atol=1e-3)
    assert np.abs(turn(turn(red, 8), -8) - red).max() < 1e-3 < np.abs(turn(red, 8) - red).max()
    checks = np.indices((32, 32)).sum(0)[..., None].repeat(3, 2) % 2 * np.float32(0.5) + np.float32(0.25)
    assert low_pass(checks, 4).std() < 0.02 < checks.std()
    assert 0 < np.abs(jpeg(to_rgb(photo())) - to_rgb(photo())).mean() < 0.02


def test_an_edit_is_in_the_mask_and_the_object_elsewhere() -> None:
    source = to_rgb(photo("plane"))
    case = edit(source, None, np.random.default_rng(0))
    changed = (case.truth != source).any(axis=-1)
    assert changed[case.mask].mean() > 0.9 and not changed[~case.mask & ~case.moved].any()
    assert 0.04 < case.mask.mean() < 0.12 and not (case.mask & case.moved).any()


def test_a_moved_object_is_where_it_went() -> None:
    source = to_rgb(photo("plane"))
    thing = outline(192, 192, 0.03, np.random.default_rng(1))
    truth, place = move(source, thing, (3, -5))
    rows, columns = np.nonzero(thing)
    assert np.array_equal(truth[rows + 3, columns - 5], source[rows, columns])
    assert place[thing].all() and np.array_equal(truth[~place], source[~place])


def test_steps_are_those_across_the_border() -> None:
    rgb, mask = np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    rgb[1, 1] = 0.5
    found = np.abs(steps(rgb, mask)).sum(axis=1)
    assert len(found) == 8 and sorted(found)[-3:] == [0, 1.5, 1.5]


def test_the_lock_beats_pasting_where_it_should() -> None:
    source = to_rgb(photo("womanhat"))
    figures = compare(edit(source, None, np.random.default_rng(1)), "gain warm")
    assert figures["pasted"]["outside_mean"] == figures["lock"]["inside"] == figures["pasted"]["inside"] == 0
    assert figures["pasted, feather 8"]["inside"] > 0.5
    assert figures["lock"]["seam"] < 0.01 < figures["pasted"]["seam"]
    assert figures["lock"]["outside_mean"] < 0.5 < figures["edited"]["outside_mean"]
    assert set(figures["lock, mask found"]) > {"iou"} and figures["lock"]["seconds"] > 0


def test_the_command_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("caps", "plane"):
        write_image(golden_square(name, 128), tmp_path / "photos" / f"{name}.png")
    table = tmp_path / "lock.csv"
    main(tmp_path / "photos", drift="hue", csv=table)
    rows = read_csv(table, COLUMNS)
    assert [row["method"] for row in rows][:2] == ["edited", "lock"] and {row["n"] for row in rows} == {"2"}
    assert float(rows[1]["outside_mean"]) <= float(rows[1]["outside_mean_max"])
    assert "method lock, n 2" in capsys.readouterr().out
    with pytest.raises((InputError, SystemExit), match="no drift 'x'"):
        main(tmp_path / "photos", drift="x")
