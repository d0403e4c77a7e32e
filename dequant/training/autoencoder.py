"""The LightningModule of an autoencoder whose latents have a direction of colour."""

from pathlib import Path
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor
from torch.nn import functional as F

from dequant.color.luminance import grayscale
from dequant.io.files import whole_folder
from dequant.metrics.image import psnr
from dequant.models.autoencoder import downscale, latents
from dequant.models.finite import copy_for_release
from dequant.models.hub import Source
from dequant.training.learner import Learner, Optimizer, Schedule

Batch = dict[str, Any]

GRAY_SHARE, WHOLE_SHARE = 0.2, 0.5
"""Shares of the training photos that are decoded without their colour, and with all of it."""

MAX_SCALE = 1.5
"""Largest factor of the colour of the others."""


class Autoencoder(Learner):
    """Teaches an autoencoder photos, and that colour is a straight line in its latents.

    A photo x and its grey version g of equal lightness are encoded to z and z_g; the decoder must make
    `g + s (x - g)` of `z_g + s (z - z_g)`. So scaling the difference of latents scales the colourfulness, which
    Diffusing Colors (section 3.1) observes in the autoencoder of Stable Diffusion, and what is decoded of a grey photo
    is grey.

    Args:
        vae: the autoencoder.
        optimizer: makes the optimizer from parameters.
        lr_schedule: makes a per-step schedule from the optimizer, or None for a constant rate.
    """

    kept: tuple[str, ...] = ("vae.", "variance")
    variance: Tensor

    def __init__(
        self,
        vae: ModelMixin,
        optimizer: Optimizer | None = None,
        lr_schedule: Schedule | None = None,
    ) -> None:
        super().__init__(optimizer, lr_schedule)
        self.vae = vae
        self.register_buffer("variance", torch.ones(()))  # of the latents, a running mean

    @property
    def trained(self) -> ModelMixin:
        """The autoencoder."""
        return self.vae

    @property
    def multiple(self) -> int:
        """Pixels per side of one place of the latents."""
        return downscale(self.vae)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Squared error of the decoded photo at a random scale of its colour."""
        photo = batch["target"]
        draws = torch.stack([torch.rand(2, generator=torch.Generator().manual_seed(n)) for n in batch["seed"]])
        scale = draws[:, 1] * MAX_SCALE
        scale[draws[:, 0] < GRAY_SHARE + WHOLE_SHARE] = 1
        scale[draws[:, 0] < GRAY_SHARE] = 0
        s, fades = scale.to(photo).view(-1, 1, 1, 1), (scale != 1).to(photo.device)
        gray = grayscale(photo)
        z, z_gray = latents(self.vae, torch.cat([photo, gray[fades]])).split([len(photo), int(fades.sum())])
        mixed = z.clone()
        mixed[fades] = torch.lerp(z_gray, z[fades], s[fades])
        value = self._loss(self._decode(mixed, gray), torch.lerp(gray, photo, s).clamp(0, 1))
        self.variance.lerp_(z.detach().square().mean(), 0.01)
        self.log("train/loss", value, prog_bar=True, sync_dist=True)
        return value

    def _decode(self, z: Tensor, gray: Tensor) -> Tensor:
        """Latents in the autoencoder's own units, and the grey photos -> pictures in [-1, 1]."""
        return self.vae.decode(z).sample

    def _loss(self, output: Tensor, wanted: Tensor) -> Tensor:
        """Of pictures in [-1, 1] against photos in [0, 1]."""
        return F.mse_loss(output, 2 * wanted - 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log the PSNR of decoded photos and how far decoded grey ones are from grey; returns the decoded photos.

        `psnr_input` is that of the photos reduced to the size of the latents and enlarged again. `gray_chroma` is the
        mean distance of the channels of a decoded grey photo from their mean, in levels of 255.
        """
        photo = batch["target"]
        output, gray = self.decoded(photo), self.decoded(grayscale(photo))
        values = {"psnr": psnr(output, photo), "psnr_input": psnr(self._without(photo), photo)}
        values["gain"] = values["psnr"] - values["psnr_input"]
        values["gray_chroma"] = 255 * (gray - gray.mean(1, keepdim=True)).abs().mean((1, 2, 3))
        for name, value in values.items():
            self.log(f"val/{name}", value.mean(), batch_size=len(value), sync_dist=True)
        return output

    def _without(self, photo: Tensor) -> Tensor:
        """What photos are without what learns here."""
        reduced = F.avg_pool2d(photo, self.multiple)
        return F.interpolate(reduced, size=photo.shape[2:], mode="bicubic").clamp(0, 1)

    @torch.no_grad()
    def decoded(self, rgb: Tensor) -> Tensor:
        """What the autoencoder makes of rgb (B, 3, H, W) in [0, 1]."""
        return (self._decode(latents(self.vae, rgb), grayscale(rgb)) / 2 + 0.5).clamp(0, 1)

    def load_weights(self, path: str | Path) -> None:
        """Start from the autoencoder in a folder."""
        self.vae = Source(path).autoencoder(None)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the autoencoder, float16, with the factor that gives its latents a variance of 1."""
        self.vae.register_to_config(scaling_factor=round(self.variance.rsqrt().item(), 5))
        with whole_folder(Path(folder)) as partial:
            copy_for_release(self.vae).save_pretrained(partial)
