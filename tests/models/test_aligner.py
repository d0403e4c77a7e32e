"""Correspondences: exact shifts, borders, and what training makes of warps."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.condition.warps import random_warp
from dequant.data.module import ImageData
from dequant.data.sources import Shards
from dequant.data.sources import bundled as shards
from dequant.models.aligner import Aligner, bundled, warped
from dequant.training.aligner import AlignerTraining, end_point_error
from tests.support import latents


def test_offsets_read_what_lies_there() -> None:
    picture = torch.arange(64.0).reshape(1, 1, 8, 8)
    flow = torch.zeros(1, 2, 8, 8)
    assert torch.allclose(warped(picture, flow), picture)
    flow[:, 0] = 2
    assert torch.allclose(warped(picture, flow)[..., :6], picture[..., 2:], atol=1e-4)
    assert torch.allclose(warped(picture, flow)[..., 6:], picture[..., 7:].expand(-1, -1, -1, 2), atol=1e-4)


def test_warps_are_smooth_random_and_of_a_seed() -> None:
    first, again, other = (random_warp(64, 5.0, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.shape == (2, 64, 64) and torch.equal(first, again) and not torch.equal(first, other)
    assert 1 < first.abs().amax() < 10 and (first[:, 1:] - first[:, :-1]).abs().amax() < 1
    assert not random_warp(16, 0.0, np.random.default_rng(0)).any()


def test_likeness_is_greatest_where_the_features_are() -> None:
    """Features of a convolution move with the picture, so the window finds them, whatever they are."""
    torch.manual_seed(0)
    rough = F.interpolate(torch.rand(1, 1, 24, 24), (96, 96), mode="bicubic").clamp(0, 1)
    aligner = Aligner(width=16, radius=3)
    with torch.no_grad():
        ours, theirs = (F.instance_norm(aligner.layers(part)) for part in (rough[..., 8:72], rough[..., :64]))
        likeness = aligner._likeness(ours, theirs)
    assert likeness.shape == (1, 49, 24, 16)
    found = likeness[..., 6:-6, 6:-6].argmax(1)
    assert ((found % 7 - 3 == 2) & (found // 7 == 3)).float().mean() > 0.9


def test_each_round_starts_from_the_last() -> None:
    torch.manual_seed(0)
    gray, other = torch.rand(2, 2, 1, 32, 48)
    aligner = Aligner(width=16, radius=2, rounds=3)
    found = aligner.found(gray, other)
    assert len(found) == 3 and all(one.shape == (2, 2, 32, 48) for one in found)
    assert torch.equal(aligner(gray, other), found[-1]) and not torch.equal(found[0], found[1])


def test_the_bundled_one_finds_known_warps() -> None:
    """More than five times nearer than no alignment, over photos that it has not learned from."""
    data = ImageData(source=Shards(shards()), condition=None, size=128, batch_size=1, num_workers=0, seed=0)
    gray = torch.stack([grayscale(rgb)[:1] for _, rgb in data.photos("val", 128)])
    flow = torch.stack([random_warp(128, 8.0, np.random.default_rng(seed)) for seed in range(len(gray))])
    aligner = Aligner.from_pretrained(bundled()).float().eval()
    with torch.no_grad():
        found = aligner(warped(gray, flow), gray)
    assert len(gray) > 5 and end_point_error(found, flow) < end_point_error(torch.zeros_like(flow), flow) / 5


def test_training_lowers_the_error_and_files_keep_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = AlignerTraining(Aligner(16, 2), partial(torch.optim.AdamW, lr=3e-3), most=3.0)
    made.log = lambda *args, **kwargs: None
    batch = latents.batch(4, 32)
    batch["target"] = F.interpolate(torch.rand(4, 3, 16, 16), (32, 32), mode="bilinear")
    losses = latents.losses(made, batch, 30)
    assert losses[-1] < 0.8 * losses[0]
    assert made.validation_step(batch, 0).shape == (4, 3, 32, 32)
    assert set(made.columns(batch, batch["target"])) == {"warped", "output", "truth"}
    made.save_pretrained(tmp_path / "weights")
    other = AlignerTraining(Aligner(16, 2))
    other.load_weights(tmp_path / "weights")
    torch.testing.assert_close(other.aligner.sharpness, made.aligner.sharpness, atol=0.1, rtol=1e-2)


def test_an_error_is_a_distance_in_pixels() -> None:
    flow = torch.zeros(1, 2, 4, 4)
    flow[:, 0], flow[:, 1] = 3, 4
    assert end_point_error(torch.zeros_like(flow), flow) == pytest.approx(5, abs=1e-4)
