import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from dequant.errors import InputError
from dequant.io.images import decode, read_image, write_image
from tests.support.data import jpeg, picture


def test_reads_what_was_written_without_loss(tmp_path: Path) -> None:
    rgb = torch.randint(0, 256, (3, 9, 7)) / 255
    write_image(rgb, tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png"), rgb)
    assert torch.equal(read_image(str(tmp_path / "a.png")), rgb)
    assert torch.equal(read_image((tmp_path / "a.png").read_bytes()), rgb)


def test_write_rounds_and_clips(tmp_path: Path) -> None:
    write_image(torch.tensor([-1.0, 0.5, 2.0])[:, None, None].expand(3, 2, 2), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").getpixel((0, 0)) == (0, 128, 255)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".bmp", ".tif", ".tiff"])
def test_every_suffix_can_be_written_and_read(tmp_path: Path, suffix: str) -> None:
    rgb = read_image(jpeg(1))
    write_image(rgb, tmp_path / f"a{suffix}")
    assert (read_image(tmp_path / f"a{suffix}") - rgb).abs().mean() < 0.02


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture(1).save(tmp_path / "a.png", exif=exif)
        turned = read_image(tmp_path / "a.png")
        assert tuple(turned.shape[1:]) == ((40, 48) if orientation < 5 else (48, 40))
    exif[0x0112] = 6
    picture(1).save(tmp_path / "a.png", exif=exif)
    upright = torch.rot90(read_image(tmp_path / "a.png"), 1, (1, 2))
    picture(1).save(tmp_path / "b.png")
    assert torch.equal(upright, read_image(tmp_path / "b.png"))


def test_phone_photos_with_two_frames_are_read() -> None:
    file = io.BytesIO()
    picture(1).save(file, "MPO", save_all=True, append_images=[picture(2)])
    assert read_image(file.getvalue()).shape == (3, 40, 48)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.convert("P" if mode == "PA" else mode).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[:, 0].tolist() == [[0, 1]] * 3


def test_half_transparency_mixes_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (255, 0, 0, 51)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == pytest.approx([1, 0.8, 0.8])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_range(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16)).save(tmp_path / f"a.{suffix}")
    assert (read_image(tmp_path / f"a.{suffix}")[:, 0] * 255).round().tolist() == [[0, 100, 255]] * 3


def test_grey_palette_bilevel_cmyk_and_float(tmp_path: Path) -> None:
    for mode in ("L", "1", "P"):
        Image.new("L", (2, 2), 255).convert(mode).save(tmp_path / "a.png")
        assert torch.equal(read_image(tmp_path / "a.png"), torch.ones(3, 2, 2))
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert read_image(tmp_path / "a.jpg")[:, 3, 3].tolist() == pytest.approx([1, 0, 0], abs=0.02)
    Image.fromarray(np.full((2, 2), 0.2, dtype=np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, 0, 0] == pytest.approx(0.2)


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no image file '.*nowhere.png'"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="There is no image file"):
        read_image(tmp_path)
    (tmp_path / "text.jpg").write_text("not a photo")
    with pytest.raises(InputError, match=r"text.jpg' is not an image"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(InputError, match="given bytes' is not an image but empty"):
        read_image(b"")
    for name, format_ in (("cut.jpg", "JPEG"), ("cut.png", "PNG"), ("cut.webp", "WEBP"), ("cut.tif", "TIFF")):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        noise.save(tmp_path / name, format_)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:3000])
        with pytest.raises(InputError, match=rf"{name}' is (damaged|not an image)"):
            read_image(tmp_path / name)


def test_write_leaves_the_old_file_and_no_rubbish_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(torch.zeros(3, 2, 2), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def fail(image: Image.Image, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_image(torch.ones(3, 2, 2), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_write_refuses_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shape \(3, H, W\)"):
        write_image(torch.zeros(1, 3, 2, 2), tmp_path / "a.png")
    with pytest.raises(InputError, match="not finite"):
        write_image(torch.full((3, 2, 2), torch.nan), tmp_path / "a.png")
    with pytest.raises(InputError, match="no known image suffix"):
        write_image(torch.zeros(3, 2, 2), tmp_path / "a.xyz")
    with pytest.raises(InputError, match="does not exist"):
        write_image(torch.zeros(3, 2, 2), tmp_path / "none" / "a.png")


# --- PNG files


def written(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def file_of(lines: np.ndarray, width: int) -> bytes:
    """A file whose lines (H, 1 + 3 W) begin with their filter types; the data comes in two pieces."""
    data = zlib.compress(lines.tobytes())
    pieces = data[: len(data) // 2], data[len(data) // 2 :]
    size = struct.pack(">II", width, len(lines))
    body = b"".join(chunk(b"IDAT", piece) for piece in pieces)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + bytes((8, 2, 0, 0, 0))) + body + chunk(b"IEND", b"")


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def with_text(key: str) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text(key, "x")
    return written(PIXELS, pnginfo=texts)


UNUSUAL = {
    "text": with_text("Software"),
    "orientation in a text": with_text("Raw profile type exif"),
    "without orientation": written(PIXELS, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    "transparent colour": written(PIXELS, transparency=(1, 2, 3)),
    "opaque": written(np.dstack((PIXELS, np.full((5, 4), 255, np.uint8)))),
    "in pieces, without filters": file_of(np.pad(PIXELS.reshape(5, 12), ((0, 0), (1, 0))), 4),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_png_files_are_read(name: str) -> None:
    assert np.array_equal(np.array(decode(UNUSUAL[name], name)), PIXELS)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_damaged_png_files_are_refused_or_read(position: int, change: int) -> None:
    file = bytearray(written(PIXELS))
    file[position % len(file)] ^= change
    try:
        assert decode(bytes(file), "changed").mode == "RGB"
    except InputError as error:
        assert "'changed'" in str(error)


@pytest.mark.parametrize(
    "lines", [np.full((2, 7), 5, np.uint8), np.zeros((0, 7), np.uint8)], ids=["unknown filter", "no lines"]
)
def test_broken_png_lines_are_named(lines: np.ndarray) -> None:
    with pytest.raises(InputError, match="'broken' is (damaged|not an image)"):
        decode(file_of(lines, 2), "broken")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_truncated_png_files_are_named(length: int) -> None:
    file = written(PIXELS)
    with pytest.raises(InputError, match="'cut' is (damaged|not an image)"):
        decode(file[: length % (len(file) - 28)], "cut")
