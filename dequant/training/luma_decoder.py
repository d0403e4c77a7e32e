"""The LightningModule of a luminance-aware decoder (arXiv:2404.16678, section 3.4)."""

import copy
from pathlib import Path

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from dequant.color.luminance import grayscale, with_lightness
from dequant.io.files import whole_folder
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models.autoencoder import decode, encode
from dequant.models.finite import copy_for_release
from dequant.models.hub import Source
from dequant.models.luma_skips import LumaSkips
from dequant.training.autoencoder import Autoencoder
from dequant.training.learner import Optimizer, Schedule


class LumaDecoder(Autoencoder):
    """Teaches the decoder of a trained autoencoder to take the details of the grey photo from its encoder.

    Encoder and latents stay as they are, so that every network on these latents can use the decoder. The loss is the
    squared error and `perceptual_weight` times a perceptual distance (equation 7).

    Args:
        vae: trained.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
        noise: standard deviation of what is added to the latents in training, in units of theirs: those that a sampler
            draws are not exact either.
        perceptual_weight: of the perceptual distance, that of features of EfficientNet-Lite0; 0 leaves it out.

    Raises:
        InputError: the autoencoder has no blocks to carry luminance between, or the classifier is missing.
    """

    kept = ("learned.",)

    def __init__(
        self,
        vae: ModelMixin,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
        noise: float = 0.0,
        perceptual_weight: float = 0.1,
    ) -> None:
        super().__init__(vae, optimizer, lr_schedule)
        self.noise, self.perceptual_weight = noise, perceptual_weight
        self.skips, self.first = LumaSkips.of(vae), copy.deepcopy(vae).requires_grad_(False)
        vae.requires_grad_(False)
        vae.decoder.requires_grad_(True)
        self.learned = nn.ModuleDict({"decoder": vae.decoder, "skips": self.skips})
        self.classifier = EfficientNetLite0() if perceptual_weight else None

    @property
    def trained(self) -> nn.Module:
        """The decoder and the skips."""
        return self.learned

    def _decode(self, z: Tensor, gray: Tensor) -> Tensor:
        if self.training and self.noise:
            z = z + self.noise / self.vae.config["scaling_factor"] * torch.randn_like(z)
        return self.skips(self.vae, self.vae.config["scaling_factor"] * z, gray)

    def _loss(self, output: Tensor, wanted: Tensor) -> Tensor:
        error = super()._loss(output, wanted)
        if self.classifier is None:
            return error
        return error + self.perceptual_weight * distance(self.classifier, output / 2 + 0.5, wanted)

    @torch.no_grad()
    def _without(self, photo: Tensor) -> Tensor:
        """What the decoder that training began with makes, with the photos' lightness: `psnr_input` is of these."""
        decoded = (decode(self.first, encode(self.first, photo)) / 2 + 0.5).clamp(0, 1)
        return torch.stack([with_lightness(one, gray) for one, gray in zip(decoded, grayscale(photo), strict=True)])

    def load_weights(self, path: str | Path) -> None:
        """Start from a decoder in a folder, which `save_pretrained` wrote."""
        source = Source(path)
        self.vae.decoder.load_state_dict(source.autoencoder("vae").decoder.state_dict())
        self.skips.load_state_dict(source.model("skips", LumaSkips).state_dict())

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the autoencoder with its new decoder to vae/ and the skips to skips/, float16."""
        with whole_folder(Path(folder)) as partial:
            copy_for_release(self.vae).save_pretrained(partial / "vae")
            copy_for_release(self.skips).save_pretrained(partial / "skips")


def distance(classifier: EfficientNetLite0, output: Tensor, wanted: Tensor) -> Tensor:
    """1 less the mean cosine of features after the second and third stage: a perceptual distance from 0 to 2."""
    pairs = zip(classifier.stage_features(output, 3)[1:], classifier.stage_features(wanted, 3)[1:], strict=True)
    return torch.stack([1 - F.cosine_similarity(*pair, dim=1).mean() for pair in pairs]).mean()
