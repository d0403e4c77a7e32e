"""The fast reader of PNG files gives Pillow's pixels, and leaves to Pillow what is not ordinary."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, PngImagePlugin

from dequant.io.images import decode
from dequant.io.png import SIGNATURE, read_png

LIMIT = 10**6


def written(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def file_of(lines: np.ndarray, width: int, header: bytes = bytes((8, 2, 0, 0, 0))) -> bytes:
    """A file whose lines (H, 1 + 3 W) begin with their filter types; the data comes in two pieces."""
    data = zlib.compress(lines.tobytes())
    pieces = data[: len(data) // 2], data[len(data) // 2 :]
    size = struct.pack(">II", width, len(lines))
    body = b"".join(chunk(b"IDAT", piece) for piece in pieces)
    return SIGNATURE + chunk(b"IHDR", size + header) + body + chunk(b"IEND", b"")


@settings(max_examples=200, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))), st.integers(0, 9))
def test_pixels_are_those_that_were_written(pixels: np.ndarray, level: int) -> None:
    assert np.array_equal(read_png(written(pixels, compress_level=level), LIMIT), pixels)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 7), st.data())
def test_every_filter_is_pillows(width: int, data: st.DataObject) -> None:
    shape = (data.draw(st.integers(1, 6)), 1 + 3 * width)
    lines = data.draw(arrays(np.uint8, shape))
    lines[:, 0] = data.draw(arrays(np.uint8, shape[0], elements=st.integers(0, 4)))
    file = file_of(lines, width)
    assert np.array_equal(read_png(file, LIMIT), np.array(Image.open(io.BytesIO(file))))


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def with_text(key: str) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text(key, "x")
    return written(PIXELS, pnginfo=texts)


def test_a_text_does_no_harm() -> None:
    assert np.array_equal(read_png(with_text("Software"), LIMIT), PIXELS)


UNUSUAL = {
    "grey": written(PIXELS[..., 0]),
    "transparent": written(np.dstack((PIXELS, PIXELS[..., :1]))),
    "16 bits": written(PIXELS[..., 0].astype(np.uint16)),
    "transparent colour": written(PIXELS, transparency=(1, 2, 3)),
    "orientation": written(PIXELS, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    "orientation in a text": with_text("Raw profile type exif"),
    "no png": b"GIF89a" + bytes(50),
    "nothing": b"",
    "unknown filter": file_of(np.full((2, 7), 5, np.uint8), 2),
    "interlaced": file_of(np.zeros((2, 7), np.uint8), 2, bytes((8, 2, 0, 0, 1))),
    "too few lines": file_of(np.zeros((2, 4), np.uint8), 2),
    "no compressed data": SIGNATURE + chunk(b"IHDR", bytes((0, 0, 0, 1) * 2 + (8, 2, 0, 0, 0))) + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_files_are_left_to_pillow(name: str) -> None:
    assert read_png(UNUSUAL[name], LIMIT) is None


@pytest.mark.parametrize("name", ["grey", "transparent", "16 bits", "transparent colour", "orientation"])
def test_pillow_reads_them(name: str) -> None:
    assert decode(UNUSUAL[name], name).mode == "RGB"


def test_files_of_too_many_pixels_are_left_to_pillow() -> None:
    assert read_png(written(PIXELS), 19) is None
    assert read_png(written(PIXELS), 20) is not None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_damaged_files_are_left_to_pillow(position: int, change: int) -> None:
    file = bytearray(written(PIXELS))
    file[position % len(file)] ^= change
    assert read_png(bytes(file), LIMIT) is None


@given(st.integers(0, 10**6))
def test_truncated_files_are_left_to_pillow(length: int) -> None:
    file = written(PIXELS)
    assert read_png(file[: length % len(file)], LIMIT) is None
