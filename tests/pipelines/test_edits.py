"""What a pipeline does by default: weights that follow the photo, indexed images, colour maps."""

import io
from typing import Any

import pytest
import torch
from PIL import Image

from dequant.color.matching import match
from dequant.color.palette import colormap_palette, quantize, transfer
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.errors import InputError
from dequant.io.images import Photograph, to_pil, to_tensor
from dequant.io.palettes import indexed_colors
from dequant.metrics.texture import bands, fine_correlation
from dequant.pipelines.dequant import DequantPipeline
from tests.support.photos import golden_photo
from tests.support.pipelines import draw, seeded


@pytest.fixture(scope="module")
def edits() -> DequantPipeline:
    pipe = DequantPipeline.bundled()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_transfer_has_no_bands_by_default(edits: DequantPipeline) -> None:
    photo, reference = golden_photo("caps"), golden_photo("plane")
    source, target = quantize(photo, 8), quantize(reference, 8)
    asked = transfer(source, target.palette, match(source.palette, target.palette)).rgb[None]
    made = draw(edits, photo, n_colors=8, palette=reference)
    assert bands(made, photo[None]) < 0.8 * bands(asked, photo[None])
    assert fine_correlation(made, photo[None]) > fine_correlation(asked, photo[None]) + 0.2


def test_texture_is_kept_exactly_where_the_palette_stays_and_followed_where_it_does_not(edits: DequantPipeline) -> None:
    photo, mask = golden_photo("caps"), torch.zeros(golden_photo("caps").shape[1:])
    mask[8:24, 8:24] = 1
    edited: list[dict[str, Any]] = [{"palette": ["#f00", "#0f0"]}, {"mask": mask, "color": "#f00"}]
    for options, kept in (({}, "exact"), *((edit, "guided") for edit in edited)):
        call: dict[str, Any] = {"n_colors": 8, **options}
        assert torch.equal(draw(edits, photo, **call), draw(edits, photo, keep_texture=kept, **call))
        assert not torch.equal(draw(edits, photo, **call), draw(edits, photo, keep_texture="off", **call))


def test_the_networks_read_colours_that_follow_the_photo(edits: DequantPipeline) -> None:
    photo = golden_photo("caps")
    condition = for_palette(quantize(photo, 8).rgb, 8, TEXTURES["G"].map(photo))[None]
    model = edits._model()
    assert torch.equal(model.read(condition), TEXTURES["G"].followed(condition))
    plain = DequantPipeline.bundled("G", "small")._model()
    assert plain.read(condition) is condition


def test_saved_edits_keep_their_defaults(edits: DequantPipeline, tmp_path: Any) -> None:
    edits.save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path)
    assert again.config["keep_texture"] == "guided" and again.control.config["guided"]


def test_an_indexed_image_keeps_its_own_palette(pipe: DequantPipeline) -> None:
    image = to_pil(golden_photo("caps")).quantize(40)
    file = io.BytesIO()
    image.save(file, format="GIF")
    rgb = to_tensor(Image.open(file).convert("RGB"))
    count = indexed_colors(Photograph(rgb))
    assert count is not None and 16 < count <= 40
    own, asked = draw(pipe, Image.open(file)), draw(pipe, rgb, n_colors=count, texture=False)
    assert torch.equal(own, asked)
    assert not torch.equal(own, draw(pipe, rgb, n_colors=16))
    assert indexed_colors(Photograph(golden_photo("caps"))) is None
    assert indexed_colors(Photograph(torch.rand(3, 4, 4, generator=seeded()))) is None


def test_a_colour_map_is_matched_by_rank(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    named = draw(pipe, photo, n_colors=8, palette="colormap:viridis")
    palette = colormap_palette("viridis", 8)
    assert torch.equal(named, draw(pipe, photo, n_colors=8, palette=palette, method="rank"))
    assert not torch.equal(named, draw(pipe, photo, n_colors=8, palette=palette))
    with pytest.raises(InputError, match="no colour map 'magic'"):
        pipe(photo, palette="colormap:magic")
