"""Frames of one sequence: all of them get their colours from one palette, one assignment and one noise.

A palette of its own for each frame, matched anew, jumps from frame to frame, which flickers. Here the palette is made
of all frames together, and what each of its colours becomes is decided once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from skimage.registration import optical_flow_ilk
from torch import Tensor

from dequant.color.palette import quantize
from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.edit.painting import Settings, as_rgb, relit, small_copy
from dequant.edit.pinning import Pins, pinned
from dequant.edit.sources import Source, matched, of_palette, painted, pipeline
from dequant.errors import InputError, whole_number
from dequant.io.colors import to_hex
from dequant.io.originals import Original
from dequant.io.palettes import N_COLORS
from dequant.pipelines import inputs

if TYPE_CHECKING:
    from dequant.pipelines.dequant import DequantPipeline

Frame = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W, 3), sRGB."""


SAMPLES = 16
"""Frames that make the palette, at most; evenly spaced."""


SAMPLE_PIXELS = 2**14
"""Of each of them."""


@dataclass(frozen=True)
class Look:
    """What becomes of every frame of a sequence.

    Attributes:
        palette: (K, 3) in [0, 1], of all frames together.
        target: (K, 3), what each of its colours becomes; None where only swaps move colours.
        moves: of colours that are swapped, where there is no other palette.
        settings: how frames are painted, with the same seed for each.
        pipe: what paints them, None where nothing does.
    """

    palette: Tensor
    target: Tensor | None
    moves: Pins
    settings: Settings
    pipe: "DequantPipeline | None" = None

    @classmethod
    def of(
        cls,
        samples: Iterable[Frame],
        palette: Any = None,
        n_colors: int | None = None,
        *,
        method: str | None = None,
        blend: float = 1.0,
        swaps: Mapping[str, Any] | None = None,
        settings: Settings | None = None,
        pipe: "DequantPipeline | None" = None,
    ) -> Self:
        """Decide what becomes of a sequence.

        Args:
            samples: some frames from all over it, such as those of `spread`.
            palette: and all that follow, as in `edits.transfer`.
            n_colors: of the sequence's palette, 1 to 256; None for 16.
            method: see `edits.transfer`.
            blend: see `edits.transfer`.
            swaps: see `edits.transfer`.
            settings: how frames are painted.
            pipe: in place of `dequant.load(settings.weights)`.

        Raises:
            InputError: an argument is wrong, nothing is asked for, or there is no frame.
        """
        if palette is None and not swaps:
            raise InputError("Nothing is asked for: give a palette or colours to swap.")
        settings = settings or Settings()
        count = whole_number("n_colors", N_COLORS if n_colors is None else n_colors, 1, 256)
        colors, counts = (None, None) if palette is None else inputs.palette(palette, count)
        some = list(samples)
        if not some:
            raise InputError("There is no frame: give a sequence of one at least.")
        before = quantize(mosaic(some), count)
        if colors is None or counts is None:
            moves = pinned(some[0], small_copy(some[0]), (), swaps or {}, settings.spread)
            return cls(before.palette, None, moves, settings)
        method = method or ("rank" if inputs.is_colormap(palette) else "color")
        target = matched(before, (colors * 255).round() / 255, counts, method, 1, blend)
        for old, new in (swaps or {}).items():
            target[of_palette(before.palette, inputs.color(old)[:, None])] = inputs.color(new)
        return cls(before.palette, target, Pins(None), settings, pipe or pipeline(settings.weights))

    def apply(self, frame: Frame) -> Frame:
        """One frame in its new colours, of the same shape and type. It depends on no other frame."""
        if self.target is None or self.pipe is None:
            levels = self.moves.apply(frame)
            return relit(levels, frame) if self.settings.luminance == "keep" else levels
        source = Source.in_palette(Original(frame), self.palette, self.settings)
        return painted(source, self.target, True, self.settings, self.pipe)

    def as_json(self) -> dict[str, Any]:
        """The palette, and what becomes of it."""
        target = self.palette if self.target is None else self.target
        pairs = zip(self.palette, target, strict=True)
        return {"mapping": [{"from": to_hex(old), "to": to_hex(new)} for old, new in pairs]}


def transferred(
    frames: Iterable[Frame], palette: Any = None, n_colors: int | None = None, **options: Any
) -> Iterator[Frame]:
    """Give a sequence another palette, or swap colours of it, one frame at a time.

    Args:
        frames: what can be read twice, first for the palette: a list, or an object whose `iter` begins anew.
        palette: and all that follow, as in `Look.of`.
        n_colors: see `Look.of`.
        **options: see `Look.of`.

    Raises:
        InputError: as in `Look.of`, or the frames can be read only once.
    """
    if iter(frames) is frames:
        raise InputError("These frames can be read only once: give a list, or what begins anew for each iter().")
    return map(Look.of(spread(frames), palette, n_colors, **options).apply, frames)


def spread(frames: Iterable[Frame], most: int = SAMPLES) -> list[Frame]:
    """At most so many frames of a sequence of any length, evenly spaced, its first among them.

    Every second one is forgotten whenever there are too many; never more than `most` are held.
    """
    kept, step = list[Frame](), 1
    for number, frame in enumerate(frames):
        if number % step:
            continue
        if len(kept) == most:
            kept, step = kept[::2], 2 * step
            if number % step:
                continue
        kept.append(thinned(frame))
    return kept


def thinned(frame: Frame) -> Frame:
    """Pixels of a frame in regular rows and columns, about `SAMPLE_PIXELS` at most."""
    step = max(1, round((frame.shape[0] * frame.shape[1] / SAMPLE_PIXELS) ** 0.5))
    return frame[step // 2 :: step, step // 2 :: step].copy() if min(frame.shape[:2]) > step else frame


def mosaic(frames: Iterable[Frame]) -> Tensor:
    """The pixels of frames of any size in one row, (3, 1, N) in [0, 1]."""
    return torch.cat([as_rgb(thinned(one)).flatten(1) for one in frames], dim=1)[:, None]


def flicker(pictures: Iterable[Frame], sources: Iterable[Frame]) -> float:
    """How much pictures change from frame to frame where their sources only move.

    It is the mean CIEDE2000 between each picture and the one before, warped along the optical flow of the sources
    (`skimage.registration.optical_flow_ilk`), where the flow stays within the picture. Changes of brightness of the
    sources count, too, so that their own flicker is what to compare with.

    Args:
        pictures: (H, W, 3) each, all of one size, two at least.
        sources: the frames that they were made of.

    Raises:
        InputError: there are fewer than two.
    """
    found = []
    for (picture_before, source_before), (picture, source) in pairwise(zip(pictures, sources, strict=True)):
        before, after = (as_rgb(one).mean(0).numpy() for one in (source_before, source))
        flow = optical_flow_ilk(after, before)
        places = np.stack(np.meshgrid(*map(np.arange, after.shape), indexing="ij")) + flow
        most = np.array(after.shape)[:, None, None] - 1
        inside = torch.from_numpy(((places >= 0) & (places <= most)).all(0))
        channels = [map_coordinates(one, places, order=1, mode="nearest") for one in as_rgb(picture_before).numpy()]
        warped = torch.from_numpy(np.stack(channels))
        found.append(ciede2000(rgb_to_lab(warped), rgb_to_lab(as_rgb(picture)))[inside].mean().item())
    if not found:
        raise InputError("Flicker is of two frames at least: give more.")
    return float(np.mean(found))
