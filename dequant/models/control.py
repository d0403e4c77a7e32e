"""The control encoder: a trainable copy of the base's encoder half that reads the condition."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin, FrozenDict, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.condition.channels import Condition
from dequant.condition.texture import TEXTURES, Texture
from dequant.errors import InputError
from dequant.models.hub import Source
from dequant.models.order import keep_order

if TYPE_CHECKING:
    from dequant.models.base import DiffusionBase

CONDITION_CHANNELS = 7


class ControlEncoder(ModelMixin, ConfigMixin):
    """Turns a condition into residuals for the skip connections and the middle block of a frozen UNet.

    Paper section 3, "Architecture": `g = stem(condition)`, then copies of the base's down and middle blocks, each
    output followed by a 1x1 convolution that starts at zero, so that an untrained encoder changes nothing. In what
    enters the blocks there are two layouts:

    - released: the encoder sees the condition and the timestep, never x_t: `h = conv_in(g) + g`;
    - standard (ControlNet, arXiv:2302.05543): `h = conv_in(x_t) + g`, conv_in is the base's and g starts at zero.

    Time and text embeddings are the encoder's own, those of text frozen; that of the augmentation level is the base's.

    Args:
        unet_config: configuration of the base's UNet.
        patch_size: the base's.
        texture_gain: factor on the texture channels, so that texture maps of different size reach the stem alike.
        variant: name of the texture it was trained on.
        base: fingerprint of the base it was trained on.
        stem_widths: widths inside the stem, a chain of 3x3 convolutions; None for two of the base's first width.
        downscale: pixels per side of one place of the base's latents. A convolution that widens the stem halves the
            grid as often as this asks for.
        x_channels: channels of x_t for the standard layout, 0 for the released one.
        raw_condition: the stem reads 2 c - 1 of every channel, as in the released network, in place of `_normalize`.
        guided: the encoder and the base read colours that follow the photo (`Texture.followed`).
        condition_channels: that the stem reads; those beyond the condition's are zero (`--force_aux_8` there).

    Raises:
        InputError: the stem does not widen often enough for `downscale`.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        unet_config: dict[str, Any],
        patch_size: int = 1,
        texture_gain: float = 1.0,
        variant: str = "",
        base: str = "",
        stem_widths: list[int] | None = None,
        downscale: int = 1,
        x_channels: int = 0,
        raw_condition: bool = False,
        condition_channels: int = CONDITION_CHANNELS,
        guided: bool = False,
    ) -> None:
        super().__init__()
        unet = UNet2DConditionModel.from_config(FrozenDict(unet_config))
        width = unet_config["block_out_channels"][0]
        hidden = [width, width] if stem_widths is None else list(stem_widths)
        self.gradient_checkpointing = False
        self.stem = _stem([condition_channels * patch_size**2, *hidden, width], downscale)
        self.conv_in = nn.Conv2d(x_channels * patch_size**2 or width, width, 3, padding=1)
        self.time_proj = unet.time_proj
        self.time_embedding = unet.time_embedding
        self.time_embed_act = unet.time_embed_act
        self.add_embedding = getattr(unet, "add_embedding", None)
        self.encoder_hid_proj = unet.encoder_hid_proj
        self.down_blocks = unet.down_blocks
        self.mid_block = unet.mid_block
        self.zero_convs = nn.ModuleList(_zero_conv(channels) for channels in _skip_channels(unet_config))
        self.zero_conv_mid = _zero_conv(unet_config["block_out_channels"][-1])
        keep_order(self)
        for text in (self.add_embedding, self.encoder_hid_proj):
            if text is not None:
                text.requires_grad_(False)

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """The encoder in a folder, in float32, without a note of where it lay.

        Raises:
            InputError: its files are damaged, or are those of something else.
        """
        control = Source(folder).model(None, cls, use_safetensors=True)
        control.register_to_config(_name_or_path="")
        return control

    @property
    def texture(self) -> Texture | None:
        """The texture that it reads, None for one that is not among `TEXTURES`."""
        return TEXTURES.get(self.config["variant"])

    @classmethod
    def from_base(
        cls,
        base: "DiffusionBase",
        variant: str,
        texture_gain: float = 1.0,
        stem_widths: list[int] | None = None,
        reads_x_t: bool = False,
        raw_condition: bool = False,
        guided: bool = False,
    ) -> Self:
        """An untrained encoder whose embeddings, down blocks and middle block are copied from the base's UNet.

        Args:
            base: the base.
            variant: name of the texture.
            texture_gain: see the class.
            stem_widths: see the class.
            reads_x_t: the standard layout, in place of the released one.
            raw_condition: see the class.
            guided: see the class.
        """
        control = cls(
            unet_config={key: value for key, value in base.unet.config.items() if not key.startswith("_")},
            patch_size=base.patch_size,
            texture_gain=texture_gain,
            variant=variant,
            base=base.fingerprint,
            stem_widths=None if stem_widths is None else list(stem_widths),
            downscale=base.downscale,
            x_channels=base.channels if reads_x_t else 0,
            raw_condition=raw_condition,
            guided=guided,
        )
        for name in ("time_embedding", "add_embedding", "encoder_hid_proj", "down_blocks", "mid_block"):
            if getattr(control, name) is not None:
                getattr(control, name).load_state_dict(getattr(base.unet, name).state_dict())
        if reads_x_t:
            read = control.conv_in.in_channels  # x_t comes first in the base's input
            weights = base.unet.conv_in.state_dict()
            control.conv_in.load_state_dict({"weight": weights["weight"][:, :read], "bias": weights["bias"]})
            _to_zero(control.stem[-1])
        return control

    def forward(
        self,
        condition: Tensor,
        t: Tensor,
        x_t: Tensor | None = None,
        text: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Residuals for the base.

        Args:
            condition: (B, 7, H, W) in [0, 1], H and W multiples of the base's `multiple`.
            t: timesteps (B,), 0..999.
            x_t: (B, C, h, w), the noised image or latents, for the standard layout.
            text: embedding of the prompt (B, 77, D), for a base that attends to one.
            augmentation: the base's embedding of the augmentation level (B, E), for a base that has one.

        Returns:
            One tensor per skip connection, in the order of the UNet's encoder, and one for the middle block.
        """
        return self.residuals(self.features(condition), t, x_t, text, augmentation)

    def features(self, condition: Tensor) -> Tensor:
        """What a condition (B, 7, H, W) contributes whatever the timestep and x_t, for `residuals`."""
        inputs = self._raw(condition) if self.config["raw_condition"] else self._normalize(condition)
        inputs = F.pixel_unshuffle(inputs, self.config["patch_size"]).to(self.dtype)
        again = self.gradient_checkpointing and torch.is_grad_enabled()
        g = self._gradient_checkpointing_func(self.stem, inputs) if again else self.stem(inputs)
        return g if self.config["x_channels"] else self.conv_in(g) + g

    def residuals(
        self,
        features: Tensor,
        t: Tensor,
        x_t: Tensor | None = None,
        text: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The second half of `forward`, so that a sampler computes `features` once for all its steps.

        Args:
            features: (B, W, h, w), of a condition.
            t: as all other arguments and the result, see `forward`.
            x_t: see `forward`.
            text: see `forward`.
            augmentation: see `forward`.
        """
        embedding = self.time_embedding(self.time_proj(t).to(features.dtype))
        if augmentation is not None:
            embedding = embedding + augmentation.to(embedding)  # the base may be offloaded to another device
        if text is not None:
            text = text.to(embedding)
            embedding = embedding if self.add_embedding is None else embedding + self.add_embedding(text)
            text = text if self.encoder_hid_proj is None else self.encoder_hid_proj(text)
        if self.time_embed_act is not None:
            embedding = self.time_embed_act(embedding)
        h = features
        if self.config["x_channels"]:
            assert x_t is not None
            h = self.conv_in(F.pixel_unshuffle(x_t, self.config["patch_size"]).to(features.dtype)) + features
        skips = (h,)
        for block in self.down_blocks:
            h, block_skips = _run(block, h, embedding, text)
            skips += block_skips
        h = _run(self.mid_block, h, embedding, text)
        down = tuple(conv(skip) for conv, skip in zip(self.zero_convs, skips, strict=True))
        return down, self.zero_conv_mid(h)

    def _raw(self, condition: Tensor) -> Tensor:
        """Every channel on [-1, 1], and zeros before that in further ones."""
        further = self.config["condition_channels"] - CONDITION_CHANNELS
        return 2 * F.pad(condition, (0, 0, 0, 0, 0, further)) - 1

    def _normalize(self, condition: Tensor) -> Tensor:
        """Colours and indicator on [-1, 1], level in octaves, texture centred where it is given and 0 where not."""
        rgb, texture, level, given = Condition.of(condition)
        return torch.cat(
            [
                2 * rgb - 1,
                self.config["texture_gain"] * (2 * texture - 1) * given,
                (256 * level).log2() / 4 - 1,
                2 * given - 1,
            ],
            dim=1,
        )


def bundled(variant: str, weights: str = "small") -> str:
    """Folder of the encoder of a variant that comes with the package.

    Args:
        variant: L, G or T.
        weights: "small", of the paper's recipe, or "edit", for edits.

    Raises:
        InputError: there is none.
    """
    folder = Path(__file__).parents[1] / "weights" / f"{weights}_{variant}"
    if variant not in list(TEXTURES) or not (folder / "config.json").is_file():
        raise InputError(
            f"No weights {weights!r} of variant {variant!r} are bundled: expected weights edit or small and variant "
            f"{', '.join(TEXTURES)}, or your own, as from train.py variant={variant}."
        )
    return str(folder)


def _stem(widths: list[int], downscale: int) -> nn.Sequential:
    """3x3 convolutions with SiLU between them; those that widen halve the grid until it is `downscale` times less."""
    layers: list[nn.Module] = []
    for i, (width, next_width) in enumerate(zip(widths, widths[1:], strict=False)):
        halves = 0 < i < len(widths) - 2 and next_width > width and downscale > 1
        downscale //= 1 + halves
        layers += [nn.Conv2d(width, next_width, 3, stride=1 + halves, padding=1), nn.SiLU()]
    if downscale > 1:
        raise InputError(
            f"The stem {widths[1:-1]} widens too seldom for latents: it has to widen once for every halving of the "
            "image, as [16, 16, 32, 32, 96, 96, 256] does thrice: choose control=standard."
        )
    return nn.Sequential(*layers[:-1])


def _run(block: nn.Module, h: Tensor, embedding: Tensor, text: Tensor | None) -> Any:
    """A down or middle block, with the prompt where it attends to one."""
    if getattr(block, "has_cross_attention", False):
        return block(h, embedding, encoder_hidden_states=text)
    return block(h, embedding)


def _zero_conv(channels: int) -> nn.Conv2d:
    return _to_zero(nn.Conv2d(channels, channels, 1))


def _to_zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _skip_channels(unet_config: dict[str, Any]) -> list[int]:
    """Channels of the UNet's skip connections: conv_in, then each block's layers and its downsampler."""
    widths, layers = unet_config["block_out_channels"], unet_config["layers_per_block"]
    layers = [layers] * len(widths) if isinstance(layers, int) else layers
    channels = [widths[0]]
    for i, (width, n) in enumerate(zip(widths, layers, strict=True)):
        channels += [width] * n + [width] * (i < len(widths) - 1)
    return channels
