"""This package beside the code released with the paper: the same network, weights and steps, at equal outputs.

    python -m benchmarks.released --authors CHECKOUT [--network small|if_ii_m] [--size 64] [--csv FILE]

CHECKOUT is a clone of the code released with the paper. Its network is made with random weights and converted as
`dequant convert authors` does; `if_ii_m` has the shape assumed in if_ii_m_assumed.json. Of each batch size, both draw
the same pictures in the 27 steps of super27, and take one training step (both losses, AdamW) on the same noise; the
largest difference of the pictures, and of the losses, is printed. Rows of another network stay in the table. Each
measurement is a process of its own; both take turns, and the shortest time of the repeats counts. Peak memory is that
of the process, with its weights and imports.
"""

import importlib
import resource
import sys
import tempfile
import time
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from diffusers import DDPMScheduler
from diffusers.pipelines.deepfloyd_if.timesteps import super27_timesteps
from torch import Tensor, nn

from dequant.diffusion.loss import loss
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError, one_sentence
from dequant.io.files import read_csv, write_csv
from dequant.models.convert import from_released, unet_config
from dequant.provenance import check_clean, provenance
from dequant.training.dequantizer import Dequantizer

NETWORKS: dict[str, dict[str, Any]] = {
    "small": {
        **{"model_channels": 32, "num_res_blocks": [1, 1, 1, 2, 1], "channel_mult": "1,1,1,2,2"},
        **{"num_head_channels": 32, "encoder_dim": 64, "encoder_channels": 96, "att_pool_heads": 4},
    },
    "if_ii_m": {
        **{"model_channels": 96, "num_res_blocks": [2, 2, 3, 5, 5], "channel_mult": "1,2,4,6,8"},
        **{"num_head_channels": 64, "encoder_dim": 4096, "encoder_channels": 768, "att_pool_heads": 64},
    },
}
SHARED: dict[str, Any] = {
    **{"image_size": 256, "attention_resolutions": "32,16", "use_scale_shift_norm": True, "resblock_updown": True},
    **{"in_channels": 6, "out_channels": 6, "activation": "gelu", "efficient_activation": True},
    **{"scale_skip_connection": True, "disable_self_attentions": False},
}
COLUMNS = ("network", "what", "batch", "size", "whose", "seconds", "peak_mib", "times_faster", "memory_share")
ABOUT = ("largest_difference", "command", "commit", "hardware", "torch", "date")


def theirs(checkout: Path, params: dict[str, Any]) -> tuple[nn.Module, Any, Any]:
    """The authors' network with random weights, and their diffusion of 27 steps and of 1000."""
    package = types.ModuleType("deepfloyd_if")  # its own __init__ imports what is not needed here
    package.__path__ = [str(checkout / "deepfloyd_if")]
    sys.modules["deepfloyd_if"] = package
    try:
        unet = importlib.import_module("deepfloyd_if.model.unet")
        respace = importlib.import_module("deepfloyd_if.model.respace")
    except ImportError as error:
        raise InputError(f"'{checkout}' is no clone of the paper's released code: {error}.") from None
    options = {"learn_sigma": True, "sigma_small": False, "noise_schedule": "cosine", "rescale_learned_sigmas": True}
    options |= {"steps": 1000, "use_kl": False, "predict_xstart": False, "rescale_timesteps": True}
    known = [
        respace.create_gaussian_diffusion(timestep_respacing=steps, **options)
        for steps in ("1,1,1,1,1,1,1,2,5,13", "1000")
    ]
    torch.manual_seed(0)
    given = params | {"channel_mult": tuple(int(part) for part in params["channel_mult"].split(","))}
    network = unet.SuperResUNetModel(low_res_diffusion=known[1], aux_ch=7, doCN=True, **given)
    for weight in network.parameters():
        if weight.dim() > 1 and not weight.is_meta and not weight.any():
            nn.init.normal_(weight, std=0.01)  # zero convolutions would hide what the encoder does
    for name, weight in network.named_parameters():
        weight.requires_grad_(name.startswith("control_model.") and "encoder_p" not in name)
    return network, *known


def ours(network: nn.Module, params: dict[str, Any]) -> Dequantizer:
    """This package's networks with the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.yml").write_text(yaml.safe_dump({"params": params}))
        config = unet_config(folder)
    text = torch.randn(1, 77, params["encoder_dim"], generator=torch.Generator().manual_seed(0))
    base, control = from_released(network.state_dict(), config, "T", text)
    sampler = Sampler(DDPMScheduler, timesteps=super27_timesteps)
    return Dequantizer(base, lambda *_: control, sampler)


def inputs(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Conditions (B, 7, H, W) and photos (B, 3, H, W) in [0, 1], both of noise."""
    generator = torch.Generator().manual_seed(0)
    condition = torch.rand(batch, 7, size, size, generator=generator)
    condition[:, 5] = 16 / 256
    return condition, torch.rand(batch, 3, size, size, generator=generator)


def their_task(what: str, network: nn.Module, known: tuple[Any, Any], batch: int, size: int) -> Callable[[], Tensor]:
    """As run_palette.py and modules/base.py call them."""
    condition, photos = inputs(batch, size)
    encoder_dim = network.encoder_dim
    text = torch.randn(1, 77, encoder_dim, generator=torch.Generator().manual_seed(0)).repeat(batch, 1, 1)
    color = 2 * condition[:, :3] - 1
    given = {"text_emb": text, "low_res": color, "hint": 2 * condition - 1, "aug_level": 0.0}
    if what == "sampling":
        network.eval()

        def draw() -> Tensor:
            few = known[0]
            few.support_noise_less_qsample_steps = 0
            with torch.no_grad():
                noise = few.q_sample(color, torch.tensor([26]))
                drawn = few.p_sample_loop(
                    lambda x, t, **rest: network(x, t, **rest),
                    color.shape,
                    noise=noise,
                    model_kwargs=given | {"use_cache": True},
                    dynamic_thresholding_p=0.95,
                    dynamic_thresholding_c=1.0,
                    device=torch.device("cpu"),
                )
            return (drawn + 1) / 2

        return draw
    network.train()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=2e-5)

    def learn() -> Tensor:
        value = known[1].training_losses(network, x_start=2 * photos - 1, model_kwargs=given)["loss"].mean()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return value.detach()

    return learn


def our_task(what: str, module: Dequantizer, batch: int, size: int) -> Callable[[], Tensor]:
    """The sampler, and what `training_step` does with the noise that the authors draw."""
    condition, photos = inputs(batch, size)
    if what == "sampling":
        return lambda: module.sampler.draw(module.eval().controlled, condition)
    parameters = [p for p in module.trained.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-5, fused=True)

    def learn() -> Tensor:
        x = 2 * photos - 1
        t = torch.randint(low=0, high=1000, size=[batch])
        noise = torch.randn_like(x)
        output, deviation = module.controlled.denoise(module.base.add_noise(x, noise, t), t, condition)
        value = loss(output, x, noise, module.base.scheduler, deviation, t)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return value.detach()

    return learn


def measure(whose: str, checkout: Path, name: str, what: str, batch: int, size: int) -> tuple[float, float, Tensor]:
    """Seconds, peak memory in MiB and what came out, in a process of its own; the first run warms up."""
    torch.set_num_threads(1)
    params = SHARED | NETWORKS[name]
    network, *known = theirs(checkout, params)
    if whose == "ours":
        module = ours(network, params)
        del network
        task = our_task(what, module, batch, size)
    else:
        task = their_task(what, network, tuple(known), batch, size)
    torch.manual_seed(0)
    first = task()
    times = []
    for _ in range(2):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, first


@one_sentence()
def main(
    authors: Annotated[Path, typer.Option(help="Clone of the code released with the paper.")],
    network: Annotated[str, typer.Option(help="small or if_ii_m.")] = "small",
    size: Annotated[int, typer.Option(help="Of the square pictures, in pixels.")] = 64,
    batch: Annotated[list[int], typer.Option(help="May be repeated.")] = [1, 12],  # noqa: B006
    repeats: int = 2,
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print times, peaks of memory and their ratios."""
    check_clean(csv, allow_dirty)
    about, rows = provenance(torch.device("cpu")), []
    for what in ("sampling", "training step"):
        for count in batch:
            found: dict[str, list[tuple[float, float, Tensor]]] = {"theirs": [], "ours": []}
            for _ in range(repeats):
                for whose, results in found.items():
                    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                        results.append(process.submit(measure, whose, authors, network, what, count, size).result())
            best = {whose: (min(r[0] for r in rs), min(r[1] for r in rs)) for whose, rs in found.items()}
            difference = (found["theirs"][0][2] - found["ours"][0][2]).abs().max().item()
            for whose, (seconds, peak) in best.items():
                row = {"network": network, "what": what, "batch": count, "size": size, "whose": whose}
                row |= {"seconds": f"{seconds:.2f}", "peak_mib": f"{peak:.0f}"}
                row["times_faster"] = f"{best['theirs'][0] / seconds:.2f}"
                row["memory_share"] = f"{peak / best['theirs'][1]:.2f}"
                rows.append(row | {"largest_difference": f"{difference:.1e}", **about})
                print(*(f"{key}={row[key]}" for key in COLUMNS), f"difference={difference:.1e}", flush=True)
    if csv is not None:
        kept = [row for row in read_csv(csv, (*COLUMNS, *ABOUT)) if row["network"] != network]
        write_csv(csv, (*COLUMNS, *ABOUT), [*kept, *rows])


if __name__ == "__main__":
    typer.run(main)
