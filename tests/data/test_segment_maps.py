"""Maps of segments: made from a photo, stored beside it, cropped along with it, and used for patches."""

import csv
import hashlib
import io
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dequant.condition import patches
from dequant.condition.examples import RandomDegradation, RandomTraining
from dequant.condition.texture_maps import luminance_map
from dequant.data.crops import draw_crop
from dequant.data.datasets import TrainingStream
from dequant.data.packing import COLUMNS, pack, read_manifest, select
from dequant.data.segment_maps import SHORT_SIDE, segment_photo, training_sample
from dequant.data.sources import Photos, Shards

SIZE = 32


def blocks(seed: int = 0, width: int = 72, height: int = 60) -> Image.Image:
    """A photo of 12 x 12 pixel blocks of different colours."""
    colors = np.random.default_rng(seed).integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8)
    return Image.fromarray(colors.repeat(12, axis=0).repeat(12, axis=1))


def file_of(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def read(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def folder_with_manifest(folder: Path) -> Path:
    """Ten photos of blocks."""
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for seed in range(10):
            data = file_of(np.array(blocks(seed)), "JPEG")
            (folder / f"{seed}.jpg").write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            known = {"file": f"{seed}.jpg", "blob": digest, "sha256": digest, "bytes": len(data), "crop": "whole"}
            writer.writerow(dict.fromkeys(COLUMNS, "") | known)
    return folder


def test_a_photo_has_one_map_of_each_segmenter() -> None:
    maps = segment_photo(blocks())
    assert list(maps) == [segmenter.__name__ for segmenter in patches.SEGMENTERS]
    for data in maps.values():
        labels = torch.from_numpy(read(data).astype(np.int64))
        assert labels.shape == (60, 72)
        assert torch.equal(patches.components(labels), labels)
        assert labels.max() > 8
    assert segment_photo(blocks()) == maps
    assert segment_photo(blocks(1)) != maps


def test_large_photos_have_small_maps() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 420, 3), dtype=np.uint8)
    shapes = {read(data).shape for data in segment_photo(Image.fromarray(noise)).values()}
    assert shapes == {(SHORT_SIDE, 336)}


def test_segments_of_many_are_kept_in_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = torch.arange(300).view(15, 20)
    monkeypatch.setattr(patches, "segment_whole", lambda rgb, rng: {"slic": many})
    assert np.array_equal(read(segment_photo(blocks())["slic"]), many.numpy())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("reduced", [1, 2])
def test_a_map_is_cropped_and_mirrored_as_its_photo(seed: int, reduced: int) -> None:
    photo = blocks()
    crop = draw_crop(photo.size, SIZE, np.random.default_rng(seed))
    rgb = crop.cut(photo, SIZE)
    colors = np.array(photo)[::reduced, ::reduced].reshape(-1, 3)
    distinct, labels = np.unique(colors, axis=0, return_inverse=True)
    cut = crop.cut_labels(labels.reshape(60 // reduced, 72 // reduced), SIZE)
    same = torch.from_numpy(distinct[cut] / 255).permute(2, 0, 1)
    assert ((same - rgb).abs().amax(0) < 0.02).float().mean() > 0.6  # all but the blurred edges of the blocks


def whole_masks(photo: Image.Image, maps: list, **options: float) -> list[dict[str, Tensor]]:
    training = RandomTraining(luminance_map, patch_share=1, gray_share=0, saturation_share=0, **options)
    return [training_sample(photo, maps, training, SIZE, np.random.default_rng(seed)) for seed in range(40)]


def test_patches_consist_of_the_segments_of_a_map() -> None:
    photo = Image.new("RGB", (72, 60), (90, 120, 150))
    labels = np.arange(30, dtype=np.uint8).reshape(5, 6).repeat(12, axis=0).repeat(12, axis=1)
    for seed, sample in enumerate(whole_masks(photo, [lambda: file_of(labels)])):
        mask = sample["condition"][5] < 1
        cut = torch.from_numpy(draw_crop(photo.size, SIZE, np.random.default_rng(seed)).cut_labels(labels, SIZE))
        inside, outside = set(cut[mask].tolist()), set(cut[~mask].tolist())
        if len(inside & outside) > 0:  # one in ten is of a palette: of one colour, a rectangle
            rows, columns = mask.any(1).sum(), mask.any(0).sum()
            assert mask.sum() == rows * columns
    assert mask.any()


def test_without_maps_the_crop_is_segmented() -> None:
    rng = np.random.default_rng(3)
    training = RandomTraining(luminance_map)
    expected = training(draw_crop(blocks().size, SIZE, rng).cut(blocks(), SIZE), rng)
    sample = training_sample(blocks(), [], training, SIZE, np.random.default_rng(3))
    assert all(torch.equal(sample[name], expected[name]) for name in expected)


def test_degradations_need_no_map() -> None:
    def unread() -> bytes:
        raise AssertionError

    sample = training_sample(blocks(), [unread], RandomDegradation(), SIZE, np.random.default_rng(0))
    assert sample["condition"].shape == (7, SIZE, SIZE)


@pytest.mark.parametrize("data", [b"", b"no png", file_of(np.zeros((60, 72), np.uint8))[:-30]])
def test_a_damaged_map_is_replaced(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        samples = whole_masks(blocks(), [lambda: data])
    assert "the photo is segmented instead" in caplog.text
    assert all((sample["condition"][5] < 1).any() for sample in samples)


def test_shards_with_segments_serve_training(tmp_path: Path) -> None:
    photos = folder_with_manifest(tmp_path / "photos")
    rows = select(read_manifest(photos))
    pack(photos, rows, tmp_path / "plain")
    pack(photos, rows, tmp_path / "segmented", segment=True)
    plain, segmented = Shards(tmp_path / "plain"), Shards(tmp_path / "segmented")
    for split in ("train", "val", "test"):
        assert segmented.keys(split) == plain.keys(split)
    for key in plain.keys("all"):
        assert segmented.read(key) == plain.read(key)
        assert plain.maps(key) == []
        names = sorted(f"{key.removesuffix('.jpg')}.{segmenter.__name__}.png" for segmenter in patches.SEGMENTERS)
        assert segmented.maps(key) == (names if key in plain.keys("train") else [])
    training = RandomTraining(luminance_map)
    streams = [TrainingStream(Photos(source, "train", 16), training, 16, seed=1) for source in (plain, segmented)]
    samples = [[stream[k] for k in range(40)] for stream in streams]
    patchwise = [bool((sample["condition"][5] < 1).any()) for sample in samples[0]]
    for one, other, is_patch in zip(*samples, patchwise, strict=True):
        assert torch.equal(one["target"], other["target"])
        assert is_patch or torch.equal(one["condition"], other["condition"])
    assert any(not torch.equal(one["condition"], other["condition"]) for one, other in zip(*samples, strict=True))
