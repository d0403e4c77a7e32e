"""How much faster sampling is when the encoder's residuals are computed ahead of the steps.

    python benchmarks/residuals_ahead.py [--base small|CONFIG] [--size 128] [--steps 27] [--num-images 4] [--csv FILE]

The encoder has the released layout: eight convolutions over the condition at full size, and no x_t. The reference runs
it in every step and for every image, as the released code does. This package runs the stem once, the rest once for all
steps, and both once for all images of a condition. Both draw the same images, and the largest difference is printed. A
CONFIG, such as benchmarks/if_ii_m_assumed.json, is a network of that shape with random weights.

The time is one thread's CPU time, or wall time on a GPU: the best of the repeats, with the two taken in turn. The last
line for each number of images is their ratio.
"""

import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn

from dequant.diffusion.sampler import Sampler
from dequant.diffusion.solver import prepare, solve
from dequant.errors import one_sentence
from dequant.io.files import read_csv, write_csv
from dequant.models.base import DiffusionBase, bundled
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled
from dequant.models.convert import released_scheduler, unet_config
from dequant.models.prompt import PROMPT_LENGTH, prompt_width
from dequant.provenance import check_clean, provenance

RELEASED = [48, 48, 64, 64, 96, 96, 128]
COLUMNS = ("base", "size", "steps", "num_images", "each_step_s", "ahead_s", "ratio", "largest_difference")
ABOUT = ("command", "commit", "hardware", "torch", "date")


def network(name: str, steps: int) -> tuple[Controlled, Sampler]:
    """A base with an encoder of the released layout whose residuals are not zero."""
    torch.manual_seed(0)
    if name == "small":
        base = DiffusionBase.from_pretrained(bundled())
    else:
        config = unet_config(name)
        text = torch.randn(1, PROMPT_LENGTH, prompt_width(config))
        base = DiffusionBase(UNet2DConditionModel.from_config(config), released_scheduler(), text_embedding=text)
    control = ControlEncoder.from_base(base, "T", stem_widths=RELEASED, raw_condition=True)
    for conv in (*control.zero_convs, control.zero_conv_mid):
        nn.init.normal_(conv.weight, std=0.01)
    timesteps = torch.linspace(999, 0, steps).long().tolist()
    return Controlled(base, control), Sampler(DDPMScheduler, timesteps=timesteps)


@torch.no_grad()
def each_step(model: Controlled, sampler: Sampler, condition: Tensor, num_images: int) -> Tensor:
    """Sample with an encoder that runs in every step."""
    given = condition.repeat_interleave(num_images, 0)
    generator = torch.Generator().manual_seed(0)
    shape = model.latent_shape(*condition.shape[-2:])
    noise = torch.stack([torch.randn(shape, generator=generator) for _ in given]).to(condition.device)
    stepper = prepare(sampler.solver, sampler.options, model.scheduler, None, sampler.timesteps, condition.device)

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        return model.denoise(x_t, t.expand(len(x_t)), given, generator)[0]

    return model.decode(solve(predict, noise, model.scheduler, stepper, generator))


def ahead(model: Controlled, sampler: Sampler, condition: Tensor, num_images: int) -> Tensor:
    """Sample as the package does."""
    return sampler.draw(model, condition, torch.Generator().manual_seed(0), num_images)


def best_times(
    model: Controlled, sampler: Sampler, condition: Tensor, num_images: int, repeats: int
) -> tuple[list[float], float]:
    """Shortest times of `each_step` and `ahead` in seconds, and the largest difference of their images."""
    clock = time.process_time if condition.device.type == "cpu" else time.perf_counter
    functions = (each_step, ahead)
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        images = []
        for taken, function in zip(times, functions, strict=True):
            start = clock()
            images.append(function(model, sampler, condition, num_images).cpu())
            taken.append(clock() - start)
    return [min(taken) for taken in times], (images[0] - images[1]).abs().max().item()


@one_sentence()
def main(
    base: Annotated[str, typer.Option(help="small, or the configuration of a UNet.")] = "small",
    size: int = 128,
    steps: int = 27,
    num_images: Annotated[list[int], typer.Option(help="May be repeated.")] = [1, 4],  # noqa: B006
    repeats: int = 3,
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print the times with the encoder in every step and ahead of the steps, and their ratio."""
    check_clean(csv, allow_dirty)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, sampler = network(base, steps)
    for part in (model.base, model.control):
        part.to(device)
    condition = torch.rand(1, 7, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    condition[:, 5] = 16 / 256
    rows = []
    for n in num_images:
        (slow, fast), difference = best_times(model, sampler, condition, n, repeats)
        setting = {"base": Path(base).stem, "size": size, "steps": steps, "num_images": n}
        figures = {"each_step_s": f"{slow:.3f}", "ahead_s": f"{fast:.3f}", "ratio": f"{slow / fast:.2f}"}
        rows.append({**setting, **figures, "largest_difference": f"{difference:.1e}", **provenance(device)})
        print(f"{setting}: in every step {slow:.3f} s, ahead {fast:.3f} s, largest difference {difference:.1e}")
        print(f"ratio {slow / fast:.2f}")
    if csv is not None:
        key = COLUMNS[:4]
        new = [{name: str(value) for name, value in row.items()} for row in rows]
        kept = [
            row
            for row in read_csv(csv, (*COLUMNS, *ABOUT))
            if all(any(row[name] != one[name] for name in key) for one in new)
        ]
        write_csv(csv, (*COLUMNS, *ABOUT), [*kept, *new])


if __name__ == "__main__":
    typer.run(main)
