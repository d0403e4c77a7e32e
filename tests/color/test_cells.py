"""The nearest point of a palette's cells: exact, and steady under rounding to 8 bits."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import nnls

from dequant.color import cells, polytopes
from dequant.color.palette import Quantized, quantize
from dequant.data.crops import center_crop
from dequant.data.sources import Shards, bundled
from dequant.errors import InputError
from dequant.io.images import read_image

SIZE = 24


def random_cells(n_colors: int, seed: int = 0, top: int = 256) -> Quantized:
    generator = torch.Generator().manual_seed(seed)
    palette = torch.randint(0, top, (n_colors, 3), generator=generator).unique(dim=0).float() / 255
    return Quantized(palette, torch.randint(0, len(palette), (SIZE, SIZE), generator=generator))


def noisy(wanted: Quantized, deviation: float, seed: int = 1) -> torch.Tensor:
    noise = torch.randn(3, *wanted.indices.shape, generator=torch.Generator().manual_seed(seed))
    return wanted.rgb + deviation * noise


def violation(rgb: torch.Tensor, wanted: Quantized) -> torch.Tensor:
    """Levels by which each pixel is beyond the nearest border of its cell, that of the cube among them."""
    palette = (wanted.palette.double() * 255).round()
    levels = rgb.double().flatten(1).T * 255
    own = palette[wanted.indices.flatten()]
    difference = palette[None] - own[:, None]
    length = difference.norm(dim=2)
    beyond = torch.einsum("mkc,mc->mk", difference, levels - own) / length.clamp(min=1) - length / 2
    beyond = beyond.masked_fill(length == 0, -1)
    return torch.cat((beyond, levels - 255, -levels), dim=1).amax(1)


GREYS = Quantized(
    torch.arange(0, 256, 17).float()[:, None].expand(-1, 3) / 255, torch.arange(16 * 16).view(16, 16) % 16
)
LATTICE = Quantized(
    torch.cartesian_prod(*3 * [torch.tensor([100, 101, 102])]).float() / 255, torch.arange(27 * 9).view(9, 27) % 27
)
CORNERS = Quantized(torch.cartesian_prod(*3 * [torch.tensor([0.0, 1.0])]), torch.arange(64).view(8, 8) % 8)
ALONE = Quantized(torch.tensor([[0.2, 0.4, 0.6]]), torch.zeros(8, 8, dtype=torch.int64))
PALETTES = {n: random_cells(n) for n in (2, 3, 4, 16, 64, 256)} | {
    "greys": GREYS,
    "neighbours": LATTICE,
    "corners": CORNERS,
    "alone": ALONE,
    "crowded": random_cells(200, top=9),
}
each_palette = pytest.mark.parametrize("name", PALETTES)
each_deviation = pytest.mark.parametrize("deviation", [0.004, 0.05, 0.5])


@each_palette
@each_deviation
def test_projection_is_inside_and_idempotent(name: str | int, deviation: float) -> None:
    wanted = PALETTES[name]
    projected = cells.project(noisy(wanted, deviation), wanted)
    assert violation(projected, wanted).max() < polytopes.TOLERANCE
    assert torch.equal(cells.project(projected, wanted), projected)
    assert projected.dtype == torch.float32


@each_palette
@each_deviation
def test_distance_to_any_point_of_the_cell_never_grows(name: str | int, deviation: float) -> None:
    """Moreover the angle at the nearest point is at least a right one, which makes it the nearest."""
    wanted = PALETTES[name]
    start = noisy(wanted, deviation)
    nearest = cells.project(start, wanted)
    for seed in range(10):
        point = cells.project(noisy(wanted, 0.3, seed + 2), wanted)
        assert ((nearest - point).norm(dim=0) <= (start - point).norm(dim=0) + 1e-6).all()
        angle = ((start - nearest).double() * (point - nearest).double()).sum(0)
        assert angle.max() < 1e-6


def test_projection_agrees_with_the_least_distance_program() -> None:
    """Lawson and Hanson's solution of the same problem by non-negative least squares, pixel by pixel."""
    wanted = random_cells(64)
    start = noisy(wanted, 0.3)
    found = cells.project(start, wanted).double().flatten(1).T * 255
    palette = (wanted.palette.double() * 255).round().numpy()
    for pixel in range(0, SIZE * SIZE, 7):
        own, x = palette[wanted.indices.flatten()[pixel]], start.flatten(1)[:, pixel].double().numpy() * 255
        others = palette[(palette != own).any(1)]
        length = np.linalg.norm(others - own, axis=1)
        normals = np.concatenate(((others - own) / length[:, None], np.eye(3), -np.eye(3)))
        limits = np.concatenate((length / 2, 255 - own, own))
        matrix = np.vstack((-normals.T, (normals @ (x - own) - limits)[None]))
        solution, _ = nnls(matrix, np.array([0.0, 0, 0, 1]))
        rest = matrix @ solution - np.array([0.0, 0, 0, 1])
        nearest = x - rest[:3] / rest[3] if abs(rest[3]) > 1e-12 else x
        np.testing.assert_allclose(found[pixel].numpy(), nearest, atol=2e-3)


def test_two_colors_share_the_plane_between_them() -> None:
    wanted = Quantized(torch.tensor([[0.2, 0.4, 0.4], [0.6, 0.4, 0.4]]), torch.tensor([[0, 0, 1]]))
    rgb = torch.tensor([[0.3, 0.7, 0.1], [0.5, 0.9, 0.4], [0.1, 1.2, 0.4]])[:, None]
    expected = torch.tensor([[0.3, 0.4, 0.4], [0.5, 0.9, 0.4], [0.1, 1.0, 0.4]])[:, None]
    torch.testing.assert_close(cells.project(rgb, wanted), expected, atol=1e-6, rtol=0)


def test_scale_shrinks_cells_about_their_colors() -> None:
    wanted = random_cells(16)
    start = noisy(wanted, 0.3)
    half = cells.project(start, wanted, scale=0.5)
    assert violation(wanted.rgb + 2 * (half - wanted.rgb), wanted).max() < 3 * polytopes.TOLERANCE
    assert violation(wanted.rgb + 2.5 * (half - wanted.rgb), wanted).max() > 1
    torch.testing.assert_close(cells.project(start, wanted, scale=0.0), wanted.rgb, atol=1e-6, rtol=0)


@each_palette
@each_deviation
def test_index_map_of_the_8_bit_picture_is_the_one_asked_for(name: str | int, deviation: float) -> None:
    wanted = PALETTES[name]
    settled = cells.settle(noisy(wanted, deviation), wanted)
    for rounded in ((settled * 255).round(), (settled.double() * 255 + 0.5).floor(), (settled * 255 + 0.4995).floor()):
        distances = torch.cdist(rounded.double().flatten(1).T, (wanted.palette.double() * 255).round()).square().round()
        nearest = distances.amin(1, keepdim=True)
        assert torch.equal(distances.argmin(1), wanted.indices.flatten())
        assert ((distances == nearest).sum(1) == 1).all()
    torch.testing.assert_close(cells.settle(settled, wanted), settled, atol=2 * cells.SLACK / 255, rtol=0)


def test_pillow_maps_the_settled_picture_back_to_the_palette() -> None:
    """Pillow's own mapping onto a given palette, which is coarse, may only be trusted where colours are far apart."""
    wanted = CORNERS
    settled = cells.settle(noisy(wanted, 0.4), wanted)
    image = Image.fromarray((settled * 255).round().byte().movedim(0, -1).numpy())
    given = Image.new("P", (1, 1))
    given.putpalette((wanted.palette * 255).round().int().flatten().tolist())
    mapped = np.asarray(image.quantize(palette=given, dither=Image.Dither.NONE))
    assert np.array_equal(mapped, wanted.indices.numpy())


def test_duplicates_of_an_edited_palette_are_one_color() -> None:
    palette = torch.tensor([[10, 20, 30], [200, 20, 30], [10, 20, 30]]).float() / 255
    indices = torch.tensor([[0, 1, 2], [2, 1, 0]])
    merged = cells.cells_of(Quantized(palette, indices).rgb)
    assert len(merged.palette) == 2
    torch.testing.assert_close(merged.rgb, Quantized(palette, indices).rgb)
    settled = cells.settle(torch.full((3, 2, 3), 0.4), merged)
    assert cells.kept(settled, merged).all()


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    source = Shards(bundled())
    return center_crop(read_image(source.read(source.keys("test")[0])), 128)


@pytest.mark.parametrize("n_colors", [2, 8, 64, 256])
def test_photos_lie_in_their_own_cells(photo: torch.Tensor, n_colors: int) -> None:
    """Median cut gives each pixel the nearest colour; in ties, many in large palettes, that of its box."""
    wanted = cells.cells_of(quantize(photo, n_colors).rgb)
    assert cells.kept(photo, wanted, ties=True).all()
    strictly = cells.kept(photo, wanted)
    assert strictly.float().mean() > 0.8
    assert torch.equal(cells.project(photo, wanted), photo)
    assert torch.equal(cells.settle(photo, wanted)[:, strictly], photo[:, strictly])
    assert ((cells.settle(photo, wanted) - photo).abs() * 255).mean() < 0.2


@pytest.mark.parametrize("n_colors", [4, 32, 128])
def test_projecting_an_estimate_brings_it_nearer_to_the_photo(photo: torch.Tensor, n_colors: int) -> None:
    blurred = torch.nn.functional.avg_pool2d(photo[None], 5, 1, 2, count_include_pad=False)[0]
    wanted = cells.cells_of(quantize(photo, n_colors).rgb)
    before = (blurred - photo).square().sum(0)
    after = (cells.project(blurred, wanted) - photo).square().sum(0)
    assert (after <= before + 1e-6).all()
    assert after.mean() < 0.97 * before.mean()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu() -> None:
    wanted = random_cells(64)
    start = noisy(wanted, 0.2)
    on_gpu = cells.settle(start.cuda(), Quantized(wanted.palette.cuda(), wanted.indices.cuda()))
    torch.testing.assert_close(on_gpu.cpu(), cells.settle(start, wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (partial(cells.cells_of, torch.rand(2, 3, 4, 4)), "one image"),
        (partial(cells.project, torch.rand(3, 4, 5), ALONE), "index map"),
        (partial(cells.project, torch.rand(4, 5), ALONE), "not an image"),
    ],
)
def test_bad_input(call: partial, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call()


def test_on_the_way_to_a_goal_pixels_stop_at_the_border_of_their_cell() -> None:
    palette = torch.tensor([[0.0, 0.0, 0.0], [200.0, 0.0, 0.0]]) / 255
    indices = torch.tensor([[0, 0, 1, 0]])
    start = torch.tensor([[[10.0, 10, 150, 40]], [[0.0, 20, 30, 0]], [[0.0, 0, 0, 0]]]) / 255
    goal = torch.tensor([[[190.0, 60, 250, 40]], [[0.0, 40, 90, 0]], [[0.0, 0, 0, 255]]]) / 255
    found = 255 * cells.toward(start, goal, Quantized(palette, indices))
    expected = torch.tensor([[[100.0, 60, 250, 40]], [[0.0, 40, 90, 0]], [[0.0, 0, 0, 255]]])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="do not fit an image of shape"):
        cells.toward(start, goal[:, :, :2], Quantized(palette, indices))


def test_moved_towards_a_goal_pixels_are_in_their_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    quantized = cells.cells_of((torch.rand(3, 6, 7, generator=generator) * 255).round() / 255)
    start = cells.project(torch.rand(3, 6, 7, generator=generator), quantized)
    goal = 2 * torch.rand(3, 6, 7, generator=generator) - 0.5
    moved = cells.toward(start, goal, quantized)
    torch.testing.assert_close(cells.project(moved, quantized), moved, atol=1e-5, rtol=0)
    assert ((moved - goal).norm(dim=0) <= (start - goal).norm(dim=0) + 1e-6).all()
