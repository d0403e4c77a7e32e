"""Images in any form, and the labels and the grid of several answers."""

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.color.matching import match_k_best
from dequant.color.palette import quantize, transfer
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.pipelines.dequant import DequantPipeline
from tests.support.pipelines import SIZE, draw, seeded


def test_output_types(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    tensor = draw(pipe, photo)
    array = draw(pipe, photo, output_type="np")
    (picture,) = draw(pipe, photo, output_type="pil")
    assert isinstance(picture, Image.Image)
    np.testing.assert_array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(np.asarray(picture), (array[0] * 255).round().astype(np.uint8))
    assert isinstance(pipe(photo).images[0], Image.Image)
    (images,) = pipe(photo, generator=seeded(), output_type="pt", return_dict=False)
    assert torch.equal(images, tensor)
    sizes = [one.shape for one in draw(pipe, [photo, photo[:, :8, :9]], output_type="np")]
    assert sizes == [(*SIZE, 3), (8, 9, 3)]


def test_answers_are_assignments_blends_and_draws_in_this_order(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    target = torch.rand(4, 3, generator=seeded())
    options = {"n_colors": 4, "palette": target, "k": 3, "blend": [0.5, 1.0]}
    answers = pipe(photo, seeds=[7, 8], output_type="pt", **options)
    assert answers.images.shape == (12, 3, *SIZE)
    assert answers.labels[1] == "assignment 1, blend 0.5, seed 8"
    assert answers.labels[-2] == "assignment 3, blend 1, seed 7"
    source = quantize(photo, 4)
    best = match_k_best(source.palette, target, 3)
    for label, image in zip(answers.labels, answers.images, strict=True):
        rank, share, seed = (float(part.split()[-1]) for part in label.split(", "))
        asked = transfer(source, target, best[int(rank) - 1], share)
        given = for_palette(asked.rgb, 4, TEXTURES["T"].map(photo))
        alone = pipe.draw([given], seeded(int(seed)))[0]
        torch.testing.assert_close(image, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_the_grid_has_a_row_per_edit_and_a_column_per_draw(
    pipe: DequantPipeline, photo: torch.Tensor, output_type: str
) -> None:
    answers = pipe([photo, photo[:, :, :20]], num_images=3, generator=seeded(), output_type=output_type)
    assert answers.labels == [f"photo {i}, draw {j}" for i in (1, 2) for j in (1, 2, 3)]
    grid = np.asarray(answers.grid())
    scale = -(-128 // SIZE[1])
    down, across = (size * scale for size in SIZE)
    assert grid.shape[0] == 20 + 2 * down + 4
    tile = grid[20 : 20 + down : scale, grid.shape[1] - across :: scale]
    third = pipe([photo, photo[:, :, :20]], num_images=3, generator=seeded()).images[2]
    np.testing.assert_array_equal(tile, np.asarray(third))
    assert pipe(photo).labels == [""]
    assert pipe(photo).grid().width >= 128


def test_an_answer_does_not_depend_on_the_others(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    many = pipe(photo, seeds=[3, 5], output_type="pt").images
    one = pipe(photo, seeds=[5], output_type="pt").images
    torch.testing.assert_close(one[0], many[1], atol=1e-5, rtol=0)
    assert torch.equal(draw(pipe, photo, generator=seeded(5)), one)


def test_fewer_assignments_than_asked_for(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    assert len(pipe(photo, 2, palette=["#000000", "#ffffff"], k=5).images) == 2
