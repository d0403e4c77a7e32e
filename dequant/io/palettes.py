"""Palettes by their names: files, images whose pixels are the palette, photos, colour maps, lists of colours."""

import re
import struct
from pathlib import Path

import torch
from torch import Tensor

from dequant.color.palette import MAX_COLORS, colormap_palette, quantize
from dequant.color.rgb import to_uint8
from dequant.errors import InputError
from dequant.io.colors import parse_colors
from dequant.io.formats import SUFFIXES as IMAGES
from dequant.io.images import Photograph, read_photo
from dequant.io.palette_files import READERS

COLORMAP = "colormap:"


N_COLORS = 16
"""Of the palette of a photo, where nothing else is asked for."""


MAX_BYTES = 2**20
"""Of a palette file."""


def read_palette(source: str | Path, n_colors: int) -> tuple[Tensor, Tensor]:
    """A palette by its name: what the commands and the pipeline take as text.

    Args:
        source: "colormap:NAME" of matplotlib; the path of a palette file or of an image; or colours, such as
            "#ff8000, navy". What is the name of an existing file is that file.
        n_colors: of a colour map, and of the palette that is taken from a photo.

    Returns:
        (K, 3) float32 in [0, 1] and the pixels of each colour (K,) int64, all 1 where no photo says it.

    Raises:
        InputError: it is none of these.
    """
    text = str(source)
    if text.startswith(COLORMAP):
        return _alike(colormap_palette(text.removeprefix(COLORMAP), n_colors))
    if isinstance(source, str) and not is_file_name(source):
        if re.fullmatch(r"[^\s,(]*[./\\][^\s,(]*", source):
            raise InputError(f"There is no file '{source}': give an existing image or palette file, or colours.")
        return _alike(parse_colors(source))
    if Path(source).suffix.lower() in READERS:
        return _alike(load_palette(source))
    return photo_palette(read_photo(source), n_colors)


def palette_name(text: str) -> str:
    """A palette as it is typed, as `read_palette` takes it: a bare name of a colour map, such as viridis, is one.

    Raises:
        InputError: it is nothing that can be a palette.
    """
    import matplotlib  # here because it is slow

    if text in matplotlib.colormaps and not is_file_name(text):
        return COLORMAP + text
    if not text.startswith(COLORMAP) and not Path(text).is_file():
        read_palette(text, 1)
    return text


def is_file_name(text: str) -> bool:
    """Whether a text is the path of a file: one that exists, or whose suffix is that of an image or a palette."""
    if Path(text).suffix.lower() in (*READERS, *IMAGES, ".gif"):
        return True
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def photo_palette(photo: Photograph, n_colors: int) -> tuple[Tensor, Tensor]:
    """The palette of an image: `n_colors` colours of a photo, or all colours of an image that is a palette.

    That is an image whose equal neighbouring rows and columns, put together, leave at most 256 pixels: a strip or a
    grid of swatches, of any scale. Its colours are exact, in the order of reading, and hidden pixels are none.

    Returns:
        As `read_palette`.
    """
    colors = _swatches(photo)
    if colors is not None:
        return _alike(colors)
    quantized = quantize(photo.rgb, n_colors, visible=photo.visible)
    indices = quantized.indices if photo.visible is None else quantized.indices[photo.visible][None]
    return quantized.palette, quantized._replace(indices=indices).counts


def count_colors(photo: Photograph, n_colors: int | None) -> int:
    """How many colours a photo is reduced to: as many as asked for, else those of an indexed image, else `N_COLORS`."""
    return n_colors if n_colors is not None else indexed_colors(photo) or N_COLORS


def indexed_colors(photo: Photograph) -> int | None:
    """How many visible colours an indexed image has, such as a GIF; None for a photo, which has more than 256.

    An image of at most `MAX_COLORS` pixels counts as a photo.
    """
    rgb = photo.rgb if photo.visible is None else photo.rgb[:, photo.visible][:, None]
    levels = to_uint8(rgb).flatten(1).long()
    count = len((levels[0] * 65536 + levels[1] * 256 + levels[2]).unique())
    return count if count <= MAX_COLORS < rgb[0].numel() else None


def load_palette(path: str | Path) -> Tensor:
    """Read a palette file, whose suffix says which kind it is.

    Args:
        path: one of

            - .gpl, of GIMP, Inkscape or Krita; .pal, of Paint Shop Pro (JASC) or of Windows (RIFF);
            - .ase (Adobe Swatch Exchange), .aco (Photoshop's swatches), .act (its table of 256 colours);
            - .hex or .txt, a colour per line; eight digits without "#" in .txt are paint.net's AARRGGBB;
            - .css or .scss: the colours of its variables, or else all colours in it;
            - .json: a list or nested objects of colours, such as those of pywal, Tailwind and Lospec. A colour is a
              string, [r, g, b] with numbers from 0 to 255 or fractions from 0 to 1 (one scale for the whole file), or
              an object with these under "hex", "value", "$value", "rgb", or "r", "g" and "b".

    Returns:
        (n, 3) float32 in [0, 1].

    Raises:
        InputError: the file does not exist, is of another kind, is damaged, is ambiguous or holds no colour.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path.name} is not a palette file: give one that ends in {', '.join(READERS)}.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give an existing palette file.") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{path.name} is larger than a palette: give a file of at most {MAX_BYTES} bytes.")
    try:
        colors = list(reader(content))
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
        raise InputError(f"{path.name} is damaged or not a palette as {path.suffix} files hold it: {error}.") from error
    except RecursionError:
        raise InputError(f"{path.name} is nested too deeply: give a list of colours.") from None
    if not colors:
        raise InputError(f"{path.name} holds no colour: give at least one.")
    palette = torch.tensor(colors, dtype=torch.float64)
    if not (palette.min() >= 0 and palette.max() <= 1):
        raise InputError(
            f"{path.name} holds a colour outside the displayable range: give 0 to 255, or fractions 0 to 1."
        )
    return palette.float()


def _alike(colors: Tensor) -> tuple[Tensor, Tensor]:
    """Colours that count alike."""
    return colors, torch.ones(len(colors), dtype=torch.int64)


def _swatches(photo: Photograph) -> Tensor | None:
    """Colours (K, 3) of an image that is a palette, in the order of reading; None for any other image."""
    shown = torch.ones_like(photo.rgb[:1]) if photo.alpha is None else photo.alpha[None].gt(0).float()
    grid = torch.cat((photo.rgb * shown, shown))
    for dim in (1, 2):
        n = grid.shape[dim]
        changes = (grid.narrow(dim, 1, n - 1) != grid.narrow(dim, 0, n - 1)).movedim(dim, 0).flatten(1).any(1)
        grid = grid.index_select(dim, torch.cat((torch.tensor([0]), changes.nonzero()[:, 0] + 1)))
    if grid[0].numel() > MAX_COLORS:
        return None
    colors = grid.flatten(1).T
    return torch.tensor(list(dict.fromkeys(tuple(color[:3]) for color in colors.tolist() if color[3])))
