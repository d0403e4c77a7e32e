"""Time and memory of tuning to one photo, by what is tuned: `python benchmarks/tuning.py`.

The small network is measured: seconds per step of each loop, and the bytes of a kept session. Stable Diffusion 1.5 is
computed from tensors without data (device "meta"): parameters, their copies, gradients and moments, and what autograd
keeps of a step of the first loop, which goes through the UNet and the decoder. The image-text model, workspaces and
fragmentation are not included. Rows are written to standard output as CSV.
"""

import csv
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from dequant.colorization.tuning import MODES, STAGES, Tuning
from dequant.data.sources import Shards, bundled
from dequant.edit.diffcolor import TuneSettings, tune
from dequant.errors import one_sentence
from dequant.provenance import provenance

GB = 1e9
COLUMNS = (
    *("base", "mode", "preview", "checkpointing", "tuned_millions", "step_s", "session_mb", "state_gb", "kept_gb"),
    *("how", "command", "commit", "hardware", "torch", "date"),
)

VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def measured(mode: str) -> dict[str, Any]:
    """The small network on one bundled photo."""
    source = Shards(bundled())
    photo, seconds = source.read(source.keys("test")[0]), dict.fromkeys(STAGES, 0.0)
    tuning, last = Tuning(mode, color_steps=11, embedding_steps=11, network_steps=11), time.perf_counter()

    def watch(made: Any, losses: Any) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[made.stage] += (now - last) if made.step > 1 else 0.0  # the first one of a loop prepares it
        last = now

    with TemporaryDirectory() as folder:
        session = tune(photo, "a photo", settings=TuneSettings(tuning=tuning), folder=Path(folder), watch=watch)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    tuned = sum(value.numel() for value in session.made.learned.values())
    steps = " ".join(f"{seconds[stage] / 10:.3f}" for stage in STAGES)
    return {"base": "small", "mode": mode, "tuned_millions": tuned / 1e6, "step_s": steps, "session_mb": size / 1e6}


def computed(mode: str, tiny: bool, checkpointing: bool) -> dict[str, Any]:
    """Stable Diffusion 1.5 at 512 pixels, in float32."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        decoder = AutoencoderTiny() if tiny else AutoencoderKL(**VAE)
        z, t, text = torch.empty(1, 4, 64, 64), torch.zeros(1, dtype=torch.int64), torch.empty(1, 77, 768)
    decoder.requires_grad_(False)
    unet.requires_grad_(mode == "full")
    if mode == "attention":
        for name, value in unet.named_parameters():
            value.requires_grad_(".attn" in name)
    if mode == "lora":
        from peft import LoraConfig

        with torch.device("meta"):
            unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    if checkpointing:
        unet.enable_gradient_checkpointing()
        unet.train()
    tuned = sum(value.numel() for value in unet.parameters() if value.requires_grad)
    whole = sum(value.numel() for value in (*unet.parameters(), *decoder.parameters()))
    kept: dict[int, int] = {}
    weights = {value.untyped_storage()._cdata for value in (*unet.parameters(), *decoder.parameters())}

    def keep(tensor: Tensor) -> Tensor:
        if (storage := tensor.untyped_storage()._cdata) not in weights:
            kept[storage] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        decoder.decode(unet(z, t, text).sample)
    copies = 4 if mode != "lora" else 3  # what is tuned, beside the original; its gradient; two moments
    state = 4 * (whole + copies * tuned) / GB
    row = {"base": "Stable Diffusion 1.5", "mode": mode, "preview": "tiny" if tiny else "own", "state_gb": state}
    return row | {"checkpointing": checkpointing, "tuned_millions": tuned / 1e6, "kept_gb": sum(kept.values()) / GB}


def main() -> None:
    """Write the rows."""
    writer = csv.DictWriter(sys.stdout, COLUMNS)
    writer.writeheader()
    settings = [
        (mode, tiny, saving) for mode in MODES for tiny, saving in ((False, False), (True, False), (True, True))
    ]
    about = provenance(torch.device("cpu"))
    rows = ({"how": "measured"} | measured(mode) for mode in MODES)
    more = ({"how": "computed"} | computed(*setting) for setting in settings)
    for row in (one | about for part in (rows, more) for one in part):
        writer.writerow({name: f"{value:.3g}" if isinstance(value, float) else value for name, value in row.items()})
        sys.stdout.flush()


if __name__ == "__main__":
    with one_sentence():
        main()
