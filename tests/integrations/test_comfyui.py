"""The node pack for ComfyUI, against the stub in `tests/support/comfy_api`: ComfyUI itself is not installed here."""

import ast
import json
import tomllib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dequant.color import matching
from dequant.color.levels import to_rgb
from dequant.colorization.pipeline import METHODS as COLORIZERS
from dequant.diffusion.fidelity import MODES
from dequant.edit import colorizing, painting, repainting
from dequant.edit.colorizing import ColorSettings, colorize
from dequant.edit.edited import Edited
from dequant.edit.edits import Reference, dequantize, transfer
from dequant.edit.lock import lock
from dequant.edit.repainting import repaint
from dequant.edit.sources import Source, pipeline
from dequant.errors import InputError
from dequant.io.colors import to_hex
from dequant.io.originals import read_original
from dequant.pipelines.loading import BUNDLED
from tests.support import edited as edits
from tests.support.comfy_api import NodeClass, installed, io, load_pack
from tests.support.comfy_api.execution import ValidationError, run, run_workflow, shown
from tests.support.paths import GOLDEN, ROOT

FOLDER = ROOT / "integrations" / "comfyui"
THEME = "#102040, #f0e0c0, #806040, #c05030"


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, NodeClass]]:
    with installed():
        yield load_pack(FOLDER)


def photo(name: str = "caps") -> Image.Image:
    return Image.open(GOLDEN / f"{name}.png").convert("RGB").resize((64, 48), Image.Resampling.BOX)


def as_image(*pictures: Image.Image | np.ndarray) -> Tensor:
    """As ComfyUI's Load Image makes them."""
    return torch.stack([torch.from_numpy(np.array(one).astype(np.float32) / 255) for one in pictures])


def kept(made: list[Edited], *given: Any, **options: Any) -> Edited:
    """What the library makes, which the list then holds."""
    made.append(colorize(*given, **options))
    return made[-1]


def square(height: int = 48, width: int = 64) -> Tensor:
    mask = torch.zeros(1, height, width)
    mask[:, height // 4 : height // 2, width // 4 : width // 2] = 1
    return mask


def palette(nodes: dict[str, NodeClass], text: str = THEME, **options: Any) -> Any:
    return run(nodes["DequantPaletteFromText"], text=text, **options)[0]


def test_seven_nodes_with_names_descriptions_and_choices_of_the_library(nodes: dict[str, NodeClass]) -> None:
    schemas = [one.GET_SCHEMA() for one in nodes.values()]
    assert len(schemas) == 7 and all(one.display_name and one.description for one in schemas)
    assert {one.category for one in schemas} == {"dequant"}
    choices = {one.id: one.options for schema in schemas for one in schema.inputs if isinstance(one, io.Combo.Input)}
    match = next(one for one in nodes["DequantMatchPalette"].GET_SCHEMA().inputs if one.id == "method")
    assert isinstance(match, io.Combo.Input) and match.options == list(matching.METHODS)
    assert choices["luminance"] == list(painting.LUMINANCE) and choices["way"] == list(repainting.WAYS)
    assert choices["keep_palette"] == list(MODES) and choices["weights"] == list(BUNDLED)
    assert choices["method"] == list(COLORIZERS)


def test_comfyui_starts_without_the_library() -> None:
    for path in FOLDER.glob("*.py"):
        imported = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert "dequant" not in " ".join(map(ast.unparse, imported)), "it is imported where it is used"


def test_the_project_file_is_as_the_registry_wants_it() -> None:
    found = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    assert found["project"]["dependencies"] == ["dequant"] and found["project"]["version"].count(".") == 2
    assert found["tool"]["comfy"]["DisplayName"] and "PublisherId" in found["tool"]["comfy"]


def test_a_typed_palette_is_seen_and_read_again(nodes: dict[str, NodeClass]) -> None:
    colors, swatches, text = run(nodes["DequantPaletteFromText"], text="tomato rgb(0 0 255)\n#0f0").args
    assert text == "#ff6347, #0000ff, #00ff00" and colors.counts.tolist() == [1, 1, 1]
    assert torch.equal(swatches[0, 0].unique_consecutive(dim=0), colors.colors)
    assert torch.equal(palette(nodes, text).colors, colors.colors)


@pytest.mark.parametrize("text", ["viridis", " colormap:viridis\n"])
def test_a_colour_map_has_as_many_colours_as_asked_for(text: str, nodes: dict[str, NodeClass]) -> None:
    found = palette(nodes, text, n_colors=5)
    assert found.colors.shape == (5, 3) and torch.equal(found.colors, (found.colors * 255).round() / 255)


@pytest.mark.parametrize("text", ["", "no-colour", "colormap:nothing", "../secret.gpl", "255 128 100"])
def test_bad_text_is_one_sentence_before_anything_runs(text: str, nodes: dict[str, NodeClass]) -> None:
    with pytest.raises(ValidationError, match=r"^[^\n]+: (give|choose) [^\n]+\.$") as refused:
        palette(nodes, text)
    node = nodes["DequantPaletteFromText"]
    assert node.validate_inputs(text=None) is True
    with pytest.raises(InputError) as raised:
        node.execute(text=text, n_colors=4)
    assert str(raised.value) == str(refused.value)


def test_the_palette_of_a_photo_is_the_one_that_edits_find(nodes: dict[str, NodeClass]) -> None:
    found, _, text = run(nodes["DequantExtractPalette"], image=as_image(photo()), n_colors=5).args
    expected = Source.of(read_original(photo()), 5, painting.Settings()).quantized
    assert torch.equal(found.colors, expected.palette) and torch.equal(found.counts, expected.counts)
    assert text.split(", ") == list(map(to_hex, found.colors))


def test_a_batch_has_one_palette_and_a_mask_says_whose(nodes: dict[str, NodeClass]) -> None:
    red, blue = (np.full((8, 8, 3), color, np.uint8) for color in ([200, 0, 0], [0, 0, 200]))
    image, node = as_image(red, blue), nodes["DequantExtractPalette"]
    assert run(node, image=image, n_colors=4)[2] in ("#c80000, #0000c8", "#0000c8, #c80000")
    found, _, text = run(node, image=image, mask=torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])).args
    assert text == "#c80000" and found.counts.tolist() == [64], "what is outside does not count"
    with pytest.raises(InputError, match=r"^The mask is empty: mark at least one pixel\.$"):
        run(node, image=image, mask=torch.zeros(1, 64, 64))  # what Load Image gives for an opaque file


def test_colours_are_edited_by_number_and_by_likeness(nodes: dict[str, NodeClass]) -> None:
    node, before = nodes["DequantEditPalette"], palette(nodes)
    found = run(node, palette=before, edits="2 = tomato\n\n#111f44=#00ff00")
    assert found[2] == "#00ff00, #ff6347, #806040, #c05030"
    assert before.colors[1].tolist() != found[0].colors[1].tolist(), "the palette that came in stays"
    assert run(node, palette=before, edits="")[2] == THEME
    with pytest.raises(ValidationError, match=r"^Expected lines such as 3=#c81e1e or #aa0000=#00aa88, got 'red'\.$"):
        run(node, palette=before, edits="red")
    with pytest.raises(InputError, match=r"^There is no colour 5: the palette has 4, counted from 1\.$"):
        run(node, palette=before, edits="5=red")


def test_matching_then_painting_is_the_librarys_transfer_to_the_bit(nodes: dict[str, NodeClass]) -> None:
    image, theme = as_image(photo()), palette(nodes, "viridis", n_colors=6)
    own = run(nodes["DequantExtractPalette"], image=image, n_colors=6)[0]
    options: dict[str, Any] = {"method": "rank", "rank": 1, "blend": 0.75}
    target = run(nodes["DequantMatchPalette"], own_palette=own, palette=theme, **options)[0]
    found = run(nodes["DequantDequantize"], image=image, palette=target, own_palette=own, way="anew", seed=3)
    expected = transfer(photo(), "colormap:viridis", 6, **options, settings=painting.Settings(seed=3))
    assert torch.equal(found[0][0], torch.from_numpy(to_rgb(expected.levels)))
    assert found[1] == str(expected.report)
    with pytest.raises(InputError, match="There are only 6 assignments"):
        run(nodes["DequantMatchPalette"], own_palette=Reference(own.colors[:1], own.counts[:1]), palette=own, rank=9)


def test_a_batch_is_edited_image_by_image_as_the_library_does(nodes: dict[str, NodeClass]) -> None:
    photos, theme = [photo(), photo("plane")], palette(nodes)
    options: dict[str, Any] = {"n_colors": 4, "luminance": "keep", "seed": 7}
    image, report, details = run(nodes["DequantDequantize"], image=as_image(*photos), palette=theme, **options).args
    assert shown == [(1, 2), (2, 2)]
    colors = THEME.split(", ")
    made = [transfer(one, colors, 4, settings=painting.Settings(luminance="keep", seed=7)) for one in photos]
    assert torch.equal(image, torch.stack([torch.from_numpy(to_rgb(one.levels)) for one in made]))
    assert report == "\n\n".join(f"image {i}\n{one.report}" for i, one in enumerate(made, start=1))
    assert json.loads(details)[1]["report"] == json.loads(json.dumps(made[1].report.as_json()))


def test_without_a_palette_a_photo_is_restored_from_its_own(nodes: dict[str, NodeClass]) -> None:
    pipeline("edit_G")
    loaded = pipeline.cache_info().misses
    found = run(nodes["DequantDequantize"], image=as_image(photo()), n_colors=4, keep_palette="exact", seed=1)
    assert pipeline.cache_info().misses == loaded, "weights are loaded once"
    expected = dequantize(photo(), 4, settings=painting.Settings(keep_palette="exact", seed=1))
    assert torch.equal(found[0][0], torch.from_numpy(to_rgb(expected.levels)))
    assert json.loads(found[2])[0]["recipe"].split("versions")[0] == str(expected.recipe).split("versions")[0]


def test_one_colour_of_the_own_palette_changes_and_the_rest_stays(nodes: dict[str, NodeClass]) -> None:
    image = as_image(photo())
    own = run(nodes["DequantExtractPalette"], image=image, n_colors=4)
    target = run(nodes["DequantEditPalette"], palette=own[0], edits="1=#00aa88")[0]
    found = run(nodes["DequantDequantize"], image=image, palette=target, own_palette=own[0])
    expected = repaint(photo(), 4, swaps={own[2].split(", ")[0]: "#00aa88"})
    assert torch.equal(found[0][0], torch.from_numpy(to_rgb(expected.levels)))
    again = run(nodes["DequantDequantize"], image=image, palette=own[0], own_palette=own[0])
    assert torch.equal(again[0], image), "what does not change stays to the bit"


def test_palettes_that_do_not_fit_are_refused(nodes: dict[str, NodeClass]) -> None:
    node, image, four, two = nodes["DequantDequantize"], as_image(photo()), palette(nodes), palette(nodes, "red, blue")
    with pytest.raises(InputError, match=r"^The palette has 2 colours and the own palette 4: [^\n]+\.$"):
        run(node, image=image, palette=two, own_palette=four)
    with pytest.raises(InputError, match="connect a palette, too"):
        run(node, image=image, own_palette=four)
    with pytest.raises(InputError, match="give way='anew', got 'change'"):
        run(node, image=image, palette=four, own_palette=four, keep_palette="exact")


def test_a_mask_says_where_a_photo_changes(nodes: dict[str, NodeClass]) -> None:
    image, own = as_image(photo(), photo("plane")), palette(nodes, "#803020, #c0c0b0")
    options = {"palette": palette(nodes, "#208030, #4060c0"), "own_palette": own, "way": "move"}
    whole = run(nodes["DequantDequantize"], image=image, **options)[0]
    mask = square()
    mask[:, 30, 30] = 0.5
    found, report, _ = run(nodes["DequantDequantize"], image=image, mask=mask, **options).args
    assert torch.equal(found[:, mask[0] == 1], whole[:, mask[0] == 1]) and not torch.equal(found, image)
    assert torch.equal(found[:, mask[0] == 0], image[:, mask[0] == 0])
    assert torch.allclose(found[:, 30, 30], (image + whole)[:, 30, 30] / 2)
    assert "by the mask" in report


def test_masks_are_resized_and_one_for_each_image_or_for_all(nodes: dict[str, NodeClass]) -> None:
    image, own = as_image(photo(), photo()), palette(nodes, "#803020")
    options = {"palette": palette(nodes, "#208030"), "own_palette": own, "way": "move"}
    masks = torch.stack([torch.ones(24, 32), torch.zeros(24, 32)])
    found, report, _ = run(nodes["DequantDequantize"], image=image, mask=masks, **options).args
    assert torch.equal(found[1], image[1]) and not torch.equal(found[0], image[0])
    assert report.endswith("image 2\nnote: the mask is empty, so that the image stays as it is")
    with pytest.raises(InputError, match=r"^3 masks do not fit 2 photos: give one for all, or one for each\.$"):
        run(nodes["DequantDequantize"], image=image, mask=torch.ones(3, 48, 64))


def test_alpha_is_kept_and_hidden_pixels_make_no_colour(nodes: dict[str, NodeClass]) -> None:
    rgba = np.dstack([np.array(photo()), np.full((48, 64), 255, np.uint8)])
    rgba[:12] = [255, 0, 255, 0]
    own = run(nodes["DequantExtractPalette"], image=as_image(rgba), n_colors=2)
    options = {"palette": palette(nodes, "#208030, #4060c0"), "own_palette": own[0], "way": "move"}
    found = run(nodes["DequantDequantize"], image=as_image(rgba), **options)
    swaps = dict(zip(own[2].split(", "), ["#208030", "#4060c0"], strict=True))
    expected = repaint(Image.fromarray(rgba, "RGBA"), 2, swaps=swaps, way="move")
    assert torch.equal(found[0][..., 3], as_image(rgba)[..., 3]), "to the bit"
    assert torch.equal(found[0][0, 12:, :, :3], torch.from_numpy(to_rgb(expected.levels))[12:])
    with pytest.raises(InputError, match="no visible pixel"):
        run(nodes["DequantDequantize"], image=torch.zeros(1, 8, 8, 4))


def test_values_between_levels_have_16_bits(nodes: dict[str, NodeClass]) -> None:
    image = as_image(photo()) * 0.999
    own = run(nodes["DequantExtractPalette"], image=image, n_colors=4)[0]
    found = run(nodes["DequantDequantize"], image=image, palette=own, own_palette=own, way="move")
    assert torch.equal(found[0], image)
    with pytest.raises(InputError, match="not finite"):
        run(nodes["DequantExtractPalette"], image=image / 0)


def test_the_lock_brings_the_photo_back_outside_the_mask(nodes: dict[str, NodeClass]) -> None:
    before, place = edits.photo(size=96), edits.disc(96, 12, (40, 50))
    after = edits.edited(before, place)
    mask = torch.from_numpy(place).float()[None]
    image, moved, report = run(
        nodes["DequantLockColours"], edited=as_image(after), source=as_image(before), mask=mask
    ).args
    expected = lock(after, before, place.astype(np.float32))
    assert torch.equal(image[0], torch.from_numpy(to_rgb(expected.levels)))
    assert torch.equal(image[0, place], as_image(after)[0, place]), "inside the edit stays"
    far = ~edits.disc(96, 40, (40, 50)) & ~expected.moved
    assert torch.equal(image[0, far], as_image(before)[0, far])
    assert torch.equal(moved[0] > 0, torch.from_numpy(expected.moved))
    assert report.startswith("outside the mask: dE ")


def test_the_lock_keeps_floats_and_takes_one_source_for_all(nodes: dict[str, NodeClass]) -> None:
    before, place = edits.photo(size=96), edits.disc(96, 12, (40, 50))
    after = as_image(edits.edited(before, place), edits.drifted(before)) * 0.9995
    mask = torch.stack([torch.from_numpy(place).float(), torch.zeros(96, 96)])
    node, source = nodes["DequantLockColours"], as_image(before)
    image, _, report = run(node, edited=after, source=source, mask=mask).args
    assert torch.equal(image[0, place], after[0, place])
    assert torch.equal(image[1], source[0]), "nothing was to change"
    assert report.startswith("image 1\n") and "\n\nimage 2\n" in report
    with pytest.raises(InputError, match="Everything is inside the mask"):
        run(node, edited=after, source=source, mask=torch.ones(1, 96, 96))
    with pytest.raises(InputError, match="2 sources do not fit 1 photos"):
        run(node, edited=source, source=after)
    with pytest.raises(InputError, match="another aspect ratio"):
        run(node, edited=after[:, :50], source=source)


def test_colouring_is_the_librarys(nodes: dict[str, NodeClass], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Edited] = []
    monkeypatch.setattr(colorizing, "colorize", partial(kept, made))
    found = run(nodes["DequantColorize"], image=as_image(photo()), prompt="a red cap", scale=0.5, steps=1, seed=5)
    assert torch.equal(found[0][0], torch.from_numpy(to_rgb(made[0].levels)))
    assert found[1] == str(made[0].report) and json.loads(found[2])[0]["recipe"] == str(made[0].recipe)
    assert made[0].recipe.edit == {"prompt": "a red cap", "scale": 0.5, "colorfulness": None}
    assert made[0].recipe.settings["seed"] == 5 and made[0].recipe.settings["num_inference_steps"] == 1


@pytest.mark.parametrize(
    ("amount", "wanted"),
    [("scale", {"scale": 1.0}), ("auto", {"scale": "auto"}), ("colorfulness", {"colorfulness": 30.0})],
)
def test_the_amount_of_colour_is_passed_on(
    amount: str, wanted: dict[str, Any], nodes: dict[str, NodeClass], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    edited = repaint(photo(), 2, swaps={"red": "red"}, way="move")  # needs no network

    def colorize(*given: Any, **options: Any) -> Edited:
        asked.append((given, options))
        return edited

    monkeypatch.setattr(colorizing, "colorize", colorize)
    run(nodes["DequantColorize"], image=as_image(photo()), amount=amount, method="semantic")
    ((_, prompt), options) = asked[0]
    assert prompt is None and options == {**wanted, "settings": ColorSettings("semantic")}


def test_the_example_runs(nodes: dict[str, NodeClass]) -> None:
    class LoadImage(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema("LoadImage", inputs=[io.String.Input("image")], outputs=[io.Image.Output()])

        @classmethod
        def execute(cls, image: str) -> io.NodeOutput:
            return io.NodeOutput(as_image(photo()))

    class Sink(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(
                "Sink", inputs=[io.Image.Input("images"), io.String.Input("filename_prefix", optional=True)]
            )

        @classmethod
        def execute(cls, images: Tensor, filename_prefix: str = "") -> io.NodeOutput:
            return io.NodeOutput()

    known = {**nodes, "LoadImage": LoadImage, "SaveImage": Sink, "PreviewImage": Sink}
    prompt = json.loads((FOLDER / "examples" / "one_colour.json").read_text())
    done = run_workflow(known, prompt)
    assert done["3"][2].startswith("#00aa88, ") and done["4"][0].shape == (1, 48, 64, 3)
