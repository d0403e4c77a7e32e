"""The pipeline that colours photos: sizes, lightness, scales, and where it comes from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.color.luminance import grayscale
from dequant.color.spaces import colorfulness, rgb_to_lab
from dequant.colorization import pipeline as module
from dequant.colorization.checks import MOST_SCALE
from dequant.colorization.diffusing_colors import DiffusingColors
from dequant.colorization.pipeline import ColorizePipeline, working_size
from dequant.colorization.ranker import CANDIDATES
from dequant.errors import InputError
from tests.support import latents


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae")
    latents.vae().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipe(coder: Path) -> ColorizePipeline:
    return latents.pipeline(coder, num_inference_steps=2)


@pytest.fixture
def bundled(coder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the folder of bundled weights."""
    DiffusingColors(latents.base(coder)).save_pretrained(tmp_path / "weights" / "latent")
    latents.ranker().save_pretrained(tmp_path / "weights" / "ranker")
    monkeypatch.setattr(module, "bundled", lambda: str(tmp_path / "weights" / "latent"))
    return tmp_path / "weights"


def photo(height: int = 24, width: int = 33, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def drawn(pipe: ColorizePipeline, image: Any, *args: Any, **options: Any) -> Any:
    return pipe(image, *args, **{"output_type": "pt"} | options).images


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (200, 3), (24, 33), (70, 70)])
def test_pictures_have_the_size_and_lightness_of_their_photos(pipe: ColorizePipeline, size: tuple[int, int]) -> None:
    rgb = photo(*size)
    [picture] = drawn(pipe, rgb)
    assert picture.shape == rgb.shape and picture.min() >= 0 and picture.max() <= 1
    assert (rgb_to_lab(picture)[0] - rgb_to_lab(rgb)[0]).abs().max() < 0.1
    assert size == (1, 1) or colorfulness(picture) > 1


def test_the_copy_has_the_side_of_the_training(pipe: ColorizePipeline) -> None:
    assert working_size(480, 640, 128, 16) == (128, 176)
    assert working_size(20, 20, 128, 16) == (128, 128)
    assert working_size(10, 4000, 128, 16) == (128, 512)
    assert pipe.color(photo(60, 90)).rgb.shape == (3, 32, 48)


def test_the_colours_of_the_photo_are_not_looked_at(pipe: ColorizePipeline) -> None:
    rgb = photo(32, 32)
    torch.testing.assert_close(drawn(pipe, grayscale(rgb)), drawn(pipe, rgb), atol=2e-3, rtol=0)


def test_the_same_call_makes_the_same_bytes(pipe: ColorizePipeline, coder: Path) -> None:
    rgb = photo()
    first, again, anew = (
        one(rgb, "a red car").images[0] for one in (pipe, pipe, latents.pipeline(coder, num_inference_steps=2))
    )
    assert first.tobytes() == again.tobytes() == anew.tobytes()
    assert pipe(rgb, "a blue car").images[0].tobytes() != first.tobytes()


def test_batches_and_prompts(pipe: ColorizePipeline) -> None:
    photos = [photo(20, 30), photo(33, 9, 1)]
    found = pipe(photos, ["a red car", ""], output_type="pt")
    assert [tuple(one.shape) for one in found.images] == [(3, 20, 30), (3, 33, 9)]
    for one, prompt, picture in zip(photos, ("a red car", ""), found.images, strict=True):
        assert torch.equal(drawn(pipe, one, prompt)[0], picture)
    assert found.scales == [1.0, 1.0]
    assert found.colorfulness == pytest.approx([float(colorfulness(one)) for one in found.images])
    assert drawn(pipe, torch.stack([photo(), photo()])).shape == (2, 3, 24, 33)


def test_outputs_have_the_form_asked_for(pipe: ColorizePipeline) -> None:
    levels = (photo().movedim(0, -1) * 255).byte().numpy()
    [image] = pipe(Image.fromarray(levels)).images
    assert image.size == (33, 24) and image.mode == "RGB"
    array = pipe(levels, output_type="np").images
    assert array.shape == (1, 24, 33, 3) and np.abs(array[0] - np.asarray(image) / 255).max() < 1 / 255
    (images,) = pipe(levels, return_dict=False)
    assert images[0].tobytes() == image.tobytes()


def test_scale_0_is_neutral_and_more_is_more_colourful(pipe: ColorizePipeline) -> None:
    rgb = photo(32, 32)
    torch.testing.assert_close(drawn(pipe, rgb, scale=0)[0], grayscale(rgb), atol=2e-3, rtol=0)
    found = [float(colorfulness(drawn(pipe, rgb, scale=scale)[0])) for scale in (0, 0.25, 0.5, 1)]
    assert found[0] < 0.5 and found == sorted(found) and found[-1] > 10


@pytest.mark.parametrize("target", [0, 5, 15, 30])
def test_a_colourfulness_is_reached(pipe: ColorizePipeline, target: int) -> None:
    rgb = latents.batch(1)["target"][0]
    found = pipe(rgb, colorfulness=target, output_type="pt")
    assert found.colorfulness[0] == pytest.approx(target, abs=2)
    assert torch.equal(drawn(pipe, rgb, scale=found.scales[0]), found.images)


def test_what_cannot_be_reached_takes_the_largest_scale(pipe: ColorizePipeline) -> None:
    assert pipe(photo(), colorfulness=150).scales[0] == pytest.approx(MOST_SCALE, abs=0.01)


def test_steps_and_guidance_have_an_effect(pipe: ColorizePipeline) -> None:
    plain = drawn(pipe, photo(), "a red car")
    assert torch.equal(drawn(pipe, photo(), "a red car", num_inference_steps=2), plain)
    assert not torch.equal(drawn(pipe, photo(), "a red car", num_inference_steps=5), plain)
    assert not torch.equal(drawn(pipe, photo(), "a red car", guidance_scale=8), plain)


def test_a_ranker_chooses_the_scale(coder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = latents.pipeline(coder, num_inference_steps=1, ranker=latents.ranker(12))
    monkeypatch.setattr(module, "features_of", lambda ranker: latents.Toy())
    found = pipe([photo(), photo(seed=1)], scale="auto", output_type="pt")
    assert set(found.scales) <= set(CANDIDATES)
    assert torch.equal(drawn(pipe, photo(), scale=found.scales[0])[0], found.images[0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scale": "auto"}, "This pipeline has no ranker for scale='auto'"),
        ({"scale": "much"}, "Expected a number from 0 to 4 or 'auto' for scale, got 'much'"),
        ({"scale": -1}, "or 'auto' for scale, got -1"),
        ({"scale": float("nan")}, "or 'auto' for scale, got nan"),
        ({"scale": True}, "or 'auto' for scale, got True"),
        ({"colorfulness": 151}, "Expected a number from 0 to 150 for colorfulness"),
        ({"colorfulness": "vivid"}, "Expected a number from 0 to 150 for colorfulness"),
        ({"guidance_scale": 21}, "Expected a number from 0 to 20 for guidance_scale"),
        ({"num_inference_steps": 0}, "from 1 to 1000 for num_inference_steps, got 0"),
        ({"prompt": 5}, "Expected a text for prompt, got 5"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"output_type": "latent"}, "no output type 'latent'"),
    ],
)
def test_wrong_arguments_are_one_sentence(pipe: ColorizePipeline, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as raised:
        pipe(photo(8, 8), **options)
    assert "\n" not in str(raised.value)


def test_parts_are_checked(coder: Path) -> None:
    with pytest.raises(InputError, match="There is no colorizer 'diffcolor'"):
        latents.pipeline(coder, method="diffcolor")
    with pytest.raises(InputError, match="There is no target 'noise'"):
        latents.pipeline(coder, target="noise")


@pytest.mark.parametrize("ranked", [False, True])
def test_a_saved_pipeline_makes_the_same_pictures(coder: Path, tmp_path: Path, ranked: bool) -> None:
    base, ranker = latents.base(coder, recognizes=ranked), latents.ranker() if ranked else None
    pipe = ColorizePipeline.of(base, ranker=ranker, target="togo", num_inference_steps=3)
    pipe.save_pretrained(tmp_path)
    assert not list(tmp_path.rglob("*.bin"))
    assert (tmp_path / "ranker").exists() == (tmp_path / "recognizer").exists() == ranked
    expected, loaded = drawn(pipe, photo(), "a red car"), []
    for again in (ColorizePipeline.from_pretrained(tmp_path), ColorizePipeline.load(tmp_path)):
        assert (again.config["target"], again.config["num_inference_steps"]) == ("togo", 3)
        loaded.append(drawn(again, photo(), "a red car"))
        torch.testing.assert_close(loaded[-1], expected, atol=1e-4, rtol=0)
        assert (again.ranker is not None) == ranked
    assert torch.equal(*loaded)


def test_bundled_weights_and_runs_are_loaded(coder: Path, bundled: Path, tmp_path: Path) -> None:
    standard = ColorizePipeline.load()
    assert standard.ranker is not None and standard.config["target"] == "delta"
    DiffusingColors(latents.base(coder), target="x0").save_pretrained(tmp_path / "run" / "weights")
    for place in (tmp_path / "run", tmp_path / "run" / "weights"):
        run = ColorizePipeline.load(place)
        assert run.config["target"] == "x0" and run.ranker is not None
    assert run(photo(), num_inference_steps=1).images[0].size == (33, 24)


def test_what_is_no_pipeline_is_one_sentence(bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "missing", "no weights at all"):
        with pytest.raises(InputError, match="is none of these"):
            ColorizePipeline.load(source)
    (bundled / "latent" / "colorizer.json").write_text("no JSON")
    with pytest.raises(InputError) as raised:
        ColorizePipeline.load()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("about", [{"method": "diffcolor"}, {"target": "noise"}, {"other": 1}, ["delta"]])
def test_damaged_descriptions_of_weights_are_one_sentence(bundled: Path, about: Any) -> None:
    (bundled / "latent" / "colorizer.json").write_text(json.dumps(about))
    with pytest.raises(InputError) as raised:
        ColorizePipeline.load()
    assert "\n" not in str(raised.value)


def test_a_missing_ranker_is_one_sentence(bundled: Path) -> None:
    (bundled / "ranker" / "config.json").unlink()
    with pytest.raises(InputError) as raised:
        ColorizePipeline.load()
    assert "\n" not in str(raised.value)


def test_pipelines_of_another_kind_are_refused(bundled: Path, coder: Path, tmp_path: Path) -> None:
    latents.pipeline(coder).save_pretrained(tmp_path / "saved")
    index = json.loads((tmp_path / "saved" / "model_index.json").read_text())
    index["unet"] = ["diffusers", "UNet2DModel"]
    (tmp_path / "saved" / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="Expected UNet2DConditionModel for unet"):
        ColorizePipeline.load(tmp_path / "saved")
