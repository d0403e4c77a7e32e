"""Saved pipelines of any base: here, in plain diffusers, on the hub, and from earlier versions."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_loading_utils import _get_custom_components_and_folders
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.utils import hub_utils
from huggingface_hub import RepoUrl

from dequant.color.palette import quantize
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.prompt import TextEmbedding
from dequant.pipelines import saving
from dequant.pipelines.dequant import DequantPipeline
from dequant.pipelines.modular import add_block
from dequant.training.dequantizer import Dequantizer
from tests.support.hub import COMMIT, cached, listing, serve
from tests.support.paths import ROOT
from tests.support.pipelines import dequantizer, draw, seeded

MODULES = {
    "pipeline.py": "from dequant.pipelines.dequant import DequantPipeline\n",
    "control/dequant_control.py": "from dequant.models.control import ControlEncoder\n",
    "text_embedding/dequant_text_embedding.py": "from dequant.models.prompt import TextEmbedding\n",
}
"""All code in a saved folder."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_save_and_load_give_identical_images(
    pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path, dtype: torch.dtype
) -> None:
    pipe.to(dtype).save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path, dtype=dtype)
    assert again.dtype == dtype
    assert isinstance(again.scheduler, DDIMScheduler)
    assert torch.equal(draw(again, photo), draw(pipe, photo))
    full = DequantPipeline.from_pretrained(tmp_path)
    assert full.dtype == torch.float32
    torch.testing.assert_close(draw(full, photo), draw(pipe, photo), atol=0.1, rtol=0)


def test_push_to_hub(
    pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is uploaded is what `from_pretrained` reads."""

    def upload(folder_path: str, repo_id: str, **options: Any) -> str:
        return str(shutil.copytree(folder_path, tmp_path / repo_id))

    monkeypatch.setattr(hub_utils, "create_repo", lambda repo_id, **options: RepoUrl(f"https://hf.co/{repo_id}"))
    monkeypatch.setattr(hub_utils, "upload_folder", upload)
    uploaded = pipe.push_to_hub("owner/name")
    assert uploaded == str(tmp_path / "owner" / "name")
    assert (tmp_path / "owner" / "name" / "README.md").is_file()
    assert torch.equal(draw(DequantPipeline.from_pretrained(uploaded), photo), draw(pipe, photo))


def test_timesteps_survive_save_and_load(tiny_base: DiffusionBase, photo: torch.Tensor, tmp_path: Path) -> None:
    exported = dequantizer(tiny_base, solver=DDPMScheduler, timesteps=[999, 400, 0]).to_pipeline()
    exported.save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path)
    assert torch.equal(draw(again, photo), draw(exported, photo))
    assert again.config["timesteps"] == [999, 400, 0]


@pytest.fixture
def coarse_base() -> DiffusionBase:
    """In the shape of DeepFloyd IF stage II: a coarse image at an augmentation level, and a learned variance."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        in_channels=6,
        out_channels=6,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
        class_embed_type="timestep",
        resnet_time_scale_shift="scale_shift",
    )
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range")
    return DiffusionBase(unet, scheduler, text_embedding=torch.randn(1, 77, 12), augmentation=0.1)


@pytest.mark.parametrize("kind", ["latent_base", "coarse_base"])
@pytest.mark.parametrize("solver", [DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler])
def test_other_bases(
    kind: str, solver: type, photo: torch.Tensor, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(kind)
    stem = {"stem_widths": [8, 16]} if base.downscale > 1 else {}
    make = partial(ControlEncoder.from_base, **stem)
    model = Dequantizer(base, make, Sampler(solver, {}, num_inference_steps=3))
    given = for_palette(quantize(photo, 8).rgb, 8, TEXTURES["T"].map(photo))
    expected = model.draw(given[None], [seeded()])
    exported = model.to_pipeline()
    torch.testing.assert_close(draw(exported, photo, n_colors=8, generator=[seeded()]), expected, atol=0, rtol=0)
    exported.save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path)
    torch.testing.assert_close(draw(again, photo, n_colors=8, generator=[seeded()]), expected, atol=0, rtol=0)
    assert again.config["augmentation"] == base.augmentation
    assert draw(again.to(torch.bfloat16), photo, n_colors=8).isfinite().all()
    half = DequantPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.text_embedding.dtype == torch.bfloat16
    half.enable_model_cpu_offload(device="cpu")
    assert draw(half, [photo, photo[:, :9]], n_colors=8)[0].shape == photo.shape


# Elsewhere


@pytest.fixture
def full(pipe: DequantPipeline) -> DequantPipeline:
    """With every component that is this package's own; its base does not attend to the prompt."""
    text = TextEmbedding.of(torch.rand(1, 3, 8, generator=torch.Generator().manual_seed(2)))
    return DequantPipeline(**pipe.components | {"text_embedding": text}, **pipe.parameters)


@pytest.fixture
def saved(full: DequantPipeline, tmp_path: Path) -> Path:
    full.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def assert_same(found: Any, pipe: DequantPipeline, photo: torch.Tensor) -> None:
    assert type(found) is DequantPipeline
    for name in ("unet", "control", "text_embedding"):
        component, expected = getattr(found, name), getattr(pipe, name)
        assert type(component) is type(expected)
        torch.testing.assert_close(component.state_dict(), expected.state_dict(), atol=0, rtol=0)
    assert torch.equal(draw(found, photo), draw(pipe, photo))


def rewrite_index(folder: Path, **changes: Any) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_code_is_one_line_each(saved: Path) -> None:
    assert {str(path.relative_to(saved)): path.read_text() for path in saved.rglob("*.py")} == MODULES


def test_diffusers_finds_all_components_among_the_files(saved: Path) -> None:
    index = json.loads((saved / "model_index.json").read_text())
    files = [file["path"] for file in listing(saved)]
    custom, folders = _get_custom_components_and_folders("owner/name", index, files)
    assert custom == {"control": "dequant_control", "text_embedding": "dequant_text_embedding"}
    assert {"unet", "scheduler", "control", "text_embedding"} <= set(folders)
    assert index["_class_name"] == ["pipeline", "DequantPipeline"]
    assert f"{index['_class_name'][0]}.py" in files


@pytest.mark.parametrize("custom_pipeline", [None, ".", "pipeline.py"])
def test_plain_diffusers(
    full: DequantPipeline, photo: torch.Tensor, saved: Path, dynamic_modules: Path, custom_pipeline: str | None
) -> None:
    options = {"custom_pipeline": str(saved / custom_pipeline)} if custom_pipeline else {}
    again = DiffusionPipeline.from_pretrained(saved, trust_remote_code=True, **options)
    assert_same(again, full, photo)
    ran = [path.read_text() for path in dynamic_modules.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(ran) == sorted(MODULES.values())
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(saved, **options)


def test_saved_again(full: DequantPipeline, photo: torch.Tensor, saved: Path, tmp_path: Path) -> None:
    DequantPipeline.from_pretrained(saved).save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "model_index.json").read_text() == (saved / "model_index.json").read_text()
    assert_same(DequantPipeline.from_pretrained(tmp_path / "again"), full, photo)


def test_no_code_is_run(full: DequantPipeline, photo: torch.Tensor, saved: Path) -> None:
    for name in MODULES:
        (saved / name).write_text("raise AssertionError\n")
    assert_same(DequantPipeline.from_pretrained(saved), full, photo)
    again = DequantPipeline.from_pretrained(saved, trust_remote_code=True, custom_pipeline=str(saved))
    assert_same(again, full, photo)


def test_from_the_cache_of_the_hub(full: DequantPipeline, photo: torch.Tensor, saved: Path, tmp_path: Path) -> None:
    cache = cached(saved, tmp_path / "cache")
    again = DequantPipeline.from_pretrained("owner/name", cache_dir=cache, local_files_only=True)
    assert_same(again, full, photo)
    assert again.name_or_path == "owner/name"
    half = DequantPipeline.from_pretrained("owner/name", cache_dir=cache, revision=COMMIT, torch_dtype=torch.float16)
    assert half.dtype == half.control.dtype == torch.float16


def test_weights_of_a_variant(full: DequantPipeline, photo: torch.Tensor, tmp_path: Path) -> None:
    full.save_pretrained(tmp_path, variant="fp16")
    assert_same(DequantPipeline.from_pretrained(tmp_path, variant="fp16"), full, photo)
    with pytest.raises(InputError, match="fp32"):
        DequantPipeline.from_pretrained(tmp_path, variant="fp32")


def test_another_model_is_not_fetched(
    tiny_base: DiffusionBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_base.save_pretrained(tmp_path / "base")
    cache = cached(tmp_path / "base", tmp_path / "cache")
    asked: list[str] = []
    download = saving.snapshot_download

    def record(*args: Any, allow_patterns: list[str], **options: Any) -> str:
        asked.extend(allow_patterns)
        return download(*args, allow_patterns=allow_patterns, **options)

    monkeypatch.setattr(saving, "snapshot_download", record)
    with pytest.raises(InputError, match="owner/name on the hub has no ControlEncoder"):
        DequantPipeline.from_pretrained("owner/name", cache_dir=cache)
    assert asked == ["*.json"]


@pytest.mark.slow
def test_fetched_from_a_hub(full: DequantPipeline, photo: torch.Tensor, saved: Path, tmp_path: Path) -> None:
    """Over HTTP, with nothing but the address of the hub changed: no code by us, one-line modules by diffusers."""
    torch.save(photo, tmp_path / "photo.pt")
    add_block(blocks := shutil.copytree(saved, tmp_path / "blocks"), "owner/blocks")
    script = f"""
import torch
from diffusers import DiffusionPipeline, ModularPipeline
from dequant.pipelines.dequant import DequantPipeline

ours = DequantPipeline.from_pretrained("owner/ours")
theirs = DiffusionPipeline.from_pretrained("owner/theirs", trust_remote_code=True)
blocks = ModularPipeline.from_pretrained("owner/blocks", trust_remote_code=True)
blocks.load_components()
edit = dict(image=torch.load("{tmp_path}/photo.pt"), output_type="pt")
images = [pipe(**edit, generator=torch.manual_seed(0)).images for pipe in (ours, theirs, blocks)]
torch.save(images, "{tmp_path}/images.pt")
"""
    with serve({"owner/ours": saved, "owner/theirs": saved, "owner/blocks": blocks}) as hub:
        settings = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }
        environment = os.environ | settings | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, cwd=tmp_path)
    for image in torch.load(tmp_path / "images.pt"):
        assert torch.equal(image, draw(full, photo))
    code = {name for name in hub.fetched if name.endswith(".py")}
    assert code == {f"owner/theirs/{name}" for name in MODULES} | {"owner/blocks/block.py"}
    assert {Path(name).suffix for name in hub.fetched if name.startswith("owner/ours/")} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("control", "text_embedding"),
    [("dequant.control", "dequant.pipeline"), ("dequant.models.control", "dequant.pipelines.dequant")],
)
def test_folders_of_earlier_versions(
    full: DequantPipeline, photo: torch.Tensor, saved: Path, tmp_path: Path, control: str, text_embedding: str
) -> None:
    for name in MODULES:
        (saved / name).unlink()
    components = {"control": [control, "ControlEncoder"], "text_embedding": [text_embedding, "TextEmbedding"]}
    rewrite_index(saved, _class_name="DequantPipeline", **components)
    assert_same(DequantPipeline.from_pretrained(saved), full, photo)
    cache = cached(saved, tmp_path / "cache")
    assert_same(DequantPipeline.from_pretrained("owner/name", cache_dir=cache), full, photo)


def test_without_what_the_first_version_did_not_save(saved: Path) -> None:
    path = saved / "model_index.json"
    index = json.loads(path.read_text())
    for name in ("augmentation", "vae", "text_embedding"):
        del index[name]
    index |= {"_class_name": "DequantPipeline", "control": ["dequant.control", "ControlEncoder"]}
    path.write_text(json.dumps(index))
    again = DequantPipeline.from_pretrained(saved)
    assert again.text_embedding is None
    assert again.config["augmentation"] == 0


def broken(folder: Path, what: str) -> Path:
    match what:
        case "index":
            (folder / "model_index.json").unlink()
        case "json":
            (folder / "model_index.json").write_text("{")
        case "weights":
            (folder / "control" / "diffusion_pytorch_model.safetensors").unlink()
        case "cut short":
            path = folder / "control" / "diffusion_pytorch_model.safetensors"
            path.write_bytes(path.read_bytes()[:-8])
        case "class":
            rewrite_index(folder, control=["os", "PathLike"])
        case "another":
            rewrite_index(folder, control=[None, None])
    return folder


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("index", "has no model_index.json"),
        ("json", "not a valid JSON file"),
        ("weights", "diffusion_pytorch_model.safetensors"),
        ("cut short", "diffusion_pytorch_model.safetensors"),
        ("class", "Expected ControlEncoder for control"),
        ("another", "control"),
    ],
)
def test_broken_folders_are_one_sentence(saved: Path, what: str, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as error:
        DequantPipeline.from_pretrained(broken(saved, what))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("owner/missing", "neither in the cache of Hugging Face nor could it be fetched"),
        ("no/such/folder", "There is no folder 'no/such/folder'"),
        ("name", "OWNER/NAME"),
    ],
)
def test_missing_pipelines_are_one_sentence(source: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as error:
        DequantPipeline.from_pretrained(source, cache_dir=tmp_path)
    assert "\n" not in str(error.value)
