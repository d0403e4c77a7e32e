"""Colours of files that are not in sRGB, and what else a file says of its pixels."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from dequant.errors import InputError
from dequant.io.formats import NOT_AN_IMAGE
from dequant.io.images import decode, header, read_image, read_photo, write_image
from dequant.io.metadata import SRGB, normalize
from tests.support.paths import CASES
from tests.support.profiles import grey_profile

P3 = Image.open(CASES / "p3_photo.png").info["icc_profile"]

LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

P3_COLORS = [(200, 80, 60), (60, 140, 90)]
"""The sRGB colours of the two halves of the photos in Display P3."""


def halves(rgb: torch.Tensor) -> list[tuple[int, ...]]:
    """The colours of the right and left, or lower and upper, half."""
    pixels = (rgb * 255).round().int()
    return [tuple(pixels[:, y, x].tolist()) for y, x in ((-6, -6), (6, 6))]


def png(*chunks: tuple[bytes, bytes], color: tuple[int, ...] = (200, 80, 60)) -> bytes:
    """A PNG file of one colour with chunks of colorimetry."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, "PNG")
    data = file.getvalue()
    more = b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return data[:33] + more + data[33:]


@pytest.mark.parametrize("name", ["p3_photo.jpg", "p3_photo.png"])
def test_display_p3_is_converted(name: str) -> None:
    photo = read_photo(CASES / name)
    for found, expected in zip(halves(photo.rgb), P3_COLORS, strict=True):
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 2
    assert photo.notes == ("converted from Display P3 like to sRGB",)
    assert photo.profile == P3
    assert halves(read_image(CASES / name)) == halves(photo.rgb)
    opened = read_photo(Image.open(CASES / name))
    assert torch.equal(opened.rgb, photo.rgb)


def test_a_profile_of_srgb_moves_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = SRGB
    found = normalize(image)
    assert np.array_equal(np.asarray(found.image), pixels)
    assert found.profile is None and found.notes == ()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "L"])
def test_every_mode_is_converted(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (184, 88, 69, 128)).convert(mode)
    plain = image.convert("RGB")
    image.info["icc_profile"] = P3
    plain.info["icc_profile"] = P3
    found, expected = normalize(image).image, normalize(plain).image
    assert np.array_equal(np.asarray(found.convert("RGB")), np.asarray(expected))
    assert found.mode == ("RGBA" if mode in ("RGBA", "LA", "P") and image.has_transparency_data else "RGB")


@pytest.mark.parametrize("profile", [b"rubbish", P3[:200], LAB], ids=["rubbish", "cut short", "of Lab"])
def test_profiles_that_do_not_serve_are_named(profile: bytes) -> None:
    image = Image.new("RGB", (4, 4), (200, 80, 60))
    image.info["icc_profile"] = profile
    found = normalize(image)
    assert found.image.getpixel((0, 0)) == (200, 80, 60)
    assert "was not used" in found.notes[0]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_written_images_carry_a_profile(tmp_path: Path, suffix: str) -> None:
    rgb = torch.tensor([200, 80, 60]).div(255)[:, None, None].expand(3, 16, 16)
    write_image(rgb, tmp_path / f"a{suffix}")
    assert Image.open(tmp_path / f"a{suffix}").info["icc_profile"] == SRGB
    write_image(rgb, tmp_path / f"b{suffix}", profile=P3)
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.info["icc_profile"] == P3
        assert abs(image.convert("RGB").getpixel((8, 8))[0] - 184) < 6  # more muted numbers in a wider space
    assert (read_image(tmp_path / f"b{suffix}") - rgb).abs().max() < 0.03


def test_a_profile_of_ink_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not one of RGB"):
        write_image(torch.zeros(3, 4, 4), tmp_path / "a.png", profile=LAB)


GAMMA_1 = struct.pack(">I", 100000)
D65_P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
GAMMA_22 = struct.pack(">I", 45455)


@pytest.mark.parametrize(
    ("chunks", "color", "expected"),
    [
        ([], (200, 80, 60), (200, 80, 60)),
        ([(b"gAMA", GAMMA_22)], (200, 80, 60), (200, 80, 60)),
        ([(b"gAMA", GAMMA_1)], (128, 0, 255), (188, 0, 255)),
        ([(b"gAMA", GAMMA_1), (b"sRGB", b"\0")], (128, 0, 255), (128, 0, 255)),
        ([(b"cHRM", D65_P3), (b"gAMA", GAMMA_22)], (184, 88, 69), (200, 80, 60)),
        ([(b"cICP", bytes((12, 13, 0, 1)))], (184, 88, 69), (200, 80, 60)),
        ([(b"cICP", bytes((1, 13, 0, 1)))], (184, 88, 69), (184, 88, 69)),
        ([(b"cICP", bytes((12, 13, 0, 1))), (b"gAMA", GAMMA_1)], (184, 88, 69), (200, 80, 60)),
    ],
)
def test_colorimetry_of_png(
    chunks: list[tuple[bytes, bytes]], color: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    found = decode(png(*chunks, color=color), "a.png").getpixel((0, 0))
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 2


def test_high_dynamic_range_is_refused() -> None:
    for transfer in (16, 18):
        with pytest.raises(InputError, match="'a.png'.*high dynamic range"):
            decode(png((b"cICP", bytes((9, transfer, 0, 1)))), "a.png")


def test_code_of_avif_is_followed() -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (184, 88, 69)).save(file, "AVIF", quality=100, subsampling="4:4:4")
    data = file.getvalue()
    assert decode(data, "a.avif").getpixel((9, 9)) == pytest.approx((184, 88, 69), abs=3)
    at = data.index(b"colrnclx") + 8
    wide = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    assert decode(wide, "a.avif").getpixel((9, 9)) == pytest.approx((200, 80, 60), abs=4)


def test_adobe_rgb_of_cameras_is_followed() -> None:
    image, file = Image.new("RGB", (16, 16), (174, 80, 61)), io.BytesIO()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    image.save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    found = read_photo(file.getvalue())
    assert found.notes == ("converted from Adobe RGB to sRGB",)
    assert (found.rgb[:, 8, 8] * 255).tolist() == pytest.approx([200, 79, 59], abs=4)


def test_orientation_is_noted() -> None:
    assert read_photo(CASES / "phone_photo.jpg").notes == ("turned upright",)
    for name in ("or.tif", "or.webp"):
        assert read_image(CASES / "pass" / name).shape == (3, 128, 96)


def test_transparency_is_read_and_written(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[:, :4] = (200, 80, 60, 255)
    pixels[:, 4] = (10, 20, 30, 128)
    pixels[:, 5:] = (1, 255, 3, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert photo.alpha is not None and photo.visible is not None
    assert torch.equal((photo.alpha * 255).round().byte(), torch.from_numpy(pixels[..., 3]))
    assert (photo.rgb[:, :, 5:] * 255).round().flatten(1).T.unique(dim=0).tolist() == [[10, 20, 30]]
    for suffix in (".png", ".webp", ".tif", ".avif"):
        write_image(photo.rgb, tmp_path / f"b{suffix}", photo.alpha)
        assert (read_photo(tmp_path / f"b{suffix}").alpha - photo.alpha).abs().max() < 0.02
    with pytest.raises(InputError, match="transparency: use a name that ends in .png"):
        write_image(photo.rgb, tmp_path / "b.jpg", photo.alpha)
    Image.fromarray(np.zeros((2, 2, 4), np.uint8)).save(tmp_path / "nothing.png")
    with pytest.raises(InputError, match="no visible pixel"):
        read_photo(tmp_path / "nothing.png")


def test_the_given_image_stays_as_it_is() -> None:
    image = Image.new("RGB", (4, 3), (200, 80, 60))
    image.info |= {"transparency": (200, 80, 60), "icc_profile": P3}
    image.getexif()[274] = 6
    before = image.copy()
    assert normalize(image).image.size == (3, 4)
    assert image == before and image.mode == "RGB" and image.info["icc_profile"] == P3


def test_headers_name_the_space_ahead_of_the_pixels() -> None:
    assert header((CASES / "p3_photo.jpg").read_bytes()).space == "Display P3 like"
    assert header(png((b"cICP", bytes((12, 13, 0, 1))))).space == "Display P3"
    assert header((CASES / "photo.png").read_bytes()).space == ""
    assert header(png((b"cICP", bytes((9, 16, 0, 1))))).flaw == NOT_AN_IMAGE


@pytest.mark.parametrize("mode", ["L", "LA", "P", "I;16"])
def test_profiles_of_greys(mode: str) -> None:
    image = Image.new("L", (4, 4), 64)
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), 64 * 257, np.uint16))
    image = image if mode in ("L", "I;16") else image.convert(mode)
    image.info["icc_profile"] = grey_profile(1.0)
    found = normalize(image)
    assert found.image.convert("RGB").getpixel((0, 0)) == pytest.approx((137,) * 3, abs=1)
    assert found.notes[-1] == "converted from Grey to sRGB"


def test_deep_greys_with_a_transparent_level(tmp_path: Path) -> None:
    values = np.array([[9000, 20000], [65535, 9000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=9000)
    alpha = read_photo(tmp_path / "a.png").alpha
    assert alpha is not None and alpha.tolist() == [[0, 1], [1, 0]]


def test_unknown_primaries_are_refused() -> None:
    with pytest.raises(InputError, match=r"'a.png' is an image whose colour primaries \(CICP 200\) are not read"):
        decode(png((b"cICP", bytes((200, 13, 0, 1)))), "a.png")


def test_12_bits_in_16_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 4000]], np.uint16)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="an integer image with values from 0 to 4000"):
        read_image(tmp_path / "a.tif")


def test_the_profile_of_srgb_does_not_depend_on_the_time() -> None:
    assert SRGB[24:36] == bytes((7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))
