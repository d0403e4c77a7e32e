"""Skips that carry the details of grey photos into decoders of each kind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.modeling_utils import ModelMixin
from PIL import Image, ImageDraw, ImageFont

from dequant.color.luminance import grayscale
from dequant.color.spaces import rgb_to_lab
from dequant.errors import InputError
from dequant.models.autoencoder import decode, encode, new_autoencoder
from dequant.models.latent import LatentBase, bundled
from dequant.models.luma_skips import PHOTO, LumaSkips, with_decoder
from tests.support import latents


def tiny() -> AutoencoderTiny:
    sizes = {"encoder_block_out_channels": (8, 8, 8, 8), "decoder_block_out_channels": (8, 8, 8, 8)}
    return AutoencoderTiny(**sizes, num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(1, 1, 1, 1))


def folded() -> ModelMixin:
    return new_autoencoder([8, 16, 32], [0, 1, 1], [1, 1, 1], 4)


VAES = {"kl": latents.vae, "tiny": tiny, "dc": folded}


@pytest.mark.parametrize("kind", VAES)
@torch.no_grad()
def test_new_skips_change_nothing_and_trained_ones_do(kind: str) -> None:
    torch.manual_seed(0)
    vae = VAES[kind]()
    skips, gray = LumaSkips.of(vae), torch.rand(2, 1, 32, 48).expand(-1, 3, -1, -1)
    z = encode(vae, torch.rand(2, 3, 32, 48))
    assert torch.equal(skips(vae, z, gray), decode(vae, z))
    for layer in skips.layers:
        torch.nn.init.normal_(layer.weight, std=0.1)
        before = skips(vae, z, gray)
        layer.weight.mul_(2)
        assert (skips(vae, z, gray) - before).abs().max() > 1e-4
    assert torch.equal(decode(vae, z), decode(vae, z)) and not vae.decoder._forward_hooks


def test_blocks_of_stable_diffusion() -> None:
    """The taps of the document: before each halving, and after the blocks of the last three levels."""
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    widths = {"block_out_channels": (4, 8, 16, 16), "layers_per_block": 2, "norm_num_groups": 4}
    skips = LumaSkips.of(latents.AutoencoderKL(**kinds, **widths))
    assert list(skips.config["taps"]) == [f"down_blocks.{level}.resnets.1" for level in (0, 1, 2)]
    assert list(skips.config["places"]) == [f"up_blocks.{level}.resnets.2" for level in (3, 2, 1)]
    assert [(layer.in_channels, layer.out_channels) for layer in skips.layers] == [(4, 4), (8, 8), (16, 16)]


def test_what_is_added_is_of_the_size_of_what_is_there() -> None:
    """In an autoencoder whose decoder has a last block of large numbers, the first factor grows as they do."""
    vae = folded()
    before = LumaSkips.of(vae).config["factors"]
    with torch.no_grad():
        vae.decoder.up_blocks[0][-1].norm.weight.mul_(1000)
    after = LumaSkips.of(vae).config["factors"]
    assert after[0] > 50 * before[0] and list(after[1:]) == list(before[1:])


def test_an_encoder_without_blocks_at_the_whole_size_gives_the_photo() -> None:
    skips = LumaSkips.of(folded())
    assert skips.config["taps"][0] == PHOTO and [layer.in_channels for layer in skips.layers] == [3, 16, 32]


def test_gradients_reach_the_decoder_and_never_the_encoder() -> None:
    vae = latents.vae()
    skips, gray = LumaSkips.of(vae), torch.rand(1, 1, 16, 16).expand(-1, 3, -1, -1)
    skips(vae, encode(vae, gray), gray).square().mean().backward()
    assert all(weight.grad is not None for weight in skips.parameters())
    assert all(weight.grad is not None for weight in vae.decoder.parameters())
    assert all(weight.grad is None for weight in vae.encoder.parameters())


def test_other_sizes_and_other_latents_are_one_sentence() -> None:
    vae = latents.vae()
    with pytest.raises(InputError, match="are of different sizes"):
        LumaSkips.of(vae)(vae, torch.zeros(1, 4, 8, 8), torch.rand(1, 3, 16, 16))
    torch.manual_seed(1)
    other = latents.AutoencoderKL.from_config(vae.config)
    with pytest.raises(InputError, match="on the latents of another autoencoder"):
        with_decoder(vae, other)
    assert with_decoder(vae, vae) is vae


def test_a_base_is_saved_with_its_skips(tmp_path: Path) -> None:
    latents.vae().save_pretrained(tmp_path / "coder")
    base = latents.base(tmp_path / "coder")
    skips = LumaSkips.of(base.vae)
    torch.nn.init.normal_(skips.layers[0].weight, std=0.1)
    aware = LatentBase(base.vae, base.unet, base.text_encoder, base.tokenizer, skips=skips)
    aware.save_pretrained(tmp_path / "aware", torch.float32)
    base.save_pretrained(tmp_path / "base", torch.float32)
    for part in ("vae", "skips"):
        (tmp_path / "base" / "luma_aware").mkdir(exist_ok=True)
        (tmp_path / "aware" / part).rename(tmp_path / "base" / "luma_aware" / part)
    again = LatentBase.from_pretrained(tmp_path / "base", decoder="luma_aware")
    gray = torch.rand(1, 1, 16, 16).expand(-1, 3, -1, -1)
    z = aware.encode(gray)
    assert torch.equal(again.decode(z, gray), aware.decode(z, gray))
    assert not torch.equal(base.decode(z, gray), aware.decode(z, gray))
    plain = LatentBase.from_pretrained(tmp_path / "base")
    assert plain.skips is None and torch.equal(plain.decode(z, gray), base.decode(z, gray))


@torch.no_grad()
def test_what_is_written_in_a_picture_stays_legible() -> None:
    """With the bundled weights: words in small letters, decoded from latents that lost them."""
    image = Image.new("RGB", (128, 128), "#d8cfae")
    ImageDraw.Draw(image).text(
        (8, 8), "the quick brown\nfox jumps over\na lazy dog", "#35205a", ImageFont.load_default(11)
    )
    photo = torch.from_numpy(np.array(image)).movedim(-1, 0)[None] / 255
    gray, errors = grayscale(photo), []
    for decoder in (None, "luma_aware"):
        base = LatentBase.from_pretrained(bundled(), decoder=decoder)
        light = rgb_to_lab(base.decode(base.encode(photo), gray))[:, 0]
        errors.append((light - rgb_to_lab(photo)[:, 0]).abs()[:, 8:50, 8:110].mean().item())
    assert errors[1] < 0.4 * errors[0] and errors[1] < 4
