"""Squares of a photo: at random for training, centred for evaluation."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from dequant.errors import InputError
from dequant.io.images import to_pil, to_tensor


class Crop(NamedTuple):
    """A square of a photo, mirrored or not.

    Attributes:
        box: left, top, right and bottom in pixels, right and bottom excluded.
        photo: width and height of the photo.
        mirrored: left and right are exchanged.
    """

    box: tuple[float, float, float, float]
    photo: tuple[int, int]
    mirrored: bool

    def cut(self, photo: Image.Image, size: int) -> Tensor:
        """Rgb (3, size, size) in [0, 1] of the square, on the grid of 8-bit values.

        The paper's released code resizes with an unfiltered cubic kernel. Here the kernel widens with the reduction
        (antialiasing): aliased edges would teach a model texture that no photograph has.
        """
        square = photo.resize((size, size), Image.Resampling.BICUBIC, box=self.box)
        return to_tensor(ImageOps.mirror(square) if self.mirrored else square)

    def cut_labels(self, labels: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """Labels (size, size) of the square from a map (h, w) of the whole photo, whatever its size."""
        centres = (np.arange(size) + 0.5) / size
        (left, top, right, bottom), (width, height) = self.box, self.photo
        rows = (top + (bottom - top) * centres) * labels.shape[0] / height
        columns = (left + (right - left) * centres) * labels.shape[1] / width
        square = labels[rows.astype(int)][:, columns.astype(int)]
        return np.ascontiguousarray(square[:, ::-1]) if self.mirrored else square


def draw_crop(photo: tuple[int, int], size: int, rng: np.random.Generator) -> Crop:
    """Draw a training crop as the paper's released code does: at a random scale and place, mirrored half the time.

    The photo is scaled to a random short side from `size` to its own, and a square of `size` pixels is cut out of it.

    Args:
        photo: width and height, both at least `size`.
        size: side of the crop in pixels.
        rng: the only source of randomness; always four draws.

    Raises:
        InputError: the photo is too small.
    """
    width, height = photo
    check_size(width, height, size)
    scale = min(width, height) / int(rng.integers(size, min(width, height) + 1))
    left = int(rng.integers(0, max(round(width / scale) - size, 0) + 1)) * scale
    top = int(rng.integers(0, max(round(height / scale) - size, 0) + 1)) * scale
    box = (left, top, min(left + size * scale, width), min(top + size * scale, height))
    return Crop(box, photo, bool(rng.random() < 0.5))


def center_crop(image: Tensor | Image.Image, size: int) -> Tensor:
    """Largest centred square of rgb (3, H, W) or of a PIL image, reduced (antialiased) to (3, size, size)."""
    photo = to_pil(image) if isinstance(image, Tensor) else image
    check_size(photo.width, photo.height, size)
    short = min(photo.size)
    left, top = (photo.width - short) // 2, (photo.height - short) // 2
    box = (left, top, left + short, top + short)
    return to_tensor(photo.resize((size, size), Image.Resampling.BICUBIC, box=box))


def check_size(width: int, height: int, size: int) -> None:
    """Raise `InputError` unless both sides are at least `size`."""
    if min(width, height) < size:
        raise InputError(f"An image of {width} x {height} pixels is too small for a crop of {size}: give a larger one.")
