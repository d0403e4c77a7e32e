"""Pictures follow the colour lines of a photo: bands go, edges and signs stay, patches keep their colour."""

import pytest
import torch

from dequant.color.matching import match
from dequant.color.opencv import gray_uint8
from dequant.color.palette import quantize, transfer
from dequant.condition import texture_lines
from dequant.condition.channels import Condition, for_palette, for_patch
from dequant.condition.texture import TEXTURES
from dequant.condition.texture_lines import follow, integrated
from dequant.condition.texture_maps import gradient_map
from dequant.metrics.texture import false_edges, fine_correlation, missed_edges, texture_correlation
from tests.support.photos import golden_photo


def everywhere(rgb: torch.Tensor) -> torch.Tensor:
    return torch.ones(rgb.shape[1:], dtype=torch.bool)


def recoloured(rgb: torch.Tensor, method: str) -> torch.Tensor:
    source, target = quantize(rgb, 8), quantize(golden_photo("plane"), 8)
    return transfer(source, target.palette, match(source.palette, target.palette, method)).rgb


def test_gradients_determine_the_grey_photo_up_to_a_constant() -> None:
    gray = gray_uint8(golden_photo("caps")).float()
    found = integrated(510 * gradient_map(golden_photo("caps")) - 255)
    torch.testing.assert_close(found, gray - gray.mean(), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("rows", "columns"), [(slice(0, 40), slice(0, 50)), (slice(9, None), slice(7, None))])
def test_a_part_with_two_borders_of_the_photo_is_exact(rows: slice, columns: slice) -> None:
    gray = gray_uint8(golden_photo("caps")).float()[rows, columns]
    found = integrated((510 * gradient_map(golden_photo("caps")) - 255)[:, rows, columns])
    torch.testing.assert_close(found, gray - gray.mean(), atol=1e-2, rtol=0)


def test_a_part_without_borders_is_near() -> None:
    part = (slice(9, -9), slice(7, -7))
    gray = gray_uint8(golden_photo("caps")).float()[part]
    found = integrated((510 * gradient_map(golden_photo("caps")) - 255)[:, *part])
    assert (found - (gray - gray.mean())).abs().mean() < 0.1 * gray.std()


@pytest.mark.parametrize("variant", ["L", "G"])
@pytest.mark.parametrize("method", ["color", "negative_color"])
def test_bands_become_the_shading_of_the_photo(variant: str, method: str) -> None:
    photo = golden_photo("caps")
    asked, texture = recoloured(photo, method), TEXTURES[variant]
    found = texture.follow(asked, texture.map(photo), everywhere(photo), None, 8)
    for metric, sign in ((false_edges, -1), (fine_correlation, 1), (missed_edges, -1)):
        before, after = (sign * metric(one[None], photo[None]).item() for one in (asked, found))
        assert after > before, metric.__name__


def test_a_negative_stays_one() -> None:
    photo = golden_photo("caps")
    asked = 1 - quantize(photo, 8).rgb
    found = TEXTURES["G"].follow(asked, TEXTURES["G"].map(photo), everywhere(photo), None, 8)
    assert texture_correlation(found[None], photo[None]) < -0.9


def test_luminance_and_gradients_agree() -> None:
    photo = golden_photo("caps")
    asked = recoloured(photo, "color")
    one, other = (TEXTURES[v].follow(asked, TEXTURES[v].map(photo), everywhere(photo), None, 8) for v in "LG")
    assert (one - other).abs().mean() < 0.01


def test_more_colours_are_trusted_more() -> None:
    photo = golden_photo("caps")
    asked, gray = recoloured(photo, "color"), gray_uint8(photo) / 255
    moved = [(follow(asked, gray, everywhere(photo), None, n) - asked).abs().mean() for n in (4, 16, 128)]
    assert moved[0] > moved[1] > moved[2]


def test_thresholded_gradients_know_no_lines() -> None:
    photo, texture = golden_photo("caps"), TEXTURES["T"]
    asked, bits = recoloured(photo, "color"), texture.map(photo)
    expected = texture.nearest(asked, bits, everywhere(photo), None)
    assert torch.equal(texture.follow(asked, bits, everywhere(photo), None, 8), expected)


def test_a_patch_keeps_its_hue_and_its_outside() -> None:
    photo, mask = golden_photo("caps"), torch.zeros(golden_photo("caps").shape[1:], dtype=torch.bool)
    mask[20:44, 20:44] = True
    condition = for_patch(photo, mask, torch.tensor([0.8, 0.1, 0.1]), TEXTURES["G"].map(photo))
    found = Condition.of(TEXTURES["G"].followed(condition[None]))
    assert torch.equal(found.colors[0][:, ~mask], photo[:, ~mask])
    red, green, blue = found.colors[0][:, mask].mean(1)
    assert red > 2 * max(green, blue)
    assert found.colors[0][:, mask].std() > 0.01


def test_followed_conditions_without_texture_stay() -> None:
    condition = for_palette(quantize(golden_photo("caps"), 8).rgb, 8, None)[None]
    assert torch.equal(TEXTURES["G"].followed(condition), condition)


def test_across_the_border_of_a_patch_brightness_alone_follows() -> None:
    """Stripes inside follow with the slope of each channel; along the border all channels move alike."""
    photo, mask = torch.full((3, 24, 24), 0.3), torch.zeros(24, 24, dtype=torch.bool)
    photo[:, :, 12:] += 0.2
    photo[:, ::4, 14:] += 0.1
    mask[:, 12:] = True
    asked = torch.where(mask, torch.tensor([0.9, 0.5, 0.5])[:, None, None], photo)
    found = follow(asked, gray_uint8(photo) / 255, everywhere(photo), mask)
    assert torch.equal(found[:, ~mask], asked[:, ~mask])
    contrast = found[:, 4:20:4, 16:].mean((1, 2)) - found[:, 6:20:4, 16:].mean((1, 2))
    assert contrast[0] > 1.3 * contrast[1] > 0.02 and contrast[1] == contrast[2]
    assert (found[0] - found[1])[:, 12].min() > 0.3


@pytest.mark.parametrize("slope", [0.0, 1.0, -2.0])
def test_part_of_the_contrast_is_kept_and_edges_remain(slope: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least half of the photo's, with the sign of the picture's, on the photo's side of the threshold of an edge."""
    asked = torch.tensor([2.0, 6, 7.9, 8.1, 12, 40, -3, -20, -40])
    gray = torch.cat((torch.zeros(1), asked.cumsum(0))).repeat_interleave(6).expand(20, -1) / 255 + 0.2
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(texture_lines, "_nearest", lambda image, *rest: seen.extend(rest) or image)
    given = torch.ones(gray.shape, dtype=torch.bool)
    given[:, 12] = given[3] = False
    follow(0.5 + slope * (gray - 0.3).expand(3, -1, -1), gray, given, None, 32)
    wanted, stiffness = 255 * seen[0][:, :, 10], seen[1][:, 10]
    contrast = torch.maximum(asked.abs() / 2, abs(slope) * asked.abs())
    contrast = torch.where(asked.abs() > 8, contrast.clamp(min=8.6), contrast.clamp(max=7.5))
    sign = torch.where(asked < 0, -1.0, 1.0) * (-1 if slope < 0 else 1)
    torch.testing.assert_close(wanted[:, 1, 5::6][:, :9], (sign * contrast).expand(3, -1), rtol=0.04, atol=0.05)
    assert wanted[:, 0].abs().max() < 0.1
    weight = 16 * (8 / 32) ** 0.5 * (1 / (1 + (asked / 8) ** 2) + 0.05)
    weight[1] = 0
    torch.testing.assert_close(stiffness[1, 5::6][:9], weight)
    assert not seen[1][:, 3].any() and not seen[1][0, 2].any() and seen[1][1, 2, 0] > 0
