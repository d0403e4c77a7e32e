"""evaluate.py on a colorizer: tables, pictures, and what is no colorizer."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from dequant.cli import coloring
from dequant.data.sources import Shards, bundled
from dequant.errors import InputError
from tests.support import latents
from tests.support.configs import job


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved pipeline, and two photos."""
    folder = tmp_path_factory.mktemp("coloring")
    latents.vae().save_pretrained(folder / "vae")
    pipe = latents.pipeline(folder / "vae", num_inference_steps=1, ranker=latents.ranker())
    pipe.save_pretrained(folder / "saved")
    source = Shards(bundled())
    (folder / "photos").mkdir()
    for number, key in enumerate(source.keys("test")[:2]):
        (folder / "photos" / f"{number}.jpg").write_bytes(source.read(key))
    for split in ("train", "val"):
        (folder / "seen" / split).mkdir(parents=True)
        (folder / "seen" / split / "0.jpg").write_bytes(source.read(source.keys("train")[0]))
    return folder


def evaluated(place: Path, out: Path, *options: str) -> list[dict[str, str]]:
    """The rows of the results."""
    own = (f"ckpt_path={place}/saved", "model=diffusing_colors", "data=folder", f"data.root={place}/photos")
    cfg = job("evaluate", out, *own, "data.eval_split=all", "eval.size=32", f"results={out}/results.csv", *options)
    cfg.eval.seen.source = {"_target_": "dequant.data.sources.Folder", "path": str(place / "seen")}
    out.mkdir(exist_ok=True)
    coloring.evaluate(cfg)
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_comparison_has_all_rows_and_pictures(place: Path, tmp_path: Path) -> None:
    rows = evaluated(place, tmp_path / "out", "eval=colorization")
    ways = {row["variant"] for row in rows}
    assert {"gray", "ground truth", "mean ab", "lookup", "ridge"} < ways and len(ways) == 8
    found = {(row["variant"], row["metric"]): float(row["mean"]) for row in rows}
    assert found["gray", "colorfulness"] < 0.01 and found["ground truth", "ciede2000"] == 0
    assert found["ground truth", "fd"] == pytest.approx(0, abs=1e-2) and found["gray", "fd"] > 0
    assert {row["size"] for row in rows} == {"32"} and "grey of equal L*" in rows[0]["dataset"]
    pictures = list((tmp_path / "out" / "pictures").rglob("*.png"))
    assert len(pictures) == 16 and {Image.open(path).size for path in pictures} == {(32, 32)}
    assert (tmp_path / "out" / "grid.png").is_file()


def test_colourfulness_is_drawn_against_the_scale(place: Path, tmp_path: Path) -> None:
    rows = evaluated(place, tmp_path / "out", "eval=color_scale", "eval.scales=[0.25,0.5,1.0]")
    assert {row["variant"] for row in rows} >= {"colour of the photo"}
    by_scale = {float(row["strength"]): float(row["mean"]) for row in rows if row["metric"] == "colorfulness"}
    assert list(by_scale) == sorted(by_scale) == [0.25, 0.5, 1.0] and by_scale[0.25] < by_scale[1]
    assert all(-1 <= float(row["mean"]) <= 1 for row in rows if row["metric"] == "correlation")


def test_prompts_are_swapped(place: Path, tmp_path: Path) -> None:
    rows = evaluated(place, tmp_path / "out", "eval=text_control", "eval.scenes=3")
    found = {row["method"]: float(row["mean"]) for row in rows}
    assert {"scene, own", "scene, swapped"} <= set(found) and all(0 <= value <= 1 for value in found.values())


def test_other_models_are_no_colorizers(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="model=dequantizer is no colorizer: give model=diffusing_colors or model=semantic"
    ):
        coloring.evaluate(job("evaluate", tmp_path, "eval=colorization"))
