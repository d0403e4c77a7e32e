"""Nodes that make palettes: typed, taken from images, edited, and matched with others.

A palette is `dequant.edit.edits.Reference`: colours (K, 3) in [0, 1], in 8 bits, and the pixels (K,) of each.
"""

import re
from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io
from torch import Tensor

from .pictures import masks, originals

if TYPE_CHECKING:
    from dequant.edit.edits import Reference

PALETTE = io.Custom("DEQUANT_PALETTE")

CATEGORY = "dequant"

METHODS = ["color", "negative_color", "frequency", "intensity", "rank"]
"""`dequant.color.matching.METHODS`, here so that ComfyUI starts without them."""

SWATCHES = 64, 512
"""Height and about the width in pixels of the picture of a palette."""

NUMBER = re.compile(r"[0-9]{1,3}")


class PaletteFromText(io.ComfyNode):
    """A palette that is typed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Text to a palette."""
        return io.Schema(
            node_id="DequantPaletteFromText",
            display_name="Palette from Text",
            category=CATEGORY,
            description="A palette of typed colours, or of a colour map of matplotlib.",
            inputs=[
                io.String.Input(
                    "text",
                    multiline=True,
                    default="#1b2a49, #e8c07d, #7d9a6b, #c8553d, #f4e9d8",
                    tooltip="Colours such as #c81e1e, rgb(200, 30, 30) or tomato, or the name of a colour map.",
                ),
                io.Int.Input("n_colors", default=16, min=1, max=256, tooltip="Colours of a colour map."),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def validate_inputs(cls, text: str | None = None) -> bool | str:
        """Refuse a text that is none before anything runs; a linked one is not known yet."""
        return _checked(lambda: typed(text, 1)) if text is not None else True

    @classmethod
    def execute(cls, text: str, n_colors: int) -> io.NodeOutput:
        """Read the text.

        Raises:
            InputError: it names no palette.
        """
        return _output(typed(text, n_colors))


class ExtractPalette(io.ComfyNode):
    """The palette of images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Images to a palette."""
        return io.Schema(
            node_id="DequantExtractPalette",
            display_name="Extract Palette",
            category=CATEGORY,
            description="The main colours of an image, most often as many as asked for. A batch has one palette.",
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("n_colors", default=16, min=1, max=256),
                io.Mask.Input("mask", optional=True, tooltip="The part whose colours are taken."),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, image: Tensor, n_colors: int, mask: Tensor | None = None) -> io.NodeOutput:
        """Reduce images to a palette, the same that Dequantize finds for an image without a mask.

        Args:
            image: (B, H, W, C), all in one palette.
            n_colors: 1 to 256.
            mask: (B, H, W); pixels above one half are seen.

        Raises:
            InputError: the images or the mask cannot be used.
        """
        from dequant.edit.edits import Reference
        from dequant.edit.painting import Settings
        from dequant.edit.sources import Material

        seen = [None if one is None else one > 0.5 for one in masks(mask, image)]
        (original,) = originals(_shown(image, seen).flatten(0, 1)[None])
        material = Material.of(original, Settings())
        found = material.quantized(n_colors)
        indices = found.indices if material.visible is None else found.indices[material.visible][None]
        return _output(Reference(found.palette, found._replace(indices=indices).counts))


class EditPalette(io.ComfyNode):
    """A palette with other colours in some places."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A palette to a palette."""
        return io.Schema(
            node_id="DequantEditPalette",
            display_name="Edit Palette",
            category=CATEGORY,
            description="Other colours for some of a palette. All others, and their order, stay.",
            inputs=[
                PALETTE.Input("palette"),
                io.String.Input(
                    "edits",
                    multiline=True,
                    placeholder="3=#c81e1e\n#aa0000=#00aa88",
                    tooltip="One to a line: the number of a colour, counted from 1, or a colour that is taken for the "
                    "nearest of the palette; then = and what it becomes.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def validate_inputs(cls, edits: str | None = None) -> bool | str:
        """Refuse lines that cannot be read before anything runs; linked ones are not known yet."""
        return _checked(lambda: pairs(edits)) if edits is not None else True

    @classmethod
    def execute(cls, palette: "Reference", edits: str) -> io.NodeOutput:
        """Change colours; of two lines for one place the last holds.

        Raises:
            InputError: a line cannot be read, or the palette has no such number.
        """
        colors = palette.colors.clone()
        for place, color in pairs(edits):
            colors[_number(place, palette.colors)] = color
        return _output(palette._replace(colors=colors))


class MatchPalette(io.ComfyNode):
    """Another palette in the order of an image's own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Two palettes to one."""
        return io.Schema(
            node_id="DequantMatchPalette",
            display_name="Match Palette",
            category=CATEGORY,
            description="What each colour of an image's own palette becomes in another one, by bipartite matching.",
            inputs=[
                PALETTE.Input("own_palette", tooltip="Of the image, from Extract Palette."),
                PALETTE.Input("palette", tooltip="Whose colours it shall have."),
                io.Combo.Input(
                    "method",
                    METHODS,
                    default="color",
                    tooltip="color: similar ones; negative_color: dissimilar ones; frequency: equal shares of their "
                    "images; intensity: equal brightness; rank: dark for dark, for colour maps.",
                ),
                io.Int.Input("rank", default=1, min=1, max=64, tooltip="1: the best assignment, 2: the second best."),
                io.Float.Input("blend", default=1.0, min=0.0, max=1.0, step=0.05, tooltip="0 keeps the own colours."),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, own_palette: "Reference", palette: "Reference", method: str, rank: int, blend: float
    ) -> io.NodeOutput:
        """Assign a colour to each of the own ones.

        Raises:
            InputError: there are fewer assignments than `rank`.
        """
        from dequant.color.palette import Quantized
        from dequant.edit.sources import matched

        indices = torch.arange(len(own_palette.colors)).repeat_interleave(own_palette.counts)
        own = Quantized(own_palette.colors, indices[None])  # an image with as many pixels of each colour
        colors = matched(own, palette.colors, palette.counts, method, rank, blend)
        return _output(own_palette._replace(colors=colors))


def typed(text: str, n_colors: int) -> "Reference":
    """The palette that a text names.

    Args:
        text: colours, or the name of a colour map; no file is read.
        n_colors: of a colour map.

    Raises:
        InputError: it is neither.
    """
    import matplotlib

    from dequant.color.palette import colormap_palette
    from dequant.edit.edits import Reference
    from dequant.io.colors import parse_colors
    from dequant.io.palettes import COLORMAP

    name = text.strip().removeprefix(COLORMAP)
    is_map = text.strip().startswith(COLORMAP) or name in matplotlib.colormaps
    colors = colormap_palette(name, n_colors) if is_map else parse_colors(text)
    return Reference((colors * 255).round() / 255, torch.ones(len(colors), dtype=torch.int64))


def pairs(text: str) -> list[tuple[int | Tensor, Tensor]]:
    """What the lines of an edit say: the number of a colour or a colour (3,), and what it becomes.

    Raises:
        InputError: a line says something else.
    """
    from dequant.edit.regions import asked_color
    from dequant.errors import InputError

    found: list[tuple[int | Tensor, Tensor]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        place, equals, color = (part.strip() for part in line.partition("="))
        if not (place and color):
            raise InputError(f"Expected lines such as 3=#c81e1e or #aa0000=#00aa88, got {line!r}.")
        found.append((int(place) if NUMBER.fullmatch(place) else asked_color(place), asked_color(color)))
    return found


def hex_list(colors: Tensor) -> str:
    """Colours (K, 3) as text that Palette from Text reads."""
    from dequant.io.colors import to_hex

    return ", ".join(map(to_hex, colors))


def _number(place: int | Tensor, colors: Tensor) -> int:
    """The index of a place in a palette (K, 3)."""
    from dequant.edit.sources import of_palette
    from dequant.errors import InputError

    if isinstance(place, Tensor):
        return int(of_palette(colors, place[:, None]))
    if not 1 <= place <= len(colors):
        raise InputError(f"There is no colour {place}: the palette has {len(colors)}, counted from 1.")
    return place - 1


def _shown(images: Tensor, seen: list[Any]) -> Tensor:
    """Images (B, H, W, C) whose pixels outside of masks (H, W) are transparent."""
    from dequant.errors import InputError

    if seen[0] is None:
        return images
    inside = torch.stack(seen)
    if not inside.any():
        raise InputError("The mask is empty: mark at least one pixel.")
    alpha = images[..., 3] if images.shape[-1] == 4 else torch.ones_like(images[..., 0])
    return torch.cat([images[..., :3], (alpha * inside)[..., None]], dim=-1)


def _checked(read: Any) -> bool | str:
    """True, or the sentence of an `InputError`."""
    from dequant.errors import InputError

    try:
        read()
    except InputError as error:
        return str(error)
    return True


def _outputs() -> list[io.Output]:
    return [
        PALETTE.Output(display_name="palette"),
        io.Image.Output(display_name="swatches"),
        io.String.Output(display_name="colors"),
    ]


def _output(palette: "Reference") -> io.NodeOutput:
    """A palette, its picture and its text."""
    height, width = SWATCHES
    strip = palette.colors.repeat_interleave(max(1, width // len(palette.colors)), dim=0)
    return io.NodeOutput(palette, strip.expand(1, height, -1, -1).contiguous(), hex_list(palette.colors))
