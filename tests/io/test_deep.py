"""Photos of 16 bits: what the formats can do, colours against a float reference, and damage."""

import io
import random
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from dequant.errors import InputError
from dequant.io import formats
from dequant.io.deep import convert, to_8_bits
from dequant.io.images import read_photo
from dequant.io.metadata import SRGB
from dequant.io.originals import Original, encode, read_original
from tests.support.profiles import grey_profile, rgb_profile

RNG = np.random.default_rng(0)
RGBA = RNG.integers(1, 65536, (6, 9, 4), dtype=np.uint16)


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of (H, W, C), with chunks ahead of its pixels."""
    return with_chunks(
        imagecodecs.png_encode(np.ascontiguousarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)), *chunks
    )


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    return data[:33] + b"".join(chunk(*one) for one in chunks) + data[33:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def interlaced(pixels: np.ndarray) -> bytes:
    """A PNG of RGB in the seven passes of Adam7, without filters."""
    lines = b""
    for y, x, dy, dx in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        part = pixels[y::dy, x::dx].astype(">u2")
        lines += b"".join(b"\0" + line.tobytes() for line in part if line.size)
    size = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 1)
    body = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "rgb"} | options))
    return file.getvalue()


def check(data: bytes, colors: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """That a file is read as these colours (H, W, 1 or 3) and alpha, and written again with 16 bits."""
    original = read_original(data)
    assert original.levels.dtype == np.uint16
    assert np.array_equal(original.levels, np.broadcast_to(colors, original.levels.shape))
    assert (original.alpha is None) == (alpha is None) and np.array_equal(original.alpha, alpha)  # type: ignore[arg-type]
    for name in ("a.png", "a.tif"):
        again = read_original(encode(original.levels, original, name)[0])
        assert np.array_equal(again.levels, original.levels) and np.array_equal(again.alpha, alpha)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_kinds_of_png(channels: int) -> None:
    colors, alpha = (RGBA[..., :1], RGBA[..., 1]) if channels < 3 else (RGBA[..., :3], RGBA[..., 3])
    check(png(RGBA[..., :channels]), colors, alpha if channels in (2, 4) else None)


def test_interlaced_png() -> None:
    check(interlaced(RGBA[..., :3]), RGBA[..., :3])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_color_of_png(channels: int) -> None:
    pixels = RGBA[..., :channels].copy()
    pixels[2, 3] = pixels[4, 5]
    data = png(pixels, (b"tRNS", struct.pack(f">{channels}H", *pixels[2, 3].tolist())))
    original = read_original(data)
    hidden = original.alpha == 0
    assert np.argwhere(hidden).tolist() == [[2, 3], [4, 5]] and original.alpha.max() == 65535  # type: ignore[union-attr]
    assert np.array_equal(original.levels[~hidden], np.broadcast_to(pixels, (6, 9, 3))[~hidden])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "lzw", "predictor": True},
        {"compression": "zlib"},
        {"tile": (16, 16)},
        {"planarconfig": "separate"},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_kinds_of_tiff(options: dict[str, Any]) -> None:
    planes = RGBA.transpose(2, 0, 1) if "planarconfig" in options else RGBA
    colors = planes[:3] if "planarconfig" in options else planes[..., :3]
    check(tiff(colors, **options), RGBA[..., :3])
    check(tiff(planes, extrasamples=("unassalpha",), **options), RGBA[..., :3], RGBA[..., 3])
    check(tiff(RGBA[..., 0], **(options | {"photometric": "minisblack", "planarconfig": None})), RGBA[..., :1])


def test_premultiplied_colors_are_divided() -> None:
    straight = RGBA.copy()
    straight[..., 3] = RNG.integers(30000, 65535, (6, 9))
    product = straight.copy()
    product[..., :3] = np.rint(straight[..., :3] * (straight[..., 3:] / 65535))
    original = read_original(tiff(product, extrasamples=("assocalpha",)))
    assert abs(original.levels.astype(int) - straight[..., :3]).max() <= 1
    assert np.array_equal(original.alpha, straight[..., 3])  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation: int) -> None:
    """Pillow turns the 8 bits of the same photo."""
    exif = Image.Exif()
    exif[274] = orientation
    small = Image.fromarray(to_8_bits(RGBA[..., :3]))
    file = io.BytesIO()
    small.save(file, "PNG", exif=exif)
    expected = read_original(file.getvalue())
    deep = with_chunks(imagecodecs.png_encode(RGBA[..., :3].copy()), (b"eXIf", exif.tobytes()[6:]))
    for data in (deep, tiff(RGBA[..., :3], extratags=[(274, "H", 1, orientation, True)])):
        found = read_original(data)
        assert found.levels.dtype == np.uint16
        assert np.array_equal(to_8_bits(found.levels), expected.levels)
    assert read_original(deep).notes == expected.notes


def test_white_is_zero() -> None:
    with pytest.raises(InputError, match=r"a TIFF of 1 uint16 channels \(miniswhite\)"):
        read_original(tiff(RGBA[..., 0], photometric="miniswhite"))


def test_12_bits_in_16_are_refused() -> None:
    with pytest.raises(InputError, match="an integer image with values from 0 to 4000"):
        read_original(png(np.array([[[0], [4000]]], np.uint16)))


def test_8_bits_are_the_nearest() -> None:
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_8_bits(values), np.rint(values / 257))
    assert to_8_bits(values.reshape(2, 128, 256)).shape == (2, 128, 256)


ADOBE_RGB = np.array(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)))
REC_709 = np.array(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)))


def to_xyz(primaries: np.ndarray) -> np.ndarray:
    x, y = primaries.T
    columns = np.stack((x / y, np.ones(3), (1 - x - y) / y))
    return columns * np.linalg.solve(columns, (0.3127 / 0.3290, 1, 0.3583 / 0.3290))


def adobe_to_srgb(levels: np.ndarray, gamma: float = 563 / 256) -> np.ndarray:
    """In floating point."""
    linear = (levels / 65535) ** gamma @ (np.linalg.inv(to_xyz(REC_709)) @ to_xyz(ADOBE_RGB)).T
    linear = linear.clip(0, 1)
    return 65535 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_profiles_are_converted_at_16_bits() -> None:
    """Against floats; a profile's numbers have 16 bits after the point. Tables would be off by thousands."""
    levels = RNG.integers(0, 65536, (200, 300, 3), dtype=np.uint16)
    error = abs(convert(levels, rgb_profile("Adobe RGB"), SRGB) - adobe_to_srgb(levels))
    assert error.max() < 40 and error.mean() < 4
    narrow = RNG.integers(9000, 56000, (200, 300, 3), dtype=np.uint16)
    for name in ("Adobe RGB", "Display P3", "ProPhoto"):
        there = convert(narrow, SRGB, rgb_profile(name))
        assert abs(convert(there, rgb_profile(name), SRGB).astype(int) - narrow).max() <= 12
        assert np.unique(there[..., 1]).size > 25000


def test_primaries_without_a_profile_are_converted_at_16_bits() -> None:
    xy = [number for point in ((0.3127, 0.3290), *ADOBE_RGB.tolist()) for number in point]
    chunks = (
        (b"gAMA", struct.pack(">I", 55556)),
        (b"cHRM", struct.pack(">8I", *(round(1e5 * v) for v in xy))),
    )
    original = read_original(png(RGBA[..., :3], *chunks))
    assert original.levels.dtype == np.uint16 and original.own is None
    assert original.notes == ("converted from the gamma and primaries of its file to sRGB",)
    assert abs(original.levels - adobe_to_srgb(RGBA[..., :3], 1e5 / 55556)).max() < 40
    with pytest.raises(InputError, match="high dynamic range"):
        read_original(png(RGBA[..., :3], (b"cICP", bytes((9, 16, 0, 1)))))


def test_greys_of_png_with_a_profile() -> None:
    profile = b"grey\0\0" + zlib.compress(grey_profile(1.0))
    original = read_original(png(np.full((2, 2, 1), 64 * 257, np.uint16), (b"iCCP", profile)))
    assert original.levels[0, 0].tolist() == pytest.approx([65535 * 0.53806] * 3, abs=20)


def test_a_given_image_of_16_bits() -> None:
    image = Image.fromarray(RGBA[..., 0])
    image.getexif()[274] = 6
    original = read_original(image)
    assert np.array_equal(original.levels[..., 1], np.rot90(RGBA[..., 0], -1)) and original.notes == ("turned upright",)


def test_ink_of_16_bits_is_read_with_8() -> None:
    ink = np.full((4, 4, 4), (0, 65535, 65535, 0), np.uint16)
    original = read_original(tiff(ink, photometric="separated"))
    assert abs(original.levels[0, 0].astype(int) - (254, 0, 0)).max() <= 2
    assert original.notes == ("has no colour profile, and was read as simple CMYK", "16 bits became 8")


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_broken_png_of_16_bits_is_one_sentence(cut: float) -> None:
    data = png(RNG.integers(0, 65536, (60, 60, 3), dtype=np.uint16))
    with pytest.raises(InputError, match=r"^'the given bytes' is damaged \(.*\): replace it by a sound copy\.$"):
        read_original(data[: int(len(data) * cut)])


def test_hidden_photos_and_large_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = RGBA.copy()
    nothing[..., 3] = 100
    with pytest.raises(InputError, match="no visible pixel"):
        read_original(png(nothing))
    monkeypatch.setattr(formats, "MAX_PIXELS", 53)
    for data in (png(RGBA), tiff(RGBA[..., :3]), tiff(RGBA[..., :3], bigtiff=True)):
        with pytest.raises(InputError, match=r"too many pixels \(9 x 6\)"):
            read_original(data)


def seeds() -> dict[str, bytes]:
    profile = rgb_profile("Display P3")
    tags = Image.Exif()
    tags[271], tags[274] = "Maker", 6
    original = Original(RGBA[..., :3], RGBA[..., 3], profile=profile, exif=tags.tobytes(), dpi=(300, 300), xmp=b"<x/>")
    files = {name: encode(original.levels, original, name)[0] for name in ("a.png", "a.tif")}
    return files | {
        "grey.png": png(RGBA[..., :1]),
        "lzw.tif": tiff(RGBA[..., :3], compression="lzw"),
        "planes.tif": tiff(RGBA.transpose(2, 0, 1), planarconfig="separate", extrasamples=("assocalpha",)),
    }


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(changed))
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 9)]
        else:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
    return with_sums(bytes(changed)) if rng.random() < 0.5 else bytes(changed)


def with_sums(data: bytes) -> bytes:
    """A PNG whose check sums fit again, so that damage reaches further in."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        parts.append(chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(parts)


@pytest.mark.parametrize("name", seeds())
def test_damage_is_a_photo_or_a_sentence(name: str) -> None:
    data, rng, outcomes = seeds()[name], random.Random(name), {"read": 0, "refused": 0}
    for _ in range(100):
        try:
            original = read_original(mutated(data, rng))
        except InputError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        assert original.levels.dtype in (np.uint8, np.uint16) and original.levels.shape[-1] == 3
        encode(255 - to_8_bits(original.levels), original, "b.png")
    assert min(outcomes.values()) > 2


def test_photos_of_16_bits_agree_with_those_of_8() -> None:
    data = png(RGBA[..., :3])
    assert (read_original(data).photo.rgb - read_photo(data).rgb).abs().max() <= 1.01 / 255
