"""Bundled photos to begin with."""

import tarfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import dequant


class Sample(NamedTuple):
    """A bundled photo.

    Attributes:
        title: for people.
        shard: in which it is.
        member: of the shard.
    """

    title: str
    shard: str
    member: str


SAMPLES = {
    "lighthouse": Sample("Lighthouse at dusk", "train", "scene/fedora_970c42e207.jpg"),
    "lake": Sample("Mountain lake", "test", "scene/akc_e84501f6f0.jpg"),
    "lobster": Sample("Blue lobster", "train", "scene/mate_cc5e88f108.jpg"),
    "giraffe": Sample("Giraffe", "train", "scene/elementary_7ce5252146.jpg"),
    "apples": Sample("Apples", "train", "object/grocery_0456e951ca.jpg"),
    "hat": Sample("Hat on a table", "val", "object/clothing_cd57846abf.jpg"),
}
"""By name."""


@lru_cache
def content(name: str) -> bytes:
    """The JPEG of a sample.

    Raises:
        KeyError: there is none of this name.
    """
    sample = SAMPLES[name]
    with tarfile.open(Path(dequant.__file__).parent / "photos" / f"{sample.shard}-000000.tar") as shard:
        file = shard.extractfile(sample.member)
        assert file is not None
        return file.read()
