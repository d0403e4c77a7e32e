"""Edits in the files of photos: what was not edited has the same bits, and what the photo carried is there."""

import io
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dequant.errors import InputError
from dequant.io.images import read_photo
from dequant.io.metadata import SRGB
from dequant.io.originals import Original, encode, read_original, write_original
from tests.support.paths import CASES, ROOT
from tests.support.profiles import grey_profile, ink_profile, rgb_profile

PROFILES = ("Adobe RGB", "Display P3", "ProPhoto")

RNG = np.random.default_rng(0)
PIXELS = {8: RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8), 16: RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)}
ALPHA = {
    depth: np.linspace(2**depth // 16, 2**depth - 1, 54).reshape(6, 9).astype(PIXELS[depth].dtype) for depth in PIXELS
}


def pixels_in(data: bytes) -> np.ndarray:
    """What a file of 8 or 16 bits holds, by tifffile and imagecodecs."""
    return imagecodecs.png_decode(data) if data.startswith(b"\x89PNG") else tifffile.imread(io.BytesIO(data))


def edited(original: Original) -> np.ndarray:
    """Levels of which the left third is another colour."""
    levels = original.levels.copy()
    levels[:, :3] = np.iinfo(levels.dtype).max // 2
    return levels


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("profile", [None, *PROFILES])
@pytest.mark.parametrize("depth", [8, 16])
def test_what_was_not_edited_keeps_its_bits(depth: int, profile: str | None, suffix: str) -> None:
    icc = None if profile is None else rgb_profile(profile)
    source = encode_own(PIXELS[depth], suffix, icc)
    original = read_original(source)
    assert original.levels.dtype == PIXELS[depth].dtype and original.profile == (icc or SRGB)
    assert (original.own is None) == (profile is None)
    for levels in (original.levels, edited(original)):
        data, notes = encode(levels, original, f"b{suffix}")
        assert notes == () and Image.open(io.BytesIO(data)).info["icc_profile"] == (icc or SRGB)
        assert np.array_equal(pixels_in(data)[:, 3:], PIXELS[depth][:, 3:])
    assert not np.array_equal(pixels_in(data)[:, :3], PIXELS[depth][:, :3])
    again = read_original(data).levels[:, :3].astype(int)
    assert abs(again - np.iinfo(PIXELS[depth].dtype).max // 2).max() <= 2


def encode_own(pixels: np.ndarray, suffix: str, profile: bytes | None) -> bytes:
    """A file whose own values are these pixels."""
    black = np.zeros_like(pixels)
    return encode(black, Original(black, own=pixels, profile=profile), f"a{suffix}")[0]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparency_keeps_its_bits_and_hidden_colors(suffix: str, depth: int) -> None:
    alpha = ALPHA[depth].copy()
    alpha[2:5, 1:4] = 0
    data, _ = encode(PIXELS[depth], Original(PIXELS[depth], alpha), f"a{suffix}")
    original = read_original(data)
    assert original.alpha is not None and original.alpha.dtype == alpha.dtype
    assert np.array_equal(original.alpha, alpha)
    assert np.array_equal(original.levels[alpha > 0], PIXELS[depth][alpha > 0])
    assert original.levels[3, 1].tolist() == PIXELS[depth][3, 0].tolist()
    again, _ = encode(original.levels, original, f"b{suffix}")
    assert np.array_equal(pixels_in(again), np.dstack((PIXELS[depth], alpha)))
    assert original.photo.alpha is not None and original.photo.visible is not None
    assert not original.photo.visible[3, 2]


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
def test_transparency_is_refused_where_it_has_no_place(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' cannot keep the photo's transparency: use a name that ends in"):
        encode(PIXELS[8], Original(PIXELS[8], ALPHA[8]), name)


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_lossy_formats_keep_transparency_and_profile(suffix: str) -> None:
    levels = np.full((32, 32, 3), (200, 80, 60), np.uint8)
    alpha = np.full((32, 32), 100, np.uint8)
    icc = rgb_profile("Display P3")
    found = read_original(encode(levels, Original(levels, alpha, profile=icc, dpi=(300, 300)), f"a{suffix}")[0])
    assert found.profile == icc and found.alpha is not None and abs(found.alpha.astype(int) - 100).max() <= 2
    data, _ = encode(255 - levels, found, f"b{suffix}")
    assert abs(read_original(data).levels.astype(int) - (55, 175, 195)).max() <= 6
    assert Image.open(io.BytesIO(data)).getexif()[282] == 300


def test_8_bit_edits_of_deep_photos_are_scaled() -> None:
    original = read_original(encode_own(PIXELS[16], ".png", rgb_profile("Adobe RGB")))
    levels = (original.photo.rgb.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    levels[:, :3] = 128
    data, _ = encode(levels, original, "b.png")
    assert np.array_equal(pixels_in(data)[:, 3:], PIXELS[16][:, 3:])
    assert abs(read_original(data).levels[:, :3].astype(int) - 128 * 257).max() <= 2


def test_less_depth_is_noted() -> None:
    original = Original(PIXELS[16], alpha=ALPHA[16])
    data, notes = encode(PIXELS[16], original, "a.webp")
    assert notes == ("16 bits became 8: .webp holds no more",)
    assert read_original(data).levels.dtype == np.uint8
    assert encode(PIXELS[16], Original(PIXELS[16]), "a.jpg")[1] == ("16 bits became 8: .jpg holds no more",)


def test_a_format_without_profiles_is_in_srgb() -> None:
    original = read_original(CASES / "p3_photo.png")
    data, notes = encode(original.levels, original, "a.bmp")
    assert notes == ("its colours are in sRGB: .bmp holds no profile",)
    assert np.array_equal(read_original(data).levels, original.levels)


@pytest.mark.parametrize(
    "name",
    ["photo.png", "p3_photo.jpg", "p3_photo.png", "phone_photo.jpg", "photo.avif", "mask_white_alpha.png"]
    + [f"pass/{name}" for name in ("mpo.jpg", "or.tif", "or.webp", "sprite.png", "mask_L.png", "white.png")],
)
def test_8_bit_photos_are_as_they_were_read(name: str) -> None:
    found, expected = read_original(CASES / name), read_photo(CASES / name)
    assert torch.equal(found.photo.rgb, expected.rgb) and found.levels.dtype == np.uint8
    assert (found.photo.alpha is None) == (expected.alpha is None)
    assert expected.alpha is None or torch.equal(found.photo.alpha, expected.alpha)
    assert (found.photo.profile, found.notes) == (expected.profile, expected.notes)


@pytest.mark.parametrize("name", ["pass/rgb16.png", "pass/rgb16.tif"])
def test_deep_photos_are_near_what_8_bits_show(name: str) -> None:
    found = read_original(CASES / name)
    assert found.levels.dtype == np.uint16
    assert (found.photo.rgb - read_photo(CASES / name).rgb).abs().max() <= 1.01 / 255


def test_ink_becomes_srgb() -> None:
    file = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(file, "JPEG", quality=100, icc_profile=ink_profile())
    original = read_original(file.getvalue())
    assert abs(original.levels[8, 8].astype(int) - (196, 0, 0)).max() <= 2
    assert original.own is None and original.photo.profile == ink_profile()
    data, notes = encode(original.levels, original, "a.jpg")
    assert notes == ("its colours are in sRGB: its profile serves only for reading",)
    assert Image.open(io.BytesIO(data)).mode == "RGB" and Image.open(io.BytesIO(data)).info["icc_profile"] == SRGB
    plain = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(plain, "JPEG", quality=100)
    untold = read_original(plain.getvalue())
    assert abs(untold.levels[8, 8].astype(int) - (254, 0, 0)).max() <= 2
    assert untold.notes == ("has no colour profile, and was read as simple CMYK",)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "TIFF"])
def test_other_pictures_of_a_file_are_mentioned(format_: str) -> None:
    pictures = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    for others, said in ((pictures[1:], ("only the first picture of the file was read: it has others",)), ([], ())):
        file = io.BytesIO()
        pictures[0].save(file, format_, save_all=True, append_images=others)
        assert read_original(file.getvalue()).notes == said


@pytest.mark.parametrize("deep", [False, True])
def test_greys_with_a_profile_of_their_own(deep: bool) -> None:
    values = np.full((4, 4), 64 * 257, np.uint16) if deep else np.full((4, 4), 64, np.uint8)
    image = Image.fromarray(values)
    image.info["icc_profile"] = grey_profile(1.0)
    original = read_original(image)
    assert original.own is None and original.levels.shape == (4, 4, 3)
    assert original.levels[0, 0] // (257 if deep else 1) == pytest.approx([137] * 3, abs=1)
    data, _ = encode(original.levels, original, "a.png")
    assert np.array_equal(pixels_in(data), original.levels)
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == SRGB


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".avif", ".bmp"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1)])
def test_the_smallest_pictures(size: tuple[int, int], suffix: str) -> None:
    for dtype in (np.uint8, np.uint16):
        levels = np.full((*size, 3), np.iinfo(dtype).max // 3, dtype)
        original = read_original(encode(levels, Original(levels), f"a{suffix}")[0])
        assert original.levels.shape == levels.shape
        assert abs(original.photo.rgb - 1 / 3).max() < 0.01


def test_text_of_png(tmp_path: Path) -> None:
    for depth in (8, 16):
        write_original(PIXELS[depth], Original(PIXELS[depth]), tmp_path / "a.png", {"dequant": "farbe: grün\nk: 1"})
        with Image.open(tmp_path / "a.png") as image:
            assert image.text["dequant"] == "farbe: grün\nk: 1"  # type: ignore[attr-defined]
        assert np.array_equal(read_original(tmp_path / "a.png").levels, PIXELS[depth])


def test_files_of_jpeg_are_fine(tmp_path: Path) -> None:
    original = read_original(CASES / "p3_photo.jpg")
    assert write_original(original.levels, original, tmp_path / "a.jpg") == ()
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
        assert image.info["icc_profile"] == original.profile
    assert abs(read_original(tmp_path / "a.jpg").levels.astype(int) - original.levels).mean() < 1


@pytest.mark.parametrize(
    ("levels", "name", "sentence"),
    [
        (PIXELS[8][:5], "a.png", r"Expected levels of .*\(6, 9, 3\) uint8, got \(5, 9, 3\) uint8"),
        (PIXELS[16], "a.png", r"Expected levels of .*, got \(6, 9, 3\) uint16"),
        (PIXELS[8], "a.xyz", "'.*a.xyz' has no known image suffix"),
        (PIXELS[8], "none/a.png", "The folder '.*none' does not exist"),
    ],
)
def test_what_cannot_be_written(levels: np.ndarray, name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        write_original(levels, Original(PIXELS[8]), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_a_format_does_not_hold() -> None:
    levels = np.zeros((1, 17000, 3), np.uint8)
    with pytest.raises(InputError, match=r"'a.webp' cannot hold the picture \(.*16383.*\): use a name"):
        encode(levels, Original(levels), "a.webp")
    assert encode(levels, Original(levels), "a.png")[1] == ()


def test_the_given_image_stays_as_it_is() -> None:
    image = Image.new("RGB", (4, 3), (200, 80, 60))
    image.info |= {"icc_profile": rgb_profile("Display P3"), "dpi": (72, 72)}
    image.getexif()[274] = 6
    before = image.copy()
    found = read_original(image)
    assert found.levels.shape == (4, 3, 3) and found.dpi == (72, 72) and found.own is not None
    assert image == before and dict(image.getexif()) == {274: 6}


MEMORY = """
import numpy as np
from PIL import Image
from tests.support.paths import CASES
from dequant.io.originals import read_original, write_original

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

before, original = peak(), read_original({path!r})
levels = original.levels.copy()
levels[:, :3000] //= 2
write_original(levels, original, {path!r})
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
def test_large_photos_fit_the_memory(tmp_path: Path) -> None:
    """24 megapixels in Display P3 on their side, within 600 MB."""
    exif, path = Image.Exif(), str(tmp_path / "a.jpg")
    exif[274] = 6
    with Image.open(CASES / "p3_photo.jpg") as image:
        image.resize((6000, 4000)).save(path, exif=exif, icc_profile=image.info["icc_profile"])
    command = [sys.executable, "-c", MEMORY.format(path=path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and float(done.stdout) < 600, done.stdout + done.stderr
