"""Correspondences: exact shifts, borders, and what training makes of warps."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dequant.condition.warps import random_warp
from dequant.models.aligner import Aligner, warped
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


def test_a_shift_of_whole_cells_is_found_by_untrained_features() -> None:
    """Features of a convolution move with the picture, so the window finds them, whatever they are."""
    torch.manual_seed(0)
    rough = F.interpolate(torch.rand(1, 1, 24, 24), (96, 96), mode="bicubic").clamp(0, 1)
    aligner = Aligner(width=16, radius=3)
    with torch.no_grad():
        aligner.sharpness.fill_(200.0)
        flow = aligner(rough[..., :64, 8:72], rough[..., :64, :64])
    inner = flow[..., 24:40, 24:40]
    assert (inner[:, 0] - 8).abs().mean() < 0.5 and inner[:, 1].abs().mean() < 0.5


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
