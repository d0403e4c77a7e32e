"""Sampling beside diffusers' ControlNet pipeline at equal size: `python -m benchmarks.controlnet [--csv FILE]`.

Both have the same latent UNet, autoencoder, text embedding and DDIM steps, with random weights, and no guidance. Their
encoder is a `ControlNetModel` of the UNet; ours is the standard layout, which reads x_t in every step, and the released
one, which does not and runs ahead of the steps. Time is one thread's, the best of the repeats, all taken in turn.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from dequant.diffusion.sampler import Sampler
from dequant.errors import one_sentence
from dequant.io.files import write_csv
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled
from dequant.provenance import check_clean, provenance

COLUMNS = ("size", "steps", "images", "what", "parameters_m", "seconds", "times_faster")
ABOUT = ("command", "commit", "hardware", "torch", "date")
WIDTHS = (64, 128, 256)
STEM = [16, 16, 32, 32, 96, 96, 256]
"""Widths of ControlNet's own stem."""


def parts() -> tuple[UNet2DConditionModel, AutoencoderKL, DDIMScheduler, Tensor]:
    """UNet, autoencoder, schedule and the embedding of the empty prompt."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=WIDTHS,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=8,
    )
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(block_out_channels=(16, 32, 32, 32), latent_channels=4, norm_num_groups=8, **blocks)
    schedule = DDIMScheduler(beta_schedule="scaled_linear", timestep_spacing="trailing")
    return unet.eval(), vae.eval(), schedule, torch.randn(1, 77, 128)


def theirs(size: int, steps: int, images: int) -> tuple[Callable[[], object], int]:
    """diffusers' pipeline and the number of its encoder's parameters."""
    unet, vae, schedule, text = parts()
    control = ControlNetModel.from_unet(unet, conditioning_channels=7).eval()
    pipe = StableDiffusionControlNetPipeline(
        vae, None, None, unet, control, schedule, None, None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    condition = torch.rand(1, 7, size, size)
    options = {"num_inference_steps": steps, "guidance_scale": 1.0, "num_images_per_prompt": images}
    return lambda: pipe(prompt_embeds=text, image=condition, output_type="pt", **options), _count(control)


def ours(size: int, steps: int, images: int, reads_x_t: bool) -> tuple[Callable[[], object], int]:
    """This package's sampler and the number of its encoder's parameters."""
    unet, vae, schedule, text = parts()
    base = DiffusionBase(unet, schedule, vae=vae, text_embedding=text)
    control = ControlEncoder.from_base(base, "L", stem_widths=STEM, reads_x_t=reads_x_t).eval()
    sampler = Sampler(DDIMScheduler, {"timestep_spacing": "trailing"}, num_inference_steps=steps)
    condition = torch.rand(1, 7, size, size)
    return lambda: sampler.draw(Controlled(base, control), condition, num_images=images), _count(control)


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@one_sentence()
def main(
    size: int = 256,
    steps: int = 20,
    images: Annotated[list[int], typer.Option(help="Of one condition; may be repeated.")] = [1, 4],  # noqa: B006
    repeats: int = 3,
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print seconds of each, and how much faster than diffusers' it is."""
    check_clean(csv, allow_dirty)
    torch.set_num_threads(1)
    rows, about = [], provenance(torch.device("cpu"))
    for count in images:
        made = {"diffusers": theirs(size, steps, count)}
        made |= {"ours, standard": ours(size, steps, count, True), "ours, released": ours(size, steps, count, False)}
        times: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(repeats):
            for name, (draw, _) in made.items():
                start = time.process_time()
                draw()
                times[name].append(time.process_time() - start)
        for name, taken in times.items():
            row = {"size": size, "steps": steps, "images": count, "what": name, "seconds": f"{min(taken):.2f}"}
            row |= {"parameters_m": f"{made[name][1] / 1e6:.2f}"}
            rows.append(row | {"times_faster": f"{min(times['diffusers']) / min(taken):.2f}", **about})
            print(*(f"{key}={rows[-1][key]}" for key in COLUMNS), flush=True)
    if csv is not None:
        write_csv(csv, (*COLUMNS, *ABOUT), rows)


if __name__ == "__main__":
    typer.run(main)
