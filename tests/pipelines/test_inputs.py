"""Photos, palettes and patches in any form; bad ones are one sentence."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_repaint import RePaintScheduler
from PIL import Image

from dequant.cli.main import main
from dequant.color.palette import quantize
from dequant.condition.channels import for_palette, for_patch
from dequant.condition.texture import thresholded_gradient_map
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.io.colors import parse_colors
from dequant.io.images import read_image, write_image
from dequant.pipelines.dequant import DequantPipeline
from dequant.pipelines.inputs import mask, palette, photos
from tests.support.pipelines import SIZE, draw, seeded


def test_photos_in_any_form(pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path) -> None:
    write_image(photo, tmp_path / "photo.png")
    levels = (photo * 255).round().byte()
    array = levels.permute(1, 2, 0).numpy()
    expected = draw(pipe, photo)
    forms = [
        photo[None],
        photo.double(),
        levels,
        array,
        array[None],
        array / 255,
        array[::-1][::-1],
        Image.fromarray(array),
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        [photo],
        (array,),
    ]
    for form in forms:
        torch.testing.assert_close(draw(pipe, form), expected, atol=0, rtol=0)
    mixed = draw(pipe, [photo, array, Image.fromarray(array)], generator=[seeded() for _ in range(3)])
    torch.testing.assert_close(mixed, expected.expand(3, -1, -1, -1), atol=1e-5, rtol=0)


def test_photos_are_upright_and_opaque(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    array = (photo * 255).round().byte().permute(1, 2, 0).numpy()
    turned = Image.fromarray(array).transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[274] = 6
    assert torch.equal(draw(pipe, turned), draw(pipe, photo))
    clear = Image.fromarray(array).convert("RGBA")
    clear.putalpha(0)
    with pytest.raises(InputError, match="no visible pixel"):
        pipe(clear)


def test_files_cut_short_and_missing_are_refused(tmp_path: Path, photo: torch.Tensor) -> None:
    write_image(photo, tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "short.png").write_bytes(data[:-60])
    for read in (photos, mask, lambda image: palette(image, 4)):
        for form in (Image.open, str):
            with pytest.raises(InputError, match="sound copy"):
                read(form(tmp_path / "short.png"))
    with pytest.raises(InputError, match="no image file 'other.jpg'"):
        palette("other.jpg", 4)


def conditions(
    pipe: DequantPipeline, monkeypatch: pytest.MonkeyPatch, image: Any, **options: Any
) -> list[torch.Tensor]:
    """The conditions that a call makes."""
    seen: list[torch.Tensor] = []
    pictures = pipe.draw
    with monkeypatch.context() as patch:
        patch.setattr(
            pipe, "draw", lambda given, *args, **kwargs: seen.extend(given) or pictures(given, *args, **kwargs)
        )
        pipe(image, **options)
    return seen


def test_texture_off(pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    (given,) = conditions(pipe, monkeypatch, photo, n_colors=4, texture=False)
    assert torch.equal(given, for_palette(quantize(photo, 4).rgb, 4, None))


def test_edited_palette(pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["#102030", "#f08010", "#2040c0", "#e0e0d0"]
    (given,) = conditions(pipe, monkeypatch, photo, n_colors=4, palette=names, assignment=range(4))
    source = quantize(photo, 4)
    expected = parse_colors(names).T[:, source.indices]
    torch.testing.assert_close(given[:3], expected, atol=0, rtol=0)
    assert torch.equal(given[3:], for_palette(expected, 4, thresholded_gradient_map(photo))[3:])
    forms = [",".join(names), parse_colors(names), parse_colors(names).numpy(), parse_colors(names).tolist()]
    forms.append((parse_colors(names) * 255).round().byte())
    for form in forms:
        (again,) = conditions(pipe, monkeypatch, photo, n_colors=4, palette=form, assignment=[0, 1, 2, 3])
        assert torch.equal(again, given)


def test_transfer_is_that_of_the_command_line(
    pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reference = photo.flip(0).mT * 0.5
    reference = (reference * 255).round() / 255
    write_image(photo, tmp_path / "photo.png")
    write_image(reference, tmp_path / "reference.png")
    for method in ("color", "frequency"):
        out = ["--out", str(tmp_path / method), "--method", method, "-n", "6"]
        main(["palette", "match", str(tmp_path / "photo.png"), str(tmp_path / "reference.png"), *out])
        (given,) = conditions(pipe, monkeypatch, photo, n_colors=6, palette=reference, method=method)
        torch.testing.assert_close(given[:3], read_image(tmp_path / method / "quantized.png"), atol=1e-6, rtol=0)


def test_one_palette_for_each_photo(
    pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    palettes = [["#ff0000", "#00ff00"], photo]
    both = conditions(pipe, monkeypatch, [photo, photo], n_colors=2, palette=palettes)
    for given, one in zip(both, palettes, strict=True):
        assert torch.equal(given, conditions(pipe, monkeypatch, photo, n_colors=2, palette=one)[0])
    same = conditions(pipe, monkeypatch, [photo, photo], n_colors=2, palette=palettes[0])
    assert torch.equal(same[1], same[0])


@pytest.mark.parametrize("keep", [True, False])
def test_patch(pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch, keep: bool) -> None:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[4:12, 6:20] = True
    (given,) = conditions(pipe, monkeypatch, photo, mask=mask, color="#ff8000", texture=keep)
    color = torch.tensor([1, 128 / 255, 0])
    seen = thresholded_gradient_map(photo)
    assert torch.equal(given, for_patch(photo, mask, color, seen, keep_inside=keep))
    forms = [mask.numpy(), mask.float(), mask.byte().numpy(), 255 * mask.int(), mask[None]]
    forms.append(Image.fromarray(255 * mask.byte().numpy()))
    for form in forms:
        for shade in (color, color.numpy(), color.tolist(), tuple(color.tolist())):
            assert torch.equal(conditions(pipe, monkeypatch, photo, mask=form, color=shade, texture=keep)[0], given)
    masks, colors = torch.stack((mask, ~mask)), ["#ff8000", "#0080ff"]
    both = conditions(pipe, monkeypatch, [photo, photo], mask=masks, color=colors, texture=keep)
    assert torch.equal(both[0], given)
    other = torch.tensor([0, 128 / 255, 1])
    assert torch.equal(both[1], for_patch(photo, ~mask, other, seen, keep_inside=keep))


@pytest.mark.parametrize(
    ("image", "options", "sentence"),
    [
        ([], {}, "at least one"),
        (3, {}, "int is not a photo"),
        ("missing.png", {}, "missing.png"),
        (torch.rand(4, 8, 8), {}, "is not a photo"),
        (torch.rand(3, 0, 8), {}, "is not a photo"),
        (np.zeros((8, 8), np.uint8), {}, "is not a photo"),
        (np.zeros((8, 8, 3), np.int64), {}, "floats in"),
        (np.zeros((8, 8, 3), np.dtype("f4").newbyteorder()), {}, "is not understood"),
        (np.full((8, 8, 3), "a"), {}, "is not understood"),
        (torch.rand(3, 8, 8) * 255, {}, "outside"),
        (torch.full((3, 8, 8), float("nan")), {}, "not finite"),
        (None, {"n_colors": 0}, "0 colours"),
        (None, {"output_type": "latent"}, "pil, np or pt"),
        (None, {"num_images": 0}, "from 1 to 10000 for num_images, got 0"),
        (None, {"seeds": []}, "list of integers"),
        (None, {"seeds": 3}, "list of whole numbers for seeds, got 3"),
        (None, {"seeds": [1], "generator": torch.Generator()}, "neither num_images nor generator"),
        (None, {"tile": 2}, "Tiles of 2 pixels"),
        (None, {"tile": "big"}, "for tile, got 'big'"),
        (None, {"k": 1.5}, "for k, got 1.5"),
        (None, {"k": 2}, "without a palette"),
        (None, {"blend": 0.5}, "without a palette"),
        (None, {"palette": "#fff", "k": 0}, "for k, got 0"),
        (None, {"palette": "#fff", "blend": 1.5}, "blend of 1.5"),
        (None, {"palette": "#fff", "blend": []}, "not a blend"),
        (None, {"palette": "#fff", "blend": "half"}, "not a blend"),
        (None, {"palette": ["#fff"], "assignment": [0] * 16, "k": 2}, "give k or assignment"),
        (None, {"mask": torch.ones(SIZE), "color": "#fff", "k": 2}, "at once"),
        (None, {"palette": ["#12"]}, "'#12'"),
        (None, {"palette": 5}, "palette"),
        (None, {"palette": []}, "palette"),
        (None, {"palette": [[0.1, 0.2]]}, "palette"),
        (None, {"palette": [[0.1, 0.2, 0.3], [1.0]]}, "palette"),
        (None, {"palette": [[255, 0, 0]]}, "divide"),
        (None, {"palette": [["#fff"], ["#000"]]}, "2 palettes do not fit 1 photos"),
        (None, {"palette": torch.rand(2, 3, 8, 8)}, "not one palette"),
        (None, {"palette": "#fff", "method": "magic"}, "magic"),
        (None, {"palette": "#fff", "assignment": [0]}, "assignment"),
        (None, {"palette": "#fff", "assignment": [0.5] * 16}, "list of integers"),
        (None, {"assignment": [0]}, "without a palette"),
        (None, {"color": "#fff"}, "without a patch"),
        (None, {"color": "#fff", "palette": "#fff"}, "at once"),
        (None, {"mask": torch.ones(SIZE)}, "new colour"),
        (None, {"mask": torch.ones(SIZE), "color": "#fff", "palette": "#fff"}, "at once"),
        (None, {"mask": torch.zeros(SIZE), "color": "#fff"}, "empty"),
        (None, {"mask": torch.ones(3, 3), "color": "#fff"}, "got 3 x 3"),
        (None, {"mask": torch.ones(4), "color": "#fff"}, "mask of shape"),
        (None, {"mask": "nowhere.png", "color": "#fff"}, "no image file 'nowhere.png'"),
        (None, {"mask": 7, "color": "#fff"}, "int is not a mask"),
        (None, {"texture": "off"}, "for texture, got 'off'"),
        (None, {"orientations": 2.0}, "for orientations, got 2.0"),
        (None, {"profile": "p3"}, "choose srgb or source"),
        (None, {"mask": [torch.ones(SIZE)] * 2, "color": "#fff"}, "2 masks do not fit 1 photos"),
        (None, {"mask": torch.ones(SIZE), "color": [0.1, 0.2]}, "not one colour"),
        (None, {"mask": torch.ones(SIZE), "color": ["#fff", "#000"]}, "2 colours do not fit 1 photos"),
        (None, {"num_inference_steps": 0}, "for num_inference_steps, got 0"),
        (None, {"num_inference_steps": 1001}, "1001 steps"),
        (None, {"num_inference_steps": 2, "timesteps": [5]}, "twice"),
        (None, {"timesteps": [999, 0]}, "DDIMScheduler spaces its steps itself"),
        (None, {"sampler": Sampler(DDPMScheduler, timesteps=[0, 999])}, "descending"),
        (None, {"sampler": Sampler(DDPMScheduler, timesteps=[])}, "descending"),
        (None, {"sampler": Sampler(DDPMScheduler, timesteps=[1000])}, "999 to 0"),
        (None, {"sampler": Sampler("ddim")}, "not a solver"),
        (None, {"sampler": Sampler(EulerDiscreteScheduler)}, "EulerDiscreteScheduler"),
        (None, {"sampler": Sampler(RePaintScheduler)}, "RePaintScheduler"),
        (None, {"generator": [torch.Generator()] * 2}, "2 generators do not fit 1 images"),
        (None, {"generator": 7}, "manual_seed"),
        (None, {"orientations": 3}, "3 orientations"),
    ],
)
def test_bad_input_is_one_sentence(
    pipe: DequantPipeline, photo: torch.Tensor, image: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as error:
        pipe(photo if image is None else image, **options)
    assert "\n" not in str(error.value)
