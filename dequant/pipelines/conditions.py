"""What is asked of photos, as conditions: another palette, or a patch of another colour."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dequant.color.matching import match_k_best
from dequant.color.palette import Quantized, quantize, transfer
from dequant.condition.channels import for_palette, for_patch
from dequant.errors import InputError
from dequant.io.images import Photograph
from dequant.io.palettes import count_colors, indexed_colors
from dequant.pipelines.inputs import assignment, color, is_colormap, mask, masks, one_each, palette, palettes


class Asked(NamedTuple):
    """One edit of one photo.

    Attributes:
        label: which one, empty where the call asks for no other.
        condition: (7, H, W).
        photo: the photo.
        mask: (H, W) in [0, 1], how much of the picture replaces it; None for all.
    """

    label: str
    condition: Tensor
    photo: Photograph
    mask: Tensor | None = None

    def finish(self, picture: Tensor) -> Tensor:
        """A picture (3, H, W) drawn under the condition, laid on the photo by the mask."""
        if self.mask is None:
            return picture
        return torch.lerp(self.photo.rgb.to(picture), picture, self.mask.to(picture))


class PaletteEdit(NamedTuple):
    """A photo reduced to a palette, its own or another.

    Attributes:
        n_colors: size of the palette of each photo; None for 16, or all colours of an indexed image.
        target: replaces it: a `Palette`, a list with one for each photo, or None.
        method: which colour replaces which, as in `matching.match`; None for the usual one of the target.
        assignment: says it instead: an `Assignment`, a list with one for each photo, or None.
        k: how many of the best assignments to take, fewer where fewer exist.
        blend: 0 keeps the photo's colours, 1 takes those of `target`; or several such numbers.
        texture: condition the network on the texture; None does so for photos. An indexed image has none but its
            palette's.
    """

    n_colors: int | None
    target: Any = None
    method: str | None = None
    assignment: Any = None
    k: int = 1
    blend: float | Sequence[float] = 1.0
    texture: bool | None = None

    def blends(self) -> list[float]:
        """The blends asked for.

        Raises:
            InputError: they are no numbers, or settings do not go together.
        """
        found = [self.blend] if isinstance(self.blend, int | float) else list(self.blend)
        if not found or not all(isinstance(share, int | float) for share in found):
            raise InputError(f"{self.blend!r} is not a blend: give a number from 0 to 1, or a list of such numbers.")
        if self.target is None and (self.assignment is not None or self.k != 1 or found != [1]):
            raise InputError("Assignments and blends mean nothing without a palette: give the one that they lead to.")
        if self.assignment is not None and self.k != 1:
            raise InputError(f"The {self.k} best assignments cannot be taken where one is given: give k or assignment.")
        return found


def palette_conditions(
    photos: list[Photograph], texture_map: Callable[[Tensor], Tensor], edit: PaletteEdit
) -> list[Asked]:
    """Conditions on photos reduced to a palette.

    Args:
        photos: what is edited.
        texture_map: (3, H, W) -> (2, H, W), of the variant.
        edit: what is asked of them.

    Returns:
        For each photo its assignments, the best first, and for each of these every blend.

    Raises:
        InputError: an argument is wrong.
    """
    blends = edit.blends()
    targets = palettes(edit.target, len(photos))
    assignments = one_each(edit.assignment, len(photos), "assignments", numbers=1)
    found = []
    for i, (photo, wanted, chosen) in enumerate(zip(photos, targets, assignments, strict=True)):
        n_colors = count_colors(photo, edit.n_colors)
        quantized = quantize(photo.rgb, n_colors, visible=photo.visible)
        edits = {_label(len(photos), i): quantized}
        if wanted is not None:
            colors, counts = palette(wanted, n_colors)
            method = edit.method or ("rank" if is_colormap(wanted) else "color")
            every = [chosen] if chosen is not None else _best(quantized, colors, counts, edit.k, method)
            edits = {}
            for rank, one in enumerate(every, start=1):
                for share in blends:
                    parts = _which("assignment", rank, edit.k), _which("blend", f"{share:g}", len(blends))
                    edits[_label(len(photos), i, *parts)] = transfer(quantized, colors, assignment(one), share)
        textured = indexed_colors(photo) is None if edit.texture is None else edit.texture
        texture = texture_map(photo.rgb) if textured else None
        found += [Asked(label, for_palette(made.rgb, n_colors, texture), photo) for label, made in edits.items()]
    return found


def _best(quantized: Quantized, colors: Tensor, counts: Tensor, k: int, method: str) -> Tensor:
    """The `k` best assignments (k, K), best first."""
    return match_k_best(quantized.palette, colors, k, method, source_counts=quantized.counts, target_counts=counts)


def _which(name: str, value: object, count: int) -> str:
    """Part of a label, empty where there is only one."""
    return f"{name} {value}" if count > 1 else ""


def patch_conditions(
    photos: list[Photograph],
    texture_map: Callable[[Tensor], Tensor],
    inside: Any,
    fill: Any,
    with_texture: bool = True,
) -> list[Asked]:
    """Conditions on photos in each of which a patch gets one colour: all pixels that its mask marks, if only in part.

    Args:
        photos: what is edited.
        texture_map: (3, H, W) -> (2, H, W), of the variant.
        inside: the patch: a `Mask`, or a list or batch with one for each photo.
        fill: its `Color`, or a list with one for each photo.
        with_texture: show the network the texture inside the patch too.

    Raises:
        InputError: an argument is wrong.
    """
    if inside is None:
        raise InputError("A colour without a patch has no place: give the mask of the patch too.")
    if fill is None:
        raise InputError("A patch needs a new colour: give color, such as #ff8000, or three numbers in [0, 1].")
    colors, found = one_each(fill, len(photos), "colours", numbers=1), []
    for i, (photo, patch, shade) in enumerate(zip(photos, masks(inside, len(photos)), colors, strict=True)):
        share, texture = mask(patch), texture_map(photo.rgb)
        if share.shape != photo.rgb.shape[1:]:
            (height, width), (h, w) = photo.rgb.shape[1:], share.shape
            raise InputError(f"Expected a mask of {width} x {height} pixels, as the upright photo has, got {w} x {h}.")
        condition = for_patch(photo.rgb, share > 0, color(shade), texture, keep_inside=with_texture)
        found.append(Asked(_label(len(photos), i), condition, photo, share))
    return found


def _label(n_photos: int, i: int, *parts: str) -> str:
    return ", ".join(part for part in (_which("photo", i + 1, n_photos), *parts) if part)
