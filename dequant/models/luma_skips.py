"""Skips from an autoencoder's encoder into its decoder, which carry the details of the grey photo (arXiv:2404.16678).

"Multimodal Semantic-Aware Automatic Colorization with Diffusion Prior" (Wang et al., ICMEW 2024), equation 6.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_dc import ResBlock
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from dequant.errors import InputError
from dequant.models import autoencoder

BLOCKS = (ResnetBlock2D, ResBlock, AutoencoderTinyBlock)
"""What encoders and decoders of diffusers consist of."""

LEVELS = 3
"""Sizes at which there are skips: that of the photo, its half and its quarter."""

PHOTO = ""
"""In place of a block's name, where an encoder has none at a size: the grey photo itself."""


class LumaSkips(ModelMixin, ConfigMixin):
    """One convolution for each of three sizes; at first they add nothing.

    At each size, what the encoder's last block makes of the grey photo is convolved and added to what the decoder's
    last block makes of the latents. Blocks differ in the size of their numbers, a thousandfold in some autoencoders, so
    that what is added has a factor of its own (alpha of equation 6).

    Args:
        taps: names of the encoder's blocks, `PHOTO` for the photo itself; for the whole size, its half, its quarter.
        places: names of the decoder's blocks.
        channels: of taps and places, two numbers each.
        factors: of what is added.
    """

    @register_to_config
    def __init__(
        self,
        taps: Sequence[str],
        places: Sequence[str],
        channels: Sequence[Sequence[int]],
        factors: Sequence[float] = (1.0,) * LEVELS,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(read, written, 3, padding=1) for read, written in channels)
        for weight in self.layers.parameters():
            nn.init.zeros_(weight)

    @classmethod
    @torch.no_grad()
    def of(cls, vae: ModelMixin) -> Self:
        """New ones that fit an autoencoder of diffusers.

        Raises:
            InputError: it has no blocks of a known kind at one of the sizes.
        """
        side = 8 * autoencoder.downscale(vae)
        draws = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        with _outputs(vae.encoder, _blocks(vae.encoder)) as encoded:
            z = autoencoder.encode(vae, draws)
        with _outputs(vae.decoder, _blocks(vae.decoder)) as decoded:
            autoencoder.decode(vae, z)
        reads, writes = _by_size({PHOTO: 2 * draws - 1} | encoded), _by_size(decoded)
        sizes = [side >> level for level in range(LEVELS)]
        if not all(size in reads and size in writes for size in sizes):
            raise InputError(f"{type(vae).__name__} has no blocks that luminance could be carried between.")
        found = [(*reads[size], *writes[size]) for size in sizes]
        taps, read, places, written = zip(*found, strict=True)
        channels = [(one.shape[1], other.shape[1]) for one, other in zip(read, written, strict=True)]
        return cls(taps, places, channels, [_ratio(*pair) for pair in zip(written, read, strict=True)])

    def forward(self, vae: ModelMixin, z: Tensor, gray: Tensor) -> Tensor:
        """`autoencoder.decode` with the details of grey photos.

        Args:
            vae: the autoencoder that these skips belong to; gradients reach its decoder alone.
            z: latents (B, C, h, w), scaled.
            gray: (B, 3, H, W) in [0, 1].

        Raises:
            InputError: they are of other sizes.
        """
        factor = autoencoder.downscale(vae)
        if gray.shape[2:] != (factor * z.shape[2], factor * z.shape[3]):
            raise InputError(f"Latents {tuple(z.shape)} and grey photos {tuple(gray.shape)} are of different sizes.")
        with torch.no_grad(), _outputs(vae.encoder, [name for name in self.config["taps"] if name != PHOTO]) as found:
            autoencoder.latents(vae, gray)
        found[PHOTO] = 2 * gray - 1
        parts = zip(self.config["taps"], self.config["places"], self.config["factors"], self.layers, strict=True)
        added = {place: factor * layer(found[tap].to(self.dtype)) for tap, place, factor, layer in parts}
        with _adding(vae.decoder, added):
            return autoencoder.decode(vae, z)


def with_decoder(vae: ModelMixin, other: ModelMixin) -> ModelMixin:
    """The second autoencoder, whose decoder is to be used with the encoder of the first.

    Raises:
        InputError: it was not trained on the latents of the first.
    """
    own, found = vae.encoder.state_dict(), other.encoder.state_dict()
    alike = own.keys() == found.keys() and all(torch.equal(own[name].half(), found[name].half()) for name in own)
    if not alike or vae.config["scaling_factor"] != other.config["scaling_factor"]:
        raise InputError(
            "The luminance-aware decoder was trained on the latents of another autoencoder: train it again."
        )
    return other


def _blocks(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, BLOCKS)]


def _by_size(outputs: Mapping[str, Tensor]) -> dict[int, tuple[str, Tensor]]:
    """The last block of each size and what it makes."""
    return {value.shape[-1]: (name, value) for name, value in outputs.items()}


def _ratio(written: Tensor, read: Tensor) -> float:
    """Of the sizes of their numbers, to two digits."""
    ratio = float(written.square().mean().sqrt() / read.square().mean().sqrt().clamp(min=1e-6))
    return float(f"{max(ratio, 1e-3):.2g}")


@contextmanager
def _outputs(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What modules return while the context lasts, in the order of their calls."""
    found: dict[str, Tensor] = {}

    def keep(module: nn.Module, given: Any, output: Tensor, name: str) -> None:
        found[name] = output

    handles = [network.get_submodule(name).register_forward_hook(partial(keep, name=name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _adding(network: nn.Module, added: Mapping[str, Tensor]) -> Iterator[None]:
    """Modules return so much more while the context lasts."""

    def more(module: nn.Module, given: Any, output: Tensor, name: str) -> Tensor:
        return output + added[name]

    handles = [network.get_submodule(name).register_forward_hook(partial(more, name=name)) for name in added]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
