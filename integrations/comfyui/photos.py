"""Nodes that paint photos: in other palettes, and in colour."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io
from torch import Tensor

from .palettes import CATEGORY, PALETTE, hex_list
from .pictures import joined, masks, originals, tensor, watched

if TYPE_CHECKING:
    from dequant.edit.edited import Edited
    from dequant.edit.edits import Reference
    from dequant.io.originals import Original

WAYS = ["change", "anew", "move"]
LUMINANCE = ["texture", "keep", "free"]
KEEP_PALETTE = ["off", "soft", "exact", "strict"]
WEIGHTS = ["edit_G", "edit_L", "edit_T", "T", "L", "G"]
COLORIZERS = ["diffusing_colors", "semantic"]
AMOUNTS = ["scale", "auto", "colorfulness"]

LAST_SEED = 2**63 - 1


class Dequantize(io.ComfyNode):
    """Photos painted by the diffusion model from a palette and a map of indices."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """An image and palettes to an image."""
        return io.Schema(
            node_id="DequantDequantize",
            display_name="Dequantize",
            category=CATEGORY,
            description="Reduces an image to a palette, exchanges its colours, and paints a photograph of it.",
            inputs=[
                io.Image.Input("image"),
                PALETTE.Input("palette", optional=True, tooltip="The colours to give. Without it: the image's own."),
                PALETTE.Input(
                    "own_palette",
                    optional=True,
                    tooltip="The image's own colours, from Extract Palette: each becomes the one of the same number "
                    "in the palette. Without it, colours are matched by likeness.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="Where the image changes. Outside it stays to the bit."),
                io.Int.Input(
                    "n_colors", default=16, min=1, max=256, tooltip="Of the image's palette, if none is given for it."
                ),
                *_manners(),
                _seed(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        n_colors: int,
        way: str,
        luminance: str,
        keep_palette: str,
        weights: str,
        seed: int,
        palette: "Reference | None" = None,
        own_palette: "Reference | None" = None,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Paint each image of a batch by itself, with the same noise.

        Args:
            image: (B, H, W, C).
            n_colors: of the image's palette, 1 to 256.
            way: as in `dequant.edit.repainting.repaint`.
            luminance: as in `dequant.edit.painting.Settings`, as the next three.
            keep_palette: likewise.
            weights: likewise.
            seed: likewise.
            palette: the colours to give.
            own_palette: the colours that they replace, in the same order.
            mask: (B, H, W).

        Raises:
            InputError: an input is wrong, or the palettes do not fit.
        """
        from dequant.edit.painting import Settings

        settings = Settings(weights, luminance, keep_palette, seed=seed)
        edit = _edit(palette, own_palette, n_colors, way)
        return _painted(image, mask, lambda photo: edit(photo, settings=settings))


class Colorize(io.ComfyNode):
    """Grey photos in colour."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """An image and words to an image."""
        return io.Schema(
            node_id="DequantColorize",
            display_name="Colorize",
            category=CATEGORY,
            description="Colours a photo. Its lightness stays, and what colour it has is not looked at.",
            inputs=[
                io.Image.Input("image"),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    tooltip="What it shows and in which colours, such as: a red car on green. Empty: up to the "
                    "network; semantic reads it in the photo.",
                ),
                io.Combo.Input("method", COLORIZERS, default="diffusing_colors"),
                io.Combo.Input(
                    "amount",
                    AMOUNTS,
                    default="scale",
                    tooltip="scale: the number below; auto: a ranker chooses it; colorfulness: what gives that one.",
                ),
                io.Float.Input("scale", default=1.0, min=0.0, max=4.0, step=0.05, tooltip="Of the colour; 0 is grey."),
                io.Float.Input(
                    "colorfulness",
                    default=30.0,
                    min=0.0,
                    max=150.0,
                    step=1.0,
                    tooltip="30 is moderate, 60 vivid.",
                ),
                io.Int.Input("steps", default=0, min=0, max=1000, tooltip="Of drawing; 0 takes the weights' own."),
                _seed(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        prompt: str,
        method: str,
        amount: str,
        scale: float,
        colorfulness: float,
        steps: int,
        seed: int,
    ) -> io.NodeOutput:
        """Colour each image of a batch by itself, with the same noise.

        Args:
            image: (B, H, W, C).
            prompt: may be empty.
            method: whose bundled weights are taken.
            amount: which of the next two holds, or neither.
            scale: as in `dequant.edit.colorizing.colorize`.
            colorfulness: likewise.
            steps: 0 for the weights' own.
            seed: of the noise that "semantic" begins with.

        Raises:
            InputError: an input is wrong.
        """
        from dequant.edit.colorizing import ColorSettings, colorize

        settings = ColorSettings(method, num_inference_steps=steps or None, seed=seed)
        wanted: dict[str, Any] = {"scale": "auto" if amount == "auto" else scale}
        if amount == "colorfulness":
            wanted = {"colorfulness": colorfulness}
        return _painted(image, None, lambda photo: colorize(photo, prompt or None, settings=settings, **wanted))


@dataclass(frozen=True)
class Painted:
    """One image of a batch: the picture (H, W, C), its report, and what programs read of both."""

    picture: Tensor
    report: str
    details: dict[str, Any]


def _edit(
    palette: "Reference | None", own_palette: "Reference | None", n_colors: int, way: str
) -> "Callable[..., Edited]":
    """The function of the library that does what the palettes ask for."""
    from functools import partial

    from dequant.edit import edits
    from dequant.edit.repainting import repaint
    from dequant.errors import InputError

    if own_palette is None:
        if palette is None:
            return partial(edits.dequantize, n_colors=n_colors)
        return partial(edits.transfer, palette=palette, n_colors=n_colors)
    if palette is None:
        raise InputError("There is an own palette and none to give: connect a palette, too.")
    if len(palette.colors) != len(own_palette.colors):
        raise InputError(
            f"The palette has {len(palette.colors)} colours and the own palette {len(own_palette.colors)}: pass it "
            "through Match Palette first."
        )
    old, new = (hex_list(one.colors).split(", ") for one in (own_palette, palette))
    swaps = dict(zip(old, new, strict=True))
    changed = {before: after for before, after in swaps.items() if before != after}
    return partial(repaint, n_colors=len(old), swaps=changed or swaps, way=way)


def _painted(images: Tensor, mask: Tensor | None, edit: "Callable[[Original], Edited]") -> io.NodeOutput:
    """Edit each image of a batch where its mask is, and give pictures, reports and details."""
    photos, places = originals(images), masks(mask, images)
    made = [_one(images[i], photo, places[i], edit) for i, photo in enumerate(watched(photos))]
    details = json.dumps([one.details for one in made], indent=2)
    return io.NodeOutput(torch.stack([one.picture for one in made]), joined([one.report for one in made]), details)


def _one(image: Tensor, photo: "Original", mask: Tensor | None, edit: "Callable[[Original], Edited]") -> Painted:
    """One edited image (H, W, C); no network runs where its mask (H, W) is empty."""
    if mask is not None and not mask.any():
        return Painted(image.float(), "note: the mask is empty, so that the image stays as it is", {})
    edited = edit(photo)
    picture, report = tensor(edited.levels, photo, image), str(edited.report)
    if mask is not None:
        picture = torch.where(mask[..., None] > 0, torch.lerp(image.float(), picture, mask[..., None]), image.float())
        report += f"\nnote: laid on {mask.mean():.1%} of the image by the mask; the figures are of all of it"
    return Painted(picture, report, {"report": edited.report.as_json(), "recipe": str(edited.recipe)})


def _manners() -> list[io.Input]:
    """How Dequantize paints."""
    return [
        io.Combo.Input(
            "way",
            WAYS,
            default="change",
            tooltip="With own_palette. change: the image takes what differs between pictures in both "
            "palettes; anew: the network paints all of it; move: arithmetic alone.",
        ),
        io.Combo.Input(
            "luminance",
            LUMINANCE,
            default="texture",
            tooltip="texture: the image's texture under the brightness asked for; keep: the image's "
            "lightness; free: up to the network.",
        ),
        io.Combo.Input(
            "keep_palette",
            KEEP_PALETTE,
            default="off",
            tooltip="exact: every pixel is nearest to its colour. With own_palette, only where way is anew.",
        ),
        io.Combo.Input("weights", WEIGHTS, default="edit_G", tooltip="Bundled weights."),
    ]


def _seed() -> io.Input:
    return io.Int.Input(
        "seed", default=0, min=0, max=LAST_SEED, control_after_generate=True, tooltip="The same seed, the same picture."
    )


def _outputs() -> Sequence[io.Output]:
    return [
        io.Image.Output(display_name="image"),
        io.String.Output(display_name="report"),
        io.String.Output(display_name="details", tooltip="The reports and recipes as JSON."),
    ]
