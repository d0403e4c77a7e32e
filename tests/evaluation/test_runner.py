"""Running an evaluation: what is measured, on which draws, and that nothing is done twice."""

from collections.abc import Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dequant.condition.texture_maps import thresholded_gradient_map
from dequant.errors import InputError
from dequant.evaluation import methods, protocols, runner
from dequant.evaluation.cases import Case
from dequant.evaluation.measure import METRICS, measure
from dequant.evaluation.measurements import Measurements
from dequant.evaluation.methods import IDENTITY, Method
from dequant.evaluation.protocols import dequantization, palette_transfer
from dequant.evaluation.runner import COLUMNS, Photo, Work
from dequant.io.files import Row
from dequant.metrics import image
from dequant.metrics.texture import gradient_agreement
from tests.support.paths import CASES
from tests.support.photos import some_photos

PROTOCOL = partial(dequantization, texture_map=thresholded_gradient_map, n_colors=[4, 16])
SIZE = 16


def some_work(photos: Sequence[Photo] | None = None, seed: int = 0) -> Work:
    return Work(runner.choose(some_photos()) if photos is None else photos, PROTOCOL, seed)


class Counting:
    """Adds noise, counts what it is asked for, and breaks down after `limit` pictures."""

    def __init__(self, limit: float = float("inf")) -> None:
        self.limit = limit
        self.batches: list[int] = []
        self.pictures: dict[str, Tensor] = {}

    def __call__(self, cases: Sequence[Case], generators: list[torch.Generator]) -> Tensor:
        if sum(self.batches) + len(cases) > self.limit:
            raise KeyboardInterrupt
        self.batches.append(len(cases))
        noise = [torch.randn(case.asked.shape, generator=g) for case, g in zip(cases, generators, strict=True)]
        outputs = torch.stack([case.asked for case in cases]) + 0.05 * torch.stack(noise)
        self.pictures |= {case.digest: output for case, output in zip(cases, outputs, strict=True)}
        return outputs.clamp(0, 1)


def run(
    folder: Path,
    restore: Counting,
    batch_size: int = 4,
    settings: str = "s",
    work: Work | None = None,
    rank: int = 0,
    **options: Any,
) -> list[Row]:
    """What `runner.run` returns, an empty list instead of None."""
    contest = {"T": Method(restore, settings), IDENTITY: methods.identity()}
    kept, chosen = Measurements(folder, COLUMNS, rank=rank), some_work() if work is None else work
    return runner.run(chosen, contest, kept, batch_size=batch_size, rank=rank, **options) or []


def test_every_case_is_measured_once(tmp_path: Path) -> None:
    restore = Counting()
    rows = run(tmp_path, restore, batch_size=5)
    assert restore.batches == [5, 5, 2]
    assert len(rows) == 2 * 12
    assert {row["variant"] for row in rows} == {"T", IDENTITY}
    assert len({(row["variant"], row["case"]) for row in rows}) == len(rows)


def test_a_stopped_run_resumes(tmp_path: Path) -> None:
    quiet = run(tmp_path / "quiet", Counting())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", Counting(limit=8))
    lines = (tmp_path / "stopped" / "T.csv").read_text()
    (tmp_path / "stopped" / "T.csv").write_text(lines[:-9])
    restore = Counting()
    assert run(tmp_path / "stopped", restore) == quiet
    assert sum(restore.batches) == 12 - 7
    restore = Counting()
    assert run(tmp_path / "stopped", restore) == quiet
    assert restore.batches == []
    assert len((tmp_path / "stopped" / "T.csv").read_text().splitlines()) == 1 + 12


def test_other_settings_are_measured_anew(tmp_path: Path) -> None:
    run(tmp_path, Counting())
    restore = Counting()
    rows = run(tmp_path, restore, settings="other weights")
    assert sum(restore.batches) == 12
    assert {row["settings"] for row in rows if row["variant"] == "T"} == {"other weights"}


def test_more_photos_cost_only_the_new_ones(tmp_path: Path) -> None:
    photos = runner.choose(some_photos(4))
    run(tmp_path, Counting(), work=some_work(photos[:3]))
    restore = Counting()
    assert len(run(tmp_path, restore, work=some_work(photos))) == 2 * 16
    assert sum(restore.batches) == 4


@pytest.mark.parametrize("fault", ["nul", "digit", "cut", "quote", "glued", "other_bytes", "twice"])
def test_damaged_lines_are_measured_again(tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    quiet = run(tmp_path, Counting())
    path = tmp_path / "T.csv"
    header, *lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = {
        "nul": lines[3].replace(b"Fig", b"Fi\0\0\0"),
        "digit": lines[3].replace(b"0.9", b"0.8", 1),
        "cut": lines[3][:-20] + b"\n",
        "quote": b'"' + lines[3],
        "glued": lines[3].removesuffix(b"\n"),
        "other_bytes": b"\xff\xfe" + lines[3],
        "twice": b"T," + lines[3],
    }[fault]
    path.write_bytes(header + b"".join(lines))
    restore = Counting()
    assert run(tmp_path, restore) == quiet
    again = 2 if fault == "glued" else 1
    assert sum(restore.batches) == again
    assert f"T.csv, which are measured again: {1 if fault == 'glued' else again}" in caplog.text
    assert path.read_bytes().count(b"\n") == 1 + 12 and b"\0" not in path.read_bytes()
    restore = Counting()
    assert run(tmp_path, restore) == quiet and restore.batches == []


def test_a_case_of_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file with NUL bytes and without checksums, as earlier versions left it."""
    quiet = run(tmp_path / "quiet", Counting())
    (tmp_path / "T.csv").write_bytes((CASES / "faults" / "measurements_nul.csv").read_bytes())
    assert run(tmp_path, Counting()) == quiet
    assert "measured again: 36" in caplog.text
    assert len((tmp_path / "T.csv").read_text().splitlines()) == 1 + 12


def test_photos_of_any_name_are_kept(tmp_path: Path) -> None:
    photos = [(name, rgb) for name, (_, rgb) in zip(('a\nb,"c".jpg', "\udcff.jpg", "ü"), some_photos(3), strict=True)]
    run(tmp_path, Counting(), work=some_work(runner.choose(photos)))
    restore = Counting()
    run(tmp_path, restore, work=some_work(runner.choose(photos)))
    assert restore.batches == []


def test_files_of_other_columns_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "T.csv").write_text("variant,settings,case\nT,s,0\n")
    restore = Counting()
    run(tmp_path, restore)
    assert sum(restore.batches) == 12


def test_a_picture_does_not_depend_on_its_batch_or_place(tmp_path: Path) -> None:
    alone, together = Counting(), Counting()
    run(tmp_path / "alone", alone, batch_size=1)
    run(tmp_path / "together", together, batch_size=7, work=some_work(some_work().photos[::-1]))
    assert alone.pictures.keys() == together.pictures.keys()
    for case, picture in alone.pictures.items():
        assert torch.equal(picture, together.pictures[case])


def test_another_seed_draws_other_noise(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    run(tmp_path, first)
    run(tmp_path / "other", second, work=some_work(seed=1))
    assert all(not torch.equal(picture, second.pictures[case]) for case, picture in first.pictures.items())


def test_sizes_are_not_mixed_in_a_batch(tmp_path: Path) -> None:
    photos = runner.choose([*some_photos(1), *some_photos(2, height=20)])
    restore = Counting()
    run(tmp_path, restore, batch_size=6, work=some_work(photos))
    assert sorted(restore.batches) == [2, 4, 6]


def test_processes_share_the_photos(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    assert run(tmp_path, first, rank=0, world_size=2) == []
    rows = run(tmp_path, second, rank=1, world_size=2)
    assert (sum(first.batches), sum(second.batches)) == (8, 4)
    assert rows == run(tmp_path / "alone", Counting())
    assert {path.name for path in tmp_path.glob("*.csv")} == {
        *("T.csv", "T.rank1.csv"),
        *("identity.csv", "identity.rank1.csv"),
    }


def test_methods_take_part_where_they_can(tmp_path: Path) -> None:
    blur = methods.of_restorer(lambda rgb, n_colors: rgb.mean((1, 2), keepdim=True).expand_as(rgb))
    rows = runner.run(some_work(), {"blur": blur}, Measurements(tmp_path, COLUMNS), batch_size=4)
    assert {row["texture"] for row in rows} == {"off"}
    assert len(rows) == 6


def test_pictures_are_kept_before_they_count_as_done(tmp_path: Path) -> None:
    def keep(name: str, case: Case, picture: Tensor) -> None:
        assert picture.shape == (3, SIZE, SIZE)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        run(tmp_path, Counting(), keep=keep)
    assert not list(tmp_path.glob("*.csv"))


def test_no_photos_are_one_sentence() -> None:
    with pytest.raises(InputError, match="None of the photos"):
        runner.choose([])


def test_batches_need_a_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1 picture, got 0"):
        run(tmp_path, Counting(), batch_size=0)


def test_the_identity_wins_the_palette_error_and_nothing_else() -> None:
    case = some_work().cases(some_work().photos[0])[0]
    (picture,) = methods.identity().restore([case], [])
    values = measure(case, picture)
    assert set(values) == set(METRICS)
    assert values["palette_psnr"] == pytest.approx(80)
    assert values["palette_ssim"] == pytest.approx(1)
    assert values["psnr"] == pytest.approx(image.psnr(case.asked[None], case.source[None]).item())
    of_truth = measure(case, case.source)
    assert of_truth["psnr"] == pytest.approx(80)
    assert of_truth["ciede2000"] == 0
    assert of_truth["texture_correlation"] == pytest.approx(1)
    assert of_truth["gradient_f1"] == 1
    assert values["psnr"] < 40


def test_without_a_truth_nothing_is_compared_with_it() -> None:
    protocol = partial(protocols.inpainting, texture_map=thresholded_gradient_map, methods="random")
    case = protocol(some_photos(1)[0][1], np.random.default_rng(0))[0]
    values = measure(case, case.asked)
    assert set(METRICS) - set(values) == {"psnr", "ssim", "ciede2000"}


def test_gain_is_paired_with_the_input_of_the_same_photo(tmp_path: Path) -> None:
    rows = run(tmp_path, Counting())
    cell = next(cell for cell in runner.summarize(rows) if cell["metric"] == "psnr_gain")
    psnr = {
        (row["variant"], row["photo"]): float(row["psnr"])
        for row in rows
        if all(row[name] == cell[name] for name in ("n_colors", "texture"))
    }
    gains = np.array([psnr["T", photo] - psnr[IDENTITY, photo] for name, photo in psnr if name == "T"])
    assert cell["variant"] == "T"
    assert cell["mean"] == pytest.approx(gains.mean())
    assert cell["stderr"] == pytest.approx(gains.std() / sqrt(3))


def test_summary_is_mean_and_standard_error_over_photos(tmp_path: Path) -> None:
    rows = run(tmp_path, Counting())
    summary = runner.summarize(rows)
    assert len(summary) == 2 * 4 * len(METRICS) + 4
    for cell in summary:
        if cell["metric"] == "psnr_gain":
            continue
        same = ("variant", "n_colors", "texture")
        members = [row for row in rows if all(row[name] == cell[name] for name in same)]
        values = np.array([float(row[cell["metric"]]) for row in members])
        assert cell["n"] == 3
        assert cell["mean"] == pytest.approx(values.mean())
        assert cell["stderr"] == pytest.approx(values.std() / sqrt(3))


def test_the_same_photos_are_chosen_in_any_order() -> None:
    photos = some_photos(9)
    chosen = runner.choose(photos, limit=4)
    assert len(chosen) == 4
    again = runner.choose([*photos[::-1], ("copy", photos[0][1])], limit=4)
    assert [photo.digest for photo in again] == [photo.digest for photo in chosen]
    assert {p.digest for p in chosen} < {p.digest for p in runner.choose(photos, limit=6)}
    assert len(runner.choose([*photos, ("copy", photos[0][1])])) == 9
    assert torch.equal(chosen[0].rgb, dict(photos)[chosen[0].key])
    with pytest.raises(InputError, match="at least 1"):
        runner.choose(photos, limit=0)


def test_a_photo_draws_the_same_whatever_its_place() -> None:
    transfer = partial(palette_transfer, texture_map=thresholded_gradient_map, methods="color", n_colors=4)
    inpainting = partial(protocols.inpainting, texture_map=thresholded_gradient_map, methods=["mean", "random"])
    photos = runner.choose(some_photos(6))
    for protocol, with_reference in ((transfer, True), (inpainting, False)):
        forward = Work(photos, protocol, 0, with_reference)
        backward = Work(photos[::-1], protocol, 0, with_reference)
        for photo in photos:
            digests = [case.digest for case in forward.cases(photo)]
            assert digests == [case.digest for case in backward.cases(photo)]
    other = Work(photos, inpainting, 1)
    assert other.cases(photos[0])[0].digest != Work(photos, inpainting, 0).cases(photos[0])[0].digest


def test_edges_are_compared_inside_the_patch() -> None:
    protocol = partial(protocols.inpainting, texture_map=thresholded_gradient_map, methods="mean", texture="off")
    case = protocol(some_photos(1)[0][1], np.random.default_rng(0))[0]
    assert case.patch is not None and 0 < case.patch.float().mean() < 1
    restored = torch.where(case.patch, case.source, 0.5)
    inside = gradient_agreement(restored[None], case.source[None], case.patch).item()
    assert measure(case, restored)["gradient_f1"] == pytest.approx(inside, abs=1e-6)
    assert inside > gradient_agreement(restored[None], case.source[None]).item()
    whole = dequantization(case.source, np.random.default_rng(0), texture_map=thresholded_gradient_map, n_colors=4)
    assert whole[0].patch is None
