"""Into the latents of an autoencoder and back."""

import pytest
import torch

from dequant.models.autoencoder import decode, downscale, encode, new_autoencoder
from tests.support import latents


def test_sizes_and_scaling() -> None:
    coder, rgb = latents.vae(), latents.batch()["target"]
    z = encode(coder, rgb)
    assert downscale(coder) == 4 and z.shape == (2, 4, 8, 8) and not z.requires_grad
    assert decode(coder, z).shape == rgb.shape
    coder.register_to_config(scaling_factor=0.5)
    torch.testing.assert_close(encode(coder, rgb), z / 2)
    torch.testing.assert_close(decode(coder, z / 2), coder.decode(z).sample)


def test_the_likeliest_latents_are_taken() -> None:
    coder, rgb = latents.vae(), latents.batch()["target"]
    assert torch.equal(encode(coder, rgb), encode(coder, rgb))
    torch.testing.assert_close(encode(coder, rgb), coder.encode(2 * rgb - 1).latent_dist.mean)


def test_gradients_go_through_decoding() -> None:
    z = torch.randn(1, 4, 2, 2, requires_grad=True)
    decode(latents.vae(), z).sum().backward()
    assert z.grad is not None and z.grad.abs().sum() > 0


@pytest.mark.parametrize(("widths", "factor"), [([8, 16], 2), ([8, 16, 16], 4)])
def test_each_width_but_the_last_halves_the_sides(widths: list[int], factor: int) -> None:
    coder = new_autoencoder(widths, [1] * len(widths), [1] * len(widths), 4)
    z = encode(coder, torch.rand(1, 3, 16, 24))
    assert downscale(coder) == factor and z.shape == (1, 4, 16 // factor, 24 // factor)
    assert decode(coder, z).shape == (1, 3, 16, 24)
