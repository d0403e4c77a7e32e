"""Rows of a manifest, with their photos of noise."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from dequant.data.packing import COLUMNS


def photo_bytes(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def photo_row(
    folder: Path, name: str, seed: int, parent: str, crop: str = "whole", group: str = "A_free"
) -> dict[str, str]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo_bytes(seed))
    values = {
        "file": name,
        "group": group,
        "licence": "CC0",
        "attribution": f"Ann, Ö. {seed}",
        "source_repo": "a/b",
        "source_path": f"{seed}.jpg",
        "blob": hashlib.sha1(parent.encode()).hexdigest(),
        "crop": crop,
        "bytes": str(path.stat().st_size),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert set(values) == set(COLUMNS)
    return values
