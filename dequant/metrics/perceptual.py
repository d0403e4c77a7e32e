"""How good an output is to pretrained networks: LPIPS, CLIP features, and FID and KID of any features."""

import importlib.util
from collections.abc import Callable
from math import sqrt
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.errors import InputError

VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Of the convolutions between the poolings (Simonyan and Zisserman, 2015)."""


VGG16_SMALLEST = 2 ** (len(VGG16_WIDTHS) - 1)


class Lpips(nn.Module):
    """Perceptual distance of two pictures, LPIPS 0.1 on VGG16 (Zhang et al., 2018), as torchmetrics computes it.

    Args:
        weights: of VGG16 with torchvision's names, `.pth` or `.safetensors`; the classifier may be missing.
        heads: the linear layers upon it, in the layout of the authors' `vgg.pth`; None for those in torchmetrics.

    Raises:
        InputError: a file is missing or holds something else.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, weights: str | Path | None, heads: str | Path | None = None) -> None:
        super().__init__()
        self.trunk = _vgg16()
        self.heads = nn.ModuleList(nn.Conv2d(widths[-1], 1, 1, bias=False) for widths in VGG16_WIDTHS)
        wanted = "perceptual.lpips.weights=PATH of VGG16 in torchvision's layout, such as its vgg16-397923af.pth"
        if weights is None:
            raise InputError(f"LPIPS needs weights that do not come with this package: give {wanted}.")
        _load(self.trunk, weights, lambda name: name.removeprefix("features."), wanted)
        wanted = "perceptual.lpips.heads=PATH of the linear layers of LPIPS on VGG16, such as torchmetrics' vgg.pth"
        heads = _installed_heads() if heads is None else heads
        _load(self.heads, heads, lambda name: name.removeprefix("lin").replace("model.1.", ""), wanted)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).reshape(3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).reshape(3, 1, 1))

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Distances of pictures (B, 3, H, W) in [0, 1], at least 16 by 16 pixels, from others: (B,), 0 if equal.

        Raises:
            InputError: the pictures are smaller.
        """
        if min(pred.shape[-2:]) < VGG16_SMALLEST:
            raise InputError(
                f"The LPIPS of pictures of {pred.shape[-2]} by {pred.shape[-1]} pixels does not exist: give at least "
                f"{VGG16_SMALLEST} by {VGG16_SMALLEST} pixels."
            )
        pairs = zip(self.heads, self._stages(pred), self._stages(target), strict=True)
        return torch.stack([head((a - b).square()).mean((1, 2, 3)) for head, a, b in pairs]).sum(0)

    def _stages(self, rgb: Tensor) -> list[Tensor]:
        """What enters the poolings, and the last layer, of unit length at each pixel."""
        x, stages = (2 * rgb - 1 - self.shift) / self.scale, []
        for layer in self.trunk:
            if isinstance(layer, nn.MaxPool2d):
                stages.append(x)
            x = layer(x)
        return [stage / (stage.square().sum(1, keepdim=True) + 1e-8).sqrt() for stage in (*stages, x)]


class ClipImages(nn.Module):
    """The image features of a CLIP model (Radford et al., 2021), not normalized.

    Args:
        model: id on the Hugging Face hub, or folder with config.json and weights, of a `transformers` CLIPModel.

    Raises:
        InputError: the hub is out of reach, or there is no complete CLIP model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str) -> None:
        super().__init__()
        from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
        from transformers.models.clip.modeling_clip import CLIPModel

        wanted = (
            "give perceptual.features.clip.model=FOLDER with config.json and model.safetensors of a CLIPModel, such as "
            "a download of openai/clip-vit-base-patch32, or its id where the hub is in reach"
        )
        try:
            clip, report = CLIPModel.from_pretrained(model, dtype=torch.float32, output_loading_info=True)
        except Exception as error:  # hub, file formats and shapes have their own
            raise InputError(f"No CLIP model can be loaded from '{model}': {wanted}.") from error
        if any(name.startswith("visual_projection") or "vision" in name for name in report["missing_keys"]):
            raise InputError(f"'{model}' lacks weights of CLIP's image network: {wanted}.")
        self.vision, self.projection = clip.vision_model, clip.visual_projection
        self.side = clip.config.vision_config.image_size
        self.register_buffer("mean", torch.tensor(OPENAI_CLIP_MEAN).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(OPENAI_CLIP_STD).reshape(3, 1, 1))

    def forward(self, rgb: Tensor) -> Tensor:
        """Features (B, D) of pictures (B, 3, H, W) in [0, 1], which are scaled to the square that CLIP sees."""
        square = F.interpolate(rgb, (self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        return self.projection(self.vision((square - self.mean) / self.std).pooler_output)


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """FID (Heusel et al., 2017): Frechet distance of the Gaussians that fit two sets of features.

    From few independent samples it comes out far too large: compare only values from equally many pictures.

    Args:
        features: (n, D), n at least 2.
        reference: (m, D), m at least 2.

    Returns:
        The distance, 0 for equal sets.
    """
    sets = features.double(), reference.double()
    first, second = ((x - x.mean(0)) / sqrt(len(x) - 1) for x in sets)
    factors = [torch.linalg.qr(x, mode="r").R for x in (first, second)]
    # The square root of the product of both covariances has the singular values of the product of their factors
    overlap = torch.linalg.svdvals(factors[0] @ factors[1].T).sum()
    shift = (sets[0].mean(0) - sets[1].mean(0)).square().sum()
    return (shift + first.square().sum() + second.square().sum() - 2 * overlap).item()


def kernel_distance(features: Tensor, reference: Tensor) -> float:
    """KID (Binkowski et al., 2018), the unbiased squared MMD of two sets of features, for sets that form pairs.

    As an output resembles its own photo, pairs are left out between the sets as they are within them (Gretton et al.,
    2012, equation 4). Other code keeps them, which makes no difference for many independent samples.

    Args:
        features: (n, D), n at least 2.
        reference: (n, D).

    Returns:
        The distance, 0 for equal sets, and on average for sets of one distribution; it may be negative.
    """

    def others(a: Tensor, b: Tensor) -> Tensor:
        values = (a @ b.T / a.shape[1] + 1) ** 3
        return (values.sum() - values.trace()) / (len(a) * (len(a) - 1))

    first, second = features.double(), reference.double()
    return (others(first, first) + others(second, second) - 2 * others(first, second)).item()


def _vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for widths in VGG16_WIDTHS:
        layers += [nn.MaxPool2d(2)] if layers else []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers)


def _load(module: nn.Module, path: str | Path, rename: Callable[[str], str], wanted: str) -> None:
    """Fill a module from a file, in which names are other and there may be more."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file '{path}': give {wanted}.")
    try:
        safe = path.suffix == ".safetensors"
        found = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        weights = {rename(name): tensor for name, tensor in found.items()}
        module.load_state_dict({name: weights[name] for name in module.state_dict()})
    except Exception as error:  # each format has its own, and so have names and shapes
        raise InputError(f"'{path}' holds something else: give {wanted}.") from error


def _installed_heads() -> Path:
    spec = importlib.util.find_spec("torchmetrics")
    if spec is None or spec.origin is None:
        raise InputError(
            "LPIPS needs the linear layers that torchmetrics brings: install 'dequant[perceptual]', or give "
            "perceptual.lpips.heads=PATH."
        )
    return Path(spec.origin).parent / "functional" / "image" / "lpips_models" / "vgg.pth"
