"""Released weights through `convert` and our classes, against arrays of the released code."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from hydra import compose, initialize_config_dir

from dequant.cli.main import main
from dequant.diffusion import loss as loss_module
from dequant.diffusion.loss import variational_bound
from dequant.diffusion.sampler import Sampler
from dequant.diffusion.schedule import cosine_alphas_cumprod
from dequant.errors import InputError
from dequant.models import convert, released
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.state_dict import read_state_dict
from dequant.training.dequantizer import Dequantizer
from tests.support.paths import CONF, GOLDEN

NETWORKS = GOLDEN / "network"
NETWORK = json.loads((NETWORKS / "network.json").read_text())


def arrays(name: str) -> dict[str, torch.Tensor]:
    loaded = np.load(NETWORKS / f"{name}.npz")
    return {
        key: torch.from_numpy(loaded[key].astype(np.float32) if loaded[key].dtype == np.float16 else loaded[key])
        for key in loaded.files
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("released") / "T.pt"
    path.write_bytes(lzma.decompress((NETWORKS / "checkpoint.pt.xz").read_bytes()))
    (path.parent / "config.yml").write_text(yaml.safe_dump({"params": NETWORK["params"]}))
    np.savez(path.parent / "empty_prompt.npz", arr=arrays("forward")["text_emb"].numpy())
    return path


@pytest.fixture(scope="module")
def folder(checkpoint: Path) -> Path:
    given = [str(checkpoint), "--base", str(checkpoint.parent), "-o", str(checkpoint.parent / "ours")]
    main(["convert", "authors", *given, "--text-embedding", str(checkpoint.parent / "empty_prompt.npz")])
    return checkpoint.parent / "ours"


@pytest.fixture
def network(folder: Path) -> tuple[DiffusionBase, ControlEncoder]:
    return DiffusionBase.from_pretrained(folder / "base"), ControlEncoder.from_pretrained(folder / "control")


def of_color(color: torch.Tensor) -> torch.Tensor:
    """A condition whose colours are a coarse image on [-1, 1], the rest being 0."""
    return torch.nn.functional.pad((color.double() + 1) / 2, (0, 0, 0, 0, 0, 4))


@pytest.mark.parametrize("case", ["small", "sq", "rect"])
def test_outputs_and_residuals(
    case: str, network: tuple[DiffusionBase, ControlEncoder], draws: list[torch.Tensor]
) -> None:
    model, control = network
    golden = arrays("forward")
    x, color, hint, noise, t = (golden[f"{case}/{key}"] for key in ("x", "low_res", "hint", "aug_noise", "t"))
    draws += [noise, noise]
    condition = of_color(color)
    with torch.no_grad():
        residuals = control((hint.double() + 1) / 2, t.long(), x, *model.context(len(x)))
        controlled = model.denoise(x, t.long(), condition, residuals)[0]
        alone = model.denoise(x, t.long(), condition)[0]
    torch.testing.assert_close(controlled, golden[f"{case}/out_control"], atol=5e-5, rtol=0)
    torch.testing.assert_close(alone, golden[f"{case}/out_nocontrol"], atol=5e-5, rtol=0)
    expected = [golden[key] for key in sorted(golden) if key.startswith(f"{case}/control_")]
    for ours, theirs in zip((*residuals[0], residuals[1]), expected, strict=case == "small"):
        torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=0)


def test_other_augmentation_level(folder: Path, network: tuple, draws: list[torch.Tensor]) -> None:
    control, golden = network[1], arrays("forward")
    model = DiffusionBase.from_pretrained(folder / "base", augmentation=0.25)
    draws.append(golden["small/aug_noise_level0.25"])
    x, t = golden["small/x"], golden["small/t"].long()
    with torch.no_grad():
        residuals = control((golden["small/hint"].double() + 1) / 2, t, x, *model.context(2))
        out = model.denoise(x, t, of_color(golden["small/low_res"]), residuals)[0]
    torch.testing.assert_close(out, golden["small/out_control_aug0.25"], atol=5e-5, rtol=0)


def test_schedule(network: tuple[DiffusionBase, ControlEncoder]) -> None:
    expected = arrays("schedule")["full_alphas_cumprod"]
    torch.testing.assert_close(cosine_alphas_cumprod(1000), expected, rtol=1e-14, atol=0)
    assert torch.equal(network[0].scheduler.alphas_cumprod, cosine_alphas_cumprod(1000))


@pytest.mark.parametrize("controlled", [True, False])
def test_super27_from_the_same_noise(
    controlled: bool,
    network: tuple[DiffusionBase, ControlEncoder],
    super27: Sampler,
    draws: list[torch.Tensor],
    monkeypatch,
) -> None:
    golden = arrays("sample")
    model = Dequantizer(network[0], (lambda *_: network[1]) if controlled else None, super27)
    draws += [noise for pair in zip(golden["noise_aug"], golden["noise_step"], strict=True) for noise in pair]
    monkeypatch.setattr(torch, "randn", lambda *args, **kwargs: golden["noise_init"][0])
    out = model.draw(golden["conditioning"])
    expected = golden["final" if controlled else "final_nocontrol"]
    torch.testing.assert_close(2 * out - 1, expected, atol=3e-3, rtol=0)
    assert len(draws) == 1  # the released code draws after its last step as well


def test_loss_and_gradients(
    network: tuple[DiffusionBase, ControlEncoder], super27: Sampler, draws: list[torch.Tensor]
) -> None:
    golden, (model, control) = arrays("train"), network
    module = Dequantizer(model, lambda *_: control, super27)
    x, t, noise = 2 * golden["target"] - 1, golden["t"], golden["noise"]
    draws.append(golden["aug_noise"])
    output, deviation = module.controlled.denoise(model.add_noise(x, noise, t), t, golden["conditioning"])
    bound = variational_bound(output, x, noise, model.scheduler, t)
    torch.testing.assert_close(bound.detach(), golden["vb"], rtol=2e-3, atol=0)
    loss = loss_module.loss(output, x, noise, model.scheduler, deviation, t)
    torch.testing.assert_close(loss.detach(), golden["loss"].mean(), rtol=2e-3, atol=0)
    loss.backward()
    gradients = {name: p.grad for name, p in control.named_parameters() if p.requires_grad}
    norms = {name: grad.norm().item() for name, grad in released.to_theirs(gradients, model.unet.config).items()}
    known = {name: norm for name, norm in NETWORK["gradient_norms"].items() if norm > 1e-6}
    assert {name: norms[name] for name in known} == pytest.approx(known, rel=5e-3)


def test_solvers_without_a_learned_variance_ignore_it(network: tuple[DiffusionBase, ControlEncoder]) -> None:
    sampler = Sampler(num_inference_steps=2)
    model = Dequantizer(network[0], lambda *_: network[1], sampler)
    assert model.draw(torch.rand(1, 7, 20, 16), torch.Generator().manual_seed(0)).shape == (1, 3, 20, 16)


def test_round_trip_is_bit_identical(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    main(["convert", "to-authors", str(folder), "-o", str(tmp_path / "back.pt")])
    before, after = (torch.load(path, weights_only=True) for path in (checkpoint, tmp_path / "back.pt"))
    assert before.keys() == after.keys()
    assert before["model_state_dict"].keys() == after["model_state_dict"].keys()
    for name, value in before["model_state_dict"].items():
        assert torch.equal(value, after["model_state_dict"][name]), name


def test_precision_of_the_file_is_kept() -> None:
    unet_config = released.unet_config(NETWORK["params"])
    with lzma.open(NETWORKS / "checkpoint.pt.xz") as file:
        state = torch.load(file, weights_only=True)["model_state_dict"]
    half = {name: value.bfloat16() for name, value in state.items()}
    model, control = convert.from_released(half, unet_config, "T")
    back = convert.to_released(model.unet.state_dict(), model.unet.config, control.state_dict())
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in half.items())


def test_precision_of_each_tensor_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    """IF's own files are in half precision but for a few tensors."""
    state = read_state_dict(checkpoint)[0]
    mixed = {name: value if "positional" in name else value.half() for name, value in state.items()}
    torch.save({"model_state_dict": mixed}, tmp_path / "T.pt")
    main(["convert", "authors", f"{tmp_path}/T.pt", "--base", str(checkpoint.parent), "-o", f"{tmp_path}/ours"])
    main(["convert", "to-authors", f"{tmp_path}/ours", "-o", f"{tmp_path}/back.pt"])
    back = read_state_dict(tmp_path / "back.pt")[0]
    assert back.keys() == mixed.keys()
    for name, value in mixed.items():
        assert back[name].dtype == value.dtype, name
        assert torch.equal(back[name], value), name


def test_base_in_its_own_layout(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    """IF's pytorch_model.bin beside its config.yml: the base alone, which an encoder of the checkpoint fits."""
    state = torch.load(checkpoint, weights_only=True)["model_state_dict"]
    torch.save({k: v for k, v in state.items() if not k.startswith("control_model.")}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.yml").write_text(yaml.safe_dump({"params": NETWORK["params"]}))
    main(["convert", "authors", f"{tmp_path}/pytorch_model.bin", "--base", str(tmp_path), "-o", f"{tmp_path}/out"])
    assert not (tmp_path / "out" / "control").exists()
    file = str(checkpoint.parent / "empty_prompt.npz")
    model = DiffusionBase.from_pretrained(tmp_path / "out" / "base", text_embedding=file)
    encoder = ControlEncoder.from_pretrained(folder / "control")
    assert model.fingerprint == encoder.config["base"]
    assert encoder.config["variant"] == "T"
    with pytest.raises(InputError, match="no text encoder"):
        DiffusionBase.from_pretrained(tmp_path / "out" / "base")


def change(**params: object) -> dict[str, object]:
    return released.unet_config(NETWORK["params"] | params)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (change(channel_mult="1,1,2,2,2"), r"input_blocks\.5\.0\.in_layers\.2\.weight is 32x32x3x3, but 64x32x3x3"),
        (change(num_res_blocks=[1, 1, 1, 2, 2]), "have no input_blocks"),
        (change(num_res_blocks=[1, 1, 1, 1, 1]), r"time_embed|input_blocks|output_blocks"),
        (change(encoder_dim=32), r"encoder_proj\.weight is 96x64, but 96x32"),
    ],
)
def test_misfit_names_the_first_mismatch(checkpoint: Path, config: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        convert.from_released(read_state_dict(checkpoint)[0], config)


def test_leftover_name_is_refused(checkpoint: Path) -> None:
    state = read_state_dict(checkpoint)[0] | {"control_model.output_blocks.0.0.bias": torch.zeros(3)}
    with pytest.raises(InputError, match=r"have control_model\.output_blocks\.0\.0\.bias"):
        convert.from_released(state, change())


def test_bad_files_are_one_sentence(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "T.pt").write_bytes(b"no tensors")
    (tmp_path / "config.yml").write_text("params: {image_size: 256, resblock_updown: true}")
    control = ControlEncoder.from_pretrained(folder / "control")
    control.register_to_config(raw_condition=False)
    DiffusionBase.from_pretrained(folder / "base").save_pretrained(tmp_path / "trained" / "base")
    control.save_pretrained(tmp_path / "trained" / "control")
    (tmp_path / "cut" / "base" / "unet").mkdir(parents=True)
    (tmp_path / "cut" / "base" / "unet" / "config.json").write_text('{"in_channels": 6}')
    for arguments, sentence in (
        (["authors", f"{tmp_path}/T.pt", "--base", f"{folder}/base"], "no checkpoint of tensors"),
        (["authors", f"{tmp_path}/missing.pt", "--base", f"{folder}/base"], "missing.pt"),
        (["authors", f"{tmp_path}/T.pt", "--base", f"{tmp_path}"], "does not say 'channel_mult'"),
        (["authors", f"{tmp_path}/T.pt", "--base", "./no/such/base"], "no folder"),
        (["to-authors", str(tmp_path)], "base/unet"),
        (["to-authors", f"{tmp_path}/trained"], "not of the released layout"),
        (["to-authors", f"{tmp_path}/cut"], "base/unet has no *.safetensors file"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["convert", *arguments, "-o", str(tmp_path / "out")])
        (error,) = capsys.readouterr().err.splitlines()
        assert exit_.value.code == 2 and error.startswith("error: ") and sentence in error


def test_named_bases_are_those_of_the_configurations() -> None:
    for name, path in convert.BASES.items():
        with initialize_config_dir(str(CONF), version_base="1.3"):
            assert compose("train", [f"base={name}"]).base.path == path


def test_configuration_of_a_converted_base(folder: Path) -> None:
    config = convert.unet_config(str(folder / "base" / "unet" / "config.json"))
    assert config == dict(UNet2DConditionModel.load_config(folder / "base" / "unet"))
    assert isinstance(config["norm_eps"], float)
