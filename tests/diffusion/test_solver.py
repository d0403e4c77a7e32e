"""The loop over diffusers solvers, and samplers on denoisers that are known."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dequant.diffusion.sampler import Sampler
from dequant.diffusion.schedule import Generator, signal_and_noise
from dequant.diffusion.solver import Predict, check_result, check_steps, prepare, solve
from dequant.errors import InputError
from tests.support.denoisers import Known
from tests.support.paths import CONF

SAMPLERS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
TRAILING = {"timestep_spacing": "trailing"}


@pytest.fixture
def scheduler() -> DDPMScheduler:
    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", variance_type="fixed_small")


def run(
    predict: Predict,
    noise: torch.Tensor,
    scheduler: DDPMScheduler,
    generator: Generator = None,
    *,
    solver: type,
    steps: list[int] | int,
    options: dict[str, Any] | None = None,
    **hooks: Any,
) -> torch.Tensor:
    options = (options or {}) | ({"prediction_type": "sample"} if "project" in hooks else {})
    how = (None, steps) if isinstance(steps, list) else (steps, None)
    return solve(predict, noise, scheduler, prepare(solver, options, scheduler, *how), generator, **hooks)


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
def test_solving_for_a_known_image_gives_it_back(
    scheduler: DDPMScheduler, solver: type, options: dict, steps: list[int] | int
) -> None:
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    visited: list[int] = []

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        visited.append(int(t))
        return x

    generator = torch.Generator().manual_seed(0)
    out = run(denoise, torch.randn(x.shape), scheduler, generator, solver=solver, options=options, steps=steps)
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
    options = {"solver": DDIMScheduler, "options": TRAILING, "steps": 2}
    out = run(lambda x_t, t: x, torch.randn(x.shape), scheduler, callback=halve, **options)
    torch.testing.assert_close(out, x / 2, atol=1e-5, rtol=0)
    assert seen == [(0, 999), (1, 499)]


@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("solver", "how"),
    [(DDPMScheduler, {"steps": [999, 600, 100, 0]}), (DDIMScheduler, {"steps": 3, "options": TRAILING})],
)
def test_the_clean_image_of_each_step_is_seen_and_stays(prediction_type: str, solver: type, how: dict) -> None:
    """It is the truth here, and who looks at it changes nothing."""
    scheduler = DDPMScheduler(beta_schedule="linear", prediction_type=prediction_type)
    truth = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen: list[tuple[int, int]] = []

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = signal_and_noise(scheduler, t.reshape(1))
        noise = (x_t - a * truth) / s
        return {"sample": truth, "epsilon": noise, "v_prediction": a * noise - s * truth}[prediction_type]

    def look(step: int, of: int, clean: torch.Tensor) -> None:
        torch.testing.assert_close(clean, truth, atol=1e-3, rtol=0)
        seen.append((step, of))

    def drawn(**hooks: Any) -> torch.Tensor:
        noise, generator = torch.zeros_like(truth), torch.Generator().manual_seed(1)
        return run(denoise, noise, scheduler, generator, solver=solver, **how, **hooks)

    assert torch.equal(drawn(seen=look), drawn())
    count = len(how["steps"]) if isinstance(how["steps"], list) else how["steps"]
    assert seen == [(step, count) for step in range(1, count + 1)]


def test_what_is_seen_is_what_a_projection_leaves(scheduler: DDPMScheduler) -> None:
    wanted, seen = torch.rand(1, 3, 8, 8), list[torch.Tensor]()
    hooks: dict[str, Any] = {"project": lambda x, i, n: wanted, "seen": lambda step, of, clean: seen.append(clean)}
    run(lambda x_t, t: x_t, torch.randn(wanted.shape), scheduler, solver=DDIMScheduler, steps=2, **hooks)
    assert len(seen) == 2 and all(torch.equal(one, wanted) for one in seen)


def test_draws_of_one_image_do_not_depend_on_the_batch(scheduler: DDPMScheduler) -> None:
    def sample(seeds: list[int]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(3, 8, 8, generator=g) for g in generators])
        steps = [999, 500, 100]
        return run(lambda x_t, t: 0.5 * x_t, noise, scheduler, generators, solver=DDPMScheduler, steps=steps)

    torch.testing.assert_close(sample([1, 2])[1], sample([2])[0])


@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("variance_type", ["fixed_small", "learned_range"])
@pytest.mark.parametrize(
    ("solver", "how"),
    [
        (DDPMScheduler, {"steps": [999, 600, 100, 0]}),
        (DDIMScheduler, {"steps": 5, "options": TRAILING}),
        (DPMSolverMultistepScheduler, {"steps": 5}),
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
    out = run(denoise, noise, scheduler, generator, solver=solver, project=project, **how)
    torch.testing.assert_close(out, wanted, atol=1e-4, rtol=0)
    assert steps == [(i, len(steps)) for i in range(len(steps))]
    assert len(steps) == (len(how["steps"]) if isinstance(how["steps"], list) else how["steps"])


@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("variance_type", ["fixed_small", "learned_range"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_of_the_configuration_gives_a_known_image_back(
    name: str, prediction_type: str, variance_type: str
) -> None:
    with initialize_config_dir(str(CONF / "sampler"), version_base="1.3"):
        sampler = replace(instantiate(compose(name)), orientations=1)  # the truth is not turned
    options = {"beta_schedule": "linear", "clip_sample": False}
    scheduler = DDPMScheduler(prediction_type=prediction_type, variance_type=variance_type, **options)
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = signal_and_noise(scheduler, t.reshape(1))
        noise = (x_t - a * truth) / s
        output = {"sample": truth, "epsilon": noise, "v_prediction": a * noise - s * truth}[prediction_type]
        return torch.cat((output, torch.zeros_like(output)), dim=1)

    out = sampler.draw(Known(scheduler, denoise), torch.zeros(2, 7, 8, 8), generator)
    torch.testing.assert_close(2 * out - 1, truth, atol=2e-3, rtol=0)


def test_the_mean_of_samples_approaches_the_mean_of_a_gaussian() -> None:
    """For data N(m, d^2) the best denoiser is known: draws spread by d about m, and the mean of n by d / sqrt(n)."""
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False)
    mean, deviation, draws = 0.2, 0.1, 16

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = signal_and_noise(scheduler, t.reshape(1))
        return mean + a * deviation**2 / (a**2 * deviation**2 + s**2) * (x_t - a * mean)

    generator, condition = torch.Generator().manual_seed(0), torch.zeros(1, 7, 32, 32)
    one = Sampler(num_inference_steps=50)
    deviation_of_one = (2 * one.draw(Known(scheduler, denoise), condition, generator) - 1).std().item()
    assert deviation_of_one == pytest.approx(deviation, rel=0.2)  # 50 steps shrink it a little
    many = Sampler(num_inference_steps=50, draws=draws).draw(Known(scheduler, denoise), condition, generator)
    assert (2 * many - 1).mean().item() == pytest.approx(mean, abs=0.01)
    assert (2 * many - 1).std().item() == pytest.approx(deviation_of_one / draws**0.5, rel=0.1)


class Missing:
    """A solver that misses the image by so much, in so many steps."""

    def __init__(self, by: float, steps: int = 2):
        self.by, self.timesteps = by, torch.tensor([999, 500, 0][:steps])

    def step(self, output: torch.Tensor, t: torch.Tensor, x: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(prev_sample=torch.full_like(x, 0.5 + self.by))


def test_a_solver_that_misses_a_known_image_is_refused(scheduler: DDPMScheduler) -> None:
    check_result(Missing(0.09), scheduler, 2)
    for by in (0.11, -0.2, float("nan")):
        with pytest.raises(InputError, match="does not lead from noise"):
            check_result(Missing(by), scheduler, 2)
    with pytest.raises(InputError, match="visits 3 timesteps in place of 2"):
        check_result(Missing(0, 3), scheduler, 2)


@pytest.mark.parametrize("steps", [[], [5, 5], [5, 6], [1000, 5], [5, -1]])
def test_timesteps_descend_within_the_schedule(steps: list[int]) -> None:
    check_steps(None, [999, 0], 1000)
    check_steps(1000, None, 1000)
    with pytest.raises(InputError, match="give descending ones from 999 to 0"):
        check_steps(None, steps, 1000)
    with pytest.raises(InputError, match="ask for 1 to 1000"):
        check_steps(1001 * bool(steps), None, 1000)


@pytest.mark.parametrize("solver", [DDIMScheduler, DDPMScheduler])
def test_solvers_fit_bases_that_learn_a_variance(solver: type) -> None:
    base = DDPMScheduler(prediction_type="epsilon", variance_type="learned_range", clip_sample=False)
    Sampler(solver, {}, num_inference_steps=4).check(base)
