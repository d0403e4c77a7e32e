"""Metrics of texture: values worked out by hand, photos, bad input."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.opencv import luminance, replace_luminance, shift_hsv
from dequant.color.palette import quantize
from dequant.color.spaces import rgb_to_lab
from dequant.errors import InputError
from dequant.metrics.image import Metric
from dequant.metrics.texture import (
    bands,
    false_edges,
    fine_correlation,
    gradient_agreement,
    haar_distance,
    missed_edges,
    texture_correlation,
)
from tests.support.photos import golden_photo
from tests.support.released import UNCOMPARABLE, assert_counts_each_image, blurred_photos

METRICS = [
    texture_correlation,
    gradient_agreement,
    haar_distance,
    false_edges,
    missed_edges,
    bands,
    fine_correlation,
]


@pytest.mark.parametrize("metric", METRICS)
def test_each_image_counts_for_itself(metric: Metric) -> None:
    assert_counts_each_image(metric)


def test_texture_correlation_ignores_colours() -> None:
    source = golden_photo("caps")[None]
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
    source = golden_photo("womanhat")[None]
    turned = replace_luminance(shift_hsv(source, 60, 1, 1), luminance(source))
    assert (rgb_to_lab(turned) - rgb_to_lab(source)).abs().mean() > 3
    assert texture_correlation(turned, source).item() > 0.9
    assert gradient_agreement(turned, source).item() > 0.7


def test_haar_distance_by_hand() -> None:
    """Stripes of 3 grey levels: one direction of the finest scale has details of 3, log2(1 + 3) = 2, all others 0."""
    flat = torch.full((1, 3, 8, 8), 0.4)
    stripes = flat.clone()
    stripes[..., ::2] += 3 / 255
    assert haar_distance(stripes, flat).item() == pytest.approx(2 / 9)
    assert haar_distance(stripes, stripes) == 0


def test_haar_distance_sees_statistics_and_not_places() -> None:
    source = golden_photo("womanhat")[None]
    quantized = quantize(source[0], 16).rgb[None]
    blurred = F.avg_pool2d(F.pad(source, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    assert haar_distance(source.flip(-1), source) == 0
    assert haar_distance(quantized, source).item() > 0.15
    assert haar_distance(blurred, source).item() > 0.4


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("pred", "target"), UNCOMPARABLE)
def test_refuses_what_cannot_be_compared(metric: Metric, pred: Tensor, target: Tensor) -> None:
    with pytest.raises(InputError, match="give"):
        metric(pred, target)


@pytest.mark.parametrize("metric", METRICS)
def test_refuses_images_without_gradients(metric: Metric) -> None:
    with pytest.raises(InputError, match="2 by 2"):
        metric(torch.rand(1, 3, 1, 8), torch.rand(1, 3, 1, 8))


@pytest.mark.parametrize("mask", [torch.ones(6, 12), torch.ones(12, 6).bool(), torch.ones(2, 6, 12).bool()])
def test_refuses_masks_that_do_not_fit(mask: Tensor) -> None:
    with pytest.raises(InputError, match="boolean"):
        gradient_agreement(edges(3), edges(3), mask)


def test_edges_and_bands_by_hand() -> None:
    flat = torch.full((1, 3, 8, 8), 0.2)
    step = torch.cat((flat[..., :4], flat[..., :4] + 0.5), dim=3)  # 2 of 8 columns of gradients along rows of pixels
    assert false_edges(step, flat).item() == 1 and missed_edges(flat, step).item() == 1
    assert false_edges(step, step).item() == missed_edges(step, step).item() == bands(step, step).item() == 0
    assert bands(step, flat).item() == pytest.approx(2 / 16)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:, 4:] = True
    assert bands(step, flat, mask).item() == pytest.approx(1 / 8)


def test_fine_correlation_sees_posterization_and_neither_sign_nor_colour() -> None:
    photo = golden_photo("caps")[None]
    assert fine_correlation(photo, photo).item() == pytest.approx(1)
    assert fine_correlation(1 - photo, photo).item() > 0.95
    assert fine_correlation(quantize(photo[0], 8).rgb[None], photo).item() < 0.6
    assert fine_correlation(torch.full_like(photo, 0.5), photo).item() == 0


def test_precision_and_recall_make_the_f1_score() -> None:
    pred, target = blurred_photos()
    precision, recall = 1 - false_edges(pred, target), 1 - missed_edges(pred, target)
    torch.testing.assert_close(gradient_agreement(pred, target), 2 * precision * recall / (precision + recall))
