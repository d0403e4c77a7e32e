"""DiffusionBase, ControlEncoder and Dequantizer together."""

from functools import partial
from pathlib import Path

import pytest
import torch

from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.models.base import DiffusionBase, new_unet
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled
from dequant.training.dequantizer import Dequantizer

ONE_STEP = Sampler()


def dequantizer(base: DiffusionBase, variant: str = "T", prior: bool = False) -> Dequantizer:
    return Dequantizer(
        base,
        None if prior else ControlEncoder.from_base,
        ONE_STEP,
        optimizer=partial(torch.optim.AdamW, lr=1e-3),
        variant=variant,
    )


def test_untrained_control_changes_nothing(tiny_base: DiffusionBase, condition: torch.Tensor) -> None:
    model = dequantizer(tiny_base)
    x_t, t = torch.randn(2, 3, 32, 32), torch.tensor([999, 10])
    with_control = model.controlled.denoise(x_t, t, condition)[0]
    alone = tiny_base.denoise(x_t, t, condition)[0]
    torch.testing.assert_close(with_control, alone, atol=0, rtol=0)


def test_new_base_starts_at_the_posterior_mean(condition: torch.Tensor, tiny_base: DiffusionBase) -> None:
    torch.nn.init.zeros_(tiny_base.unet.conv_out.weight)
    x_t, t = torch.randn(2, 3, 32, 32), torch.tensor([999, 999])
    color = 2 * condition[:, :3] - 1
    out = tiny_base.denoise(x_t, t, condition)[0]
    torch.testing.assert_close(out, color, atol=1e-3, rtol=0)


def test_one_step_moves_every_trained_tensor_and_no_frozen_one(
    tiny_base: DiffusionBase, condition: torch.Tensor
) -> None:
    model = dequantizer(tiny_base)
    # the zero convolutions move first, then everything behind them
    before_base = {k: v.clone() for k, v in model.base.state_dict().items()}
    before = {k: v.clone() for k, v in model.control.state_dict().items()}
    optimizer = model.configure_optimizers()
    model.log = lambda *args, **kwargs: None
    batch = {"condition": condition, "target": torch.rand(2, 3, 32, 32), "seed": [0, 1]}
    for _ in range(2):
        optimizer.zero_grad()
        model.training_step(batch, 0).backward()
        optimizer.step()
    assert all(p.grad is None for p in model.base.parameters())
    for name, value in model.base.state_dict().items():
        assert torch.equal(value, before_base[name]), name
    for name, value in model.control.state_dict().items():
        assert not torch.equal(value, before[name]), name


def test_prior_trains_the_base(tiny_base: DiffusionBase, condition: torch.Tensor) -> None:
    model = dequantizer(tiny_base, prior=True)
    model.log = lambda *args, **kwargs: None
    model.training_step({"condition": condition, "target": torch.rand(2, 3, 32, 32), "seed": [0, 1]}, 0).backward()
    assert all(p.grad is not None for p in model.base.unet.parameters())


@pytest.mark.parametrize("size", [(32, 32), (17, 45), (1, 9)])
def test_any_size(tiny_base: DiffusionBase, size: tuple[int, int]) -> None:
    condition = torch.rand(1, 7, *size)
    condition[:, 5] = 0.25
    out = dequantizer(tiny_base).draw(condition, torch.Generator().manual_seed(0))
    assert out.shape == (1, 3, *size)
    assert out.min() >= 0
    assert out.max() <= 1


def test_sample_depends_on_its_generator_only(tiny_base: DiffusionBase, condition: torch.Tensor) -> None:
    model = dequantizer(tiny_base)
    first = model.draw(condition, [torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)])
    alone = model.draw(condition[1:], [torch.Generator().manual_seed(2)])
    torch.testing.assert_close(first[1:], alone, atol=1e-5, rtol=0)


def test_texture_gain_leaves_missing_texture_at_zero(tiny_base: DiffusionBase, condition: torch.Tensor) -> None:
    control = ControlEncoder.from_base(tiny_base, "G", texture_gain=8.0)
    normalized = control._normalize(condition)
    assert normalized[1, 3:5].abs().max() == 0
    torch.testing.assert_close(normalized[0, 3:5], 8 * (2 * condition[0, 3:5] - 1))


def test_save_and_load_are_inverse(tiny_base: DiffusionBase, condition: torch.Tensor, tmp_path: Path) -> None:
    tiny_base.save_pretrained(tmp_path / "base")
    base = DiffusionBase.from_pretrained(tmp_path / "base")
    assert base.fingerprint == tiny_base.fingerprint
    model = dequantizer(base)
    torch.nn.init.normal_(model.control.zero_conv_mid.weight)
    model.save_pretrained(tmp_path / "control")
    again = dequantizer(DiffusionBase.from_pretrained(tmp_path / "base"))
    again.load_weights(tmp_path / "control")
    for name, value in again.control.state_dict().items():
        assert torch.equal(value, model.control.state_dict()[name].half().float()), name


def test_saved_bases_do_not_tell_where_they_lay(tiny_base: DiffusionBase, tmp_path: Path) -> None:
    tiny_base.save_pretrained(tmp_path / "base")
    DiffusionBase.from_pretrained(tmp_path / "base").save_pretrained(tmp_path / "again")
    for config in (tmp_path / "again").rglob("*.json"):
        assert str(tmp_path) not in config.read_text(), config.name


def test_weights_of_another_variant_or_base_are_refused(tiny_base: DiffusionBase, tmp_path: Path) -> None:
    model = dequantizer(tiny_base, variant="L")
    model.save_pretrained(tmp_path / "L")
    with pytest.raises(InputError, match="variant 'L'.*variant 'T'"):
        dequantizer(tiny_base, variant="T").load_weights(tmp_path / "L")
    torch.nn.init.normal_(tiny_base.unet.conv_in.weight)
    with pytest.raises(InputError, match="base"):
        dequantizer(tiny_base, variant="L").load_weights(tmp_path / "L")


def test_training_may_start_from_an_encoder_of_another_base(tiny_base: DiffusionBase, tmp_path: Path) -> None:
    first = dequantizer(tiny_base)
    first.save_pretrained(tmp_path / "first")
    torch.nn.init.normal_(tiny_base.unet.conv_in.weight)
    model = dequantizer(tiny_base)
    model.load_weights(tmp_path / "first", rebase=True)
    assert model.identity["base"] == model.control.config["base"] == tiny_base.fingerprint
    for name, value in model.control.state_dict().items():
        assert torch.equal(value, first.control.state_dict()[name].half().float()), name
    wider = new_unet(patch_size=2, block_out_channels=[8, 24], layers_per_block=1, norm_num_groups=4)
    with pytest.raises(InputError, match="another layout"):
        dequantizer(DiffusionBase(wider, tiny_base.scheduler, patch_size=2)).load_weights(tmp_path / "first", True)


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_bad_checkpoint_is_one_sentence(tiny_base: DiffusionBase, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.ckpt"):
        dequantizer(tiny_base).load_weights(path)


def test_missing_base_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"base\.json"):
        DiffusionBase.from_pretrained(tmp_path)


def test_timesteps_lean_to_noise_by_the_bias(
    tiny_base: DiffusionBase, condition: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = dequantizer(tiny_base)
    model.timestep_bias = 2.0
    model.log = lambda *args, **kwargs: None
    drawn: list[torch.Tensor] = []
    monkeypatch.setattr(tiny_base, "add_noise", lambda x, noise, t: drawn.append(t) or x)
    monkeypatch.setattr(Controlled, "denoise", lambda self, x, *_: (x.requires_grad_(), None))
    batch = {"condition": condition[:1, :, :1, :1].expand(2000, -1, 1, 1), "target": torch.rand(2000, 3, 1, 1)}
    batch["seed"] = list(range(2000))
    model.training_step(batch, 0)
    assert drawn[0].min() >= 0 and drawn[0].max() <= 999
    assert (drawn[0] >= 500).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_texture_loss_is_added_where_texture_is_given(tiny_base: DiffusionBase, condition: torch.Tensor) -> None:
    model = dequantizer(tiny_base)
    model.log = lambda *args, **kwargs: None
    batch = {"condition": condition.clone(), "target": torch.rand(2, 3, 32, 32), "seed": [0, 1]}
    values = {}
    for given in (0.0, 1.0):
        batch["condition"][:, 6] = given
        for weight in (0.0, 0.5):
            model.texture_weight = weight
            values[given, weight] = model.training_step(batch, 0).item()
    assert values[0.0, 0.0] == values[0.0, 0.5]
    assert values[1.0, 0.5] > values[1.0, 0.0] + 0.01


def test_texture_loss_needs_an_estimate_of_pixels(tiny_base: DiffusionBase) -> None:
    tiny_base.scheduler.register_to_config(prediction_type="epsilon")
    with pytest.raises(InputError, match="texture_weight"):
        Dequantizer(tiny_base, ControlEncoder.from_base, ONE_STEP, texture_weight=0.5)


def test_released_weights_do_not_say_where_their_start_lay(tiny_base: DiffusionBase, tmp_path: Path) -> None:
    dequantizer(tiny_base).save_pretrained(tmp_path / "first")
    model = dequantizer(tiny_base)
    model.load_weights(tmp_path / "first")
    model.save_pretrained(tmp_path / "second")
    assert str(tmp_path) not in (tmp_path / "second" / "config.json").read_text()
