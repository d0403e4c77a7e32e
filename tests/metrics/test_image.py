"""Metrics of images: the released code's own numbers, values worked out by hand, a second implementation, bad input."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from dequant.color.opencv import luminance, replace_luminance
from dequant.errors import InputError
from dequant.metrics.image import Metric, Target, mean_and_stderr, mean_ciede2000, psnr, psnr_and_ssim, ssim
from tests.support.photos import golden_photo
from tests.support.released import NUMBERS, UNCOMPARABLE, assert_counts_each_image, blurred_photos, released_pair

METRICS = [psnr, ssim, mean_ciede2000]


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


@pytest.mark.parametrize("case", NUMBERS["metrics"])
def test_numbers_are_those_of_the_released_code(case: str) -> None:
    pair, _, step = case.split("/")
    output, target = released_pair(pair)
    if step == "postL":
        output = replace_luminance(output, luminance(target))
    expected = NUMBERS["metrics"][case]["rgb"]
    assert psnr(output[None], target[None]).item() == pytest.approx(expected["PSNR"], abs=1e-4)
    assert ssim(output[None], target[None]).item() == pytest.approx(expected["SSIM"], abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_each_image_counts_for_itself(metric: Metric) -> None:
    assert_counts_each_image(metric)


@pytest.mark.parametrize(("metric", "best"), [(psnr, 80), (ssim, 1)])
def test_identical_images(metric: Metric, best: float) -> None:
    rgb = golden_photo("caps")[None]
    assert metric(rgb, rgb).item() == pytest.approx(best, abs=1e-5)


def test_psnr_by_hand() -> None:
    target = torch.full((2, 3, 4, 4), 0.5)
    pred = torch.stack([target[0] + 0.1, target[1] - 0.01])
    assert psnr(pred, target).tolist() == pytest.approx([20, 40], abs=1e-3)
    assert psnr(torch.full_like(target, 7.0), torch.ones_like(target)).tolist() == pytest.approx([80, 80])


def test_psnr_and_ssim_are_both() -> None:
    pred, target = blurred_photos()
    assert torch.equal(psnr_and_ssim(pred, target), torch.stack((psnr(pred, target), ssim(pred, target))))


@pytest.mark.parametrize("metric", [ssim, psnr_and_ssim, mean_ciede2000])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_target_may_be_used_several_times(metric: Metric, memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second, target = (1.2 * torch.rand(2, 3, 40, 24, generator=generator) - 0.1 for _ in range(3))
    known = Target(target)
    for pred in (first, second):
        assert torch.equal(metric(pred.contiguous(memory_format=memory_format), known), metric(pred, target))
    with pytest.raises(InputError, match="cannot be compared"):
        metric(first[..., :20], known)


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


def test_mean_ciede2000_of_black_and_white() -> None:
    black, white = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    assert mean_ciede2000(black, white).item() == pytest.approx(100, abs=1e-2)
    half = torch.cat((black[..., :2], white[..., :2]), dim=-1)
    assert mean_ciede2000(half, white).item() == pytest.approx(50, abs=1e-2)
    assert mean_ciede2000(half, half).item() == 0


def test_mean_and_stderr_by_hand() -> None:
    mean, error = mean_and_stderr([1.0, 2.0, 3.0, 6.0])
    assert mean == 3
    assert error == pytest.approx(np.std([1, 2, 3, 6]) / 2)
    assert mean_and_stderr(torch.tensor([5.0])) == (5, 0)
    with pytest.raises(InputError, match="at least one"):
        mean_and_stderr([])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("pred", "target"), UNCOMPARABLE)
def test_refuses_what_cannot_be_compared(metric: Metric, pred: Tensor, target: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        metric(pred, target)


def test_refuses_images_smaller_than_a_window() -> None:
    for height, width in ((10, 40), (40, 10), (1, 1)):
        rgb = torch.rand(1, 3, height, width)
        with pytest.raises(InputError, match="at least 11 by 11"):
            ssim(rgb, rgb)
    assert ssim(torch.rand(1, 3, 11, 11), torch.rand(1, 3, 11, 11)).shape == (1,)
