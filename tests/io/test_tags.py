"""EXIF, XMP and resolution of a photo, in the files of its edits."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from dequant.io.originals import Original, encode, read_original
from dequant.io.tags import read_tags
from tests.support.profiles import rgb_profile

CAMERA = {
    Base.ExposureTime: 0.004,
    Base.ISOSpeedRatings: 200,
    Base.LensModel: "50 mm",
    Base.MakerNote: b"maker\0note",
    Base.ColorSpace: 65535,
    Base.ExifImageWidth: 48,
    Base.ExifImageHeight: 32,
}
PLACE = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 8.0, 30.5)}


def exif(orientation: int = 6) -> Image.Exif:
    tags = Image.Exif()
    tags[Base.Make], tags[Base.Model], tags[Base.Orientation], tags[Base.Copyright] = "Maker", "M 1", orientation, "Me"
    tags[IFD.Exif], tags[IFD.GPSInfo] = dict(CAMERA), dict(PLACE)
    return tags


def with_thumbnail(tags: Image.Exif) -> bytes:
    """EXIF whose first directory points to a second one, of a thumbnail."""
    block = bytearray(tags.tobytes()[6:])
    assert block[:2] == b"MM"
    count = int.from_bytes(block[8:10])
    block[10 + 12 * count : 14 + 12 * count] = len(block).to_bytes(4)
    thumbnail = b"\xff\xd8THUMB\xff\xd9"
    entries = ((0x201, 4, 1, len(block) + 2 + 24 + 4), (0x202, 4, 1, len(thumbnail)))
    second = b"".join(t.to_bytes(2) + k.to_bytes(2) + n.to_bytes(4) + v.to_bytes(4) for t, k, n, v in entries)
    return b"Exif\0\0" + bytes(block) + len(entries).to_bytes(2) + second + bytes(4) + thumbnail


def photo(suffix: str = "JPEG", **options: Any) -> bytes:
    """48 x 32 pixels of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (48, 32), (200, 80, 60)).save(file, suffix, **options)
    return file.getvalue()


def written(original: Original, name: str) -> Image.Image:
    data, notes = encode(original.levels, original, name)
    assert notes == ()
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("target", ["a.jpg", "a.png", "a.webp", "a.avif", "a.tif"])
def test_exif_survives_and_is_upright(source: str, target: str) -> None:
    original = read_original(photo(source, exif=exif().tobytes(), icc_profile=rgb_profile("Display P3")))
    assert original.levels.shape == (48, 32, 3)
    image = written(original, target)
    assert image.size == (32, 48)
    found = image.getexif()
    assert found.get(Base.Orientation, 1) == 1 and found[Base.Make] == "Maker" and found[Base.Copyright] == "Me"
    camera = found.get_ifd(IFD.Exif)
    assert camera[Base.ExposureTime] == pytest.approx(0.004) and camera[Base.LensModel] == "50 mm"
    assert camera[Base.MakerNote] == b"maker\0note" and camera[Base.ColorSpace] == 65535
    assert (camera[Base.ExifImageWidth], camera[Base.ExifImageHeight]) == (32, 48)
    place = found.get_ifd(IFD.GPSInfo)
    assert place[GPS.GPSLatitudeRef] == "N" and place[GPS.GPSLatitude] == pytest.approx((48, 8, 30.5))
    assert read_original(io.BytesIO(encode(original.levels, original, target)[0]).getvalue()).levels.shape == (
        48,
        32,
        3,
    )


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_exif_of_16_bits(name: str) -> None:
    tags = with_thumbnail(exif(1))
    levels = np.full((32, 48, 3), 40000, np.uint16)
    original = read_original(encode(levels, Original(levels, exif=tags, dpi=(300, 240)), "b.png")[0])
    data, _ = encode(original.levels, original, name)
    found = Image.open(io.BytesIO(data)).getexif()
    assert found[Base.Model] == "M 1" and found.get_ifd(IFD.Exif)[Base.LensModel] == "50 mm"
    assert found.get_ifd(IFD.GPSInfo)[GPS.GPSLatitudeRef] == "N"
    if name == "a.tif":
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            assert file.pages.first.tags["Make"].value == "Maker" and len(file.pages) == 1
            assert file.pages.first.tags["ExifTag"].value["LensModel"] == "50 mm"


def test_thumbnails_are_gone() -> None:
    data = photo(exif=with_thumbnail(exif()))
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(IFD.IFD1) and b"THUMB" in data
    original = read_original(data)
    assert original.exif is not None and b"THUMB" not in original.exif
    for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
        assert not written(original, name).getexif().get_ifd(IFD.IFD1)


def test_structure_of_a_tiff_is_no_exif() -> None:
    original = read_original(photo("TIFF", compression="tiff_lzw"))
    assert original.exif is None
    original = read_original(photo("TIFF", exif=exif().tobytes()))
    found = written(original, "a.jpg").getexif()
    assert not found.keys() & {Base.ImageWidth, Base.Compression, Base.StripOffsets, Base.BitsPerSample}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp"])
def test_resolution(name: str) -> None:
    original = read_original(photo("PNG", dpi=(300, 240)))
    assert original.dpi == pytest.approx((300, 240), abs=0.02)
    assert written(original, name).info["dpi"] == pytest.approx((300, 240), abs=0.02)
    turned = read_original(photo("PNG", dpi=(300, 240), exif=exif()))
    assert turned.dpi == pytest.approx((240, 300), abs=0.02)


@pytest.mark.parametrize("dpi", [(0, 0), (float("nan"), 1), (1e9, 1e9), (-1, 1), "ab", (72,), None])
def test_a_resolution_that_is_none(dpi: Any) -> None:
    image = Image.new("RGB", (4, 4))
    image.info["dpi"] = dpi
    assert read_original(image).dpi is None


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="A"/></x:xmpmeta>'


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.avif", "a.tif"])
def test_xmp_survives_without_its_orientation(name: str) -> None:
    for xmp in (XMP, XMP.replace(b'="6"', b">6</tiff:Orientation")):
        found = written(read_original(photo(exif=exif(), xmp=xmp)), name).info["xmp"]
        assert found.rstrip(b"\0") == xmp.replace(b'="6', b'="1').replace(b">6<", b">1<")
        assert read_original(photo("PNG")).xmp is None


@pytest.mark.parametrize(
    "what", [b"hdrgm:Version", b"<xmp:Thumbnails>", b"GCamera:MotionPhoto", b"Container:Directory"]
)
def test_xmp_of_other_pictures_is_left_out(what: bytes) -> None:
    original = read_original(photo(xmp=XMP.replace(b"dc:title", what)))
    assert original.xmp is None
    assert original.notes[1:] == ("its XMP describes other pictures than this one, and was not kept",)


def test_what_a_format_does_not_hold_is_noted() -> None:
    original = read_original(photo(exif=exif(), xmp=XMP))
    assert encode(original.levels, original, "a.bmp")[1] == (
        "its EXIF was not kept: .bmp holds none",
        "its XMP was not kept: .bmp holds none",
    )
    long = original._replace(exif=b"Exif\0\0" + bytes(70000))
    data, notes = encode(original.levels, long, "a.jpg")
    assert notes == ("its EXIF was not kept: .jpg holds at most 65000 bytes",)
    assert "exif" not in Image.open(io.BytesIO(data)).info


def test_exif_says_srgb_where_the_file_is() -> None:
    """Adobe RGB that only EXIF names ends in sRGB."""
    tags = exif(1)
    tags[IFD.Exif] = CAMERA | {IFD.Interop: {1: "R03"}}
    original = read_original(photo(exif=tags))
    assert original.notes == ("converted from Adobe RGB to sRGB",) and original.own is None
    image = written(original, "a.jpg")
    camera = image.getexif().get_ifd(IFD.Exif)
    assert camera[Base.ColorSpace] == 1 and IFD.Interop not in camera
    assert abs(read_original(image).levels.astype(int) - original.levels).max() <= 3
    tags[IFD.Exif] = CAMERA | {IFD.Interop: {1: "R98"}}
    found = written(read_original(photo(exif=tags)), "a.jpg").getexif()
    assert found.get_ifd(IFD.Interop)[1] == "R98"


def test_damaged_exif_is_noted() -> None:
    image = Image.new("RGB", (4, 4))
    image.getexif()[Base.Make] = object()
    tags, notes = read_tags(image, (4, 4), in_srgb=True)
    assert tags.exif is None and notes == ["its EXIF is damaged, and was not kept"]
    assert read_original(image).notes == tuple(notes)
