"""Losses of what a network predicts, beside the same written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from numpy.typing import NDArray

from dequant.condition.texture_maps import thresholded_gradient_map
from dequant.diffusion.loss import disagreement, loss, variational_bound

Values = NDArray[np.float64]


@pytest.fixture
def scheduler() -> DDPMScheduler:
    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", variance_type="fixed_small")


def test_loss_is_zero_for_the_right_answer_and_scaled_by_the_deviation(scheduler: DDPMScheduler) -> None:
    x, noise = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    deviation = torch.full((2, 1, 4, 4), 0.5)
    assert loss(x, x, noise, scheduler, deviation) == 0
    torch.testing.assert_close(loss(x + 0.5, x, noise, scheduler), torch.tensor(0.25))
    torch.testing.assert_close(loss(x + 0.5, x, noise, scheduler, deviation), torch.tensor(1.0))
    epsilon = DDPMScheduler(prediction_type="epsilon")
    assert loss(noise, x, noise, epsilon) == 0


def test_a_velocity_is_noise_minus_image_each_by_its_share() -> None:
    velocity = DDPMScheduler(prediction_type="v_prediction")
    x, noise, t = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.tensor([10, 700])
    a = velocity.alphas_cumprod[t].view(-1, 1, 1, 1) ** 0.5
    right = a * noise - (1 - a**2) ** 0.5 * x
    torch.testing.assert_close(loss(right + 0.5, x, noise, velocity, t=t), torch.tensor(0.25))


def cdf(value: Values) -> Values:
    """An approximation of the standard normal's."""
    return 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))


def bound(output: Values, x: Values, noise: Values, power: Values, t: int) -> float:
    """Bits per value of one image, from the means and variances of both steps (arXiv:2006.11239, equations 6 and 7)."""
    before = power[t - 1] if t else 1.0
    beta = 1 - power[t] / before
    first_beta = 1 - power[1] / power[0]
    least = math.log(beta * (1 - before) / (1 - power[t]) if t else first_beta * (1 - power[0]) / (1 - power[1]))
    epsilon, place = output[:3], output[3:]
    log_variance = (place + 1) / 2 * math.log(beta) + (1 - place) / 2 * least
    x_t = math.sqrt(power[t]) * x + math.sqrt(1 - power[t]) * noise
    guess = (x_t - math.sqrt(1 - power[t]) * epsilon) / math.sqrt(power[t])
    of_x, of_x_t = math.sqrt(before) * beta / (1 - power[t]), math.sqrt(1 - beta) * (1 - before) / (1 - power[t])
    mean, truth = of_x * guess + of_x_t * x_t, of_x * x + of_x_t * x_t
    if t:
        apart = (mean - truth) ** 2 * np.exp(-log_variance)
        return (0.5 * (log_variance - least - 1 + np.exp(least - log_variance) + apart)).mean() / math.log(2)
    above, below = (cdf((x - mean + half) * np.exp(-log_variance / 2)) for half in (1 / 255, -1 / 255))
    share = np.where(x < -0.999, above, np.where(x > 0.999, 1 - below, above - below))
    return -np.log(np.maximum(share, 1e-12)).mean() / math.log(2)


@pytest.mark.parametrize("t", [0, 1, 2, 500, 999])
def test_the_variational_bound_is_that_of_the_two_steps(t: int) -> None:
    learned = DDPMScheduler(prediction_type="epsilon", variance_type="learned_range")
    generator = torch.Generator().manual_seed(t)
    x, noise = torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1, torch.randn(2, 3, 8, 8, generator=generator)
    x[:, :, :2], x[:, :, 6:] = -1, 1
    error = 0.5 * torch.randn(x.shape, generator=generator)
    output = torch.cat((noise + error, 2 * torch.rand(x.shape, generator=generator) - 1), dim=1)
    when = torch.tensor([t, t])
    power = learned.alphas_cumprod.double().numpy()
    wanted = [bound(*(one.double().numpy() for one in each), power, t) for each in zip(output, x, noise, strict=True)]
    found = variational_bound(output, x, noise, learned, when)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float32), rtol=2e-3, atol=2e-4)
    torch.testing.assert_close(loss(output, x, noise, learned, t=when), error.square().mean() + found.mean())


def test_the_bound_of_a_batch_takes_each_image_at_its_step_and_trains_the_variance_alone() -> None:
    learned = DDPMScheduler(prediction_type="epsilon", variance_type="learned_range")
    x, noise, output = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.randn(2, 6, 4, 4, requires_grad=True)
    both = variational_bound(output, x, noise, learned, torch.tensor([0, 300]))
    for at, t in enumerate((0, 300)):
        alone = variational_bound(output[[at]], x[[at]], noise[[at]], learned, torch.tensor([t]))
        torch.testing.assert_close(both[[at]], alone)
    (gradient,) = torch.autograd.grad(both.sum(), output)
    assert not gradient[:, :3].any() and gradient[:, 3:].any()


def test_disagreement_is_the_entropy_of_softened_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    rgb, target = torch.rand(2, 2, 3, 6, 7, generator=generator) * 0.06
    target[..., 3:] += 0.2
    weight = torch.rand(2, 1, 6, 7, generator=generator)
    weight[0, :, 2:] = 0
    bits = thresholded_gradient_map(target).double().numpy()
    assert 0.05 < bits.mean() < 0.5
    per_image = []
    for picture, edges, counts in zip(rgb.double().numpy() * 255, bits, weight[:, 0].double().numpy(), strict=True):
        slopes = np.stack(np.gradient(0.299 * picture[0] + 0.587 * picture[1] + 0.114 * picture[2]))
        chance = 1 / (1 + np.exp(-(abs(slopes) - 8) / 3))
        entropy = -np.log(np.where(edges == 1, chance, 1 - chance)).mean(0)
        per_image.append((entropy * counts).sum() / (counts > 0).sum())
    torch.testing.assert_close(disagreement(rgb, target, weight).item(), np.mean(per_image), rtol=1e-4, atol=0)
    one = torch.stack((weight[0], torch.zeros_like(weight[1])))
    torch.testing.assert_close(disagreement(rgb, target, one).item(), per_image[0], rtol=1e-4, atol=0)
