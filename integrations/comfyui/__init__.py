"""Nodes for ComfyUI: palettes of images, photos painted in other palettes, colours locked, grey photos coloured."""

from comfy_api.latest import ComfyExtension, io

from .locking import LockColours
from .palettes import EditPalette, ExtractPalette, MatchPalette, PaletteFromText
from .photos import Colorize, Dequantize

__all__ = ["comfy_entrypoint"]


class DequantExtension(ComfyExtension):
    """The node pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The nodes, in the order of the menu."""
        return [PaletteFromText, ExtractPalette, EditPalette, MatchPalette, Dequantize, LockColours, Colorize]


async def comfy_entrypoint() -> DequantExtension:
    """What ComfyUI calls when it loads the pack."""
    return DequantExtension()
