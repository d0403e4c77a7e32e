"""Masks in every form, and what they leave of the photo."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.condition.channels import for_patch
from dequant.errors import InputError
from dequant.io.images import read_image, read_photo
from dequant.pipelines.dequant import DequantPipeline
from dequant.pipelines.inputs import mask, masks
from tests.support.paths import CASES
from tests.support.pipelines import SIZE, draw, seeded

INSIDE = np.zeros((8, 12), dtype=bool)
INSIDE[1:4, 2:9] = True

LEVELS = np.where(INSIDE, 255, 0).astype(np.uint8)

GREY = Image.fromarray(LEVELS)


def turned() -> Image.Image:
    """The mask on its side, which its EXIF says."""
    image = GREY.transpose(Image.Transpose.ROTATE_90)
    image.getexif()[274] = 6
    return image


def with_alpha(image: Image.Image) -> Image.Image:
    """An image with the mask as its transparency."""
    made = image.convert("RGBA")
    made.putalpha(GREY)
    return made


def painted(color: tuple[int, int, int], background: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """The mask in a colour."""
    return Image.fromarray(np.where(INSIDE[..., None], color, background).astype(np.uint8))


def palette_image() -> Image.Image:
    """Indices of two dark colours, as in data sets of segments."""
    image = Image.fromarray(INSIDE.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    return image


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8))

FORMS: dict[str, Any] = {
    "bool": INSIDE,
    "tensor": torch.from_numpy(INSIDE),
    "float": INSIDE.astype(np.float32),
    "float levels": INSIDE * 255.0,
    "16 bits": np.where(INSIDE, 20000, 1000).astype(np.uint16),
    "(H, W, 1)": LEVELS[..., None],
    "(H, W, 3)": LEVELS[..., None].repeat(3, 2),
    "(H, W, 4)": np.asarray(with_alpha(PHOTO)),
    "(1, H, W)": torch.from_numpy(LEVELS)[None],
    "(3, H, W)": torch.from_numpy(LEVELS)[None].expand(3, -1, -1),
    "L": GREY,
    "1": Image.fromarray(INSIDE),
    "I;16": Image.fromarray(np.where(INSIDE, 20000, 1000).astype(np.uint16)),
    "I": Image.fromarray(INSIDE.astype(np.int32)),
    "RGB": GREY.convert("RGB"),
    "P": GREY.convert("P"),
    "P of a data set": palette_image(),
    "on its side": turned(),
    "alpha of white": with_alpha(Image.new("RGB", GREY.size, "white")),
    "alpha of black": with_alpha(Image.new("RGB", GREY.size)),
    "a cut-out photo": with_alpha(PHOTO),
    "LA": with_alpha(Image.new("RGB", GREY.size, "white")).convert("LA"),
    "opaque RGBA": GREY.convert("RGBA"),
    "painted red": painted((255, 0, 0)),
    "painted blue": painted((0, 0, 255)),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_the_mask(name: str, tmp_path: Path) -> None:
    assert np.array_equal(mask(FORMS[name]).numpy(), INSIDE)
    if isinstance(FORMS[name], Image.Image):
        FORMS[name].save(tmp_path / "mask.png", exif=FORMS[name].getexif())
        for path in (tmp_path / "mask.png", str(tmp_path / "mask.png")):
            assert np.array_equal(mask(path).numpy(), INSIDE)


def test_masks_that_people_bring() -> None:
    expected = read_image(CASES / "pass" / "mask_L.png")[0]
    assert torch.equal(mask(CASES / "pass" / "mask_L.png"), expected)
    rows = torch.zeros(96, 128)
    rows[20:70, 30:100] = 1
    assert torch.equal(mask(CASES / "mask_white_alpha.png"), rows)
    found = mask(CASES / "phone_mask.jpg")
    assert (found[62:88, 63:88] == 1).all()
    assert found[:58].max() == found[92:].max() == found[:, :58].max() == found[:, 94:].max() == 0


def test_soft_masks() -> None:
    ramp = torch.linspace(0, 1, 21).repeat(3, 1)
    found = mask(ramp)
    assert torch.equal(found[:, 2:-2], ramp[:, 2:-2])
    assert found[0, :2].tolist() == [0, 0] and found[0, -2:].tolist() == [1, 1]
    assert (mask(Image.fromarray((ramp * 255).round().byte().numpy())) - found).abs().max() < 0.01


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros((4, 4)), "empty"),
        (np.full((4, 4), 1.5), "outside"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.array([[0, 1, 2], [3, 1, 0]]), "labels of several regions"),
        (np.array([[0, -1]]), "labels"),
        (np.zeros((5, 5, 2)), "mask of shape"),
        (np.zeros((0, 4)), "mask of shape"),
        (np.ones(4), "mask of shape"),
        (CASES / "nowhere.png", "no image file"),
        (CASES / "lospec.hex", "not an image"),
    ],
)
def test_what_is_no_mask_is_one_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        mask(value)
    assert "\n" not in str(error.value)


def test_one_mask_or_one_each() -> None:
    batch = torch.from_numpy(np.stack((INSIDE, ~INSIDE)))
    assert len(masks(batch, 2)) == 2 and torch.equal(masks(batch, 2)[1], batch[1])
    assert len(masks(torch.ones(3, 8, 12), 3)) == 3 and masks(torch.ones(3, 8, 12), 3)[0].shape == (8, 12)
    assert masks(torch.ones(3, 8, 12), 1)[0].shape == (3, 8, 12)
    assert masks(np.ones((8, 12, 3)), 2)[1].shape == (8, 12, 3)
    assert masks(np.ones((2, 8, 12, 3)), 2)[1].shape == (8, 12, 3)
    assert masks("a.png", 3) == ["a.png"] * 3
    with pytest.raises(InputError, match="2 masks do not fit 3 photos"):
        masks(batch, 3)


def test_outside_the_picture_is_the_photo(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    inside = torch.zeros(SIZE)
    inside[4:12, 6:20] = 1
    hard = draw(pipe, photo, mask=inside, color="#ff8000")[0]
    assert torch.equal(hard[:, inside == 0], photo[:, inside == 0])
    condition = for_patch(photo, inside > 0, torch.tensor([1, 128 / 255, 0]), pipe.control.texture.map(photo))
    drawn = pipe.draw([condition], generator=torch.Generator().manual_seed(0))[0]
    assert torch.equal(hard[:, inside == 1], drawn[:, inside == 1])
    soft = draw(pipe, photo, mask=inside * 0.5, color="#ff8000")[0]
    torch.testing.assert_close(soft[:, inside == 1], (photo + drawn)[:, inside == 1] / 2, atol=1e-6, rtol=0)


def test_transparency_stays(pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path) -> None:
    pixels = (photo * 255).round().byte().permute(1, 2, 0).numpy()
    alpha = np.zeros(SIZE, np.uint8)
    alpha[:, : SIZE[1] // 2] = 255
    alpha[0, 0] = 100
    Image.fromarray(np.dstack((pixels, alpha))).save(tmp_path / "cut.png")
    output = pipe(tmp_path / "cut.png", n_colors=4)
    assert output.images[0].mode == "RGBA"
    assert np.array_equal(np.asarray(output.images[0].getchannel("A")), alpha)
    assert draw(pipe, tmp_path / "cut.png").shape[1] == 3
    seen = read_photo(tmp_path / "cut.png")
    other = pixels.copy()
    other[:, SIZE[1] // 2 :] = (0, 255, 0)
    Image.fromarray(np.dstack((other, alpha))).save(tmp_path / "other.png")
    assert torch.equal(seen.rgb, read_photo(tmp_path / "other.png").rgb)


def test_profiles_of_pictures(pipe: DequantPipeline) -> None:
    p3 = Image.open(CASES / "p3_photo.jpg")
    output = pipe(p3, n_colors=2, seeds=[0])
    assert output.notes == ["converted from Display P3 like to sRGB"]
    source = pipe(p3, n_colors=2, profile="source", seeds=[0]).images[0]
    assert source.info["icc_profile"] == p3.info["icc_profile"] != output.images[0].info["icc_profile"]
    assert (read_image(source) - read_image(output.images[0])).abs().mean() < 0.02


def test_palettes_by_name(pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path) -> None:
    one = draw(pipe, photo, n_colors=3, palette=str(CASES / "lospec.hex"))
    assert torch.equal(one, draw(pipe, photo, n_colors=3, palette=["#000", "#ff8000", "#14c8ff"]))
    assert torch.equal(one, draw(pipe, photo, n_colors=3, palette="black #ff8000 rgb(20, 200, 255)"))
    reference = draw(pipe, photo, n_colors=3, palette=CASES / "photo.png")
    assert torch.equal(reference, draw(pipe, photo, n_colors=3, palette=Image.open(CASES / "photo.png")))
    names, seeds = [CASES / "lospec.hex", str(CASES / "photo.png")], [seeded(), seeded()]
    both = draw(pipe, [photo, photo], n_colors=3, palette=names, generator=seeds)
    torch.testing.assert_close(both, torch.cat((one, reference)), atol=1e-5, rtol=0)


LABELS = np.random.default_rng(0).integers(0, 4, (8, 12))


def voc(count: int) -> Image.Image:
    """A map of labels in a palette of colours."""
    image = Image.fromarray((LABELS % count).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    return image


@pytest.mark.parametrize(
    "value",
    [
        voc(3),
        voc(4).convert("RGB"),
        np.array([0, 7, 23, 26])[LABELS].astype(np.uint8),
        np.array([0, 1, 2, 255])[LABELS].astype(np.uint8),
        np.array([1, 2, 1, 2])[LABELS],
        np.array([0, 100, 200, 300])[LABELS],
    ],
    ids=["VOC", "painted", "Cityscapes", "void", "from one", "large"],
)
def test_labels_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match="regions"):
        mask(value)


def test_few_greys_are_soft() -> None:
    found = mask(np.array([[0, 64, 128, 191, 255]], np.uint8))
    assert found.tolist() == [pytest.approx([0, 64 / 255, 128 / 255, 191 / 255, 1])]
