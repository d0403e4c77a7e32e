"""LUTs: what a map of colours carries of an edit, and its files."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dequant.color.levels import difference, to_levels, to_rgb
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.color.table import fit_table, identity_table, look_up
from dequant.edit.lut import apply_lut, fit_lut, read_cube, write_cube, write_hald
from dequant.errors import InputError
from tests.support.photos import golden_square

UINT8 = np.dtype(np.uint8)
SIZE = 17


def photo(name: str = "caps") -> NDArray[np.uint8]:
    return to_levels(golden_square(name, 96).movedim(0, -1).numpy(), UINT8)


def turned(levels: NDArray[np.uint8], degrees: float = 60) -> NDArray[np.uint8]:
    light, a, b = rgb_to_lab(torch.from_numpy(to_rgb(levels)).movedim(-1, 0))
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    rgb = lab_to_rgb(torch.stack((light, cos * a - sin * b, sin * a + cos * b)))
    return to_levels(rgb.movedim(0, -1).numpy(), UINT8)


def mixed(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    mix = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [-0.1, 0.2, 0.9]], np.float32)
    return to_levels(to_rgb(levels) @ mix.T, UINT8)


def darker(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return to_levels(to_rgb(levels) ** 1.4, UINT8)


def wavy(size: int = SIZE) -> NDArray[np.float64]:
    table = identity_table(size)
    return np.clip(table + 0.2 * np.sin(3 * table[..., [1, 2, 0]]), 0, 1)


@pytest.mark.parametrize("edit", [turned, mixed, darker])
def test_a_global_edit_is_carried(edit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
    source = photo()
    lut = fit_lut(source, edit(source))
    assert lut.edit > 3
    assert lut.residual < 0.3
    assert lut.share == lut.residual / lut.edit
    carried = difference(to_rgb(apply_lut(source, lut.table)), to_rgb(edit(source)))
    assert carried.mean() == pytest.approx(lut.residual, abs=0.01)


def test_no_edit_is_the_identity_and_has_share_0() -> None:
    lut = fit_lut(photo(), photo(), SIZE)
    assert lut.edit == lut.residual == lut.share == 0
    assert np.array_equal(apply_lut(photo(), lut.table), photo())


def test_a_map_cannot_carry_what_depends_on_the_place() -> None:
    """Both halves show the same, and one becomes lighter: the best map makes both half as much lighter."""
    source = np.tile(photo(), (1, 2, 1)) // 2
    edited = source.copy()
    edited[:, 96:] += 40
    assert fit_lut(source, edited, SIZE).share == pytest.approx(1, abs=0.1)


def test_a_table_is_never_worse_than_none() -> None:
    """A fit to RGB may end farther from the picture in CIEDE2000 than the photo is: then it changes nothing."""
    source = np.full((64, 64, 3), 20, np.uint8)
    edited = source.copy()
    edited[::8, ::8] = 255  # the mean of all is far from nearly all
    found = fit_lut(source, edited, SIZE)
    assert found.residual == found.edit and found.share == 1
    assert np.array_equal(found.table, identity_table(SIZE))


def test_halves_of_different_colours_are_carried() -> None:
    source = photo() // 4
    source[:, 48:] += 128
    edited = source.copy()
    edited[:, 48:] = turned(source[:, 48:])
    assert fit_lut(source, edited).share < 0.05


def test_unseen_colours_stay() -> None:
    source = np.full((500, 3), 0.2) + np.random.default_rng(0).uniform(-0.05, 0.05, (500, 3))
    table = fit_table(source, source + [0.1, 0, -0.1], SIZE, 1e-6)
    change = table - identity_table(SIZE)
    assert np.abs(change[-1, -1, -1]).max() < 0.005
    found = look_up(torch.full((1, 3), 0.2, dtype=torch.float64), torch.from_numpy(table))
    assert found[0].tolist() == pytest.approx([0.3, 0.2, 0.1], abs=0.002)


def test_looking_up_is_trilinear() -> None:
    table = torch.from_numpy(wavy(3))
    nodes = torch.tensor([[0.5, 0.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(look_up(nodes, table)[0], table[2, 0, 1])
    between = torch.tensor([[0.25, 0.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(look_up(between, table)[0], (table[2, 0, 0] + table[2, 0, 1]) / 2)
    beyond = torch.tensor([[1.5, -1.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(look_up(beyond, table)[0], table[2, 0, 2])


def test_levels_of_16_bits_keep_them() -> None:
    levels = photo().astype(np.uint16) * 257 + 3
    levels = np.minimum(levels, 65535)
    found = apply_lut(levels, identity_table(2))
    assert found.dtype == np.uint16
    assert np.abs(found.astype(int) - levels).max() <= 1


def test_a_cube_file_has_red_fastest(tmp_path: Path) -> None:
    """The order of the Adobe specification, read by hand."""
    write_cube(wavy(2), tmp_path / "a.cube", 'two "nodes"\n')
    lines = (tmp_path / "a.cube").read_text().splitlines()
    assert lines[:4] == ['TITLE "two _nodes__"', "LUT_3D_SIZE 2", "DOMAIN_MIN 0.0 0.0 0.0", "DOMAIN_MAX 1.0 1.0 1.0"]
    assert len(lines) == 4 + 8
    assert np.allclose(np.array(lines[5].split(), float), wavy(2)[0, 0, 1], atol=1e-6)
    assert np.allclose(np.array(lines[6].split(), float), wavy(2)[0, 1, 0], atol=1e-6)
    assert np.allclose(np.array(lines[8].split(), float), wavy(2)[1, 0, 0], atol=1e-6)


def test_a_cube_file_is_read_back(tmp_path: Path) -> None:
    write_cube(wavy(), tmp_path / "a.cube")
    assert np.abs(read_cube(tmp_path / "a.cube") - wavy()).max() <= 5e-7


def test_cube_files_of_other_tools_are_read(tmp_path: Path) -> None:
    rows = "\r\n".join(f"{r} {g} {b}" for b in (0, 1) for g in (0, 1) for r in (0, 1))
    (tmp_path / "a.cube").write_text(f"# made by hand\r\n\r\nLUT_3D_SIZE 2\r\nLUT_3D_INPUT_RANGE 0.0 1.0\r\n{rows}\r\n")
    assert np.array_equal(read_cube(tmp_path / "a.cube"), identity_table(2))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "LUT_3D_SIZE 2\n0 0 0\n",
        "LUT_1D_SIZE 2\n0 0 0\n1 1 1\n",
        "LUT_3D_SIZE x\n",
        "LUT_3D_SIZE 1000\n",
        "LUT_3D_SIZE 2\n" + "0 0 nan\n" * 8,
        "LUT_3D_SIZE 2\nDOMAIN_MAX 2 2 2\n" + "0 0 0\n" * 8,
        "LUT_3D_SIZE 2\nDOMAIN_MIN 1 1 1\n" + "0 0 0\n" * 8,
    ],
)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.cube").write_text(text)
    with pytest.raises(InputError, match="a.cube"):
        read_cube(tmp_path / "a.cube")
    with pytest.raises(InputError, match="no LUT"):
        read_cube(tmp_path / "b.cube")


def test_a_hald_image_is_the_graded_identity(tmp_path: Path) -> None:
    """A pixel's place is its colour, red fastest: grading the identity's image is the image of the table."""
    write_hald(identity_table(16), tmp_path / "plain.png", 4)
    write_hald(wavy(16), tmp_path / "wavy.png", 4)
    plain, graded = (imagecodecs.png_decode((tmp_path / name).read_bytes()) for name in ("plain.png", "wavy.png"))
    assert plain.shape == (64, 64, 3) and plain.dtype == np.uint16
    assert plain[0, 1].tolist() == [65535 // 15, 0, 0]
    assert plain[0, 16].tolist() == [0, 65535 // 15, 0]
    assert plain[4, 0].tolist() == [0, 0, 65535 // 15]
    assert np.abs(apply_lut(plain, wavy(16)).astype(int) - graded).max() <= 1


def test_wrong_inputs_are_refused(tmp_path: Path) -> None:
    source = photo()
    for wrong in (source / 255, source[..., 0], source[:0]):
        with pytest.raises(InputError, match="uint8 or uint16"):
            fit_lut(wrong, wrong)
    with pytest.raises(InputError, match="one size, got 96 x 96 for the source and 95 x 96"):
        fit_lut(source, source[:, 1:])
    with pytest.raises(InputError, match="from 2 to 129"):
        fit_lut(source, source, 1)
    with pytest.raises(InputError, match="smoothness"):
        fit_lut(source, source, smoothness=0)
    with pytest.raises(InputError, match="table"):
        apply_lut(source, np.zeros((3, 3, 3)))
    with pytest.raises(InputError, match="from 2 to 16"):
        write_hald(identity_table(2), tmp_path / "a.png", 1)
    assert not list(tmp_path.iterdir())
