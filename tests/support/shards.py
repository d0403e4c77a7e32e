"""Shards of tiny photos whose colour holds their number."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

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
