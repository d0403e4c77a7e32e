"""Saved folders that are damaged or say impossible things: the right pipeline, or one sentence."""

import json
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file, save_file

import dequant
from dequant.color.palette import quantize
from dequant.diffusion.fidelity import Fidelity
from dequant.errors import InputError
from dequant.models.base import DiffusionBase, new_unet
from dequant.models.control import ControlEncoder
from dequant.models.prompt import read_embedding
from dequant.pipelines.dequant import DequantPipeline
from tests.support.pipelines import dequantizer

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    unet = new_unet(patch_size=2, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4)
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample")
    folder = tmp_path_factory.mktemp("whole") / "saved"
    dequantizer(DiffusionBase(unet, scheduler, patch_size=2)).to_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def saved(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "saved"))


def refused(folder: Any) -> str:
    """The one sentence with which a folder is refused, without much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as error:
        DequantPipeline.from_pretrained(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    assert "\n" not in str(error.value)
    return str(error.value)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("file", ["model_index.json", "control/config.json", "unet/config.json"])
@pytest.mark.parametrize(
    "content",
    ["{}", "[]", "3", "null", "", "{", "\0", '"a"', "[" * 100_000, "<html>", '{"_class_name": "X"}', "\udcff"],
)
def test_damaged_configurations(saved: Path, file: str, content: str) -> None:
    (saved / file).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert Path(file).name in refused(saved)


BILLION = 10**9


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        *(
            ("unet", "block_out_channels", value)
            for value in (
                [BILLION, BILLION],
                [-8, 16],
                ["8", "16"],
                8,
                [8],
                None,
                [8.5, 16],
                [8] * BILLION.bit_length() * 9,
            )
        ),
        *(("unet", "layers_per_block", value) for value in (BILLION, -1, "1", 1e9, [1, BILLION], [1])),
        *(("unet", "in_channels", value) for value in (BILLION, 0, -1, "28", None, 7)),
        *(("unet", "norm_num_groups", value) for value in (0, 3, "4", BILLION)),
        ("unet", "down_block_types", ["NoBlock", "DownBlock2D"]),
        ("unet", "time_embedding_dim", BILLION),
        *(("control", "stem_widths", value) for value in ([BILLION], "8", [[8]], [-3])),
        *(("control", "unet_config", value) for value in ({}, None, [], "x", {"block_out_channels": [BILLION]})),
        *(("control", "condition_channels", value) for value in (BILLION, 0, "7")),
        *(("control", "patch_size", value) for value in (1, 0, "2", BILLION)),
        ("control", "downscale", 8),
        ("control", "variant", "X"),
        ("control", "variant", ["T"]),
        *(("scheduler", "num_train_timesteps", value) for value in (BILLION, 10**30, "1000", -1, 0, None, 10.5)),
        ("scheduler", "prediction_type", "flow"),
        ("scheduler", "prediction_type", "epsilon"),
        ("scheduler", "beta_schedule", "x"),
    ],
)
def test_impossible_values(saved: Path, file: str, key: str, value: Any) -> None:
    name = "scheduler_config.json" if file == "scheduler" else "config.json"
    rewrite(saved / file / name, lambda config: config.update({key: value}))
    refused(saved)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("unet", value) for value in (None, ["os", "system"], ["diffusers", "UNet2DModel"], 3, ["diffusers"], [])),
        *(("scheduler", value) for value in (None, ["os", "system"], ["diffusers", "UNet2DModel"], [3, 4])),
        ("scheduler", ["diffusers", "FlowMatchEulerDiscreteScheduler"]),
        *(("control", value) for value in (None, ["dequant.models.control", "TextEmbedding"], "ControlEncoder")),
        ("vae", ["diffusers", "AutoencoderKL"]),
        *(("patch_size", value) for value in (1, "2", -1, 0, 2.5, BILLION)),
        *(("augmentation", value) for value in ("x", -1, 2, float("nan"), True)),
        *(("num_inference_steps", value) for value in ("3", 0, 2.5, True)),
        *(("timesteps", value) for value in ("abc", 3, [1.5])),
        *(("keep_texture", value) for value in ("x", 3, ["off"])),
    ],
)
def test_impossible_indices(saved: Path, key: str, value: Any) -> None:
    rewrite(saved / "model_index.json", lambda index: index.update({key: value}))
    refused(saved)


def test_unknown_keys_are_harmless(saved: Path) -> None:
    for file in ("model_index.json", "control/config.json", "unet/config.json", "scheduler/scheduler_config.json"):
        rewrite(saved / file, lambda config: config.update({"_made_by": "x", "another": 3}))
    assert DequantPipeline.from_pretrained(saved).config["patch_size"] == 2


@pytest.mark.parametrize("part", ["unet", "control"])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state, name: state.pop(name), "lack {name}"),
        (lambda state, name: state.clear(), "asks for"),
        (lambda state, name: state.update({name: torch.zeros(3)}), "{name} expected shape"),
        (lambda state, name: state[name].fill_(float("nan")), "not finite: {name}"),
        (lambda state, name: state[name].view(-1)[:1].fill_(float("inf")), "not finite: {name}"),
    ],
)
def test_weights_that_do_not_fit(saved: Path, part: str, change: Callable, sentence: str) -> None:
    state, name = load_file(saved / part / WEIGHTS), "conv_in.weight"
    change(state, name)
    save_file(state, saved / part / WEIGHTS, metadata={"format": "pt"})
    assert sentence.format(name=name) in refused(saved)
    if part == "control":
        with pytest.raises(InputError):
            ControlEncoder.read(saved / part)


def test_a_base_of_weights_that_are_not_finite(saved: Path, tmp_path: Path) -> None:
    pipe = DequantPipeline.from_pretrained(saved)
    base = DiffusionBase(pipe.unet, pipe.scheduler, 2)
    base.save_pretrained(tmp_path / "base")
    weights = tmp_path / "base" / "unet" / WEIGHTS
    state = load_file(weights) | {"conv_in.weight": torch.full_like(base.unet.conv_in.weight, float("nan"))}
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"base/unet are not finite: conv_in\.weight"):
        DiffusionBase.from_pretrained(tmp_path / "base")
    save_file({"x": torch.tensor([float("nan")])}, tmp_path / "text.safetensors")
    with pytest.raises(InputError, match="not finite"):
        read_embedding(tmp_path / "text.safetensors")
    for content in ("[]", "{", '{"patch": 2}', '{"patch_size": "2"}', '{"augmentation": 7}'):
        (tmp_path / "base" / "base.json").write_text(content)
        with pytest.raises(InputError):
            DiffusionBase.from_pretrained(tmp_path / "base")


def test_what_is_no_saved_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for source in (tmp_path / "empty", tmp_path / "file", tmp_path / "no", "a\0b", "x" * 5000, "", "x", 3, None, []):
        refused(source)
        for base in (source, None):
            with pytest.raises(InputError):
                dequant.load(source, base=base)
        with pytest.raises(InputError):
            DiffusionBase.from_pretrained(source)


@pytest.mark.parametrize("given", [("t",), ("G", "nope"), (None,), (3,), ("",), ("T/../small_T", "small"), (["T"],)])
def test_bundled_weights_that_there_are_not(given: tuple) -> None:
    with pytest.raises(InputError, match="are bundled: expected weights edit or small and variant L, G, T"):
        DequantPipeline.bundled(*given)


@pytest.mark.parametrize(
    "call",
    [
        lambda: quantize("x", 4),
        lambda: quantize(None, 4),
        lambda: quantize(torch.rand(3, 4, 4).numpy(), 4),
        lambda: quantize(torch.rand(3, 4, 4), True),
        lambda: quantize(torch.rand(3, 4, 4), 4, ["kmeans"]),
        lambda: Fidelity(share="x"),
        lambda: Fidelity(scale=None),
        lambda: Fidelity(reach=1.5),
        lambda: Fidelity(power=float("nan")),
        lambda: Fidelity(texture=["off"]),
    ],
)
def test_wrong_types_are_input_errors(call: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        call()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes replaced, cut, doubled or inserted, more often near the start."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = min(int(len(data) * rng.random() ** 3), max(len(data) - 1, 0))
        match rng.randrange(6):
            case 0 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at] = rng.choice(b'{}[]",:0129-eE.\x00\xff')
            case 2:
                del data[at:]
            case 3:
                del data[at : at + rng.randint(1, 9)]
            case 4:
                data[at:at] = rng.choice([b"9" * 12, b"null", b"[[", b'"', b"-", b"1e99", b"NaN", b"true"])
            case _:
                data[at:at] = data[at : at + rng.randint(1, 40)]
    return bytes(data)


FUZZED = [f"control/{WEIGHTS}", "control/config.json", "unet/config.json", "model_index.json"]
FUZZED += [f"unet/{WEIGHTS}", "scheduler/scheduler_config.json"]


@pytest.mark.parametrize("file", FUZZED)
def test_mutations_load_or_are_one_sentence(saved: Path, file: str, rounds: int = 12, seed: int = 0) -> None:
    rng, content = random.Random(f"{file} {seed}"), (saved / file).read_bytes()
    for _ in range(rounds):
        (saved / file).write_bytes(mutated(content, rng))
        try:
            assert isinstance(DequantPipeline.from_pretrained(saved), DequantPipeline)
        except InputError as error:
            assert "\n" not in str(error)
