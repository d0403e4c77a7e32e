import csv
import hashlib
from pathlib import Path

import pytest

from dequant.cli.main import main
from dequant.data.packing import COLUMNS
from dequant.data.sources import Shards
from tests.support.shards import photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five hills and five bottles of milk, the last of each in group B."""
    folder = tmp_path / "photos"
    rows = []
    for number in range(10):
        path = folder / ("hills" if number < 5 else "grocery") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        known = {"file": str(path.relative_to(folder)), "group": "B" if number % 5 == 4 else "A_free", "crop": "whole"}
        known |= {"blob": digest, "sha256": digest, "bytes": str(path.stat().st_size)}
        rows.append(dict.fromkeys(COLUMNS, "") | known)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_shards(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--groups", "A", "--objects", "grocery,clothing", "--max-objects", "3", "--leave-out", "scene/1,scene/2"]
    main(["shards", str(photos), str(tmp_path / "out"), *options])
    keys = Shards(tmp_path / "out").keys("all")
    assert len(keys) == 5
    assert {key for key in keys if key.startswith("scene/")} == {"scene/0.png", "scene/3.png"}
    assert "MB in" in capsys.readouterr().err


def test_size_limit(photos: Path, tmp_path: Path) -> None:
    main(["shards", str(photos), str(tmp_path / "out"), "--max-mb", "0.05"])
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= 50_000


def test_wrong_usage_is_one_sentence_and_2(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").touch()
    for folder, out, sentence in (("none", "out", "There is no"), ("photos", "used", "is not an empty folder")):
        with pytest.raises(SystemExit) as end:
            main(["shards", str(tmp_path / folder), str(tmp_path / out)])
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.startswith("error: ") and sentence in error


def test_a_photo_that_fails_is_one_sentence_and_1(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "hills" / "1.png").write_bytes(b"something else")
    with pytest.raises(SystemExit) as end:
        main(["shards", str(photos), str(tmp_path / "out")])
    assert end.value.code == 1 and "differs from the sha256" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
