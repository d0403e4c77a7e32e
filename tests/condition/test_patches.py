"""Segmentations and random patches: what every draw must satisfy, and what holds on average."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from scipy import ndimage
from torch import Tensor

from dequant.condition import patches
from dequant.errors import InputError
from tests.support.paths import GOLDEN

PHOTOS = ("caps", "plane", "womanhat")

label_maps = arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4)).map(
    lambda values: patches.components(torch.from_numpy(values))
)
seeds = st.integers(0, 2**32 - 1)


def photo(name: str) -> Tensor:
    levels = np.array(Image.open(GOLDEN / f"{name}.png").convert("RGB"))
    return torch.from_numpy(levels).permute(2, 0, 1) / 255


def regions(mask: Tensor) -> int:
    return ndimage.label(mask.numpy())[1]


def check_labels(labels: Tensor, shape: tuple[int, ...]) -> None:
    assert labels.shape == shape
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(int(labels.max()) + 1))
    assert all(regions(labels == label) == 1 for label in labels.unique())


@pytest.mark.parametrize("segmenter", patches.SEGMENTERS)
@pytest.mark.parametrize("max_side", [40, 128])
def test_segments_are_connected_and_numbered_without_gaps(segmenter, max_side: int) -> None:
    rgb = photo("caps")[:, :80, :53]
    labels = segmenter(rgb, np.random.default_rng(0), max_side=max_side)
    check_labels(labels, (80, 53))
    assert labels.max() > 3


@pytest.mark.parametrize("segmenter", patches.SEGMENTERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (3, 300), (16, 8)])
@pytest.mark.parametrize("flat", [True, False])
def test_any_photo_can_be_segmented(segmenter, shape: tuple[int, int], flat: bool) -> None:
    rng = np.random.default_rng(1)
    rgb = torch.full((3, *shape), 0.3) if flat else torch.from_numpy(rng.random((3, *shape), dtype=np.float32))
    check_labels(segmenter(rgb, rng), shape)


@pytest.mark.parametrize("segmenter", patches.SEGMENTERS)
def test_segments_follow_the_edge_between_two_halves(segmenter) -> None:
    rgb = torch.zeros(3, 32, 32)
    rgb[:, :, 16:] = 1
    labels = segmenter(rgb, np.random.default_rng(0))
    wrong = [min((part[:, :15]).sum(), (part[:, 17:]).sum()) for part in (labels == k for k in labels.unique())]
    assert sum(wrong) < 32 * 32 * 0.02


def test_random_segmentation_uses_every_segmenter() -> None:
    def constant(value: int):
        return lambda rgb, rng: torch.full(rgb.shape[1:], value)

    rng = np.random.default_rng(0)
    segmenters = [constant(k) for k in range(4)]
    drawn = [int(patches.random_segmentation(torch.rand(3, 2, 2), rng, segmenters)[0, 0]) for _ in range(400)]
    assert all(70 < count < 130 for count in np.bincount(drawn, minlength=4))


def test_components_by_hand() -> None:
    indices = torch.tensor([[5, 5, 2], [2, 5, 2], [5, 2, 2]])
    assert patches.components(indices).tolist() == [[0, 0, 1], [2, 0, 1], [3, 1, 1]]


def test_neighbours_by_hand() -> None:
    touching = patches.neighbours(torch.tensor([[0, 0, 1], [2, 0, 1], [3, 1, 1]]))
    expected = [[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]]
    assert touching.dtype == bool
    assert touching.toarray().astype(int).tolist() == expected


@given(label_maps)
def test_neighbours_are_those_a_dilation_finds(labels: Tensor) -> None:
    grid = labels.numpy()
    expected = np.zeros((grid.max() + 1,) * 2, dtype=bool)
    for segment in range(grid.max() + 1):
        expected[segment, np.unique(grid[ndimage.binary_dilation(grid == segment)])] = True
    np.fill_diagonal(expected, False)
    np.testing.assert_array_equal(patches.neighbours(labels).toarray(), expected)


@given(label_maps.filter(lambda labels: labels.numel() > 1), seeds, st.floats(0.01, 0.25))
def test_patches_are_connected_and_neither_empty_nor_full(labels: Tensor, seed: int, share: float) -> None:
    mask = patches.random_patch(labels, np.random.default_rng(seed), share)
    assert mask.dtype == torch.bool
    assert mask.shape == labels.shape
    assert 0 < mask.sum() < mask.numel()
    assert regions(mask) == 1


@given(label_maps.filter(lambda labels: labels.max() > 0), seeds)
def test_patches_consist_of_whole_segments(labels: Tensor, seed: int) -> None:
    mask = patches.random_patch(labels, np.random.default_rng(seed))
    assert not set(labels[mask].tolist()) & set(labels[~mask].tolist())


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from(PHOTOS))
def test_one_seed_gives_one_patch(seed: int, name: str) -> None:
    def draw() -> Tensor:
        rng = np.random.default_rng(seed)
        return patches.random_patch(patches.random_segmentation(photo(name), rng), rng)

    assert torch.equal(draw(), draw())


@pytest.mark.parametrize("segmenter", patches.SEGMENTERS)
def test_patches_cover_the_share_of_the_paper_on_average(segmenter) -> None:
    rng = np.random.default_rng(0)
    shares = []
    for name in PHOTOS:
        labels = segmenter(photo(name), rng)
        shares += [patches.random_patch(labels, rng).float().mean().item() for _ in range(200)]
    assert np.mean(shares) == pytest.approx(patches.PATCH_SHARE, abs=0.025)
    assert np.median(shares) < np.mean(shares)


def test_a_flat_photo_gives_rectangles_of_the_same_share() -> None:
    rng = np.random.default_rng(0)
    masks = [patches.random_patch(torch.zeros(60, 90, dtype=torch.int64), rng) for _ in range(400)]
    assert np.mean([mask.float().mean().item() for mask in masks]) == pytest.approx(patches.PATCH_SHARE, abs=0.02)
    assert torch.stack(masks).any(dim=0).float().mean() > 0.99


def test_unused_labels_are_not_drawn() -> None:
    labels = torch.tensor([[3, 3, 7, 7]])
    rng = np.random.default_rng(0)
    assert all(patches.random_patch(labels, rng).sum() == 2 for _ in range(50))


@pytest.mark.parametrize(
    "bad",
    [
        torch.rand(4, 4),
        torch.zeros(2, 2, 2, dtype=torch.int64),
        torch.tensor([[0, -1]]),
        torch.ones(2, 2) > 0,
    ],
)
@pytest.mark.parametrize("function", [patches.components, patches.neighbours])
def test_refuses_what_is_not_a_map_of_labels(function, bad: Tensor) -> None:
    with pytest.raises(InputError):
        function(bad)


@pytest.mark.parametrize("share", [0, -0.1, 0.3, float("nan")])
def test_refuses_impossible_shares(share: float) -> None:
    with pytest.raises(InputError, match="above 0 and up to 0.25"):
        patches.random_patch(torch.tensor([[0, 1]]), np.random.default_rng(0), share)


def test_refuses_a_single_pixel() -> None:
    with pytest.raises(InputError, match="two pixels"):
        patches.random_patch(torch.tensor([[0]]), np.random.default_rng(0))


@pytest.mark.parametrize("segmenter", patches.SEGMENTERS)
@pytest.mark.parametrize("bad", [torch.rand(2, 3, 8, 8), torch.rand(8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)])
def test_refuses_what_is_not_a_photo(segmenter, bad: Tensor) -> None:
    with pytest.raises(InputError):
        segmenter(bad, np.random.default_rng(0))


def test_large_photos_are_segmented_small_and_labels_enlarged() -> None:
    seen: list[tuple[int, ...]] = []

    def rows(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return np.broadcast_to(np.arange(image.shape[0])[:, None], image.shape[:2])

    labels = patches._segment(torch.rand(3, 80, 53), 40, rows)
    assert labels.tolist() == [[row // 2] * 53 for row in range(80)]
    patches._segment(torch.rand(3, 40, 30), 40, rows)
    patches._segment(torch.rand(3, 2, 500), 100, rows)
    assert seen == [(40, 26, 3), (40, 30, 3), (1, 100, 3)]


def test_segments_of_whole_photos_are_as_fine_as_those_of_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, tuple[float, ...]] = {}
    for name in ("felzenszwalb", "slic", "quickshift", "watershed"):
        monkeypatch.setattr(patches, name, lambda rgb, rng, *rest, name=name: asked.update({name: rest}))
    patches.segment_whole(torch.zeros(3, 256, 512), np.random.default_rng(0))
    assert asked == {"felzenszwalb": (512,), "slic": (512, 8), "quickshift": (384,), "watershed": (512, 8)}
    patches.segment_whole(torch.zeros(3, 64, 1), np.random.default_rng(0))
    assert asked["slic"] == asked["watershed"] == (64, 1) and asked["quickshift"] == (48,)


def test_rectangles_fit_any_shape_and_hold_the_target() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 40), (40, 1), (30, 20), (20, 30)):
        for target in (1, 10, 0.75 * shape[0] * shape[1]):
            masks = torch.stack([patches._random_rectangle(torch.Size(shape), target, rng) for _ in range(200)])
            rows, columns = masks.any(2).sum(1), masks.any(1).sum(1)
            assert torch.equal(masks.sum((1, 2)), rows * columns) and (target < 20 or masks.any(0).all())
            longer = rows if shape[0] >= shape[1] else columns
            assert longer.max() <= max(shape) // 2 and masks.sum((1, 2)).max() <= 1.6 * target + 2


def test_granularities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides, ranges and settings of each segmenter, in whose middle (in log) the draw is put."""
    image, drawn, given = np.zeros((9, 9, 3), np.float32), [], []
    monkeypatch.setattr(
        patches, "_log_uniform", lambda rng, low, high: drawn.append((low, high)) or (low * high) ** 0.5
    )
    monkeypatch.setattr(patches, "_segment", lambda rgb, side, segmenter: given.append(side) or segmenter(image))
    for owner, name in (
        (patches.segmentation, "felzenszwalb"),
        (patches.segmentation, "quick_shift"),
        (patches, "skimage_slic"),
        (patches, "skimage_watershed"),
    ):
        monkeypatch.setattr(owner, name, lambda image, *rest, **named: given.append((*rest, named)))
    rng = np.random.default_rng(0)
    for segmenter in patches.SEGMENTERS:
        segmenter(torch.zeros(3, 9, 9), rng)
    assert drawn == [(50, 400), (30, 300), (3, 9), (30, 300)]
    assert given == [
        *(128, (20000**0.5, 0.5, {"min_size": 20})),
        *(128, (95, {"max_num_iter": 3, "sigma": 1})),
        *(96, (1.5, 27**0.5, rng, {})),
        *(128, (81, {"compactness": 0.001})),
    ]
    patches.slic(torch.zeros(3, 9, 9), rng, 7, 2.5)
    assert given[-2:] == [7, (237, {"max_num_iter": 3, "sigma": 1})]
