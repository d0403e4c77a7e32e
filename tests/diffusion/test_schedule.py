"""The noise schedule and the posterior of two observations."""

import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from dequant.diffusion.schedule import cosine_alphas_cumprod, posterior, predicted_clean, signal_and_noise


@pytest.fixture
def scheduler() -> DDPMScheduler:
    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", variance_type="fixed_small")


def test_posterior_trusts_the_color_in_pure_noise_and_x_t_at_the_end(scheduler: DDPMScheduler) -> None:
    x_t, color = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    std = torch.full((2, 1, 4, 4), 0.1)
    a, s = signal_and_noise(scheduler, torch.tensor([999, 0]))
    mean, deviation = posterior(x_t, color, std, a, s)
    torch.testing.assert_close(mean[0], color[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(deviation[0], std[0])
    assert (mean[1] - x_t[1] / a[1]).abs().max() < 5e-3
    torch.testing.assert_close(deviation[1], (s / a)[1].expand_as(deviation[1]), atol=2e-5, rtol=0)


def test_posterior_is_the_bayesian_estimate() -> None:
    """Against a numerical check: among unbiased combinations of both observations its variance is least and as said."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200_000, generator=generator).view(1, 1, -1, 1)
    a, s, std = (
        torch.tensor(0.8).view(1, 1, 1, 1),
        torch.tensor(0.6).view(1, 1, 1, 1),
        torch.full_like(x, 0.5),
    )
    x_t = a * x + s * torch.randn(x.shape, generator=generator)
    color = x + std * torch.randn(x.shape, generator=generator)
    mean, deviation = posterior(x_t, color, std, a, s)
    error = (mean - x).std()
    torch.testing.assert_close(error, deviation.mean(), rtol=0.01, atol=0)
    assert error < min((x_t / a - x).std(), (color - x).std())


@pytest.mark.parametrize("steps", [2, 10, 1000])
def test_the_cosine_schedule_is_that_of_the_paper(steps: int) -> None:
    """Equation 17 of arXiv:2102.09672, whose betas are at most 0.999, which the last step alone reaches."""
    whole = [math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(steps)]
    wanted = [one / whole[0] for one in whole[1:]]
    wanted.append(0.001 * (wanted[-1] if wanted else 1))
    found = cosine_alphas_cumprod(steps)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("t", [[7, 900], [400]])
def test_the_clean_image_behind_a_prediction(kind: str, t: list[int]) -> None:
    scheduler = DDPMScheduler(prediction_type=kind)
    x, noise = torch.rand(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    power = scheduler.alphas_cumprod[torch.tensor(t)].view(-1, 1, 1, 1)
    x_t = power.sqrt() * x + (1 - power).sqrt() * noise
    output = {"sample": x, "epsilon": noise, "v_prediction": power.sqrt() * noise - (1 - power).sqrt() * x}[kind]
    found = predicted_clean(output, x_t, torch.tensor(t), scheduler)
    torch.testing.assert_close(found, x, atol=2e-4, rtol=0)
