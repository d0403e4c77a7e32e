"""A latent base that reads text: autoencoder, UNet, text encoder and tokenizer, as colorizers take it."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import transformers
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tokenizers import pre_tokenizers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dequant.errors import InputError
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models import autoencoder
from dequant.models.finite import check_finite, copy_for_release
from dequant.models.hub import Source
from dequant.models.luma_skips import LumaSkips, with_decoder
from dequant.models.prompt import prompt_width
from dequant.models.recognition import Recognizer, recognized
from dequant.models.texts import is_read, tokenized

STEPS = 1000
"""Timesteps of the schedules that such UNets are trained on."""

transformers.utils.logging.disable_progress_bar()  # of files that take no time

START, END = "<|startoftext|>", "<|endoftext|>"

LAST = "</w>"
"""Behind the last token of a word."""


class LatentBase(nn.Module):
    """A UNet over the latents of an autoencoder that attends to the embedding of a text, such as Stable Diffusion's.

    Args:
        vae: an autoencoder of diffusers.
        unet: from and to as many channels as the latents have.
        text_encoder: its width is what the UNet attends to.
        tokenizer: of the text encoder.
        recognizer: tells the UNet what a frozen classifier recognizes in a grey photo; a UNet that has learned from
            millions of photos needs none.
        skips: of a luminance-aware decoder, which `vae` has then.

    Raises:
        InputError: the parts do not fit each other, or the classifier is missing.
    """

    def __init__(
        self,
        vae: ModelMixin,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        recognizer: Recognizer | None = None,
        skips: LumaSkips | None = None,
    ) -> None:
        super().__init__()
        channels, found = vae.config["latent_channels"], (unet.config["in_channels"], unet.config["out_channels"])
        if found != (channels, channels):
            raise InputError(
                f"The UNet goes from {found[0]} to {found[1]} channels, but the autoencoder's latents have {channels}: "
                "give the unet and the vae of one model."
            )
        width = text_encoder.config.hidden_size
        if prompt_width(unet.config) != width:
            raise InputError(
                f"The UNet attends to texts of width {prompt_width(unet.config)}, but the text encoder's have {width}: "
                "give the unet and the text_encoder of one model."
            )
        self.vae, self.unet, self.text_encoder, self.tokenizer = (
            vae.requires_grad_(False),
            unet,
            text_encoder,
            tokenizer,
        )
        self.recognizer = None if recognizer is None else recognizer.eval()
        self.skips = None if skips is None else skips.requires_grad_(False)
        self.classifier = None if recognizer is None else EfficientNetLite0()
        for part in (self.vae, self.unet):
            part.to(memory_format=torch.channels_last)

    @property
    def multiple(self) -> int:
        """Height and width of an image must be multiples of this."""
        return autoencoder.downscale(self.vae) * 2 ** (len(self.unet.config["block_out_channels"]) - 1)

    @property
    def side(self) -> int:
        """Pixels per side of the squares that the UNet was trained on."""
        return self.unet.config["sample_size"] * autoencoder.downscale(self.vae)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.unet.parameters()).device

    def encode(self, rgb: Tensor) -> Tensor:
        """`autoencoder.encode`: rgb (B, 3, H, W) in [0, 1] -> latents (B, C, h, w)."""
        return autoencoder.encode(self.vae, rgb)

    def decode(self, z: Tensor, gray: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> rgb (B, 3, H, W) in [0, 1]; a luminance-aware decoder looks at the grey photos."""
        output = autoencoder.decode(self.vae, z) if self.skips is None else self.skips(self.vae, z, gray)
        return (output / 2 + 0.5).clamp(0, 1)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (B, T, D) of texts, padded and cut to the tokenizer's length."""
        tokens = tokenized(self.tokenizer, texts, self.text_encoder)
        return self.text_encoder(tokens.input_ids.to(self.device))[0]

    def reads(self, text: str) -> bool:
        """Whether a text is short enough to be read to its end."""
        return is_read(self.tokenizer, text, self.text_encoder)

    def recognize(self, gray: Tensor, size: Sequence[int]) -> list[Tensor] | None:
        """What the UNet is told of grey photos beside their latents; None without a recognizer.

        Args:
            gray: (B, 3, H, W) in [0, 1].
            size: sides of the latents.
        """
        if self.recognizer is None or self.classifier is None:
            return None
        return self.recognizer(recognized(self.classifier.to(gray.device), gray, self.side), size)

    def predict(self, z: Tensor, t: Tensor, text: Tensor, seen: Sequence[Tensor] | None = None) -> Tensor:
        """The UNet's output, float32 (B, C, h, w).

        Args:
            z: latents (B, C, h, w).
            t: timesteps (B,), 0..999.
            text: from `embed`, (B, T, D).
            seen: from `recognize`; of fewer photos than latents, it counts for each repetition of them.

        Raises:
            InputError: the latents do not fit the UNet.
        """
        channels, factor = self.unet.config["in_channels"], self.multiple // autoencoder.downscale(self.vae)
        if z.ndim != 4 or z.shape[1] != channels or z.shape[2] % factor or z.shape[3] % factor:
            raise InputError(
                f"Expected latents (B, {channels}, h, w) with h and w multiples of {factor}, got {tuple(z.shape)}."
            )
        dtype = self.unet.dtype
        told = None if seen is None else [one.to(dtype).repeat(len(z) // len(one), 1, 1, 1) for one in seen]
        options = {"down_intrablock_additional_residuals": told, "return_dict": False}
        return self.unet(z.to(dtype), t, text.to(dtype), **options)[0].float()

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, vae: str | None = None, decoder: str | None = None, variant: str | None = None
    ) -> Self:
        """Load the parts of a model in the layout of diffusers.

        Args:
            path: a folder with vae/, unet/, text_encoder/ and tokenizer/, or the id of a model on the hub.
            vae: folder or hub id of an autoencoder in place of the model's, such as a tiny one.
            decoder: the weights of a luminance-aware decoder of that autoencoder, a folder with vae/ and skips/;
                "luma_aware" means the model's own.
            variant: of the weight files, such as fp16.

        Raises:
            InputError: there is no such model, or its parts do not fit each other.
        """
        source = Source(path, variant)
        unet = source.model("unet", UNet2DConditionModel)
        coder = source.autoencoder("vae") if vae is None else Source(vae).autoencoder(None)
        skips = None
        if decoder is not None:
            aware = Source(Path(path) / decoder if decoder == "luma_aware" else decoder)
            coder, skips = with_decoder(coder, aware.autoencoder("vae")), aware.model("skips", LumaSkips)
        options = {"subfolder": "text_encoder", "torch_dtype": torch.float32}
        text: Any = source.load(lambda: CLIPTextModel.from_pretrained(source.path, **options))
        check_finite(text.parameters(), f"{path}/text_encoder")
        tokenizer = source.load(lambda: CLIPTokenizer.from_pretrained(source.path, subfolder="tokenizer"))
        recognizer = source.model("recognizer", Recognizer) if source.has("recognizer") else None
        if skips is None and source.has("skips"):
            skips = source.model("skips", LumaSkips)
        return cls(coder, unet, text, tokenizer, recognizer, skips)

    def with_unet(self, unet: UNet2DConditionModel) -> Self:
        """A base with another UNet of the same layout, which shares all other parts."""
        other = copy.copy(self)
        other.__dict__["_modules"] = {**self._modules, "unet": unet}
        return other

    def add_lora(self, rank: int) -> None:
        """Freeze the UNet and let low-rank changes of its attention learn (Hu et al., arXiv:2106.09685).

        Raises:
            InputError: peft is not installed.
        """
        try:
            from peft import LoraConfig
        except ImportError:
            raise InputError("Low-rank training needs the package peft: pip install 'dequant[lora]'.") from None
        self.unet.requires_grad_(False)
        layers = ["to_q", "to_k", "to_v", "to_out.0"]
        self.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers))

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float16) -> None:
        """Write the parts (safetensors) for `from_pretrained`."""
        folder = Path(folder)
        unet = self.unet
        if getattr(unet, "peft_config", None):
            unet = copy.deepcopy(unet)
            unet.fuse_lora()
            unet.unload_lora()
        parts = {"vae": self.vae, "unet": unet, "recognizer": self.recognizer, "skips": self.skips}
        for name, part in parts.items():
            if part is not None:
                copy_for_release(part, dtype).save_pretrained(folder / name)
        text = CLIPTextModel(self.text_encoder.config)
        text.load_state_dict(self.text_encoder.state_dict())
        check_finite(text.parameters(), "the text encoder")
        text.to(dtype).save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")


def new_latent_base(
    vae: str,
    words: Sequence[str],
    block_out_channels: Sequence[int],
    text_width: int,
    text_layers: int,
    text_length: int,
    sample_size: int,
    norm_num_groups: int,
    recognizes: bool,
) -> LatentBase:
    """An untrained UNet and text encoder on a trained autoencoder.

    The UNet attends to the text on all levels but the first, and its output is 0.

    Args:
        vae: folder or hub id of the autoencoder.
        words: that the tokenizer keeps whole.
        block_out_channels: of the UNet.
        text_width: features of a token.
        text_layers: of the text encoder.
        text_length: tokens that texts are padded to.
        sample_size: latents per side of the training squares.
        norm_num_groups: of the UNet.
        recognizes: whether a frozen classifier tells the UNet what is in a grey photo.
    """
    tokenizer = new_tokenizer(words, text_length)
    coder, levels = Source(vae).autoencoder(None), len(block_out_channels) - 1
    unet = UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=coder.config["latent_channels"],
        out_channels=coder.config["latent_channels"],
        block_out_channels=tuple(block_out_channels),
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * levels),
        up_block_types=(*["CrossAttnUpBlock2D"] * levels, "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=text_width,
        attention_head_dim=4,
        norm_num_groups=norm_num_groups,
    )
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    text_encoder = new_text_encoder(tokenizer, text_width, text_layers, text_length)
    return LatentBase(coder, unet, text_encoder, tokenizer, Recognizer.of(unet) if recognizes else None)


def new_text_encoder(tokenizer: CLIPTokenizer, width: int, layers: int, length: int) -> CLIPTextModel:
    """An untrained text encoder, in CLIP's class."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        max_position_embeddings=length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return CLIPTextModel(config)


def new_tokenizer(words: Sequence[str], length: int) -> CLIPTokenizer:
    """CLIP's tokenizer with a vocabulary of its own, which only these words decide: all bytes, and the words whole.

    Args:
        words: in lower case.
        length: tokens that texts are padded to.
    """
    clip = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer
    merges: dict[tuple[str, str], int] = {}
    for word in words:
        for piece, _ in clip.pre_tokenizer.pre_tokenize_str(clip.normalizer.normalize_str(word)):
            while len(parts := _merged(piece, merges)) > 1:
                merges[parts[0], parts[1]] = len(merges)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [START, END, *letters, *(f"{one}{LAST}" for one in letters), *map("".join, merges)]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), model_max_length=length)


def _merged(piece: str, merges: Mapping[tuple[str, str], int]) -> list[str]:
    """The tokens of a word: always the first of the merges that applies, at its first place."""
    parts = [*piece[:-1], f"{piece[-1]}{LAST}"]
    while found := [pair for pair in itertools.pairwise(parts) if pair in merges]:
        pair = min(found, key=merges.__getitem__)
        at = list(itertools.pairwise(parts)).index(pair)
        parts[at : at + 2] = ["".join(pair)]
    return parts


def bundled() -> str:
    """Folder of the small latent base that comes with the package."""
    return str(Path(__file__).parents[1] / "weights" / "latent")
