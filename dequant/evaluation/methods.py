"""What turns cases into pictures: models, and what they are compared with."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from dequant.color.opencv import luminance, replace_luminance
from dequant.color.rgb import to_uint8
from dequant.evaluation.cases import TEXTURES, Case

Restore = Callable[[Sequence[Case], list[torch.Generator]], Tensor]
"""Cases of one size and a CPU generator for each -> rgb (B, 3, H, W) in [0, 1]."""


PIXELS = 256 * 256
"""That a CPU draws at a time: more do not fit its caches."""


IDENTITY = "identity"
"""Name of the method that returns the quantized image, the trivial row of every table."""


@dataclass(frozen=True)
class Method:
    """What turns cases into pictures.

    Attributes:
        restore: the function that does it.
        settings: short hash of all that its pictures depend on beside the case, from `settings_hash`.
        texture: "on", "off" or both, the cells that it takes part in.
        alone: whether it uses the GPU, so that only one batch is made at a time.
    """

    restore: Restore
    settings: str
    texture: tuple[str, ...] = TEXTURES
    alone: bool = False


def identity() -> Method:
    """Return the quantized images as they are."""
    return Method(lambda cases, _: torch.stack([case.asked for case in cases]), "")


class Model(Protocol):
    """A model that draws pictures under conditions."""

    def draw(self, condition: Tensor, generator: list[torch.Generator]) -> Tensor:
        """Conditions (B, 7, H, W) in [0, 1] and a CPU generator for each -> rgb (B, 3, H, W) in [0, 1]."""

    def hold(self, rgb: Tensor, condition: Tensor) -> Tensor:
        """Pictures that were changed after they were drawn, held to what the model keeps."""


def of_model(
    model: Model,
    settings: Mapping[str, Any],
    *,
    device: torch.device,
    bf16: bool,
    finish: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Method:
    """A method that draws from a model.

    Args:
        model: on `device`, ready for inference.
        settings: all that its pictures depend on, such as its weights, the sampler and the seed of the noise.
        device: where it computes.
        bf16: compute in bfloat16 where autocasting allows.
        finish: what is done to an output (B, 3, H, W) with its source photo (B, 3, H, W), or None.
    """
    is_alone = device.type != "cpu"

    def drawn(cases: Sequence[Case], generators: list[torch.Generator]) -> Tensor:
        condition = torch.stack([case.condition for case in cases]).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = model.draw(condition, generators).float().cpu()
        if finish is None:
            return output
        return model.hold(finish(output, torch.stack([case.source for case in cases])), condition.cpu())

    def restore(cases: Sequence[Case], generators: list[torch.Generator]) -> Tensor:
        fit = len(cases) if is_alone else max(1, PIXELS // cases[0].condition[0].numel())
        starts = range(0, len(cases), fit)
        return torch.cat([drawn(cases[start : start + fit], generators[start : start + fit]) for start in starts])

    return Method(restore, settings_hash({**settings, "bf16": bf16}), alone=is_alone)


def with_source_luminance(output: Tensor, source: Tensor) -> Tensor:
    """Give outputs the luminance of their source photos, "ours - L - post" (paper, section 3).

    Args:
        output: (B, 3, H, W) in [0, 1].
        source: the same.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    return replace_luminance(output, luminance(source))


def of_restorer(restorer: Callable[[Tensor, int], Tensor]) -> Method:
    """A method from a function of a quantized image (3, H, W) and its number of colours; it sees no texture."""

    def restore(cases: Sequence[Case], generators: list[torch.Generator]) -> Tensor:
        return torch.stack([restorer(case.asked, case.palette_colors) for case in cases])

    return Method(restore, _behaviour([restorer(_probe(0), n_colors) for n_colors in (4, 16, 64)]), ("off",))


def of_peer(peer: Callable[[Tensor, Tensor, int, Tensor | None], Tensor]) -> Method:
    """A method from a function of `peers`, which sees the texture of the photo."""

    def restore(cases: Sequence[Case], generators: list[torch.Generator]) -> Tensor:
        return torch.stack([peer(case.asked, case.source, case.palette_colors, case.patch) for case in cases])

    return Method(restore, _behaviour([peer(_probe(0), _probe(1), n_colors, None) for n_colors in (4, 64)]), ("on",))


def of_transfer(transfer: Callable[[Tensor, Tensor], Tensor]) -> Method:
    """A method from a function of a photo and a reference photo (3, H, W); it sees all of the photo's texture."""

    def restore(cases: Sequence[Case], generators: list[torch.Generator]) -> Tensor:
        return torch.stack([transfer(case.source, cast(Tensor, case.reference)) for case in cases])

    return Method(restore, _behaviour([transfer(_probe(0), _probe(1))]), ("on",))


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Short hash of settings that JSON can hold."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def weights_hash(module: nn.Module) -> str:
    """Short hash of the weights of a module."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


@cache
def code_hash(*patterns: str) -> str:
    """Short hash of the package's code in files such as `diffusion/*.py`, which pictures and measures change with."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _probe(seed: int) -> Tensor:
    return torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(seed))


def _behaviour(pictures: Sequence[Tensor]) -> str:
    """Short hash of what a function makes of fixed pictures, which changes with its settings and weights."""
    return hashlib.sha256(to_uint8(torch.stack(list(pictures))).cpu().numpy().tobytes()).hexdigest()[:12]
