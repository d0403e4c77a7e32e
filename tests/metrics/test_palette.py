"""The palette error and index agreement: the released code's numbers, boundaries, bad input."""

from functools import partial

import pytest
import torch
from torch import Tensor

from dequant.color.opencv import luminance, replace_luminance
from dequant.color.palette import quantize
from dequant.errors import InputError
from dequant.metrics.image import Metric, psnr, psnr_and_ssim, ssim
from dequant.metrics.palette import index_agreement, palette_error
from tests.support.photos import golden_photo
from tests.support.released import NUMBERS, UNCOMPARABLE, assert_counts_each_image, blurred_photos, released_pair

METRICS = [partial(palette_error, n_colors=8, metric=psnr), partial(index_agreement, n_colors=8)]


@pytest.mark.parametrize("case", NUMBERS["metrics"])
def test_palette_errors_are_those_of_the_released_code(case: str) -> None:
    pair, size, step = case.split("/")
    (output, target), n_colors = released_pair(pair), int(size[1:])
    if step == "postL":
        output = replace_luminance(output, luminance(target))
    asked = quantize(target, n_colors).rgb
    expected = NUMBERS["metrics"][case]["palette"]
    found = palette_error(output[None], asked[None], n_colors, psnr_and_ssim)
    assert found[0].item() == pytest.approx(expected["PSNR"], abs=1e-4)
    assert found[1].item() == pytest.approx(expected["SSIM"], abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_each_image_counts_for_itself(metric: Metric) -> None:
    assert_counts_each_image(metric)


def test_palette_error_of_the_quantized_image_itself_is_perfect() -> None:
    """The reason why this metric is never reported alone."""
    asked = quantize(golden_photo("plane"), 8).rgb[None]
    assert palette_error(asked, asked, 8, psnr).item() == pytest.approx(80)
    assert palette_error(asked, asked, 8, ssim).item() == pytest.approx(1)


def test_palette_error_rounds_down_before_it_quantizes() -> None:
    """A perfect output loses up to a level on its way through [-1, 1]: the ceiling is far below 80 dB."""
    rgb = golden_photo("caps")
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


def test_index_agreement_by_hand() -> None:
    """Of 12 pixels in two colours, three are nearer to the other one, and one is as near to both."""
    asked = torch.zeros(1, 3, 2, 6)
    asked[..., 3:] = 200 / 255
    output = asked.clone()
    output[0, :, 0, 0], output[0, :, 0, 1:3], output[0, :, 1, 5] = 100 / 255, 101 / 255, 0
    assert index_agreement(output, asked, 2).tolist() == [pytest.approx(9 / 12)]
    assert index_agreement(asked, asked, 2).tolist() == [1]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("pred", "target"), UNCOMPARABLE)
def test_refuses_what_cannot_be_compared(metric: Metric, pred: Tensor, target: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        metric(pred, target)
