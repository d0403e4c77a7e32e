"""Segment Anything (Kirillov et al., arXiv:2304.02643) through transformers, from files of this machine alone."""

import hashlib
import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import constants, try_to_load_from_cache
from torch import Tensor

from dequant.errors import InputError
from dequant.io.images import to_pil
from dequant.models.finite import check_finite
from dequant.models.folders import CONFIG, is_folder

FOLDER = "DEQUANT_SAM"
"""The environment variable that names a folder with a model, in the layout of transformers."""

RELEASED = ("facebook/sam-vit-base", "facebook/sam-vit-large", "facebook/sam-vit-huge")
"""What is looked for in the cache of Hugging Face otherwise."""

WEIGHTS = "model.safetensors"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
DAMAGED = "The files of Segment Anything cannot be read: copy or download them again."


class Embedded(NamedTuple):
    """A photo as the model knows it.

    Attributes:
        digest: of its pixels.
        embedding: (1, C, h, w).
        size: its height and width.
        reshaped: those of the copy that the encoder saw, without its padding.
    """

    digest: str
    embedding: Tensor
    size: tuple[int, int]
    reshaped: tuple[int, int]


class SegmentAnything:
    """Masks of things that points are on. The last photo is embedded only once.

    Args:
        folder: with configurations and weights, as `available` returns it.

    Raises:
        InputError: its files are damaged.
    """

    def __init__(self, folder: str) -> None:
        from transformers import SamImageProcessorPil, SamModel  # here because they are slow, and seldom needed

        local: dict[str, Any] = {"local_files_only": True}
        options = local | {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        try:
            self._images: Any = SamImageProcessorPil.from_pretrained(folder, **local)
            model, info = SamModel.from_pretrained(folder, **options)
        except Exception as error:  # each kind of damage has its own
            raise InputError(DAMAGED) from error
        if info["missing_keys"]:
            raise InputError(DAMAGED)
        check_finite(model.parameters(), "Segment Anything")
        self._model: Any = model.eval()
        self._last: Embedded | None = None

    @torch.no_grad()
    def __call__(self, rgb: Tensor, points: Sequence[Sequence[float]], inside: Sequence[bool]) -> Tensor:
        """The mask with the highest predicted IoU.

        Args:
            rgb: (3, H, W) in [0, 1].
            points: x and y of each in pixels; (0, 0) is the first pixel.
            inside: for each whether it is on the thing, or beside it.

        Returns:
            (H, W) bool.

        Raises:
            InputError: no point is on the thing, or there are not as many `inside` as points.
        """
        if len(points) != len(inside):
            raise InputError(f"Expected inside for each of {len(points)} points, got {len(inside)}.")
        if not any(inside):
            raise InputError("No point is on the thing: give at least one that is inside.")
        photo = self._embedded(rgb)
        scale = [new / old for new, old in zip(photo.reshaped[::-1], photo.size[::-1], strict=True)]
        found = self._model(
            image_embeddings=photo.embedding,
            input_points=torch.tensor(points, dtype=torch.float32)[None, None] * torch.tensor(scale),
            input_labels=torch.tensor(inside, dtype=torch.int64)[None, None],
            multimask_output=True,
        )
        best = int(found.iou_scores[0, 0].argmax())
        mask = found.pred_masks[:, :, best : best + 1]
        return self._images.post_process_masks(mask, [photo.size], [photo.reshaped])[0][0, 0]

    def _embedded(self, rgb: Tensor) -> Embedded:
        digest = hashlib.sha256(f"{tuple(rgb.shape)}".encode() + rgb.contiguous().numpy().tobytes()).hexdigest()
        last = self._last
        if last is None or last.digest != digest:
            inputs = self._images(to_pil(rgb), return_tensors="pt")
            embedding = self._model.get_image_embeddings(inputs["pixel_values"])
            size, reshaped = (tuple(map(int, inputs[name][0])) for name in ("original_sizes", "reshaped_input_sizes"))
            last = self._last = Embedded(digest, embedding, (size[0], size[1]), (reshaped[0], reshaped[1]))
        return last


def available() -> str | None:
    """The folder of a model that is completely on this machine, None where there is none; nothing is loaded.

    It is that of `FOLDER` where this is set, otherwise the first of `RELEASED` in the cache of Hugging Face.
    """
    given = os.environ.get(FOLDER)
    return _whole(given) if given else _cached(constants.HF_HUB_CACHE)


@lru_cache(maxsize=1)
def segment_anything(folder: str) -> SegmentAnything:
    """The model of a folder, which is loaded once.

    Raises:
        InputError: its files are damaged.
    """
    return SegmentAnything(folder)


@lru_cache(maxsize=1)
def _cached(cache: str) -> str | None:
    for name in RELEASED:
        config = try_to_load_from_cache(name, CONFIG, cache_dir=cache)
        if isinstance(config, str) and _whole(folder := str(Path(config).parent)):
            return folder
    return None


@lru_cache(maxsize=1)
def _whole(folder: str) -> str | None:
    """The folder itself, if it has all files of a Segment Anything."""
    path = Path(folder)
    if not is_folder(path) or not any((path / name).is_file() for name in PROCESSORS):
        return None
    try:
        kind = json.loads((path / CONFIG).read_text(encoding="utf-8"))["model_type"]
        index = path / f"{WEIGHTS}.index.json"
        parts = {WEIGHTS}
        if index.is_file():
            parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return folder if kind == "sam" and all((path / part).is_file() for part in parts) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # missing, no JSON, or another layout
        return None
