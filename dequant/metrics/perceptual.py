"""How good an output is according to pretrained networks: LPIPS, CLIP features, and FID and KID of any features."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchmetrics
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from dequant.errors import InputError

VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Of the convolutions between the poolings (Simonyan and Zisserman, 2015)."""


VGG16_SMALLEST = 2 ** (len(VGG16_WIDTHS) - 1)


KID_SUBSET = 1000
"""Pictures in a subset, the default of torchmetrics."""


class Lpips(nn.Module):
    """Perceptual distance of two pictures, LPIPS 0.1 on VGG16 (Zhang et al., 2018).

    The values are those of torchmetrics, whose own module downloads the weights through torchvision.

    Args:
        weights: of VGG16 with torchvision's names, `.pth` or `.safetensors`; the classifier may be missing.
        heads: the linear layers upon it, in the layout of the authors' `vgg.pth`; None for torchmetrics' copy.

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
                f"LPIPS needs pictures of at least {VGG16_SMALLEST} by {VGG16_SMALLEST} pixels, got "
                f"{pred.shape[-2]} by {pred.shape[-1]}."
            )
        pairs = zip(self.heads, self._stages(pred), self._stages(target), strict=True)
        return torch.stack([head((a - b).square()).mean((1, 2, 3)) for head, a, b in pairs]).sum(0)

    def _stages(self, rgb: Tensor) -> list[Tensor]:
        """The inputs of the poolings and the last layer's output, of unit length at each pixel."""
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
        except Exception as error:  # the hub, file formats and shapes raise different ones
            raise InputError(f"No CLIP model can be loaded from '{model}': {wanted}.") from error
        if any(name.startswith("visual_projection") or "vision" in name for name in report["missing_keys"]):
            raise InputError(f"'{model}' lacks weights of CLIP's image network: {wanted}.")
        self.vision, self.projection = clip.vision_model, clip.visual_projection
        self.side = clip.config.vision_config.image_size
        self.register_buffer("mean", torch.tensor(OPENAI_CLIP_MEAN).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(OPENAI_CLIP_STD).reshape(3, 1, 1))

    def forward(self, rgb: Tensor) -> Tensor:
        """Features (B, D) of pictures (B, 3, H, W) in [0, 1], which are scaled to the square that CLIP receives."""
        square = F.interpolate(rgb, (self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        return self.projection(self.vision((square - self.mean) / self.std).pooler_output)


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """FID (Heusel et al., 2017), torchmetrics': Frechet distance of the Gaussians that fit two sets of features.

    It depends on the number of samples and is far too large for few: compare only values of equally many pictures.

    Args:
        features: (n, D), n at least 2.
        reference: (m, D), m at least 2.

    Returns:
        The distance, 0 for equal sets, up to rounding.
    """
    metric = FrechetInceptionDistance(_Given(features.shape[1]))
    return _of_sets(metric, features, reference).item()


def kernel_distance(features: Tensor, reference: Tensor) -> float:
    """KID (Binkowski et al., 2018), torchmetrics': the unbiased squared MMD of two sets of features.

    It is computed on all pictures, or is the mean of 100 fixed random subsets of 1000 where there are more. It assumes
    that both sets are independent. An output resembles its own photo, which lowers it, for few pictures far below 0:
    compare only values of the same photos.

    Args:
        features: (n, D), n at least 2.
        reference: (m, D), m at least 2.

    Returns:
        The distance, 0 on average for independent sets of one distribution.
    """
    size = min(len(features), len(reference))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        torch.manual_seed(0)
        metric = KernelInceptionDistance(
            _Given(features.shape[1]),
            subsets=1 if size <= KID_SUBSET else 100,
            subset_size=min(size, KID_SUBSET),
        )
        return _of_sets(metric, features, reference)[0].item()


class _Given(nn.Identity):
    """Stands for the network of torchmetrics, as the features are given."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _of_sets(metric: Metric, features: Tensor, reference: Tensor) -> Any:
    metric.update(reference.double(), real=True)
    metric.update(features.double(), real=False)
    return metric.compute()


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
    """Load weights from a file that has other names and may hold more."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file '{path}': give {wanted}.")
    try:
        safe = path.suffix == ".safetensors"
        found = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        weights = {rename(name): tensor for name, tensor in found.items()}
        module.load_state_dict({name: weights[name] for name in module.state_dict()})
    except Exception as error:  # file formats, names and shapes raise different ones
        raise InputError(f"'{path}' holds something else: give {wanted}.") from error


def _installed_heads() -> Path:
    return Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "vgg.pth"
