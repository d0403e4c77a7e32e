from functools import partial

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dequant.condition.channels import color_std
from dequant.diffusion import solver as solver_module
from dequant.diffusion.loss import loss
from dequant.diffusion.schedule import posterior, signal_and_noise
from dequant.diffusion.solver import mean_of_samples
from tests.support.paths import CONF

SAMPLERS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))


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


@pytest.mark.parametrize(("n_colors", "expected"), [(1, 0.3), (4, 0.15), (16, 0.075), (64, 0.0375), (256, 0.01875)])
def test_color_std(n_colors: int, expected: float) -> None:
    assert color_std(torch.tensor(n_colors / 256)).item() == pytest.approx(expected)


def test_loss_is_zero_for_the_right_answer_and_scaled_by_the_deviation(scheduler: DDPMScheduler) -> None:
    x, noise = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    deviation = torch.full((2, 1, 4, 4), 0.5)
    assert loss(x, x, noise, scheduler, deviation) == 0
    torch.testing.assert_close(loss(x + 0.5, x, noise, scheduler, deviation), torch.tensor(1.0))
    epsilon = DDPMScheduler(prediction_type="epsilon")
    assert loss(noise, x, noise, epsilon) == 0


SUPER27 = [999, 991, 982, 974, 966, 958, 950, 941, 933, 925, 916, 908, 900, 899, 874, 850, 825, 800, 799]
SUPER27 += [700, 600, 500, 400, 300, 200, 100, 0]


@pytest.mark.parametrize(
    ("solver", "options", "steps"),
    [
        (
            DDPMScheduler,
            {"thresholding": True, "dynamic_thresholding_ratio": 0.95, "sample_max_value": 1.0},
            SUPER27,
        ),
        (DDIMScheduler, {"timestep_spacing": "trailing"}, 8),
        (DDIMScheduler, {"timestep_spacing": "trailing"}, 1),
    ],
)
def test_sampling_a_known_image_gives_it_back(
    scheduler: DDPMScheduler, solver: type, options: dict, steps: list[int] | int
) -> None:
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    visited: list[int] = []

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        visited.append(int(t))
        return x

    how = {"timesteps": steps} if isinstance(steps, list) else {"num_inference_steps": steps}
    generator = torch.Generator().manual_seed(0)
    out = solver_module.sample(
        denoise, torch.randn(x.shape), scheduler, generator, solver=solver, options=options, **how
    )
    torch.testing.assert_close(out, x, atol=1e-5, rtol=0)
    assert visited == (steps if isinstance(steps, list) else visited)
    assert visited[0] == 999
    assert len(visited) == (len(steps) if isinstance(steps, list) else steps)


def test_callback_sees_each_step_and_may_change_it(scheduler: DDPMScheduler) -> None:
    seen: list[tuple[int, int]] = []

    def halve(i: int, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        seen.append((i, int(t)))
        return x / 2

    x = torch.rand(1, 3, 8, 8)
    options = {"solver": DDIMScheduler, "options": {"timestep_spacing": "trailing"}, "num_inference_steps": 2}
    out = solver_module.sample(lambda x_t, t: x, torch.randn(x.shape), scheduler, callback=halve, **options)
    torch.testing.assert_close(out, x / 2, atol=1e-5, rtol=0)
    assert seen == [(0, 999), (1, 499)]


def test_draws_of_one_image_do_not_depend_on_the_batch(scheduler: DDPMScheduler) -> None:
    def sample(seeds: list[int]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(3, 8, 8, generator=g) for g in generators])
        return solver_module.sample(
            lambda x_t, t: 0.5 * x_t,
            noise,
            scheduler,
            generators,
            solver=DDPMScheduler,
            timesteps=[999, 500, 100],
        )

    torch.testing.assert_close(sample([1, 2])[1], sample([2])[0])


@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("variance_type", ["fixed_small", "learned_range"])
@pytest.mark.parametrize(
    ("solver", "how"),
    [
        (DDPMScheduler, {"timesteps": [999, 600, 100, 0]}),
        (DDIMScheduler, {"num_inference_steps": 5, "options": {"timestep_spacing": "trailing"}}),
        (DPMSolverMultistepScheduler, {"num_inference_steps": 5}),
    ],
)
def test_a_projection_replaces_the_clean_image_that_the_solver_is_given(
    prediction_type: str, variance_type: str, solver: type, how: dict
) -> None:
    """The projection is shown the truth and answers with another image, which is what must come out."""
    scheduler = DDPMScheduler(beta_schedule="linear", prediction_type=prediction_type, variance_type=variance_type)
    generator = torch.Generator().manual_seed(0)
    truth, wanted = (torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1 for _ in range(2))
    steps: list[tuple[int, int]] = []

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = signal_and_noise(scheduler, t.reshape(1))
        noise = (x_t - a * truth) / s
        output = {"sample": truth, "epsilon": noise, "v_prediction": a * noise - s * truth}[prediction_type]
        return torch.cat((output, torch.zeros_like(output)), dim=1)

    def project(x: torch.Tensor, i: int, n: int) -> torch.Tensor:
        torch.testing.assert_close(x, truth, atol=1e-3, rtol=0)
        steps.append((i, n))
        return wanted

    noise = torch.randn(truth.shape, generator=generator)
    out = solver_module.sample(denoise, noise, scheduler, generator, solver=solver, project=project, **how)
    torch.testing.assert_close(out, wanted, atol=1e-4, rtol=0)
    assert steps == [(i, len(steps)) for i in range(len(steps))]
    assert len(steps) == len(how.get("timesteps", range(5)))


@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("variance_type", ["fixed_small", "learned_range"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_of_the_configuration_gives_a_known_image_back(
    name: str, prediction_type: str, variance_type: str
) -> None:
    with initialize_config_dir(str(CONF / "sampler"), version_base="1.3"):
        sampler = instantiate(compose(name)).call
    options = {"beta_schedule": "linear", "clip_sample": False}
    scheduler = DDPMScheduler(prediction_type=prediction_type, variance_type=variance_type, **options)
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = signal_and_noise(scheduler, t.reshape(1))
        noise = (x_t - a * truth) / s
        output = {"sample": truth, "epsilon": noise, "v_prediction": a * noise - s * truth}[prediction_type]
        return torch.cat((output, torch.zeros_like(output)), dim=1)

    out = sampler(denoise, torch.randn(truth.shape, generator=generator), scheduler, generator)
    torch.testing.assert_close(out, truth, atol=2e-3, rtol=0)


def test_the_mean_of_samples_approaches_the_mean_of_a_gaussian() -> None:
    """For data N(m, d^2) the best denoiser is known: draws spread by d about m, and the mean of n by d / sqrt(n)."""
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False)
    mean, deviation, draws = 0.2, 0.1, 16

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = signal_and_noise(scheduler, t.reshape(1))
        return mean + a * deviation**2 / (a**2 * deviation**2 + s**2) * (x_t - a * mean)

    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 3, 32, 32, generator=generator)
    options = {"timestep_spacing": "trailing"}
    one = partial(solver_module.sample, solver=DDIMScheduler, options=options, num_inference_steps=50)
    deviation_of_one = one(denoise, noise, scheduler).std().item()
    assert deviation_of_one == pytest.approx(deviation, rel=0.2)  # 50 steps shrink it a little
    many = mean_of_samples(denoise, noise, scheduler, generator, sampler=one, draws=draws)
    assert many.mean().item() == pytest.approx(mean, abs=0.01)
    assert many.std().item() == pytest.approx(deviation_of_one / draws**0.5, rel=0.1)
