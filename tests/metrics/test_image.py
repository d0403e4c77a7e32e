"""Metrics: the released code's own numbers, values worked out by hand, a second implementation, bad input."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional as F

from dequant.color.opencv import luminance, replace_luminance, shift_hsv
from dequant.color.palette import quantize
from dequant.color.spaces import rgb_to_lab
from dequant.errors import InputError
from dequant.metrics.image import l1, mean_and_stderr, mean_ciede2000, psnr, smape, ssim
from dequant.metrics.palette import palette_error
from dequant.metrics.texture import gradient_agreement, haar_distance, texture_correlation
from tests.support.paths import GOLDEN

ARRAYS = np.load(GOLDEN / "images.npz")
RELEASED = json.loads((GOLDEN / "images.json").read_text())["metrics"]
FUNCTIONS = {"L1": l1, "SMAPE": smape, "PSNR": psnr, "SSIM": ssim}
PAIRWISE = [
    *FUNCTIONS.values(),
    mean_ciede2000,
    texture_correlation,
    gradient_agreement,
    haar_distance,
    lambda pred, target: palette_error(pred, target, 8, psnr),
]


def photo(name: str) -> Tensor:
    levels = np.array(Image.open(GOLDEN / f"{name}.png").convert("RGB"))
    return torch.from_numpy(levels).permute(2, 0, 1) / 255


def released_pair(pair: str) -> tuple[Tensor, Tensor]:
    """An output and its target, the output having passed through [-1, 1] as a network's does."""
    name = pair.split("_")[0]
    levels = ARRAYS[f"{pair}__out"] if f"{pair}__out" in ARRAYS else np.array(Image.open(GOLDEN / f"{name}.png"))
    output = torch.from_numpy(levels).permute(2, 0, 1).float()
    output = output / 255 if levels.dtype == np.uint8 else output
    if f"{pair}__target_u8" not in ARRAYS:
        return (2 * output - 1 + 1) / 2, photo(name)
    return (2 * output - 1 + 1) / 2, torch.from_numpy(ARRAYS[f"{pair}__target_u8"]).permute(2, 0, 1) / 255


def blurred_photos() -> tuple[Tensor, Tensor]:
    target = torch.stack([photo(name) for name in ("caps", "plane", "womanhat")])
    return torch.nn.functional.avg_pool2d(target, 3, stride=1, padding=1, count_include_pad=False), target


def brute_force_ssim(pred: np.ndarray, target: np.ndarray) -> float:
    """Window by window, for one channel."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for row in range(pred.shape[0] - 10):
        for column in range(pred.shape[1] - 10):
            p, t = (image[row : row + 11, column : column + 11] for image in (pred, target))
            mean_p, mean_t = (window * p).sum(), (window * t).sum()
            deviation_p, deviation_t = p - mean_p, t - mean_t
            variances = (window * deviation_p**2).sum() + (window * deviation_t**2).sum()
            covariance = (window * deviation_p * deviation_t).sum()
            values.append(
                (2 * mean_p * mean_t + 1e-4)
                * (2 * covariance + 9e-4)
                / ((mean_p**2 + mean_t**2 + 1e-4) * (variances + 9e-4))
            )
    return float(np.mean(values))


@pytest.mark.parametrize("case", RELEASED)
def test_numbers_are_those_of_the_released_code(case: str) -> None:
    pair, n_colors, step = case.split("/")
    output, target = released_pair(pair)
    if step == "postL":
        output = replace_luminance(output, luminance(target))
    asked = quantize(target, int(n_colors[1:])).rgb
    for name, metric in FUNCTIONS.items():
        tolerance = 1e-4 if name == "PSNR" else 1e-6
        expected = RELEASED[case]["rgb"][name]
        assert metric(output[None], target[None]).item() == pytest.approx(expected, abs=tolerance)
        error = palette_error(output[None], asked[None], int(n_colors[1:]), metric)
        assert error.item() == pytest.approx(RELEASED[case]["palette"][name], abs=tolerance)


@pytest.mark.parametrize("metric", PAIRWISE)
def test_each_image_counts_for_itself(metric) -> None:
    pred, target = blurred_photos()
    together = metric(pred, target)
    alone = torch.cat([metric(p[None], t[None]) for p, t in zip(pred, target, strict=True)])
    assert together.shape == (3,)
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(("metric", "best"), [(psnr, 80), (ssim, 1), (l1, 0), (smape, 0)])
def test_identical_images(metric, best: float) -> None:
    rgb = photo("caps")[None]
    assert metric(rgb, rgb).item() == pytest.approx(best, abs=1e-5)


def test_psnr_by_hand() -> None:
    target = torch.full((2, 3, 4, 4), 0.5)
    pred = torch.stack([target[0] + 0.1, target[1] - 0.01])
    assert psnr(pred, target).tolist() == pytest.approx([20, 40], abs=1e-3)
    assert psnr(torch.full_like(target, 7.0), torch.ones_like(target)).tolist() == pytest.approx([80, 80])


def test_l1_and_smape_by_hand() -> None:
    pred, target = torch.full((1, 3, 2, 2), 0.3), torch.full((1, 3, 2, 2), 0.1)
    assert l1(pred, target).item() == pytest.approx(0.2)
    assert smape(pred, target).item() == pytest.approx(0.2 / 0.41)
    assert l1(pred + 5, target).item() == pytest.approx(5.2)


def test_ssim_window_by_window() -> None:
    rng = np.random.default_rng(0)
    pred, target = rng.random((3, 13, 15)), rng.random((3, 13, 15))
    expected = np.mean([brute_force_ssim(p, t) for p, t in zip(pred, target, strict=True)])
    assert ssim(torch.tensor(pred)[None], torch.tensor(target)[None]).item() == pytest.approx(expected)


def test_ssim_agrees_with_scikit_image() -> None:
    pred, target = blurred_photos()
    for p, t, value in zip(pred, target, ssim(pred, target), strict=True):
        expected = structural_similarity(
            p.numpy(),
            t.numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=0,
        )
        assert value.item() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("side", "factor"), [(192, 2), (256, 2), (256, 3)])
def test_ssim_reduces_large_images_first(side: int, factor: int) -> None:
    """From 384 pixels on, repeating every pixel is undone by the reduction."""
    small, large = repeated(side, factor)
    torch.testing.assert_close(ssim(*large), ssim(*small), rtol=0, atol=1e-5)


def test_ssim_does_not_reduce_smaller_images() -> None:
    small, large = repeated(191, 2)
    assert (ssim(*large) - ssim(*small)).abs().min() > 1e-3


def repeated(side: int, factor: int) -> tuple[list[Tensor], list[Tensor]]:
    """Pairs of `side` pixels, and the same with every pixel repeated `factor` times along both axes."""
    small = [image.repeat(1, 1, 2, 2)[..., :side, :side] for image in blurred_photos()]
    return small, [image.repeat_interleave(factor, 2).repeat_interleave(factor, 3) for image in small]


def test_ssim_and_psnr_can_be_trained_on() -> None:
    pred, target = blurred_photos()
    pred = pred.clone().requires_grad_()
    (ssim(pred, target).mean() + psnr(pred, target).mean()).backward()
    assert pred.grad is not None
    assert pred.grad.isfinite().all()
    assert pred.grad.abs().sum() > 0


def test_palette_error_of_the_quantized_image_itself_is_perfect() -> None:
    """The reason why this metric is never reported alone."""
    asked = quantize(photo("plane"), 8).rgb[None]
    assert palette_error(asked, asked, 8, psnr).item() == pytest.approx(80)
    assert palette_error(asked, asked, 8, ssim).item() == pytest.approx(1)


def test_palette_error_rounds_down_before_it_quantizes() -> None:
    """A perfect output loses up to a level on its way through [-1, 1]: the ceiling is far below 80 dB."""
    rgb = photo("caps")
    asked = quantize(rgb, 16).rgb[None]
    assert palette_error(rgb[None], asked, 16, psnr).item() == pytest.approx(80)
    through = (2 * rgb[None] - 1 + 1) / 2
    assert 38 < palette_error(through, asked, 16, psnr).item() < 48


def test_palette_error_takes_a_size_for_each_image() -> None:
    pred, target = blurred_photos()
    each = palette_error(pred, target, [4, 8, 16], psnr)
    for index, n_colors in enumerate((4, 8, 16)):
        images = pred[index : index + 1], target[index : index + 1]
        torch.testing.assert_close(each[index : index + 1], palette_error(*images, n_colors, psnr))
    with pytest.raises(InputError, match="one for each"):
        palette_error(pred, target, [4, 8], psnr)
    with pytest.raises(InputError, match="1 to 256"):
        palette_error(pred, target, 0, psnr)


def test_mean_ciede2000_of_black_and_white() -> None:
    black, white = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    assert mean_ciede2000(black, white).item() == pytest.approx(100, abs=1e-2)
    half = torch.cat((black[..., :2], white[..., :2]), dim=-1)
    assert mean_ciede2000(half, white).item() == pytest.approx(50, abs=1e-2)
    assert mean_ciede2000(half, half).item() == 0


def test_texture_correlation_ignores_colours() -> None:
    source = photo("caps")[None]
    gray = (source * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True).expand_as(source)
    assert texture_correlation(source, source).item() == pytest.approx(1)
    assert texture_correlation(gray, source).item() > 0.99
    assert texture_correlation(0.5 * source + 0.3, source).item() > 0.98
    assert texture_correlation(1 - source, source).item() == pytest.approx(-1, abs=1e-3)


def test_texture_correlation_falls_with_blur_and_chance() -> None:
    pred, target = blurred_photos()
    assert (texture_correlation(pred, target) < 0.95).all()
    assert texture_correlation(target[:1], target[1:2]).abs().item() < 0.2


def test_texture_correlation_of_flat_images() -> None:
    flat, steep = (
        torch.full((1, 3, 4, 4), 0.3),
        torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)),
    )
    assert texture_correlation(flat, steep).item() == 0
    assert texture_correlation(flat, flat + 0.1).item() == 1


def edges(*columns: int) -> Tensor:
    """A batch of one 6 x 12 image that steps between black and white before each of these columns."""
    steps = torch.zeros(12)
    steps[list(columns)] = 1
    return (steps.cumsum(0) % 2).expand(1, 3, 6, 12)


def test_gradient_agreement_by_hand() -> None:
    """A step is an edge in the columns on both sides of it."""
    assert gradient_agreement(edges(3, 8), edges(3, 8)).item() == 1
    assert gradient_agreement(edges(3), edges(8)).item() == 0
    assert gradient_agreement(edges(3), edges(3, 8)).item() == pytest.approx(2 / 3)  # precision 1, recall 1/2
    assert gradient_agreement(edges(3, 8), edges(3)).item() == pytest.approx(2 / 3)
    assert gradient_agreement(1 - edges(3), edges(3)).item() == 1


def test_gradient_agreement_inside_a_mask() -> None:
    left = torch.arange(12).expand(6, 12) < 6
    assert gradient_agreement(edges(3), edges(3, 8), left).item() == 1
    both = torch.stack([left, ~left])
    batch = edges(3).expand(2, -1, -1, -1), edges(3, 8).expand(2, -1, -1, -1)
    assert gradient_agreement(*batch, both).tolist() == [1, 0]
    assert gradient_agreement(edges(3), edges(3, 8), torch.zeros(6, 12, dtype=torch.bool)).item() == 1


def test_gradient_agreement_without_edges_and_with_another_threshold() -> None:
    flat = torch.full((1, 3, 6, 12), 0.5)
    assert gradient_agreement(flat, flat).item() == 1
    assert gradient_agreement(flat, edges(3)).item() == 0
    faint = flat + 0.04 * edges(3)  # 10 levels: a central difference of 5
    assert gradient_agreement(faint, edges(3)).item() == 0
    assert gradient_agreement(faint, edges(3), threshold=4).item() == 1


def test_texture_survives_a_change_of_hue() -> None:
    source = photo("womanhat")[None]
    turned = replace_luminance(shift_hsv(source, 60, 1, 1), luminance(source))
    assert (rgb_to_lab(turned) - rgb_to_lab(source)).abs().mean() > 3
    assert texture_correlation(turned, source).item() > 0.9
    assert gradient_agreement(turned, source).item() > 0.7


def test_mean_and_stderr_by_hand() -> None:
    mean, error = mean_and_stderr([1.0, 2.0, 3.0, 6.0])
    assert mean == 3
    assert error == pytest.approx(np.std([1, 2, 3, 6]) / 2)
    assert mean_and_stderr(torch.tensor([5.0])) == (5, 0)
    with pytest.raises(InputError, match="at least one"):
        mean_and_stderr([])


@pytest.mark.parametrize("metric", PAIRWISE)
@pytest.mark.parametrize(
    ("pred", "target"),
    [
        (torch.rand(3, 16, 16), torch.rand(3, 16, 16)),
        (torch.rand(1, 3, 16, 16), torch.rand(2, 3, 16, 16)),
        (torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 17)),
        (torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), torch.rand(1, 3, 16, 16)),
        (torch.rand(1, 3, 16, 16), torch.zeros(1, 3, 16, 16, dtype=torch.uint8)),
    ],
)
def test_refuses_what_cannot_be_compared(metric, pred: Tensor, target: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        metric(pred, target)


def test_refuses_images_smaller_than_a_window() -> None:
    for height, width in ((10, 40), (40, 10), (1, 1)):
        rgb = torch.rand(1, 3, height, width)
        with pytest.raises(InputError, match="at least 11 by 11"):
            ssim(rgb, rgb)
    assert ssim(torch.rand(1, 3, 11, 11), torch.rand(1, 3, 11, 11)).shape == (1,)
    for metric in (texture_correlation, gradient_agreement):
        with pytest.raises(InputError, match="2 by 2"):
            metric(torch.rand(1, 3, 1, 8), torch.rand(1, 3, 1, 8))


@pytest.mark.parametrize("mask", [torch.ones(6, 12), torch.ones(12, 6).bool(), torch.ones(2, 6, 12).bool()])
def test_refuses_masks_that_do_not_fit(mask: Tensor) -> None:
    with pytest.raises(InputError, match="boolean"):
        gradient_agreement(edges(3), edges(3), mask)


def test_haar_distance_by_hand() -> None:
    """Stripes of 3 grey levels: one direction of the finest scale has details of 3, log2(1 + 3) = 2, all others 0."""
    flat = torch.full((1, 3, 8, 8), 0.4)
    stripes = flat.clone()
    stripes[..., ::2] += 3 / 255
    assert haar_distance(stripes, flat).item() == pytest.approx(2 / 9)
    assert haar_distance(stripes, stripes) == 0


def test_haar_distance_sees_statistics_and_not_places() -> None:
    source = photo("womanhat")[None]
    quantized = quantize(source[0], 16).rgb[None]
    blurred = F.avg_pool2d(F.pad(source, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    assert haar_distance(source.flip(-1), source) == 0
    assert haar_distance(quantized, source).item() > 0.15
    assert haar_distance(blurred, source).item() > 0.4
    with pytest.raises(InputError, match="2 by 2"):
        haar_distance(torch.rand(1, 3, 1, 8), torch.rand(1, 3, 1, 8))
