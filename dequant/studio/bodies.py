"""What requests may say: every field, its type and its range. No field takes the path of a file.

The arguments have the names and forms that recipes have, so that both are checked here.
"""

from typing import Annotated, Any, Literal, Required

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from dequant.errors import InputError
from dequant.pipelines import inputs

MAX_RECIPE = 4 * 2**20
"""Characters of a recipe."""


def _is_color(text: str) -> str:
    inputs.color(text)
    return text


CHECKED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Color = Annotated[
    str, Field(max_length=64, description="Such as #c81e1e, rgb(200, 30, 30) or tomato."), AfterValidator(_is_color)
]
Pixels = Annotated[int, Field(ge=0, lt=2**31)]
Point = Annotated[list[Pixels], Field(min_length=2, max_length=2, description="x and y in pixels.")]
Mask = Annotated[str, Field(description="A PNG of the photo's size in base64; white is inside.")]
Area = Annotated[
    str, Field(description="A PNG of any size with the photo's proportions, such as that of a view, likewise.")
]
NColors = Annotated[int | None, Field(ge=1, le=256, description="Null: 16, or those of an image of at most 256.")]


@with_config(CHECKED)
class Settings(TypedDict, total=False):
    """How an edit is painted, as `dequant.edit.painting.Settings`."""

    weights: Literal["edit_G", "edit_L", "edit_T", "T", "L", "G"]
    luminance: Literal["texture", "keep", "free"]
    keep_palette: Literal["off", "soft", "exact", "strict"]
    num_inference_steps: Annotated[int | None, Field(ge=1, le=50)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    spread: Annotated[float, Field(ge=0, le=100)]


@with_config(CHECKED)
class Dequantize(TypedDict, total=False):
    """Reduce a photo to a palette and restore it."""

    n_colors: NColors
    settings: Settings


@with_config(CHECKED)
class Pin(TypedDict):
    """This pixel shall have this colour."""

    at: Point
    color: Color


Swap = TypedDict("Swap", {"from": Color, "to": Color})
Swap.__pydantic_config__ = CHECKED  # type: ignore[attr-defined]

Palette = Annotated[
    Annotated[list[Color], Field(min_length=1, max_length=256)] | Annotated[str, Field(max_length=4096)],
    Field(description="Colours, the name of a colour map of matplotlib, or the id of an uploaded photo."),
]


@with_config(CHECKED)
class Transfer(TypedDict, total=False):
    """Give a photo another palette, or change colours of its own."""

    palette: Palette
    n_colors: NColors
    method: Literal["color", "negative_color", "frequency", "intensity", "rank"]
    rank: Annotated[int, Field(ge=1, le=64)]
    blend: Annotated[float, Field(ge=0, le=1)]
    pins: Annotated[list[Pin], Field(max_length=64)]
    swaps: Annotated[list[Swap], Field(max_length=64)]
    settings: Settings


@with_config(CHECKED)
class Region(TypedDict, total=False):
    """A part of a photo, by points on a thing, a box or a mask, and the colour that it shall have."""

    color: Required[Color]
    points: Annotated[list[Point], Field(min_length=1, max_length=256)]
    box: Annotated[list[Pixels], Field(min_length=4, max_length=4, description="Left, top, right and bottom.")]
    mask: Mask
    area: Area


@with_config(CHECKED)
class Recolor(TypedDict, total=False):
    """Give regions of a photo other colours."""

    regions: Required[Annotated[list[Region], Field(min_length=1, max_length=32)]]
    settings: Settings


@with_config(CHECKED)
class Repaint(TypedDict, total=False):
    """Give colours of a photo's palette, pixels and regions other colours, in this order."""

    n_colors: NColors
    swaps: Annotated[list[Swap], Field(max_length=256)]
    pins: Annotated[list[Pin], Field(max_length=64)]
    regions: Annotated[list[Region], Field(max_length=32)]
    way: Annotated[Literal["change", "anew", "move"], Field(description="How colours of the palette change.")]
    settings: Settings


@with_config(CHECKED)
class ColorSettings(TypedDict, total=False):
    """How a photo is coloured, as `dequant.edit.colorizing.ColorSettings`."""

    weights: Literal["diffusing_colors", "semantic"]
    num_inference_steps: Annotated[int | None, Field(ge=1, le=50)]
    guidance_scale: Annotated[float | None, Field(ge=0, le=20)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    strength: Annotated[float, Field(ge=0, le=1)]
    captioner: Annotated[None, Field(description="Of recipes; no request chooses models.")]
    segmenter: None


@with_config(CHECKED)
class Told(TypedDict, total=False):
    """A part of a photo, by points on a thing, a box or a mask, and what it shows."""

    text: Required[Annotated[str, Field(max_length=1000)]]
    points: Annotated[list[Point], Field(min_length=1, max_length=256)]
    box: Annotated[list[Pixels], Field(min_length=4, max_length=4, description="Left, top, right and bottom.")]
    mask: Mask
    area: Area


@with_config(CHECKED)
class Colorize(TypedDict, total=False):
    """Colour a grey photo."""

    prompt: Annotated[
        str | None,
        Field(max_length=1000, description="What it shows and in which colours. Null lets semantic read it."),
    ]
    category: Annotated[str | None, Field(max_length=100, description="Of the main thing, for semantic.")]
    regions: Annotated[list[Told] | None, Field(max_length=8, description="For semantic.")]
    scale: Annotated[float, Field(ge=0, le=4)] | Literal["auto"]
    colorfulness: Annotated[float, Field(ge=0, le=150)] | None
    settings: ColorSettings


@with_config(CHECKED)
class TuneSettings(TypedDict, total=False):
    """How a network is tuned to a photo, as `dequant.edit.diffcolor.TuneSettings`."""

    num_inference_steps: Annotated[int | None, Field(ge=1, le=50)]
    guidance_scale: Annotated[float | None, Field(ge=0, le=20)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    align: Literal["luma", "correlation", "none"]


Words = Annotated[str | None, Field(min_length=1, max_length=1000)]


@with_config(CHECKED)
class DiffColor(TypedDict, total=False):
    """Colour a grey photo by a network that is tuned to it, and edit it by words."""

    prompt: Annotated[Words, Field(description="What it shows, without colours. Null reads it in the photo.")]
    edit: Annotated[Words, Field(description="What it shall show instead. Null leaves it as the prompt has it.")]
    strength: Annotated[float, Field(ge=0, le=3)]
    scale: Annotated[float, Field(ge=0, le=4)] | Literal["auto"]
    colorfulness: Annotated[float, Field(ge=0, le=150)] | None
    mode: Annotated[Literal["attention", "lora", "full"], Field(description="What of the network is tuned.")]
    settings: TuneSettings


@with_config(CHECKED)
class Assignments(TypedDict, total=False):
    """Which colour of a palette each colour of a photo may become."""

    palette: Required[Palette]
    n_colors: NColors
    method: Literal["color", "negative_color", "frequency", "intensity", "rank"]
    k: Annotated[int, Field(ge=1, le=16)]


@with_config(CHECKED)
class Segment(TypedDict):
    """Find the thing that points are on."""

    points: Annotated[list[Point], Field(min_length=1, max_length=256)]
    inside: Annotated[
        list[bool],
        Field(min_length=1, max_length=256, description="For each point whether it is on the thing, or beside it."),
    ]


@with_config(CHECKED)
class Replay(TypedDict):
    """Repeat an edit from its recipe."""

    recipe: Annotated[str, Field(max_length=MAX_RECIPE, description="YAML, as the answer to an edit has it.")]


@with_config(CHECKED)
class Lock(TypedDict, total=False):
    """Undo the colour drift of an edited picture where nothing was to change."""

    source: Required[Annotated[str, Field(max_length=64, description="The id of the photo before the edit.")]]
    mask: Mask
    feather: Annotated[float, Field(ge=1, lt=2**31, description="Pixels over which the border fades.")]


BODIES: dict[str, TypeAdapter[Any]] = {
    "dequantize": TypeAdapter(Dequantize),
    "transfer": TypeAdapter(Transfer),
    "recolor": TypeAdapter(Recolor),
    "repaint": TypeAdapter(Repaint),
    "colorize": TypeAdapter(Colorize),
    "diffcolor": TypeAdapter(DiffColor),
    "replay": TypeAdapter(Replay),
    "lock": TypeAdapter(Lock),
}
"""Of each edit."""

OTHERS: dict[str, TypeAdapter[Any]] = {
    "assignments": TypeAdapter(Assignments),
    "segment": TypeAdapter(Segment),
    "prepare": TypeAdapter(Dequantize),
}
"""Of what makes no picture."""


@with_config(CHECKED)
class Size(TypedDict, total=False):
    """The photo of a recipe."""

    sha256: Required[str]
    width: Required[Annotated[int, Field(ge=1, lt=2**31)]]
    height: Required[Annotated[int, Field(ge=1, lt=2**31)]]


@with_config(CHECKED)
class TunedSettings(TuneSettings, total=False):
    """Those of the recipe of a tuning; no recipe chooses models."""

    weights: Literal["semantic"]
    likeness: None
    preview: None
    tuning: dict[str, Any]


@with_config(CHECKED)
class Tuned(TypedDict):
    """The recipe of a tuning."""

    prompt: Annotated[str, Field(max_length=1000)]
    edit: Words
    strength: Annotated[float, Field(ge=0, le=3)]
    scale: Annotated[float, Field(ge=0, le=4)] | Literal["auto"]
    colorfulness: Annotated[float, Field(ge=0, le=150)] | None
    settings: TunedSettings


TUNED: TypeAdapter[Any] = TypeAdapter(Tuned)

COUNTS: TypeAdapter[Any] = TypeAdapter(
    Annotated[list[Annotated[int, Field(ge=0, lt=2**53)]], Field(min_length=1, max_length=256, strict=True)]
)
"""Pixels of each colour of a recipe's palette."""

SIZE: TypeAdapter[Any] = TypeAdapter(Size)


def parsed(operation: str, data: bytes) -> dict[str, Any]:
    """The arguments of an operation.

    Args:
        operation: a key of `BODIES` or `OTHERS`.
        data: the body of a request.

    Raises:
        InputError: it is not JSON, or not what the operation takes.
    """
    try:
        return (BODIES | OTHERS)[operation].validate_json(data or b"{}")
    except ValidationError as error:
        raise InputError(explained(error)) from None


def explained(error: ValidationError) -> str:
    """What is wrong, in one sentence."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return 'The body is not JSON: send an object such as {"n_colors": 8}.'
    cause = first.get("ctx", {}).get("error")
    what = str(cause) if isinstance(cause, InputError) else f"{first['msg']}."
    place = ".".join(map(str, first["loc"]))[:80]
    return f"In {place}: {what}" if place else what
