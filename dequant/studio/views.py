"""Pictures for the eyes: photos and results at the size of a screen, and which colour of a palette each pixel has."""

import json
from base64 import b64encode
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

from dequant.color.palette import Quantized
from dequant.color.rgb import to_uint8
from dequant.condition.regions import regions
from dequant.edit.edits import USUAL
from dequant.edit.sources import Material
from dequant.io.deep import to_8_bits
from dequant.io.originals import Original, read_original
from dequant.studio.memory import Memory

PIXELS = 2**21
"""Of a view, unless another number is asked for."""

ORIGINALS, VIEWS, COPIES, REGIONS = 2**29, 2**26, 2**26, 2**24
"""Bytes that are remembered."""

SIDE = 384
"""Longer side at which regions are found."""

Levels = NDArray[np.uint8]


class Pictures:
    """What was read and made of the files of all sessions; safe in several threads."""

    def __init__(self) -> None:
        self._originals: Memory[Original] = Memory(_bytes_of, ORIGINALS)
        self._copies: Memory[Material] = Memory(lambda one: one.copy.nbytes, COPIES)
        self._views: Memory[Levels] = Memory(lambda one: one.nbytes, VIEWS)
        self._texts: Memory[str] = Memory(len, REGIONS)
        self._all: tuple[Memory[Any], ...] = (self._originals, self._copies, self._views, self._texts)

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return sum(one.held for one in self._all)

    def original(self, path: Path) -> Original:
        """A photo with all that it carries; its arrays are shared, and not to be changed.

        Raises:
            InputError: it is not an image that is read here.
        """
        return self._originals.get(path, None, lambda: read_original(path.read_bytes()))

    def material(self, path: Path) -> Material:
        """The copy of a photo, whose palettes are taken.

        Raises:
            InputError: as `original`.
        """
        return self._copies.get(path, None, lambda: Material.of(self.original(path), USUAL))

    def quantized(self, path: Path, n_colors: int | None) -> Quantized:
        """The copy of a photo in its own palette, as edits have it.

        Raises:
            InputError: as `original`, or the number is not from 1 to 256.
        """
        return self.material(path).quantized(n_colors)

    def view(self, path: Path, pixels: int = PIXELS) -> Levels:
        """A picture with so many pixels at most, (h, w, 3 or 4) in sRGB.

        Raises:
            InputError: as `original`.
        """

        def make() -> Levels:
            original = self.original(path)
            return reduced(original.levels, original.alpha, pixels)

        return self._views.get(path, pixels, make)

    def indices(self, path: Path, n_colors: int | None, pixels: int = PIXELS) -> bytes:
        """For each pixel of a view the number of the nearest colour of the photo's palette, a byte each.

        Raises:
            InputError: as `quantized`.
        """
        palette = to_uint8(self.quantized(path, n_colors).palette).numpy().astype(np.int32)
        levels = self.view(path, pixels)
        return nearest(levels.reshape(-1, levels.shape[2]), palette).tobytes()

    def regions(self, path: Path) -> str:
        """The hierarchy of regions of a photo, as JSON: pieces (h, w) of 16 bits in base64, and merges.

        Raises:
            InputError: as `original`.
        """

        def make() -> str:
            found = regions(self.material(path).copy, SIDE)
            height, width = found.pieces.shape
            pieces = b64encode(found.pieces.numpy().astype("<u2").tobytes()).decode()
            return json.dumps({"width": width, "height": height, "pieces": pieces, "merges": found.merges.tolist()})

        return self._texts.get(path, "regions", make)

    def move(self, path: Path, other: Path) -> None:
        """A file has another name now."""
        for one in self._all:
            one.move(path, other)

    def forget(self, path: Path) -> None:
        """A file or a folder is gone."""
        for one in self._all:
            one.forget(path)


def view_size(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Height and width of a view of a picture of this height and width: never larger, and in its proportions."""
    share = min(1.0, sqrt(pixels / (size[0] * size[1])))
    height, width = (max(1, int(share * side + 1e-9)) for side in size)
    return min(height, max(1, pixels // width)), min(width, pixels)


def reduced(levels: NDArray[Any], alpha: NDArray[Any] | None, pixels: int) -> Levels:
    """Levels (H, W, 3) of 8 or 16 bits, and transparency (H, W), as a view (h, w, 3 or 4) of 8 bits."""
    height, width = view_size((levels.shape[0], levels.shape[1]), pixels)

    def small(plane: NDArray[Any]) -> NDArray[Any]:
        plane = np.ascontiguousarray(to_8_bits(plane))
        if plane.shape[:2] == (height, width):
            return plane
        return np.array(Image.fromarray(plane).resize((width, height), Image.Resampling.HAMMING))

    rgb = small(levels)
    return rgb if alpha is None else np.dstack((rgb, small(alpha)))


def as_png(levels: Levels) -> bytes:
    """A PNG of levels (h, w), (h, w, 3) or (h, w, 4) that is made fast rather than small."""
    png = imagecodecs.PNG
    options = {"level": png.COMPRESSION.SPEED, "strategy": png.STRATEGY.RLE, "filter": png.FILTER.SUB}
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(levels), **options))


def _bytes_of(original: Original) -> int:
    return sum(one.nbytes for one in (original.levels, original.alpha, original.own) if one is not None)


def _compiled(function: Callable[..., Any]) -> Any:
    return njit(cache=True, nogil=True)(function)


@_compiled
def nearest(pixels: Levels, palette: NDArray[np.int32]) -> Levels:
    """The number of the nearest colour (K, 3) to each pixel (n, 3 or 4), K at most 256; of equal ones the first."""
    red, green, blue = palette[:, 0].copy(), palette[:, 1].copy(), palette[:, 2].copy()
    found = np.empty(len(pixels), np.uint8)
    for i in range(len(pixels)):
        r, g, b = np.int32(pixels[i, 0]), np.int32(pixels[i, 1]), np.int32(pixels[i, 2])
        best = np.int32(2147483647)
        for k in range(len(palette)):  # distance and number in one integer, so that the loop is a minimum
            x, y, z = r - red[k], g - green[k], b - blue[k]
            best = min(best, ((x * x + y * y + z * z) << np.int32(8)) | np.int32(k))
        found[i] = best & 255
    return found
