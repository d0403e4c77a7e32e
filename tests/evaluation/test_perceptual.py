"""Perceptual measures of an evaluation: what is measured and kept, and that a later run resumes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from dequant.condition.texture_maps import thresholded_gradient_map
from dequant.errors import InputError
from dequant.evaluation import runner
from dequant.evaluation.cases import Case
from dequant.evaluation.measurements import Measurements
from dequant.evaluation.methods import IDENTITY, Method, identity
from dequant.evaluation.perceptual import PerceptualMeasures
from dequant.evaluation.protocols import inpainting
from dequant.evaluation.runner import COLUMNS, Work
from dequant.io.files import Row
from dequant.metrics.perceptual import frechet_distance, kernel_distance
from tests.support.configs import load
from tests.support.features import Pooled, write_clip, write_vgg16
from tests.support.photos import some_photos

INPAINTING = partial(inpainting, texture_map=thresholded_gradient_map, methods=["mean", "random"])


def brighter(cases: Sequence[Case], generators: Sequence[torch.Generator]) -> Tensor:
    return (torch.stack([case.asked for case in cases]) + 0.1).clamp(0, 1)


def run(folder: Path, measures: PerceptualMeasures, limit: int | None = None) -> list[Row]:
    work = Work(runner.choose(some_photos(4), limit), INPAINTING, 0)
    kept = Measurements(measures.folder, (*COLUMNS, *measures.columns), has=measures.has)
    contest = {"T": Method(brighter, "s"), IDENTITY: identity()}
    rows = runner.run(work, contest, kept, batch_size=3, more=measures.measure)
    assert rows is not None
    return rows


def test_by_default_nothing_is_measured(tmp_path: Path) -> None:
    cfg = load("evaluate", tmp_path)
    measures = instantiate(cfg.perceptual, folder=tmp_path, device="cpu")
    assert (measures.folder, measures.columns, measures.metrics) == (tmp_path, (), ())
    rows = run(tmp_path, measures, limit=2)
    assert tuple(rows[0]) == COLUMNS
    assert measures.of_cell(rows) == {}
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv"}


def test_configured_measures(tmp_path: Path) -> None:
    vgg16, clip = write_vgg16(tmp_path / "vgg16.pth"), write_clip(tmp_path / "clip")
    options = [f"perceptual.lpips.weights={vgg16}", f"perceptual.features.clip.model={clip}"]
    cfg = load("evaluate", tmp_path, "perceptual=[lpips,clip]", *options)
    measures = instantiate(cfg.perceptual, folder=tmp_path, device="cpu")
    assert measures.metrics == ("lpips", "clip_cosine", "clip_fid", "clip_kid")
    assert measures.folder.parent == tmp_path
    rows = run(tmp_path, measures)
    assert {row["method"] for row in rows if row["lpips"]} == {"mean"}
    assert all(-1 <= float(row["clip_cosine"]) <= 1 for row in rows)
    own = load("evaluate", tmp_path, "+perceptual.features.pooled={_target_:tests.support.features.Pooled}")
    measures = instantiate(own.perceptual, folder=tmp_path, device="cpu")
    assert measures.metrics == ("pooled_cosine", "pooled_fid", "pooled_kid")


def test_numbers_of_a_cell_come_from_all_its_pictures(tmp_path: Path) -> None:
    network = Pooled()
    measures = PerceptualMeasures(tmp_path, features={"pooled": network})
    rows = run(tmp_path, measures)
    summary = runner.summarize(rows, measures.of_cell)
    cells = [c for c in summary if c["variant"] == "T" and c["method"] == "random" and c["texture"] == "on"]
    found = {cell["metric"]: (cell["mean"], cell["stderr"], cell["n"]) for cell in cells}
    photos = runner.choose(some_photos(4))
    cases = [Work(photos, INPAINTING, 0).cases(photo)[2] for photo in photos]
    outputs, sources = brighter(cases, []).mean((2, 3)), torch.stack([case.source for case in cases]).mean((2, 3))
    assert found["pooled_fid"] == (pytest.approx(frechet_distance(outputs, sources)), None, 4)
    assert found["pooled_kid"] == (pytest.approx(kernel_distance(outputs, sources)), None, 4)
    assert found["pooled_cosine"][0] == pytest.approx(torch.cosine_similarity(outputs, sources).mean().item())
    assert found["pooled_cosine"][1] > 0
    assert measures.of_cell(rows[:1]) == {}


def test_a_later_run_resumes_with_the_kept_features(tmp_path: Path) -> None:
    first = PerceptualMeasures(tmp_path, features={"pooled": Pooled()})
    run(tmp_path, first, limit=2)
    network = Pooled()
    again = PerceptualMeasures(tmp_path, features={"pooled": network})
    rows = run(tmp_path, again)
    assert network.seen == 2 * 2 * 4 + 2 * 2 * 2  # of two more photos: outputs, and each photo once in a batch
    whole = PerceptualMeasures(tmp_path / "whole", features={"pooled": Pooled()})
    assert rows == run(tmp_path / "whole", whole)
    assert runner.summarize(rows, again.of_cell) == runner.summarize(rows, whole.of_cell)


def test_damaged_features_are_measured_again(tmp_path: Path) -> None:
    measures = PerceptualMeasures(tmp_path, features={"pooled": Pooled()})
    quiet = run(tmp_path, measures, limit=2)
    first, second, *_ = sorted((measures.folder / "features").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-8])
    network = Pooled()
    again = PerceptualMeasures(tmp_path, features={"pooled": network})
    assert run(tmp_path, again, limit=2) == quiet
    assert 0 < network.seen <= 2 + 2
    assert again.of_cell(quiet) == measures.of_cell(quiet)


def test_other_weights_are_measured_anew(tmp_path: Path) -> None:
    folders = {PerceptualMeasures(tmp_path, features={"pooled": Pooled(factor)}).folder for factor in (1, 1, 2)}
    assert len(folders) == 2
    assert tmp_path not in folders


def test_a_network_must_return_vectors(tmp_path: Path) -> None:
    measures = PerceptualMeasures(tmp_path, features={"maps": nn.Conv2d(3, 2, 1)})
    with pytest.raises(InputError, match=r"one vector for each .* perceptual\.features\.maps"):
        run(tmp_path, measures)
