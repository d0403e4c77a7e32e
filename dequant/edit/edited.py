"""An edited photo: the picture, the report and the recipe, and what every edit needs to make them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dequant.edit import recipe as recipes
from dequant.edit.painting import Settings
from dequant.edit.recipe import Recipe
from dequant.edit.report import Report
from dequant.io.deep import to_8_bits
from dequant.io.metadata import with_profile
from dequant.io.originals import Original, read_original, write_original

if TYPE_CHECKING:
    from dequant.pipelines.dequant import DequantPipeline

Photo = str | Path | bytes | Image.Image | Original
"""A path, the bytes of a file, a PIL image, or what `read_original` made of one."""


@dataclass(frozen=True)
class Edited:
    """An edited photo.

    Attributes:
        levels: (H, W, 3), of 8 bits or, for a photo of 16 bits, of 16: sRGB.
        original: the photo, and what it carries.
        report: what was asked, and what was delivered.
        recipe: what repeats it.
    """

    levels: NDArray[Any]
    original: Original
    report: Report
    recipe: Recipe

    @property
    def image(self) -> Image.Image:
        """The picture in 8 bits, in sRGB, with the photo's transparency."""
        rgb = np.ascontiguousarray(to_8_bits(self.levels))
        image = Image.fromarray(rgb)
        if self.original.alpha is not None:
            image.putalpha(Image.fromarray(to_8_bits(self.original.alpha)))
        return with_profile(image, None)

    def save(self, path: str | Path, recipe: bool = True) -> list[str]:
        """Write the picture with the photo's profile, EXIF, transparency and depth; a PNG also holds the recipe.

        Args:
            path: of the file; the suffix chooses the format.
            recipe: also write it beside the picture, as `NAME.yaml`.

        Returns:
            What the format could not keep.

        Raises:
            InputError: the picture cannot be written there.
        """
        path = Path(path)
        notes = write_original(self.levels, self.original, path, {recipes.KEY: str(self.recipe)})
        if recipe:
            recipes.write(self.recipe, path.with_name(path.name + ".yaml"))
        return list(notes)


def read(photo: Photo) -> Original:
    """A photo with all that it carries."""
    return photo if isinstance(photo, Original) else read_original(photo)


def recipe_of(
    original: Original,
    told: tuple[str, dict[str, Any]],
    settings: Settings,
    pipe: "DequantPipeline | None",
    result: dict[str, Any],
) -> Recipe:
    """What repeats an edit.

    Args:
        original: the photo.
        told: the operation and its arguments.
        settings: how it was painted.
        pipe: what drew it, None where no network did.
        result: what was made, for people.
    """
    (height, width), digest = original.levels.shape[:2], recipes.digest(original.levels, original.alpha)
    weights = {}
    if pipe is not None:
        weights = {"name": recipes.weights_name(settings.weights), "sha256": recipes.weights_digest(pipe)}
    source = {"sha256": digest, "width": width, "height": height}
    return Recipe(told[0], told[1], asdict(settings), source, weights, recipes.versions(), result)
