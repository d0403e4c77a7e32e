"""The block of modular diffusers: pictures of the pipeline, from folders and the hub, alone and after other blocks."""

import json
import re
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from diffusers.modular_pipelines.modular_pipeline import (
    ModularPipeline,
    ModularPipelineBlocks,
    PipelineState,
    SequentialPipelineBlocks,
)
from diffusers.modular_pipelines.modular_pipeline_utils import InputParam, OutputParam
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.utils import dynamic_modules_utils
from PIL import Image

from dequant.color.palette import quantize
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.io.images import read_image, write_image
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.pipelines.dequant import DequantPipeline
from dequant.pipelines.loading import load
from dequant.pipelines.modular import DequantBlock, add_block
from dequant.training.dequantizer import Dequantizer
from tests.support.hub import COMMIT, cached
from tests.support.paths import ROOT
from tests.support.pipelines import draw, seeded

FILES = {"block.py", "modular_config.json", "modular_model_index.json"}
"""What a block adds to a folder."""

PALETTE = ["#1b2a49", "#e8c07d", "#ffffff", "#aa0000"]


@pytest.fixture(scope="module")
def bundled() -> DequantPipeline:
    return load()


@pytest.fixture
def saved(bundled: DequantPipeline, tmp_path: Path) -> Path:
    """A folder with a block, moved since it was written."""
    bundled.save_pretrained(tmp_path / "before")
    add_block(tmp_path / "before")
    return (tmp_path / "before").rename(tmp_path / "saved")


def run(blocks: ModularPipeline, image: Any, **options: Any) -> torch.Tensor:
    return blocks(image=image, output="images", **{"generator": seeded(), "output_type": "pt"} | options)


@pytest.mark.usefixtures("dynamic_modules")
def test_pictures_are_those_of_the_pipeline(bundled: DequantPipeline, photo: torch.Tensor, saved: Path) -> None:
    blocks = ModularPipeline.from_pretrained(saved, trust_remote_code=True)
    blocks.load_components()
    mask = torch.zeros(photo.shape[1:])
    mask[4:12, 6:20] = 1
    edits: list[dict[str, Any]] = [
        {"n_colors": 4, "texture": False},
        {"n_colors": 4, "palette": PALETTE, "keep_palette": "exact"},
        {"n_colors": 4, "palette": PALETTE, "k": 2, "seeds": [3], "generator": None},
        {"mask": mask, "color": "#aa0000"},
        {"palette": PALETTE, "sampler": Sampler(num_inference_steps=2), "orientations": 2},
    ]
    for edit in edits:
        assert torch.equal(run(blocks, photo, **edit), draw(bundled, photo, **edit)), edit


@pytest.mark.usefixtures("dynamic_modules")
def test_the_state_says_what_each_picture_is(photo: torch.Tensor, saved: Path) -> None:
    blocks = ModularPipeline.from_pretrained(saved, trust_remote_code=True)
    blocks.load_components()
    state = blocks(image=[photo, photo[:, :9]], n_colors=2, seeds=[5])
    assert [image.size for image in state.images] == [photo.shape[:0:-1], (photo.shape[2], 9)]
    assert state.labels == ["photo 1, seed 5", "photo 2, seed 5"]


def test_other_bases(latent_base: DiffusionBase, photo: torch.Tensor, tmp_path: Path) -> None:
    """With an autoencoder, the embedding of a prompt, and timesteps of its own."""
    make = partial(ControlEncoder.from_base, stem_widths=[8, 16])
    pipe = Dequantizer(latent_base, make, Sampler(DDPMScheduler, {}, timesteps=[999, 400, 0])).to_pipeline()
    pipe.save_pretrained(tmp_path)
    add_block(tmp_path)
    blocks = DequantBlock().init_pipeline(tmp_path)
    blocks.load_components()
    assert torch.equal(run(blocks, photo), draw(DequantPipeline.from_pretrained(tmp_path), photo))
    assert run(blocks, photo, output_type="latent").shape[1] == 4
    blocks.update_components(timesteps=[999, 0])
    assert torch.equal(run(blocks, photo), draw(pipe, photo, timesteps=[999, 0]))
    blocks.to(torch.bfloat16)
    assert torch.equal(run(blocks, photo), draw(pipe.to(torch.bfloat16), photo, timesteps=[999, 0]))


class Swap(ModularPipelineBlocks):
    """Gives a photo its own palette in the reverse order."""

    inputs = [InputParam("image", torch.Tensor, required=True), InputParam("n_colors", int, default=4)]
    intermediate_outputs = [OutputParam("palette", torch.Tensor), OutputParam("assignment", list[int])]

    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block = self.get_block_state(state)
        block.palette = quantize(block.image, block.n_colors).palette.flip(0)
        block.assignment = list(range(block.n_colors))
        self.set_block_state(state, block)
        return components, state


def test_after_another_block(bundled: DequantPipeline, photo: torch.Tensor, saved: Path) -> None:
    both = SequentialPipelineBlocks.from_blocks_dict({"swap": Swap(), "edit": DequantBlock()})
    blocks = both.init_pipeline(saved)
    blocks.load_components()
    swapped = quantize(photo, 4).palette.flip(0)
    expected = draw(bundled, photo, n_colors=4, palette=swapped, assignment=range(4), keep_palette="exact")
    assert torch.equal(run(blocks, photo, keep_palette="exact"), expected)


def test_inputs_are_described() -> None:
    block = DequantBlock()
    assert all(one.description for one in (*block.inputs, *block.outputs))
    assert block.required_inputs == ["image"]
    assert not {"num_inference_steps", "timesteps", "return_dict", "self"} & set(block.input_names)


# Where it is loaded from


def test_it_is_written_when_asked_for(bundled: DequantPipeline, photo: torch.Tensor, tmp_path: Path) -> None:
    """And what stood in the folder stays; no module of the package imports the experimental one."""
    bundled.save_pretrained(tmp_path / "saved")
    before = {path: path.read_bytes() for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    add_block(tmp_path / "saved")
    after = {path: path.read_bytes() for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == FILES
    assert before.items() <= after.items()
    assert (tmp_path / "saved" / "block.py").read_text() == "from dequant.pipelines.modular import DequantBlock\n"
    assert not any(str(tmp_path) in (tmp_path / "saved" / name).read_text() for name in FILES)
    assert torch.equal(draw(load(tmp_path / "saved"), photo), draw(bundled, photo))
    assert [path for path in (ROOT / "dequant").rglob("*.py") if "dequant.pipelines.modular" in path.read_text()] == []


def test_a_folder_of_the_first_version(bundled: DequantPipeline, photo: torch.Tensor, tmp_path: Path) -> None:
    bundled.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    for name in ("augmentation", "vae", "text_embedding"):
        del index[name]
    index |= {"_class_name": "DequantPipeline", "control": ["dequant.control", "ControlEncoder"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    add_block(tmp_path)
    blocks = DequantBlock().init_pipeline(tmp_path)
    blocks.load_components()
    assert torch.equal(run(blocks, photo), draw(bundled, photo))


def test_code_is_run_when_it_is_trusted(saved: Path, dynamic_modules: Path) -> None:
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        ModularPipeline.from_pretrained(saved)
    assert not list(dynamic_modules.rglob("block.py"))
    assert type(ModularPipeline.from_pretrained(saved, trust_remote_code=True).blocks) is DequantBlock
    (saved / "block.py").write_text("raise AssertionError\n")
    blocks = DequantBlock().init_pipeline(saved)
    blocks.load_components()
    assert None not in (blocks.unet, blocks.control, blocks.scheduler)


def test_what_is_wrong_is_one_sentence(photo: torch.Tensor, saved: Path, tmp_path: Path) -> None:
    blocks = DequantBlock().init_pipeline(saved)
    with pytest.raises(InputError, match=re.escape("There is no unet yet: call load_components() first.")):
        run(blocks, photo)
    blocks.load_components()
    with pytest.raises(InputError, match="There is no keep_palette='most'"):
        run(blocks, photo, keep_palette="most")
    with pytest.raises(InputError, match="Expected a hub id OWNER/NAME for repo_id, got 'name'"):
        add_block(saved, "name")
    with pytest.raises(InputError, match=re.escape("has no model_index.json")):
        add_block(tmp_path / "nowhere")
    index = saved / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"control": ["os", "PathLike"]}))
    with pytest.raises(InputError, match="Expected ControlEncoder for control"):
        add_block(saved)


# The page


@pytest.mark.usefixtures("dynamic_modules")
def test_code_of_the_page(
    bundled: DequantPipeline, photo: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Python blocks in their order, the last one from a cache in place of the hub (see test_saving for a hub)."""
    monkeypatch.chdir(tmp_path)
    write_image(photo, tmp_path / "photo.jpg")
    custom, block, hub = re.findall(r"```python\n(.*?)```", (ROOT / "docs/diffusers.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(custom, names)
    exec(block, names)
    first, second = (Image.open(name) for name in ("custom.png", "block.png"))
    assert first.size == photo.shape[:0:-1] and first.tobytes() == second.tobytes()
    names["add_block"]("saved", repo_id="owner/name")
    everything = ["*.json", "*.safetensors", "*.py"]
    monkeypatch.setattr(
        huggingface_hub.constants, "HF_HUB_CACHE", str(cached(Path("saved"), Path("cache"), everything))
    )
    monkeypatch.setattr(dynamic_modules_utils, "model_info", lambda *_, **__: SimpleNamespace(sha=COMMIT))
    shutil.rmtree("saved")
    exec(hub, names)
    rgb = read_image("photo.jpg")
    expected = draw(bundled, rgb, **names["edit"])
    assert torch.equal(draw(names["pipe"], rgb, **names["edit"]), expected)
    assert torch.equal(run(names["blocks"], rgb, **names["edit"]), expected)
