"""The embedding of the empty prompt, computed once and cached."""

import copy
import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TextTimeEmbedding
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dequant.errors import InputError
from dequant.io.files import whole_path
from dequant.models.finite import is_finite
from dequant.models.hub import Source

EMBEDDING = "text_embedding.safetensors"


PROMPT_LENGTH = 77
"""Tokens that Stable Diffusion and DeepFloyd IF pad a prompt to."""


READERS = ("add_embedding", "encoder_hid_proj")
"""Parts of an IF network that see nothing but the prompt."""

Network = TypeVar("Network", bound=nn.Module)


class TextEmbedding(ModelMixin, ConfigMixin):
    """The embedding of the empty prompt, as a component that is saved and moved like the others.

    Args:
        tokens: of the prompt.
        width: features of each.
    """

    @register_to_config
    def __init__(self, tokens: int = 77, width: int = 768) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, tokens, width), requires_grad=False)

    @classmethod
    def of(cls, embedding: Tensor) -> Self:
        """The component of an embedding (1, T, D)."""
        component = cls(*embedding.shape[1:])
        component.weight.data = embedding
        return component


class _Read(nn.Module):
    """What a part of a network made of a prompt, in its place."""

    def __init__(self, made: Tensor) -> None:
        super().__init__()
        self.made = made

    def forward(self, text: Tensor) -> Tensor:
        """The same for each prompt of a batch (B, T, D)."""
        made = self.made.to(text.device)  # repeated, since a product with what is expanded copies the weights
        return made.repeat(len(text), *[1] * (made.ndim - 1))


def sharing(network: Network, **parts: nn.Module) -> Network:
    """A network that shares all weights with another one, but for some parts."""
    twin = copy.copy(network)
    twin._modules = {**network._modules, **parts}
    return twin


def having_read(network: Network, text: Tensor | None) -> Network:
    """A network that shares its weights with another one, and has read a prompt, so that no step reads it again.

    Args:
        network: a UNet or an encoder; one whose parts see more than the prompt is returned as it is.
        text: embedding of the prompt (1, T, D), or None.
    """
    parts = {name: getattr(network, name, None) for name in READERS}
    known = {name: part for name, part in parts.items() if isinstance(part, TextTimeEmbedding | nn.Linear)}
    if text is None or not known:
        return network
    weights = {name: next(part.parameters()) for name, part in known.items()}
    given = {name: text.to(weight.device, weight.dtype) for name, weight in weights.items()}
    return sharing(network, **{name: _Read(part(given[name])) for name, part in known.items()})


def prompt_width(unet_config: dict[str, Any]) -> int | None:
    """Features of the prompt's embedding that a UNet attends to, None for one that attends to no prompt."""
    kinds = (*unet_config["down_block_types"], unet_config["mid_block_type"] or "")
    if not any("CrossAttn" in kind for kind in kinds):
        return None
    return unet_config.get("encoder_hid_dim") or unet_config["cross_attention_dim"]


def empty_prompt(
    source: Source,
    unet_config: dict[str, Any],
    file: str | None = None,
    text_encoder: str | None = None,
    in_8_bit: bool = False,
) -> Tensor | None:
    """Embedding of the empty prompt, float32 (1, 77, D), or None for a UNet that attends to no prompt.

    It is read from `file`, else from the base's folder, else from the cache (`$XDG_CACHE_HOME/dequant`), else computed
    with the text encoder, on the CPU in bfloat16 or 8 bit, and cached, so that no later run loads the encoder.

    Args:
        source: the base.
        unet_config: of its UNet.
        file: .npz or .safetensors with this one array.
        text_encoder: folder or hub id with text_encoder/ and tokenizer/, for a base without.
        in_8_bit: load the encoder's layers in 8 bit (LLM.int8, arXiv:2208.07339): less memory, about 1% off.

    Raises:
        InputError: there is neither a file nor an encoder, its width is not the UNet's, or bitsandbytes is missing.
    """
    width = prompt_width(unet_config)
    if width is None:
        return None
    encoder = source if text_encoder is None else Source(text_encoder)
    identity = _identity(encoder) + " 8 bit" * in_8_bit
    cached = _cache() / f"empty_prompt_{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors"
    saved = None if source.folder is None else source.folder / EMBEDDING
    if file is not None:
        embedding = read_embedding(file)
    elif saved is not None and saved.is_file():
        embedding = read_embedding(saved)
    elif cached.is_file():
        embedding = read_embedding(cached)
    elif encoder.has("text_encoder"):
        embedding = _encode_empty_prompt(encoder, in_8_bit)
        write_embedding(embedding, cached)
    else:
        raise InputError(
            f"{source.path} has no text encoder: give the embedding of the empty prompt with text_embedding=FILE "
            "(.npz or .safetensors), or text_encoder=FOLDER with text_encoder/ and tokenizer/."
        )
    if embedding.ndim != 3 or embedding.shape[::2] != (1, width):
        raise InputError(f"The text embedding is {tuple(embedding.shape)}, but this base takes (1, tokens, {width}).")
    return embedding


def read_embedding(path: str | Path) -> Tensor:
    """The one array of a .npz or .safetensors file, float32.

    Raises:
        InputError: there is no such file, or not one array in it.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            arrays = list(load_file(path).values())
        else:
            with np.load(path) as loaded:
                arrays = [torch.from_numpy(loaded[key]) for key in loaded.files]
    except Exception as error:
        raise InputError(f"{path} cannot be read: give a .npz or .safetensors file with one array.") from error
    if len(arrays) != 1:
        raise InputError(f"{path} holds {len(arrays)} arrays: give a file with the one of the empty prompt.")
    if not is_finite(arrays[:1]):
        raise InputError(f"{path} holds numbers that are not finite: compute the embedding again.")
    return arrays[0].float()


def write_embedding(embedding: Tensor, path: Path) -> None:
    """Write a file for `read_embedding`."""
    with whole_path(path) as partial:
        save_file({"text_embedding": embedding.float().cpu().contiguous()}, partial)


@torch.no_grad()
def _encode_empty_prompt(source: Source, in_8_bit: bool) -> Tensor:
    """Run the text encoder (T5 for IF, CLIP for Stable Diffusion), as their pipelines do.

    T5's tokens of the empty prompt are its end mark and padding, which it must not attend to.
    """
    import transformers

    config = source.load(lambda: transformers.AutoConfig.from_pretrained(source.path, subfolder="text_encoder"))
    kind = getattr(transformers, config.architectures[0])
    if issubclass(kind, transformers.T5EncoderModel):
        tokens = torch.full((1, PROMPT_LENGTH), config.pad_token_id)
        tokens[0, 0] = config.eos_token_id
        mask = (torch.arange(PROMPT_LENGTH) == 0)[None].long()
    else:
        tokenizer = source.load(lambda: transformers.CLIPTokenizer.from_pretrained(source.path, subfolder="tokenizer"))
        tokens = tokenizer("", padding="max_length", max_length=PROMPT_LENGTH, return_tensors="pt").input_ids
        mask = None
    options = {"subfolder": "text_encoder", "variant": source.variant, "dtype": torch.bfloat16}
    if in_8_bit:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise InputError("A text encoder in 8 bit needs bitsandbytes: pip install -e '.[8bit]'.")
        options |= {"quantization_config": transformers.BitsAndBytesConfig(load_in_8bit=True), "device_map": "cpu"}
    encoder = source.load(lambda: kind.from_pretrained(source.path, **options))
    return encoder.eval()(tokens, attention_mask=mask)[0].float()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dequant"


def _identity(source: Source) -> str:
    """What distinguishes text encoders: the id, or the folder and when its configuration was written."""
    if source.folder is None:
        return source.path
    config = source.folder / "text_encoder" / "config.json"
    return f"{source.folder.resolve()} {config.stat().st_mtime_ns if config.is_file() else 0}"
