"""Losses of what a network predicts."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from dequant.diffusion.loss import loss


@pytest.fixture
def scheduler() -> DDPMScheduler:
    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", variance_type="fixed_small")


def test_loss_is_zero_for_the_right_answer_and_scaled_by_the_deviation(scheduler: DDPMScheduler) -> None:
    x, noise = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    deviation = torch.full((2, 1, 4, 4), 0.5)
    assert loss(x, x, noise, scheduler, deviation) == 0
    torch.testing.assert_close(loss(x + 0.5, x, noise, scheduler, deviation), torch.tensor(1.0))
    epsilon = DDPMScheduler(prediction_type="epsilon")
    assert loss(noise, x, noise, epsilon) == 0
