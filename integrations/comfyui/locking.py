"""The node that undoes the colour drift of editors."""

from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io
from torch import Tensor

from .palettes import CATEGORY
from .pictures import is_deep, joined, masks, originals, tensor, watched

if TYPE_CHECKING:
    from dequant.edit.lock import Locked


class LockColours(io.ComfyNode):
    """Edited images that are the photo again where nothing was to change."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """An edited image and its source to an image."""
        return io.Schema(
            node_id="DequantLockColours",
            display_name="Lock Colours",
            category=CATEGORY,
            description="Undoes the colour drift of any editor outside the mask, without a seam.",
            inputs=[
                io.Image.Input("edited", tooltip="The result of an editor."),
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Mask.Input(
                    "mask", optional=True, tooltip="What was to be edited; it stays to the bit. Without it: found."
                ),
                io.Float.Input(
                    "feather",
                    default=0.0,
                    min=0.0,
                    max=4096.0,
                    step=1.0,
                    tooltip="Pixels over which the border fades out; 0 chooses them.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Mask.Output(display_name="moved", tooltip="What the editor changed outside the mask."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(cls, edited: Tensor, source: Tensor, feather: float, mask: Tensor | None = None) -> io.NodeOutput:
        """Lock each edited image of a batch.

        Args:
            edited: (B, h, w, C), within 5 % of the source's aspect ratio.
            source: (B, H, W, C), or one for all. The result has its size and its transparency.
            feather: 0, or at least 1.
            mask: (B, H, W).

        Raises:
            InputError: an input is wrong, sizes do not fit, or nothing is outside the mask.
        """
        from dequant.edit.lock import lock
        from dequant.pipelines.inputs import one_each

        deep = is_deep(edited) or is_deep(source)
        befores = one_each(originals(source, deep), len(edited), "sources")
        sources = source.expand(len(edited), -1, -1, -1)
        pictures, moved, reports = [], [], []
        places = masks(mask, sources)
        for number, photo in enumerate(watched(originals(edited, deep))):
            place = places[number]
            inside = None if place is None else place.cpu().numpy()
            found = lock(photo.levels, befores[number].levels, inside, feather=feather or None)
            picture = tensor(found.levels, befores[number], sources[number])
            if edited.shape[1:3] == source.shape[1:3]:
                within = torch.from_numpy(found.mask >= 1)[..., None].to(picture.device)
                picture[..., :3] = torch.where(within, edited[number, ..., :3].to(picture), picture[..., :3])
            pictures.append(picture)
            moved.append(torch.from_numpy(found.moved).float().to(source.device))
            reports.append(_locked(found))
        return io.NodeOutput(torch.stack(pictures), torch.stack(moved), joined(reports))


def _locked(found: "Locked") -> str:
    """What a lock did, in words."""
    drift = found.drift
    lines = [
        f"outside the mask: dE {drift.mean_before:.2f} became {drift.mean_after:.2f} on average, "
        f"{drift.p99_before:.2f} became {drift.p99_after:.2f} in the worst hundredth",
        f"content moved there: {found.moved.mean():.1%} of the picture",
    ]
    return "\n".join(lines + [f"note: {note}" for note in found.notes])
