"""Palettes: identity with Pillow and the released code, matching against brute force, files, bad input."""

import json
import struct
import time
from itertools import permutations, product
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from dequant.color.matching import match, match_k_best
from dequant.color.palette import KMEANS_PIXELS, Quantized, apply_palette, colormap_palette, quantize, transfer
from dequant.color.spaces import ciede2000, rgb_to_lab, rgb_to_oklab
from dequant.errors import InputError
from dequant.io.palettes import load_palette, parse_hex
from tests.support.paths import GOLDEN

ARRAYS = np.load(GOLDEN / "images.npz")
RELEASED_METHODS = {"color": "color", "neg": "negative_color", "freq": "frequency", "int": "intensity"}
MATCHINGS = ["color", "negative_color", "intensity"]


def photo(name: str) -> Tensor:
    levels = np.array(Image.open(GOLDEN / f"{name}.png").convert("RGB"))
    return torch.from_numpy(levels).permute(2, 0, 1) / 255


def random_palette(n_colors: int, seed: int = 0) -> Tensor:
    """Distinct 8-bit colours."""
    levels = np.random.default_rng(seed).choice(2**24, n_colors, replace=False)
    return torch.from_numpy(np.stack([levels >> 16, levels >> 8 & 255, levels & 255], axis=1)).float() / 255


def small_images() -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    ramp = torch.arange(32).float() / 31
    crop = photo("caps")[:, 40:72, 40:72]
    return {
        "photo": crop,
        "photo of two colours": (crop > 0.5).float()[:1].expand(3, -1, -1) * 0.8,
        "noise": torch.from_numpy(rng.integers(0, 256, (3, 32, 32))).float() / 255,
        "gradient": torch.stack((ramp.expand(32, -1), ramp[:, None].expand(-1, 32), ramp.flip(0).expand(32, -1))),
        "grey": crop[:1].expand(3, -1, -1),
        "five colours": random_palette(5)[torch.from_numpy(rng.integers(0, 5, (32, 32)))].permute(2, 0, 1),
        "one colour": torch.full((3, 32, 32), 0.2),
    }


IMAGES = small_images()


def released(rgb: Tensor, n_colors: int) -> Image.Image:
    """What the released code calls."""
    levels = (255 * rgb).round().byte().permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(levels).convert("P", palette=Image.Palette.ADAPTIVE, colors=n_colors)


def assert_identical(quantized: Quantized, image: Image.Image) -> None:
    assert quantized.indices.numpy().astype(np.uint8).tobytes() == image.tobytes()
    assert (255 * quantized.palette).round().byte().numpy().tobytes() == bytes(image.getpalette())
    assert (255 * quantized.rgb).round().byte().permute(1, 2, 0).numpy().tobytes() == image.convert("RGB").tobytes()


class TestQuantize:
    @pytest.mark.parametrize("name", IMAGES)
    def test_median_cut_is_pillows_byte_for_byte(self, name: str) -> None:
        for n_colors in range(1, 257):
            assert_identical(quantize(IMAGES[name], n_colors), released(IMAGES[name], n_colors))

    @pytest.mark.parametrize("name", ["caps", "plane", "womanhat"])
    @pytest.mark.parametrize("n_colors", [4, 16, 64])
    def test_median_cut_is_that_of_the_released_code(self, name: str, n_colors: int) -> None:
        arrays = np.load(GOLDEN / f"cond_{name}.npz")
        wanted = arrays["conditioning"][arrays["cases"].tolist().index(f"L_{n_colors}_tex"), :3]
        assert np.array_equal(quantize(photo(name), n_colors).rgb.numpy(), wanted)

    @pytest.mark.parametrize("method", ["median_cut", "kmeans", "octree"])
    @pytest.mark.parametrize("name", IMAGES)
    @pytest.mark.parametrize("n_colors", [1, 2, 7, 256])
    def test_parts_fit_together(self, method: str, name: str, n_colors: int) -> None:
        quantized = quantize(IMAGES[name], n_colors, method)
        assert 1 <= len(quantized.palette) <= n_colors
        assert quantized.palette.dtype == torch.float32
        assert quantized.indices.dtype == torch.int64
        assert quantized.indices.shape == (32, 32)
        assert quantized.counts.sum() == 32 * 32
        assert torch.equal(quantized.rgb, quantized.palette[quantized.indices].permute(2, 0, 1))
        assert torch.equal((255 * quantized.palette).round() / 255, quantized.palette)

    @pytest.mark.parametrize("method", ["median_cut", "kmeans"])
    @pytest.mark.parametrize("name", ["five colours", "photo of two colours", "one colour"])
    def test_few_colours_are_kept(self, method: str, name: str) -> None:
        quantized = quantize(IMAGES[name], 8, method)
        levels = (255 * IMAGES[name]).round() / 255
        assert len(quantized.palette) == len(levels.flatten(1).unique(dim=1).T)
        assert torch.equal(quantized.rgb, levels)

    def test_octree_is_pillows(self) -> None:
        levels = (255 * photo("caps")).round().byte().permute(1, 2, 0).numpy()
        image = Image.fromarray(levels).quantize(16, method=Image.Quantize.FASTOCTREE)
        wanted = np.array(image.convert("RGB"))
        assert np.array_equal((255 * quantize(photo("caps"), 16, "octree").rgb).round().byte().permute(1, 2, 0), wanted)

    @pytest.mark.parametrize("n_colors", [4, 32])
    def test_kmeans_is_closer_than_median_cut(self, n_colors: int) -> None:
        def difference(method: str) -> float:
            quantized = quantize(photo("caps"), n_colors, method).rgb
            return ciede2000(rgb_to_lab(quantized), rgb_to_lab(photo("caps"))).mean().item()

        assert difference("kmeans") < difference("median_cut") < difference("octree")

    def test_kmeans_depends_on_its_rng_alone(self) -> None:
        large = photo("caps").repeat(1, 2, 2)
        assert large[0].numel() > KMEANS_PIXELS
        once, twice = (quantize(large, 16, "kmeans") for _ in range(2))
        assert torch.equal(once.palette, twice.palette)
        assert torch.equal(once.indices, twice.indices)
        other = quantize(large, 16, "kmeans", rng=np.random.default_rng(1))
        assert not torch.equal(once.palette, other.palette)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 64))
    def test_median_cut_is_idempotent(self, seed: int, scale: int, n_colors: int) -> None:
        levels = np.random.default_rng(seed).normal(128, scale, (3, 12, 17)).clip(0, 255).round()
        once = quantize(torch.from_numpy(levels).float() / 255, n_colors).rgb
        assert torch.equal(quantize(once, n_colors).rgb, once)

    @pytest.mark.parametrize("name", ["caps", "plane", "womanhat"])
    def test_median_cut_of_a_photo_is_idempotent(self, name: str) -> None:
        for n_colors in (2, 8, 32, 128):
            once = quantize(photo(name), n_colors).rgb
            assert torch.equal(quantize(once, n_colors).rgb, once)

    def test_values_are_rounded_to_8_bits(self) -> None:
        rgb = IMAGES["photo"]
        assert torch.equal(quantize(rgb + 0.4 / 255, 8).rgb, quantize(rgb, 8).rgb)

    @pytest.mark.parametrize(
        "bad",
        [
            torch.rand(8, 8),
            torch.rand(2, 3, 8, 8),
            torch.rand(3, 0, 8),
            torch.full((3, 8, 8), torch.nan),
            torch.zeros(3, 8, 8, dtype=torch.uint8),
        ],
    )
    def test_refuses_what_is_not_one_image(self, bad: Tensor) -> None:
        with pytest.raises(InputError, match="give"):
            quantize(bad, 8)

    @pytest.mark.parametrize("n_colors", [-1, 0, 257])
    def test_refuses_impossible_palettes(self, n_colors: int) -> None:
        with pytest.raises(InputError, match="1 to 256"):
            quantize(IMAGES["photo"], n_colors)

    def test_refuses_unknown_methods(self) -> None:
        with pytest.raises(InputError, match="median_cut, kmeans, octree"):
            quantize(IMAGES["photo"], 8, "neural")


class TestTransfer:
    @pytest.mark.parametrize("n_colors", [8, 32])
    @pytest.mark.parametrize("method", [*RELEASED_METHODS, "cmap_viridis", "cmap_magma"])
    def test_is_that_of_the_released_code(self, method: str, n_colors: int) -> None:
        source = quantize(photo("womanhat"), n_colors)
        target = quantize(photo("plane"), n_colors)
        colors = target.palette
        if method.startswith("cmap"):
            colors = colormap_palette(method.removeprefix("cmap_"), n_colors)
            np.testing.assert_allclose(colors, ARRAYS[f"{method}__{n_colors}__colours_f64"], atol=1e-7)
        assignment = match(
            source.palette,
            colors,
            RELEASED_METHODS.get(method, "color"),
            source_counts=source.counts,
            target_counts=target.counts,
        )
        case = f"womanhat__plane__{method}__{n_colors}"
        assert assignment.tolist() == ARRAYS[f"{case}__assign"].tolist()
        if f"{case}__matched_u8" in ARRAYS:
            levels = torch.from_numpy(ARRAYS[f"{case}__matched_u8"])
            assert torch.equal(transfer(source, colors, assignment).rgb, levels / 255)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20), st.sampled_from(MATCHINGS))
    def test_every_pixel_becomes_its_matched_color(
        self, seed: int, n_sources: int, n_targets: int, method: str
    ) -> None:
        indices = torch.from_numpy(np.random.default_rng(seed).integers(0, n_sources, (5, 7)))
        source = Quantized(random_palette(n_sources, seed), indices)
        target = random_palette(n_targets, seed + 1)
        assignment = match(source.palette, target, method)
        moved = transfer(source, target, assignment)
        assert torch.equal(moved.indices, indices)
        for row, column in product(range(5), range(7)):
            assert torch.equal(moved.rgb[:, row, column], target[assignment[indices[row, column]]])

    def test_blend_goes_from_source_to_target(self) -> None:
        source = quantize(photo("plane"), 8)
        target = random_palette(8)
        assignment = torch.arange(8).flip(0)
        assert torch.equal(transfer(source, target, assignment, blend=0).palette, source.palette)
        assert torch.equal(transfer(source, target, assignment, blend=1).palette, target.flip(0))
        half = transfer(source, target, assignment, blend=0.5).palette
        assert ((source.palette + target.flip(0)) / 2 - half).abs().max() <= 1 / 255
        assert torch.equal((255 * half).round() / 255, half)

    def test_large_image_takes_milliseconds(self) -> None:
        """1080p at 64 colours has to stay well under 0.1 s; 4 ms is usual."""
        indices = torch.from_numpy(np.random.default_rng(0).integers(0, 64, (1080, 1920)))
        source = Quantized(random_palette(64), indices)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            target = random_palette(64, 1)
            assert transfer(source, target, match(source.palette, target)).rgb.shape == (
                3,
                1080,
                1920,
            )
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 0.1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((torch.rand(4, 4), torch.zeros(3).long()), r"\(n, 3\)"),
            ((torch.rand(4, 3), torch.zeros(2).long()), "give 3 integers"),
            ((torch.rand(4, 3), torch.zeros(3)), "give 3 integers"),
            ((torch.rand(4, 3), torch.tensor([0, 1, 4])), "from 0 to 3"),
            ((torch.rand(4, 3), torch.tensor([0, 1, -1])), "from 0 to 3"),
            ((torch.rand(4, 3), torch.zeros(3).long(), 1.1), "from 0 to 1"),
        ],
    )
    def test_refuses_what_does_not_fit(self, arguments, message: str) -> None:
        source = Quantized(random_palette(3), torch.zeros(2, 2).long())
        with pytest.raises(InputError, match=message):
            transfer(source, *arguments)

    @pytest.mark.parametrize(
        "indices", [torch.zeros(4).long(), torch.zeros(2, 2), torch.full((2, 2), 3), torch.full((2, 2), -1)]
    )
    def test_refuses_wrong_indices(self, indices: Tensor) -> None:
        with pytest.raises(InputError, match="give"):
            apply_palette(random_palette(3), indices)


def gap(source: Tensor, target: Tensor, method: str) -> np.ndarray:
    if method == "intensity":
        return (source.double().sum(1)[:, None] - target.double().sum(1)).abs().numpy()
    return torch.cdist(source.double(), target.double()).numpy()


def total(source: Tensor, target: Tensor, method: str, assignment) -> float:
    affinity = np.exp((1 if method == "negative_color" else -1) * gap(source, target, method))
    return float(affinity[np.arange(len(source)), list(assignment)].sum())


def all_assignments(n_sources: int, n_targets: int, many_to_one: bool = False) -> list[tuple[int, ...]]:
    if many_to_one:
        return list(product(range(n_targets), repeat=n_sources))
    copies = [target for target in range(n_targets) for _ in range(-(-n_sources // n_targets))]
    return sorted(set(permutations(copies, n_sources)))


class TestMatch:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 64), st.integers(0, 10**6), st.sampled_from(MATCHINGS))
    def test_palettes_of_one_size_are_permuted(self, n_colors: int, seed: int, method: str) -> None:
        assignment = match(random_palette(n_colors, seed), random_palette(n_colors, seed + 1), method)
        assert assignment.dtype == torch.int64
        assert sorted(assignment.tolist()) == list(range(n_colors))

    def test_equal_palettes_stay(self) -> None:
        colors = random_palette(16)
        shuffled = torch.randperm(16, generator=torch.Generator().manual_seed(0))
        assert torch.equal(shuffled[match(colors, colors[shuffled])], torch.arange(16))

    @pytest.mark.parametrize("method", MATCHINGS)
    @pytest.mark.parametrize(("n_sources", "n_targets"), [(5, 5), (4, 6), (5, 2), (6, 4), (3, 1), (1, 4)])
    @pytest.mark.parametrize("many_to_one", [False, True])
    def test_is_the_best_of_all(self, method: str, n_sources: int, n_targets: int, many_to_one: bool) -> None:
        source, target = random_palette(n_sources, 1), random_palette(n_targets, 2)
        assignment = match(source, target, method, many_to_one=many_to_one)
        best = max(total(source, target, method, a) for a in all_assignments(n_sources, n_targets, many_to_one))
        assert total(source, target, method, assignment.tolist()) == pytest.approx(best)

    def test_small_targets_are_shared_evenly(self) -> None:
        counts = match(random_palette(10), random_palette(4, 1)).bincount(minlength=4)
        assert counts.max() <= 3

    def test_many_to_one_takes_the_nearest(self) -> None:
        source, target = random_palette(9), random_palette(20, 1)
        assert torch.equal(match(source, target, many_to_one=True), torch.cdist(source, target).argmin(1))
        farthest = match(source, target, "negative_color", many_to_one=True)
        assert torch.equal(farthest, torch.cdist(source, target).argmax(1))

    @pytest.mark.parametrize("n_targets", [2, 5, 8])
    def test_pinned_pairs_are_kept(self, n_targets: int) -> None:
        source, target = random_palette(5), random_palette(n_targets, 1)
        pinned = {0: 1, 3: 0}
        assignment = match(source, target, pinned=pinned).tolist()
        assert (assignment[0], assignment[3]) == (1, 0)
        rest = [a for a in all_assignments(5, n_targets) if (a[0], a[3]) == (1, 0)]
        best = max(total(source, target, "color", a) for a in rest)
        assert total(source, target, "color", assignment) == pytest.approx(best)

    def test_pins_may_share_a_target(self) -> None:
        assignment = match(random_palette(4), random_palette(4, 1), pinned={0: 2, 1: 2, 3: 2}).tolist()
        assert assignment[0] == assignment[1] == assignment[3] == 2 != assignment[2]
        everything = {index: 0 for index in range(4)}
        assert match(random_palette(4), random_palette(4, 1), pinned=everything).tolist() == [
            0,
            0,
            0,
            0,
        ]

    def test_frequency_pairs_equal_shares(self) -> None:
        counts = torch.tensor([10, 70, 20])
        options = {"source_counts": counts, "target_counts": 5 * counts[[2, 0, 1]]}
        colors = match(random_palette(3), random_palette(3, 1), "frequency", **options)
        assert colors.tolist() == [1, 2, 0]

    def test_intensity_pairs_equal_brightness(self) -> None:
        source = torch.tensor([[1.0, 0, 0], [0.2, 0.2, 0.1], [1, 1, 0]])
        target = torch.tensor([[0, 0.5, 0], [0, 1.0, 1.0], [0.3, 0.3, 0.4]])
        assert match(source, target, "intensity").tolist() == [2, 0, 1]

    @pytest.mark.parametrize("distance", ["ciede2000", "oklab"])
    def test_other_distances(self, distance: str) -> None:
        source, target = random_palette(6), random_palette(9, 1)
        columns = [palette_[:, :, None].transpose(0, 1) for palette_ in (source, target)]  # (3, n, 1)
        if distance == "oklab":
            first, second = (rgb_to_oklab(column)[:, :, 0].T for column in columns)
            nearest = torch.cdist(first, second).argmin(1)
        else:
            first, second = (rgb_to_lab(column) for column in columns)
            nearest = ciede2000(first, second.mT).argmin(1)
        assert torch.equal(match(source, target, distance=distance, many_to_one=True), nearest)

    @pytest.mark.parametrize("method", MATCHINGS)
    @pytest.mark.parametrize(("n_sources", "n_targets", "many_to_one"), [(4, 4, False), (5, 2, False), (3, 4, True)])
    def test_k_best_ranks_all_assignments(self, method: str, n_sources: int, n_targets: int, many_to_one: bool) -> None:
        source, target = random_palette(n_sources, 1), random_palette(n_targets, 2)
        assignments = all_assignments(n_sources, n_targets, many_to_one)
        ranked = sorted((total(source, target, method, a) for a in assignments), reverse=True)
        found = match_k_best(source, target, 1000, method, many_to_one=many_to_one)
        assert sorted(map(tuple, found.tolist())) == assignments
        np.testing.assert_allclose([total(source, target, method, a) for a in found.tolist()], ranked)
        few = match_k_best(source, target, 7, method, many_to_one=many_to_one)
        np.testing.assert_allclose([total(source, target, method, a) for a in few.tolist()], ranked[:7])

    def test_k_best_starts_with_the_match_and_keeps_pins(self) -> None:
        source, target = random_palette(12), random_palette(12, 1)
        found = match_k_best(source, target, 5, pinned={3: 7})
        assert torch.equal(found[0], match(source, target, pinned={3: 7}))
        assert (found[:, 3] == 7).all()
        assert len(found.unique(dim=0)) == 5

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "semantic"}, "choose one of color"),
            ({"distance": "cmyk"}, "choose one of rgb"),
            ({"method": "frequency"}, "source_counts with 3"),
            ({"method": "frequency", "source_counts": torch.ones(3)}, "target_counts with 4"),
            ({"method": "frequency", "source_counts": torch.zeros(3)}, "not all 0"),
            ({"pinned": {3: 0}}, "has 3 colours"),
            ({"pinned": {0: 4}}, "target palette 4"),
            ({"pinned": {-1: 0}}, "has 3 colours"),
        ],
    )
    def test_refuses_what_does_not_fit(self, options, message: str) -> None:
        with pytest.raises(InputError, match=message):
            match(random_palette(3), random_palette(4), **options)
        with pytest.raises(InputError, match=message):
            match_k_best(random_palette(3), random_palette(4), 2, **options)

    def test_refuses_what_is_no_palette(self) -> None:
        for bad in (torch.rand(0, 3), torch.rand(3), torch.rand(3, 4)):
            with pytest.raises(InputError, match=r"give \(n, 3\)"):
                match(bad, random_palette(3))
            with pytest.raises(InputError, match=r"give \(n, 3\)"):
                match(random_palette(3), bad)
        with pytest.raises(InputError, match="at least 1"):
            match_k_best(random_palette(3), random_palette(3), 0)


class TestSources:
    def test_colormap_holds_the_ends(self) -> None:
        colors = colormap_palette("viridis", 5)
        expected = [matplotlib.colormaps["viridis"](position)[:3] for position in (0.0, 0.25, 0.5, 0.75, 1.0)]
        torch.testing.assert_close(colors, torch.tensor(expected, dtype=torch.float32))

    def test_colormap_of_one_color_is_its_middle(self) -> None:
        assert torch.equal(colormap_palette("magma", 1)[0], colormap_palette("magma", 3)[1])

    def test_colormap_refuses_unknown_names_and_sizes(self) -> None:
        with pytest.raises(InputError, match="'viridian'"):
            colormap_palette("viridian", 4)
        with pytest.raises(InputError, match="at least 1"):
            colormap_palette("viridis", 0)

    @pytest.mark.parametrize(
        "colors", ["#ff8000, #000 fff", ["ff8000", "#000000", " #FFFFFF "], ("f80000", "000", "fff")]
    )
    def test_hex(self, colors) -> None:
        orange = 0 if colors[0] == "f80000" else 128 / 255
        red = 248 / 255 if colors[0] == "f80000" else 1
        expected = torch.tensor([[red, orange, 0], [0, 0, 0], [1, 1, 1]])
        torch.testing.assert_close(parse_hex(colors), expected)

    @pytest.mark.parametrize("colors", ["", [], "#ff80", "#gggggg", ["#ff8000", "red"], "0xff8000"])
    def test_hex_refuses_other_strings(self, colors) -> None:
        with pytest.raises(InputError, match="give"):
            parse_hex(colors)


EXPECTED = torch.tensor([[255.0, 128, 0], [0, 0, 0], [51, 102, 204]]) / 255
GPL = "GIMP Palette\nName: Dusk\nColumns: 3\n# comment\n255 128   0\tOrange\n  0   0   0\n 51 102 204\tSky 7\n"


def ase(*swatches: tuple[bytes, tuple[float, ...]]) -> bytes:
    """An Adobe Swatch Exchange file with a group around its swatches."""
    name = "näme\0"
    text = struct.pack(">H", len(name)) + name.encode("utf-16-be")
    blocks = [struct.pack(">HI", 0xC001, len(text)) + text]
    for model, numbers in swatches:
        body = text + model + struct.pack(f">{len(numbers)}fH", *numbers, 2)
        blocks.append(struct.pack(">HI", 1, len(body)) + body)
    blocks.append(struct.pack(">HI", 0xC002, 0))
    return struct.pack(">4sHHI", b"ASEF", 1, 0, len(blocks)) + b"".join(blocks)


RGB_SWATCHES = [(b"RGB ", tuple(row)) for row in EXPECTED.tolist()]


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.gpl", GPL.encode()),
            ("b.GPL", ("\ufeff" + GPL.replace("\n", "\r\n")).encode()),
            ("a.ase", ase(*RGB_SWATCHES)),
            ("a.json", json.dumps(["#ff8000", "#000", "3366cc"]).encode()),
            (
                "b.json",
                json.dumps({"palette": [[255, 128, 0], [0, 0, 0], [51, 102, 204]]}).encode(),
            ),
            ("c.json", json.dumps({"colors": [{"hex": "ff8000"}, [0.0, 0, 0], [0.2, 0.4, 0.8]]}).encode()),
        ],
    )
    def test_kinds(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        torch.testing.assert_close(load_palette(tmp_path / name), EXPECTED)
        torch.testing.assert_close(load_palette(str(tmp_path / name)), EXPECTED)

    def test_color_models_of_adobe(self, tmp_path: Path) -> None:
        swatches = [
            (b"Gray", (0.25,)),
            (b"CMYK", (0.0, 0.5, 1.0, 0.2)),
            (b"LAB ", (1.0, 0.0, 0.0)),
            RGB_SWATCHES[0],
        ]
        (tmp_path / "models.ase").write_bytes(ase(*swatches))
        expected = torch.tensor([[0.25, 0.25, 0.25], [0.8, 0.4, 0], [1, 1, 1], [1, 128 / 255, 0]])
        torch.testing.assert_close(load_palette(tmp_path / "models.ase"), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.txt", b"#ff8000"),
            ("a.gpl", b""),
            ("a.gpl", b"JASC-PAL\n0100\n1\n255 128 0\n"),
            ("a.gpl", b"GIMP Palette\n"),
            ("a.gpl", b"GIMP Palette\n255 128\n"),
            ("a.gpl", b"GIMP Palette\n256 0 0\n"),
            ("a.ase", b""),
            ("a.ase", b"ASEX" + ase(*RGB_SWATCHES)[4:]),
            ("a.ase", ase(*RGB_SWATCHES)[:60]),
            ("a.ase", ase((b"HSB ", (0.0, 0.0, 0.0)))),
            ("a.ase", ase((b"RGB ", (0.0, float("nan"), 0.0)))),
            ("a.ase", ase()),
            ("a.json", b"{"),
            ("a.json", b"[]"),
            ("a.json", b"7"),
            ("a.json", b'{"swatches": []}'),
            ("a.json", b"[[0, 1]]"),
            ("a.json", b"[[0, 1, 300]]"),
            ("a.json", b'["#ff80"]'),
            ("a.json", b"\xff\xfe"),
        ],
    )
    def test_refuses_damaged_and_unknown_files(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            load_palette(tmp_path / name)

    def test_refuses_missing_files(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="give an existing palette file"):
            load_palette(tmp_path / "none.gpl")
