"""Shards of tiny photos whose colour holds their number."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dequant.data.module import ImageData
from dequant.data.remote_shards import RemoteShards
from dequant.data.shard_stream import ShardStream

SIDE = 8


def number_of(rgb: Tensor) -> int:
    """What `photo` hid in the colour."""
    red, green, _ = (rgb[:, 0, 0] * 255).round().int().tolist()
    return red + 256 * green


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(number: int, side: int = SIDE) -> bytes:
    return encoded(Image.new("RGB", (side, side), (number % 256, number // 256, 0)))


def write(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def shard(path: Path, numbers: Iterable[int]) -> None:
    members = {}
    for number in numbers:
        members[f"{number:05}.png"] = photo(number)
        members[f"{number:05}.json"] = json.dumps({"url": f"http://x/{number}", "AESTHETIC_SCORE": number}).encode()
    write(path, members)


SIZES = (7, 3, 9, 5, 8, 4)
"""Photos in each of the shards 0.tar, 1.tar, ... of the fixture `shards`."""


def condition(rgb: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """The state of the generator, and the number of the photo."""
    return {"condition": torch.full((7, SIDE, SIDE), float(rng.random())), "target": torch.tensor(number_of(rgb))}


def source(pattern: str, **changes: Any) -> RemoteShards:
    return RemoteShards(pattern, **{"retries": 0, "wait": 0.0, "held_out": 0.0, "most": 9, "least": {}} | changes)


def streamed(pattern: str, lanes: int = 4, **changes: Any) -> ImageData:
    """A module that streams shards."""
    options = {"condition": condition, "size": SIDE, "batch_size": 2, "num_workers": 0, "seed": 3}
    stream = partial(ShardStream, lanes=lanes, shuffle=4, resample=False)
    return ImageData(source=source(pattern), stream=stream, **options | changes)
