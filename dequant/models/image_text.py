"""A model that says how well a text describes a picture: CLIP, or a small one in CLIP's class."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from dequant.errors import InputError
from dequant.models.finite import check_finite
from dequant.models.folders import is_folder
from dequant.models.hub import Source
from dequant.models.latent import new_tokenizer
from dequant.models.texts import tokenized


class ImageText(nn.Module):
    """Features of pictures and texts in one space (Radford et al., arXiv:2103.00020), of length 1.

    Args:
        clip: the networks.
        tokenizer: of the texts.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: CLIPModel, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.clip, self.tokenizer = clip, tokenizer
        self.register_buffer("mean", torch.tensor(OPENAI_CLIP_MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(OPENAI_CLIP_STD).reshape(3, 1, 1), persistent=False)

    @property
    def sharpness(self) -> Tensor:
        """What cosines are multiplied by before they are compared, one over the temperature that was learned."""
        return self.clip.logit_scale.exp()

    def of_images(self, rgb: Tensor) -> Tensor:
        """Features (B, D) of pictures (B, 3, H, W) in [0, 1]: differentiable, at the size that the network takes."""
        side = self.clip.config.vision_config.image_size
        square = F.interpolate(rgb, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        pooled = self.clip.vision_model((square - self.mean) / self.std).pooler_output
        return F.normalize(self.clip.visual_projection(pooled), dim=1)

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Features (B, D) of texts."""
        tokens = tokenized(self.tokenizer, texts, self.clip.text_model).to(self.mean.device)
        pooled = self.clip.text_model(tokens.input_ids, tokens.attention_mask).pooler_output
        return F.normalize(self.clip.text_projection(pooled), dim=1)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Load a folder or hub id of a `transformers` CLIPModel with its tokenizer.

        Raises:
            InputError: there is none.
        """
        if not is_folder(path) and str(path).count("/") != 1:
            raise InputError(
                f"There is no folder {path}: give one with a CLIP and its tokenizer, or a hub id OWNER/NAME."
            )
        source = Source(path)
        clip: CLIPModel = source.load(lambda: CLIPModel.from_pretrained(source.path, dtype=torch.float32))
        check_finite(clip.parameters(), str(path))
        return cls(clip.eval(), source.load(lambda: CLIPTokenizer.from_pretrained(source.path)))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write networks (float16) and tokenizer for `from_pretrained`."""
        check_finite(self.clip.parameters(), "the image-text model")
        copy.deepcopy(self.clip).cpu().half().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def new_image_text(words: Sequence[str], side: int, patch: int, width: int, layers: int, length: int) -> ImageText:
    """An untrained one.

    Args:
        words: that the tokenizer keeps whole.
        side: of the pictures that the network takes, in pixels.
        patch: pixels per side of a token.
        width: features of a token, of both networks and of what they say.
        layers: of each network.
        length: tokens that texts are padded to.
    """
    tokenizer = new_tokenizer(words, length)
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    sizes |= {"num_attention_heads": width // 32, "projection_dim": width}
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(
        text_config=sizes | marks | {"vocab_size": len(tokenizer), "max_position_embeddings": length},
        vision_config=sizes | {"image_size": side, "patch_size": patch},
        projection_dim=width,
    )
    return ImageText(CLIPModel(config), tokenizer)


def bundled() -> str:
    """Folder of the small one that comes with the package."""
    return str(Path(__file__).parents[1] / "weights" / "image_text")
