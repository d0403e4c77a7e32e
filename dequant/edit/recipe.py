"""The recipe of an edit: what was asked, of which photo, with which weights, as YAML without any code."""

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

import dequant
from dequant.errors import InputError
from dequant.io.files import whole_file
from dequant.models.digest import weights_sha256

if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

FORMAT = 1
"""Of recipes; a later one says so."""


KEY = "dequant"
"""Of the text in a PNG that holds the recipe."""


OPERATIONS = ("dequantize", "transfer", "recolor", "repaint", "colorize", "diffcolor")

MAX_BYTES = 2**24
"""Of a recipe; masks make it large."""


PACKAGES = ("torch", "diffusers", "numpy", "scipy", "pillow")


@dataclass(frozen=True)
class Recipe:
    """An edit that can be repeated.

    Attributes:
        operation: one of `OPERATIONS`.
        edit: the arguments of that function, as plain values.
        settings: those of `painting.Settings`.
        source: name, sha256 of the pixels, width and height of the photo.
        weights: name and sha256 of what drew it.
        versions: of the packages that the bytes depend on.
        result: what was made: the palette's mapping, assignments, pins that became local. For people; a replay makes it
            anew.
    """

    operation: str
    edit: Mapping[str, Any]
    settings: Mapping[str, Any]
    source: Mapping[str, Any]
    weights: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """The recipe as YAML."""
        content = {"dequant_recipe": FORMAT, **{name: _plain(value) for name, value in asdict(self).items()}}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)

    @classmethod
    def parse(cls, text: str, name: str = "the recipe") -> Self:
        """Read a recipe.

        Args:
            text: YAML.
            name: what errors call it.

        Raises:
            InputError: it is not one, or of a later format.
        """
        try:
            content = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: impossible dates
            raise InputError(f"'{name}' is not a recipe: its YAML cannot be read.") from None
        if not isinstance(content, dict) or "dequant_recipe" not in content:
            raise InputError(f"'{name}' is not a recipe: give a file that an edit of dequant has written.")
        found = content.pop("dequant_recipe")
        if found != FORMAT:
            raise InputError(f"'{name}' is of format {found!r}, and only {FORMAT} is known: update dequant.")
        required = ("edit", "settings", "source", "weights")
        if content.get("operation") not in OPERATIONS:
            raise InputError(f"'{name}' has no known operation: expected one of {', '.join(OPERATIONS)}.")
        maps = {key: content.get(key, {}) for key in (*required, "versions", "result")}
        wrong = [key for key, value in maps.items() if not isinstance(value, dict) or not all(map(_is_name, value))]
        wrong += [key for key in required if key not in content]
        unknown = [key for key in content if key not in ("operation", *maps)]
        if wrong or unknown:
            what = f"'{wrong[0]}' is missing or no mapping" if wrong else f"{unknown[0]!r} is not known"
            raise InputError(f"'{name}' is damaged ({what}): use the file as the edit wrote it.")
        return cls(content["operation"], **maps)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from its YAML file, or from a PNG that an edit has written.

    Raises:
        InputError: the file is missing, has no recipe, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"There is no recipe '{path}': give the path of a .yaml, or of a .png that dequant has written."
        )
    if path.suffix.lower() == ".png":
        return Recipe.parse(_in_png(path), str(path))
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"'{path}' is too large for a recipe: at most {MAX_BYTES // 2**20} MiB.")
    try:
        return Recipe.parse(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise InputError(f"'{path}' is not a recipe: it is no text in UTF-8.") from None


def write(recipe: Recipe, path: Path) -> None:
    """Write a recipe's YAML, whole or not at all."""
    with whole_file(path) as file:
        file.write(str(recipe))


def _in_png(path: Path) -> str:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            text = getattr(image, "text", {}).get(KEY)
    except Exception as error:  # Pillow has many exceptions for a broken file
        raise InputError(f"'{path}' cannot be read as a PNG ({type(error).__name__}).") from None
    if text is None:
        raise InputError(f"'{path}' has no recipe in it: give a PNG that an edit of dequant has written.")
    return str(text)


def digest(levels: NDArray[Any], alpha: NDArray[Any] | None) -> str:
    """Sha256 of a photo's pixels."""
    found = hashlib.sha256(f"{levels.shape} {levels.dtype}".encode())
    found.update(np.ascontiguousarray(levels).data)
    if alpha is not None:
        found.update(np.ascontiguousarray(alpha).data)
    return found.hexdigest()


def weights_digest(pipe: "DiffusionPipeline") -> str:
    """Sha256 of the networks of a pipeline."""
    names = ("unet", "control", "vae", "text_encoder", "ranker", "recognizer", "skips", "mix")
    return weights_sha256(**{name: getattr(pipe, name, None) for name in names})


def weights_name(source: str | Path) -> str:
    """What a recipe calls weights: a name, or the absolute path of a folder."""
    from dequant.models.folders import is_folder  # as slow to import as diffusers

    return str(Path(source).resolve()) if is_folder(source) else str(source)


def versions() -> dict[str, str]:
    """Of this package and of those that the bytes of an edit depend on."""
    found = {"dequant": dequant.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def mask_text(mask: NDArray[Any]) -> str:
    """A mask (H, W) in [0, 1] as text: an 8-bit PNG in base64."""
    file = io.BytesIO()
    Image.fromarray((mask * 255).round().astype(np.uint8)).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def mask_of(text: Any) -> Image.Image:
    """The image of `mask_text`.

    Raises:
        InputError: it is damaged.
    """
    try:
        data = base64.b64decode(text, validate=True)
        image = Image.open(io.BytesIO(data), formats=["PNG"])
        image.load()
    except Exception:  # a wrong type, wrong base64, a broken image
        raise InputError("A mask in the recipe is damaged: use the file as the edit wrote it.") from None
    return image.convert("L")


def _is_name(key: Any) -> bool:
    return isinstance(key, str)


def _plain(value: Any) -> Any:
    """Values that YAML has, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
