"""Baselines: values worked out by hand, limits of the strengths, the table, transfers to oneself, bad input."""

import csv
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from benchmarks import tune_restorers
from benchmarks.tune_restorers import LARGEST_STRENGTH, N_COLORS, main, tune
from dequant.color.palette import quantize
from dequant.color.spaces import rgb_to_lab
from dequant.data.crops import center_crop
from dequant.errors import InputError
from dequant.evaluation.color_transfer import (
    LIBRARY_METHODS,
    color_matcher,
    histogram_match,
    monge_kantorovich,
    reinhard,
)
from dequant.evaluation.restorers import (
    TABLE,
    Filter,
    LearnedRestorer,
    bilateral,
    gaussian,
    identity,
    nonlocal_means,
    total_variation,
    tuned_strength,
    wavelet,
)
from dequant.io.images import read_image, write_image
from dequant.metrics.image import psnr
from tests.support.paths import GOLDEN

FILTERS = tuple(LARGEST_STRENGTH)
TRANSFERS = (reinhard, monge_kantorovich, histogram_match)


def photo(name: str = "caps", size: int = 64) -> Tensor:
    return center_crop(Image.open(GOLDEN / f"{name}.png").convert("RGB"), size)


def noise(height: int, width: int, seed: int, low: float = 0.4, high: float = 0.6) -> Tensor:
    return low + (high - low) * torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def variation(rgb: Tensor) -> float:
    return (rgb.diff(dim=1).abs().mean() + rgb.diff(dim=2).abs().mean()).item()


# restorers


def test_identity_is_a_copy() -> None:
    rgb = photo()
    restored = identity(rgb, 16)
    assert torch.equal(restored, rgb)
    assert restored.data_ptr() != rgb.data_ptr()


@pytest.mark.parametrize("restore", FILTERS)
def test_strength_zero_changes_nothing(restore: Filter) -> None:
    rgb = photo()
    before = rgb.clone()
    assert torch.equal(restore(rgb, 16, 0.0), before)
    restore(rgb, 16, 0.1)
    assert torch.equal(rgb, before)


@pytest.mark.parametrize("restore", FILTERS)
def test_strength_goes_to_zero_continuously(restore: Filter) -> None:
    rgb = quantize(photo(), 16).rgb
    torch.testing.assert_close(restore(rgb, 16, 1e-4), rgb, rtol=0, atol=1e-3)


@pytest.mark.parametrize("restore", FILTERS)
def test_more_strength_smooths_more(restore: Filter) -> None:
    rgb = quantize(photo(), 8).rgb
    largest = LARGEST_STRENGTH[restore]
    restored = [restore(rgb, 8, largest * share) for share in (0.0625, 0.125, 0.25, 0.5, 1.0)]
    variations = [variation(image) for image in restored]
    changes = [(image - rgb).square().mean().item() for image in restored]
    assert variations == sorted(variations, reverse=True)
    assert changes == sorted(changes)


@pytest.mark.parametrize("restore", FILTERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (17, 40)])
def test_any_shape_and_range(restore: Filter, shape: tuple[int, int]) -> None:
    rgb = noise(*shape, seed=0, low=0.0, high=1.0)
    restored = restore(rgb, 4, LARGEST_STRENGTH[restore])
    assert restored.shape == rgb.shape
    assert restored.dtype == torch.float32
    assert restored.is_contiguous()
    assert 0 <= restored.min() <= restored.max() <= 1


@pytest.mark.parametrize("restore", FILTERS)
def test_a_flat_image_stays(restore: Filter) -> None:
    rgb = torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 12, 16)
    torch.testing.assert_close(restore(rgb, 4, LARGEST_STRENGTH[restore]), rgb, rtol=0, atol=1e-6)


@pytest.mark.parametrize("restore", [gaussian, bilateral, wavelet])
def test_mirrored_input_gives_mirrored_output(restore: Filter) -> None:
    rgb = quantize(photo(), 16).rgb
    strength = LARGEST_STRENGTH[restore] / 4
    mirrored = restore(rgb.flip(-1), 16, strength).flip(-1)
    torch.testing.assert_close(mirrored, restore(rgb, 16, strength), rtol=0, atol=1e-5)


def test_gaussian_spreads_a_point_by_the_normal_density() -> None:
    rgb = torch.zeros(3, 21, 21)
    rgb[:, 10, 10] = 1
    offsets = torch.arange(-10, 11) / 1.5
    weights = torch.exp(-(offsets**2) / 2)
    weights[offsets.abs() > 4] = 0
    expected = weights[:, None] * weights / weights.sum() ** 2
    torch.testing.assert_close(gaussian(rgb, 4, 1.5), expected.expand(3, -1, -1), rtol=0, atol=1e-6)


def test_bilateral_becomes_a_gaussian_where_colours_do_not_count() -> None:
    rgb = noise(20, 30, seed=1, low=0, high=1)
    blurred = ndimage.gaussian_filter(rgb.numpy(), (0, 0.5, 0.5), mode="nearest", truncate=4)
    torch.testing.assert_close(bilateral(rgb, 4, 1e4), torch.from_numpy(blurred), rtol=0, atol=1e-5)


def test_bilateral_of_an_edge() -> None:
    """Two neighbours of another colour, one left and one right of an edge."""
    rgb = torch.zeros(3, 1, 6)
    rgb[:, :, 3:] = 0.3
    places = torch.exp(-2 * torch.arange(-2.0, 3.0) ** 2)
    far = torch.exp(torch.tensor(-3 * 0.3**2 / 0.5**2 / 2))
    across = far * places[3:].sum()
    expected = 0.3 * across / (across + places[:3].sum())
    torch.testing.assert_close(bilateral(rgb, 4, 0.5)[:, 0, 2], expected.expand(3))


def test_wavelet_leaves_what_is_well_above_the_noise() -> None:
    """BayesShrink: white noise of the stated deviation is removed nearly whole, a strong pattern is kept."""
    gray = torch.full((3, 64, 64), 0.5)
    grain = gray + 0.02 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert (wavelet(grain, 4, 0.02) - gray).std() < 0.3 * (grain - gray).std()
    stripes = gray.clone()
    stripes[:, :, ::2] = 0.9
    torch.testing.assert_close(wavelet(stripes, 4, 0.02), stripes, rtol=0, atol=0.005)


def test_total_variation_lowers_a_step_by_its_perimeter() -> None:
    """Of a step between two halves of n columns, the weight takes `weight / n` from either side."""
    rgb = torch.zeros(3, 8, 40)
    rgb[:, :, 20:] = 0.8
    restored = total_variation(rgb, 4, 0.5)
    torch.testing.assert_close(restored[:, :, 20:].mean(), torch.tensor(0.8 - 0.5 / 20), rtol=0, atol=3e-3)


def test_nonlocal_means_averages_repeated_patterns() -> None:
    """A noisy pattern of period 2 has its repeats in reach, so averaging them removes noise, not pattern."""
    pattern = torch.full((3, 48, 48), 0.3)
    pattern[:, ::2] = 0.7
    noisy = pattern + 0.05 * torch.randn(3, 48, 48, generator=torch.Generator().manual_seed(0))
    restored = nonlocal_means(noisy, 4, 0.1)
    assert (restored - pattern).std() < 0.5 * (noisy - pattern).std()


@pytest.mark.parametrize("restore", [identity, *FILTERS])
@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1, 3, 8, 8),
        torch.zeros(4, 8, 8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.full((3, 8, 8), torch.nan),
        torch.zeros(3, 0, 8),
    ],
    ids=["batch", "channels", "bytes", "nan", "empty"],
)
def test_a_wrong_image_is_refused(restore: Callable[[Tensor, int], Tensor], bad: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        restore(bad, 16)


@pytest.mark.parametrize("restore", FILTERS)
@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_a_wrong_strength_is_refused(restore: Filter, strength: float) -> None:
    with pytest.raises(InputError, match="strength"):
        restore(photo(), 16, strength)


# the table of strengths


def test_table_is_complete_and_never_loses_to_the_input() -> None:
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = {restore.__name__ for restore in FILTERS}
    assert {(row["method"], int(row["n_colors"])) for row in rows} == {(m, n) for m in names for n in N_COLORS}
    assert list(rows[0]) == [
        "method", "n_colors", "strength", "psnr", "psnr_input", "n", "dataset", "size", "command", "date",
    ]  # fmt: skip
    for row in rows:
        assert float(row["psnr"]) >= float(row["psnr_input"])
        assert 0 <= float(row["strength"]) <= 2 * max(LARGEST_STRENGTH.values())


@pytest.mark.parametrize("restore", FILTERS)
def test_strength_falls_as_colours_grow(restore: Filter) -> None:
    strengths = [tuned_strength(restore.__name__, n) for n in (1, 2, *N_COLORS, 256)]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[0] == strengths[2]
    assert strengths[-1] == strengths[-2]


def test_strength_is_interpolated_in_log_n() -> None:
    few, more = tuned_strength("wavelet", 4), tuned_strength("wavelet", 8)
    assert tuned_strength("wavelet", 6) == pytest.approx(few + (more - few) * np.log2(6 / 4))


@pytest.mark.parametrize("restore", FILTERS)
def test_the_tuned_strength_is_the_default(restore: Filter) -> None:
    rgb = quantize(photo(), 4).rgb
    assert torch.equal(restore(rgb, 4), restore(rgb, 4, tuned_strength(restore.__name__, 4)))


@pytest.mark.parametrize("restore", FILTERS)
def test_tuned_filters_help_photos_they_were_not_tuned_on(restore: Filter) -> None:
    target = torch.stack([photo(name, 128) for name in ("caps", "plane", "womanhat")])
    quantized = [quantize(rgb, 8).rgb for rgb in target]
    restored = torch.stack([restore(rgb, 8) for rgb in quantized])
    assert psnr(restored, target).mean() > psnr(torch.stack(quantized), target).mean()


@pytest.mark.parametrize(("method", "n_colors"), [("identity", 8), ("median", 8), ("gaussian", 0)])
def test_no_strength(method: str, n_colors: int) -> None:
    with pytest.raises(InputError):
        tuned_strength(method, n_colors)


def test_tuning_finds_the_best_of_its_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_restorers, "N_COLORS", (4,))
    monkeypatch.setattr(tune_restorers, "LARGEST_STRENGTH", {gaussian: 1.6, wavelet: 0.4})
    photos = [photo("caps", 48), photo("plane", 48)]
    rows = list(tune(photos))
    assert [row["method"] for row in rows] == ["gaussian", "wavelet"]
    target = torch.stack(photos)
    for row, restore in zip(rows, (gaussian, wavelet), strict=True):

        def score(strength: float, restore: Filter = restore) -> float:
            return psnr(torch.stack([restore(quantize(p, 4).rgb, 4, strength) for p in photos]), target).mean().item()

        best = float(row["strength"])
        assert row["n"] == 2
        assert row["psnr"] == pytest.approx(score(best), abs=1e-3)
        assert row["psnr_input"] == pytest.approx(score(0), abs=1e-3)
        assert score(best) > max(score(0), score(best / 2), score(best * 2), score(best * 0.84), score(best * 1.19))


def test_tune_command_writes_rows_that_say_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_restorers, "N_COLORS", (4, 8))
    monkeypatch.setattr(tune_restorers, "LARGEST_STRENGTH", {gaussian: 1.6})
    for split, name in (("train", "plane"), ("val", "caps"), ("val", "womanhat")):
        (tmp_path / "album" / split / "scene").mkdir(parents=True, exist_ok=True)
        write_image(photo(name, 32), tmp_path / "album" / split / "scene" / f"{name}.png")
    out = tmp_path / "new" / "table.csv"
    main(["tune", str(tmp_path / "album"), "--part", "scene/", "--size", "32", "--out", str(out)])
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["n_colors"]) for row in rows] == [4, 8]
    assert {row["n"] for row in rows} == {"2"}
    assert {row["dataset"] for row in rows} == {"album val scene/"}
    assert rows[0]["command"].startswith("python -m benchmarks.tune_restorers tune album --split val --part scene/")
    assert [path.name for path in out.parent.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing"], "no folder"),
        (["album", "--size", "32", "--part", "nowhere"], "'nowhere'"),
        (["album", "--limit", "0"], "at least 1"),
        (["album", "--size", "4096"], "largest usable size is 32"),
    ],
)
def test_tune_command_explains_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    (tmp_path / "album").mkdir()
    write_image(photo("caps", 32), tmp_path / "album" / "caps.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main(["tune", *options, "--split", "all", "--out", "table.csv"])
    assert not Path("table.csv").exists()


# learned restorers


def spandrel_works() -> bool:
    try:
        importlib.import_module("spandrel")
    except Exception:
        return False
    return True


needs_spandrel = pytest.mark.skipif(not spandrel_works(), reason="spandrel, or a torchvision that fits, is missing")


@pytest.mark.parametrize(
    "code",
    ["raise ImportError('no torchvision')", "raise RuntimeError('operator torchvision::nms does not exist')"],
    ids=["missing", "unfit"],
)
def test_spandrel_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    (tmp_path / "spandrel.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    with pytest.raises(InputError, match=r"torchvision.*dequant\[baselines\]"):
        LearnedRestorer(tmp_path / "weights.pth")


def small_network(kind: str) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """A network of a released layout, with random weights, and its state."""
    torch.manual_seed(0)
    if kind.startswith("FBCNN"):
        fbcnn = importlib.import_module("spandrel.architectures.FBCNN").FBCNN
        channels = 1 if kind == "FBCNN grey" else 3
        network = fbcnn(in_nc=channels, out_nc=channels, nc=[8, 8, 16, 512], nb=2)
    elif kind == "Restormer":
        restormer = pytest.importorskip("spandrel_extra_arches.architectures.Restormer").Restormer
        network = restormer(dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1)
    elif kind == "NAFNet":
        nafnet = importlib.import_module("spandrel.architectures.NAFNet").NAFNet
        network = nafnet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
    else:
        swinir = importlib.import_module("spandrel.architectures.SwinIR").SwinIR
        network = swinir(
            img_size=32, window_size=8, depths=[2], num_heads=[2], embed_dim=8, mlp_ratio=2,
            upscale=2 if kind == "SwinIR x2" else 1,
            upsampler="pixelshuffledirect" if kind == "SwinIR x2" else "",
        )  # fmt: skip
    return network.eval(), network.state_dict()


@needs_spandrel
@pytest.mark.parametrize("kind", ["FBCNN", "FBCNN grey", "NAFNet", "SwinIR", "Restormer"])
@pytest.mark.parametrize("shape", [(32, 32), (21, 30)])
def test_learned_restorer_runs_the_network(tmp_path: Path, kind: str, shape: tuple[int, int]) -> None:
    network, state = small_network(kind)
    torch.save(state, tmp_path / "weights.pth")
    rgb = noise(*shape, seed=2)
    restored = LearnedRestorer(tmp_path / "weights.pth")(rgb, 16)
    assert restored.shape == rgb.shape
    assert restored.dtype == torch.float32
    assert 0 <= restored.min() <= restored.max() <= 1
    if shape == (32, 32):
        with torch.no_grad():
            output = network(rgb[:, None] if kind == "FBCNN grey" else rgb[None])
        output = output[0] if isinstance(output, tuple) else output
        torch.testing.assert_close(restored, output.reshape(3, 32, 32).clamp(0, 1), rtol=0, atol=1e-5)


@needs_spandrel
def test_learned_restorer_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        LearnedRestorer(tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(InputError, match="no network"):
        LearnedRestorer(tmp_path / "text.pth")
    torch.save({"unknown.weight": torch.zeros(3)}, tmp_path / "unknown.pth")
    with pytest.raises(InputError, match="no network"):
        LearnedRestorer(tmp_path / "unknown.pth")
    torch.save(small_network("SwinIR x2")[1], tmp_path / "enlarges.pth")
    with pytest.raises(InputError, match="same size"):
        LearnedRestorer(tmp_path / "enlarges.pth")


# palette transfer


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("name", ["caps", "grey", "flat", "two colours"])
def test_transfer_to_itself_is_the_identity(transfer: Callable[[Tensor, Tensor], Tensor], name: str) -> None:
    rgb = {
        "caps": photo("caps"),
        "grey": photo("caps").mean(0, keepdim=True).expand(3, -1, -1),
        "flat": torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 12, 16),
        "two colours": quantize(photo("caps"), 2).rgb,
    }[name]
    torch.testing.assert_close(transfer(rgb, rgb), rgb, rtol=0, atol=1e-4)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_only_colours_of_the_reference_count(transfer: Callable[[Tensor, Tensor], Tensor]) -> None:
    source, reference = photo("caps"), photo("plane", 48)
    shuffled = reference.flatten(1)[:, torch.randperm(48 * 48, generator=torch.Generator().manual_seed(0))]
    transferred = transfer(source, reference)
    assert transferred.shape == source.shape
    assert transferred.dtype == torch.float32
    assert 0 <= transferred.min() <= transferred.max() <= 1
    torch.testing.assert_close(transfer(source, shuffled.reshape(3, 36, 64)), transferred, rtol=0, atol=1e-5)


def test_reinhard_matches_the_moments_of_lab() -> None:
    source, reference = noise(40, 50, seed=3), noise(30, 20, seed=4, low=0.45, high=0.7)
    lab, wanted = (rgb_to_lab(rgb).flatten(1) for rgb in (reinhard(source, reference), reference))
    torch.testing.assert_close(lab.mean(1), wanted.mean(1), rtol=0, atol=1e-2)
    torch.testing.assert_close(lab.std(1, correction=0), wanted.std(1, correction=0), rtol=0, atol=1e-2)


def test_monge_kantorovich_matches_mean_and_covariance() -> None:
    source = torch.tensor([[1.0, 0.3, 0], [0, 1, 0.5], [0.2, 0, 1]]) @ noise(40, 50, 5).flatten(1) * 0.6
    source, reference = source.reshape(3, 40, 50), noise(30, 20, seed=6, low=0.5, high=0.7)
    colors, wanted = monge_kantorovich(source, reference).flatten(1), reference.flatten(1)
    torch.testing.assert_close(colors.mean(1), wanted.mean(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(colors.cov(correction=0), wanted.cov(correction=0), rtol=0, atol=1e-6)


def test_monge_kantorovich_of_independent_channels_is_a_gain_each() -> None:
    """Channels that do not correlate: the map is diagonal, the ratio of the standard deviations."""
    corners = torch.tensor([[-1.0, 1, -1, 1, -1, 1, -1, 1], [-1, -1, 1, 1, -1, -1, 1, 1], [-1] * 4 + [1] * 4])
    source = 0.5 + torch.tensor([[0.1], [0.2], [0.05]]) * corners
    reference = 0.4 + torch.tensor([[0.2], [0.1], [0.3]]) * corners
    transferred = monge_kantorovich(source.reshape(3, 2, 4), reference.reshape(3, 4, 2))
    torch.testing.assert_close(transferred, reference.reshape(3, 2, 4))


def test_monge_kantorovich_and_back_is_the_identity() -> None:
    """The map back is the inverse map, unlike that of other maps that match covariances."""
    source, reference = noise(40, 50, seed=7), noise(30, 20, seed=8, low=0.45, high=0.7)
    back = monge_kantorovich(monge_kantorovich(source, reference), source)
    torch.testing.assert_close(back, source, rtol=0, atol=1e-5)


def test_histogram_match_gives_the_same_levels() -> None:
    source, reference = noise(16, 24, seed=9), noise(24, 16, seed=10, low=0.1, high=0.9)
    matched = histogram_match(source, reference)
    torch.testing.assert_close(matched.flatten(1).sort(1).values, reference.flatten(1).sort(1).values)
    assert torch.equal(matched.flatten(1).argsort(1), source.flatten(1).argsort(1))


def test_a_source_without_contrast_takes_the_mean_colour() -> None:
    flat, reference = torch.full((3, 8, 8), 0.3), noise(20, 20, seed=11)
    mean = reference.mean((1, 2), keepdim=True).expand(3, 8, 8)
    torch.testing.assert_close(monge_kantorovich(flat, reference), mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(reinhard(flat, reference), mean, rtol=0, atol=0.01)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_a_grey_source_is_not_spoilt_by_rounding(transfer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """No contrast is made up along the axes that a grey photo lacks."""
    levels = (photo("caps").mean(0) * 255).round().long().flatten()
    grey = (levels / 255).reshape(1, 64, 64).expand(3, -1, -1)
    transferred = transfer(grey, photo("plane"))
    for level in levels.unique():
        assert transferred.flatten(1)[:, levels == level].std(1, correction=0).max() < 0.02


@pytest.mark.parametrize("transfer", [*TRANSFERS, color_matcher])
@pytest.mark.parametrize("bad", [torch.zeros(1, 3, 8, 8), torch.zeros(8, 8, 3), torch.full((3, 8, 8), torch.inf)])
def test_transfer_refuses_wrong_images(transfer: Callable[[Tensor, Tensor], Tensor], bad: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        transfer(photo(), bad)
    with pytest.raises(InputError, match="give"):
        transfer(bad, photo())


def test_color_matcher_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "color_matcher.top_level", None)
    with pytest.raises(InputError, match=r"dequant\[color-matcher\]"):
        color_matcher(photo(), photo("plane"))


@pytest.mark.parametrize("method", LIBRARY_METHODS)
def test_color_matcher_runs(method: str) -> None:
    pytest.importorskip("color_matcher")
    source, reference = photo("caps"), photo("plane", 48)
    before = source.clone()
    transferred = color_matcher(source, reference, method)
    assert transferred.shape == source.shape
    assert transferred.dtype == torch.float32
    assert 0 <= transferred.min() <= transferred.max() <= 1
    assert torch.equal(source, before)


def test_color_matcher_agrees_with_ours() -> None:
    pytest.importorskip("color_matcher")
    source, reference = read_image(GOLDEN / "caps.png"), photo("plane")
    torch.testing.assert_close(
        color_matcher(source, reference, "mkl"), monge_kantorovich(source, reference), rtol=0, atol=1e-4
    )
    matched = color_matcher(source, reference, "hm") - histogram_match(source, reference)
    assert matched.abs().mean() < 0.01


def test_color_matcher_has_no_such_method() -> None:
    with pytest.raises(InputError, match="hm-mkl-hm"):
        color_matcher(photo(), photo(), "magic")
