from pathlib import Path

import pytest

from tests.support.data import fill
from tests.support.shards import SIZES, shard


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in sub-folders: 7 of train, 4 of val, 3 of test."""
    root = tmp_path_factory.mktemp("photos")
    for start, (split, count) in zip((0, 20, 30), (("train", 7), ("val", 4), ("test", 3)), strict=True):
        fill(root, count, split, start)
    return root


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """Pattern of six shards of 36 photos."""
    first = 0
    for index, count in enumerate(SIZES):
        shard(tmp_path / f"{index}.tar", range(first, first + count))
        first += count
    return f"{tmp_path}/{{0..5}}.tar"
