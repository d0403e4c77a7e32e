import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.data.datasets import StreamSampler, TrainingStream
from dequant.data.sources import Folder, Photos
from dequant.errors import InputError
from tests.support.data import SIZE, condition, data, jpeg


def average(image: Image.Image | None) -> tuple[float, ...]:
    assert image is not None
    return tuple(np.asarray(image).mean(axis=(0, 1)))


def test_each_pass_takes_every_photo_once_in_a_fresh_order(folder: Path) -> None:
    items = TrainingStream(Photos(Folder(folder), "train"), condition, SIZE, seed=0)
    rng = np.random.default_rng(0)
    passes = [[average(items._photo(p * 7 + i, rng)[1]) for i in range(7)] for p in range(3)]
    assert len({tuple(sorted(one)) for one in passes}) == 1 and len(set(passes[0])) == 7
    assert len({tuple(one) for one in passes}) == 3


def test_weights_are_the_shares_of_the_draws(folder: Path) -> None:
    weights = {"photo_00": 5.0, "photo_0": 1.0, "photo_01": 0.0}
    photos = Photos(Folder(folder), "train")
    items = TrainingStream(photos, condition, SIZE, seed=0, weights=weights)
    names = {average(photos.image(index)): key[-6:-4] for index, key in enumerate(photos.keys)}
    drawn = [names[average(items._photo(0, np.random.default_rng(k))[1])] for k in range(1500)]
    assert drawn.count("01") == 0
    assert drawn.count("00") / 1500 == pytest.approx(0.5, abs=0.05)
    assert drawn.count("02") / 1500 == pytest.approx(0.1, abs=0.03)


def test_weight_errors(folder: Path) -> None:
    for weights, message in (
        ({"object/": 2.0}, "No training photo has 'object/' in its key"),
        ({"photo": -1.0}, "The weight of 'photo' is -1.0"),
        ({"photo": float("nan")}, "is nan: expected a finite number"),
        ({"photo": 0.0}, "The weights leave no training photo"),
    ):
        with pytest.raises(InputError, match=message):
            data(folder, weights=weights).train_dataloader()


def test_ranks_share_the_stream(folder: Path) -> None:
    items = TrainingStream(Photos(Folder(folder), "train"), condition, SIZE, seed=0)
    ranks = [itertools.islice(StreamSampler(items, lambda: 12, 3, rank), 4) for rank in range(3)]
    assert [k for group in zip(*ranks, strict=True) for k in group] == list(range(12, 24))


def test_no_usable_photo_is_an_error(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="sides of at least 41 pixels: the largest usable size is 40"):
        data(folder, size=41).setup("fit")
    (tmp_path / "a.jpg").write_text("not a photo")
    with pytest.raises(InputError, match="None of the 1 files of split 'all' is an image"):
        Photos(Folder(tmp_path), "all")
    (tmp_path / "a.jpg").write_bytes(jpeg(1, width=200, height=200)[:2500])
    items = TrainingStream(Photos(Folder(tmp_path), "all"), condition, SIZE, seed=0)
    with pytest.raises(InputError, match="All 1 training photos are damaged"):
        items[0]


def test_evaluation_batches_are_every_photo_and_always_the_same(folder: Path) -> None:
    first, again = ([*data(folder).val_dataloader()] for _ in range(2))
    assert [len(batch["target"]) for batch in first] == [3, 1]
    assert all(torch.equal(a["condition"], b["condition"]) for a, b in zip(first, again, strict=True))
    assert sum(len(batch["target"]) for batch in data(folder).test_dataloader()) == 3
    assert sum(len(batch["target"]) for batch in data(folder, split="all").test_dataloader()) == 14
    assert len(data(folder, limit=2).val_dataloader().dataset) == 2


def test_evaluation_palette_and_texture(folder: Path) -> None:
    module = data(folder, texture_map=lambda rgb: rgb[:2], n_colors=[8, 2])
    batch, *others = module.val_dataloader()
    assert torch.cat([batch["n_colors"], *(other["n_colors"] for other in others)]).tolist() == [8] * 4 + [2] * 4
    given_rgb, texture, level, indicator = batch["condition"].split([3, 2, 1, 1], dim=1)
    assert (level == 8 / 256).all() and (indicator == 1).all()
    assert all(len(image.flatten(1).T.unique(dim=0)) <= 2 for image in others[-1]["condition"][:, :3])
    assert torch.equal(texture, batch["target"][:, :2])
    for image in given_rgb:
        assert len(image.flatten(1).T.unique(dim=0)) <= 8
    _, rgb = next(module.photos("val", SIZE))
    assert torch.equal(batch["target"][0], rgb)
