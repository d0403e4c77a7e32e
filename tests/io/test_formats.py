"""Which files are read, what the others are called, and limits that hold before pixels are decoded."""

import io
import resource
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dequant.errors import InputError
from dequant.io import formats
from dequant.io.formats import NOT_AN_IMAGE, TOO_LARGE, open_image
from dequant.io.images import decode, header, read_image
from tests.support.data import jpeg, picture
from tests.support.paths import CASES

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["photo.avif", "manifest_jfif/p0.jfif", "pass/mpo.jpg", "pass/rgb16.png"])
def test_reads_what_people_bring(name: str) -> None:
    assert read_image(CASES / name).isfinite().all()


def test_avif_is_the_photo() -> None:
    assert (read_image(CASES / "photo.avif") - read_image(CASES / "photo.png")).abs().mean() < 0.02


def test_heic_is_read_where_pillow_heif_is(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(picture(1)).save(file, quality=95)
    assert np.abs(np.asarray(decode(file.getvalue(), "a.heic"), int) - np.asarray(picture(1), int)).mean() < 5
    assert ".heic" in formats.SUFFIXES


def test_heic_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"'a.heic' is a HEIC image: pip install 'dequant\[heic\]'"):
        open_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic")


@pytest.mark.parametrize(
    "pixels",
    [
        PIXELS / np.float32(255),
        PIXELS / 255.0,
        PIXELS.astype(np.float32),
        PIXELS.astype(np.uint16) * 257,
        PIXELS.astype(np.uint32) * 257,
    ],
    ids=["float32", "float64", "float levels", "16 bits", "32 bits"],
)
@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_deep_color_tiffs_are_the_photo(pixels: np.ndarray, layout: str) -> None:
    planes = pixels if layout == "contig" else np.moveaxis(pixels, -1, 0).copy()
    data = tiff(planes, photometric="rgb", planarconfig=layout)
    assert np.abs(np.asarray(decode(data, "a.tif"), int) - PIXELS).max() <= 1


def test_bigtiff_is_read() -> None:
    assert np.array_equal(np.asarray(decode(tiff(PIXELS, photometric="rgb", bigtiff=True), "a.tif")), PIXELS)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.float32([[[0.25, 0.5, 1.75]]]), "a TIFF of 3 float32 channels .rgb. with values from 0.25 to 1.75"),
        (np.float32([[0.5, 3.2]]), "a float image with values from 0.5 to 3.2"),
        (np.float32([[0.5, np.nan]]), "a float image"),
        (np.int32([[1, 200]]), "an integer image with values from 1 to 200"),
    ],
)
def test_numbers_without_a_known_range_are_refused(pixels: np.ndarray, sentence: str) -> None:
    options = {"photometric": "rgb"} if pixels.ndim == 3 else {}
    with pytest.raises(InputError, match=f"'a.tif'.*{sentence}"):
        decode(tiff(pixels, **options), "a.tif")


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.psd", b"8BPS\0\1" + bytes(20), "a Photoshop document"),
        ("a.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "not an image but a web page"),
        ("a.svg", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        ("a.pdf", b"%PDF-1.7\n", "a PDF"),
        ("a.jxl", b"\xff\x0a" + bytes(20), "a JPEG XL image"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        ("a.exr", b"\x76\x2f\x31\x01" + bytes(20), "an OpenEXR image"),
        ("a.mp4", b"\0\0\0\x18ftypisom" + bytes(12), "a video"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("a.zip", b"PK\3\4" + bytes(30), "a zip archive"),
        ("a.nef", tiff(PIXELS, photometric="rgb"), "a camera's raw file"),
        (
            "a.tif",
            tiff(PIXELS, photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0", True)]),
            "a camera's raw file .DNG.",
        ),
        ("a.txt", b"some text", "not an image"),
        ("a.png", b"", "not an image but empty"),
    ],
)
def test_other_files_are_named_as_what_they_are(name: str, data: bytes, kind: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is {kind}") as error:
        open_image(data, name)
    assert "\n" not in str(error.value)
    assert header(data).flaw == (NOT_AN_IMAGE if name not in ("a.nef",) else None)


def test_bombs_are_refused_by_their_header() -> None:
    data = (CASES / "faults" / "lie_13000.jpg").read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"too many pixels \(13000 x 13000\): at most \d+ are accepted"):
        decode(data, "lie")
    assert header(data).flaw == TOO_LARGE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_the_limit_holds_for_every_format(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, kind)
    monkeypatch.setattr(formats, "MAX_PIXELS", 40 * 30)
    assert decode(file.getvalue(), "a").size == (40, 30)
    monkeypatch.setattr(formats, "MAX_PIXELS", 40 * 30 - 1)
    with pytest.raises(InputError, match="too many pixels"):
        decode(file.getvalue(), "a")
    with pytest.raises(InputError, match="too many pixels"):
        read_image(Image.new("RGB", (40, 30)))


def test_pixels_agree_with_the_header() -> None:
    assert decode((CASES / "faults" / "two_ihdr.png").read_bytes(), "a").size == (64, 64)
    data = bytearray(jpeg(1))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 800, 800)
    try:
        assert decode(bytes(data), "a").size == (800, 800)
    except InputError as error:
        assert "damaged" in str(error)
