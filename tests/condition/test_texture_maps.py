"""Texture maps: the authors' own arrays, gradients worked out by hand, boundaries and bad input."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dequant.condition.texture import TEXTURES
from dequant.condition.texture_maps import gradient_map, luminance_map, thresholded_gradient_map
from dequant.diffusion.loss import disagreement
from dequant.errors import InputError
from tests.support.paths import GOLDEN


def photo(name: str) -> Tensor:
    levels = np.array(Image.open(GOLDEN / f"{name}.png").convert("RGB"))
    return torch.from_numpy(levels).permute(2, 0, 1) / 255


def gray(rows: list[list[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).div(255).expand(3, -1, -1)


@pytest.mark.parametrize("name", ["caps", "plane", "womanhat"])
@pytest.mark.parametrize("variant", "LGT")
def test_agrees_with_the_released_code(name: str, variant: str) -> None:
    arrays = np.load(GOLDEN / f"cond_{name}.npz")
    case = arrays["cases"].tolist().index(f"{variant}_16_tex")
    texture = TEXTURES[variant].map(photo(name))
    assert texture.dtype == torch.float32
    torch.testing.assert_close(texture, torch.from_numpy(arrays["conditioning"][case, 3:5]), rtol=0, atol=1e-6)


def test_gradient_is_central_inside_and_one_sided_at_the_border() -> None:
    along_rows, along_columns = gradient_map(gray([[0, 10, 40, 255]] * 3)) * 510 - 255
    torch.testing.assert_close(along_columns[1], torch.tensor([10.0, 20.0, 122.5, 215.0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(along_rows, torch.zeros(3, 4), rtol=0, atol=1e-4)


def test_rows_come_before_columns() -> None:
    rgb = photo("caps")
    torch.testing.assert_close(gradient_map(rgb.mT), gradient_map(rgb).flip(0).mT)


def test_extreme_gradients_reach_the_ends_of_the_range() -> None:
    black_to_white = gradient_map(gray([[0, 255], [0, 255]]))[1]
    white_to_black = gradient_map(gray([[255, 0], [255, 0]]))[1]
    assert (black_to_white == 1).all()
    assert (white_to_black == 0).all()


def test_threshold_is_strict_and_ignores_the_sign() -> None:
    texture = thresholded_gradient_map(gray([[0, 8, 16, 24, 7, 7]] * 2))
    assert texture[1].tolist() == [[0, 0, 0, 0, 1, 0]] * 2  # 8, 8, 8, -4.5, -8.5, 0
    assert not texture[0].any()
    assert thresholded_gradient_map(gray([[0, 8], [0, 8]]), threshold=7)[1].all()


def test_luminance_is_the_same_twice_and_spans_the_range() -> None:
    texture = luminance_map(gray([[0, 128, 255]]))
    assert torch.equal(texture[0], texture[1])
    assert texture[0, 0, 0] == 0
    assert texture[0, 0, 2] == 1


@pytest.mark.parametrize("texture_map", [texture.map for texture in TEXTURES.values()])
def test_batches_are_images_side_by_side(texture_map) -> None:
    batch = torch.stack([photo("caps"), photo("plane")])
    assert torch.equal(texture_map(batch), torch.stack([texture_map(rgb) for rgb in batch]))


@pytest.mark.parametrize("texture_map", [texture.map for texture in TEXTURES.values()])
@pytest.mark.parametrize("bad", [torch.rand(4, 8, 8), torch.rand(8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)])
def test_refuses_what_is_not_a_photo(texture_map, bad: Tensor) -> None:
    with pytest.raises(InputError, match="give a floating-point tensor"):
        texture_map(bad)


@pytest.mark.parametrize("texture_map", [gradient_map, thresholded_gradient_map])
def test_refuses_a_photo_too_small_for_gradients(texture_map) -> None:
    with pytest.raises(InputError, match="2 by 2"):
        texture_map(torch.rand(3, 1, 8))


def everywhere(rgb: Tensor) -> Tensor:
    return torch.ones(1, 1, *rgb.shape[-2:])


def test_disagreement_sees_missing_and_false_edges_and_no_sign() -> None:
    edges = gray([[0, 40, 80, 120, 160]] * 5)[None]
    flat = torch.full_like(edges, 0.3)
    same, missing = (disagreement(rgb, edges, everywhere(edges)).item() for rgb in (1 - edges, flat))
    false = disagreement(edges, flat, everywhere(edges)).item()
    assert same < 0.1 < missing < false
    # along columns 8 levels short of the threshold, and right along rows; softplus(8 / 3) and softplus(-8 / 3)
    expected = (np.log1p(np.exp(8 / 3)) + np.log1p(np.exp(-8 / 3))) / 2
    assert missing == pytest.approx(expected, rel=1e-4)


def test_disagreement_counts_weighted_pixels_and_leads_towards_edges() -> None:
    edges = gray([[0, 40, 80, 120, 160]] * 5)[None]
    faint = (edges / 40 + 0.3).requires_grad_()
    assert disagreement(faint, edges, 0 * everywhere(edges)).item() == 0
    loss = disagreement(faint, edges, everywhere(edges))
    half = everywhere(edges).clone()
    half[..., 2:, :] = 0
    assert disagreement(faint, edges, half / 2).item() == pytest.approx(loss.item() / 2)
    both = [torch.cat([tensor, tensor]) for tensor in (faint, edges)]
    assert disagreement(*both, torch.cat([half, 0 * half])).item() == pytest.approx(loss.item())
    loss.backward()
    assert faint.grad is not None
    assert faint.grad[..., 0].sum() > 0 > faint.grad[..., -1].sum()
