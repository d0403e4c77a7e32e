"""Grids of pictures: of all variants, and with a column per value."""

import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import torch
from PIL import Image

from dequant.condition.texture_maps import thresholded_gradient_map
from dequant.evaluation import runner
from dequant.evaluation.gallery import Gallery
from dequant.evaluation.protocols import colormap_transfer
from dequant.evaluation.runner import Work
from dequant.io import figures


def work() -> Work:
    photos = [(f"photo_{i}", torch.rand(3, 24, 24 + 8 * i)) for i in range(2)]
    protocol = partial(
        colormap_transfer, texture_map=thresholded_gradient_map, colormaps=["viridis", "magma"], n_colors=[4, 8]
    )
    return Work(runner.choose(photos), protocol, 0)


def test_a_grid_shows_what_is_kept_of_all_variants(tmp_path: Path) -> None:
    chosen = work()
    gallery = Gallery(tmp_path / "pictures", chosen, photos=2, where={"n_colors": [8], "texture": ["on"]})
    assert len(gallery.cases) == 2 * 2
    for case in chosen.cases(chosen.photos[0]):
        gallery.keep("T", case, case.source)
        gallery.keep("identity", case, case.asked)
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 2
    gallery.save("T", tmp_path)
    before = Image.open(tmp_path / "grid_viridis.png").size
    again = Gallery(tmp_path / "pictures", chosen, photos=2, where={"n_colors": [8], "texture": ["on"]})
    for case in again.cases:
        again.keep("L", case, case.source)
    kept = next((tmp_path / "pictures").rglob("*.png"))
    kept.with_name(".L.0a1b.partial.png").touch()  # left by a kill
    again.save("L", tmp_path)
    assert Image.open(tmp_path / "grid_magma.png").width > before[0]
    assert {path.name for path in tmp_path.glob("*.png")} == {"grid_viridis.png", "grid_magma.png"}


def test_the_index_links_every_picture_by_photo(tmp_path: Path) -> None:
    photos = [(name, torch.rand(3, 24, 24 + 8 * i)) for i, name in enumerate(("<b>&.jpg", "ü.jpg"))]
    chosen = Work(runner.choose(photos), work().protocol, 0)
    gallery = Gallery(tmp_path / "pictures", chosen, photos=2, where={"n_colors": [8], "texture": ["on"]})
    for case in gallery.cases:
        gallery.keep("T", case, case.source)
    gallery.keep("T@my run#1-0a1b", gallery.cases[0], gallery.cases[0].source)
    gallery.save("T", tmp_path)
    page = (tmp_path / "pictures" / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;.jpg" in page and "<b>" not in page and "ü.jpg" in page
    assert "ours-T, my run#1-0a1b" in page
    links = re.findall('href="([^"]*)"', page)
    assert len(links) == 4 * 3 + 1
    assert all((tmp_path / "pictures" / unquote(link)).is_file() for link in links)


def test_a_grid_has_no_holes(tmp_path: Path) -> None:
    """Methods that take part only with texture, or only without, stand in grids of their own."""
    chosen = Work(work().photos[:1], work().protocol, 0)
    gallery = Gallery(tmp_path / "pictures", chosen, photos=1)
    for number, case in enumerate(gallery.cases):
        for name in ("a", "b", "c", "d"):
            if (name in "ab") == (number % 2 == 0):
                gallery.keep(name, case, case.source)
    gallery.save("T", tmp_path)
    picture = Image.open(tmp_path / "grid_viridis.png")
    whole = figures.grid(
        {name: torch.rand(2, 3, 24, 24) for name in "12345678"}, ["4 colours, texture on, viridis"] * 2
    )
    assert picture.width < whole.width


def test_a_matrix_has_a_column_per_value(tmp_path: Path) -> None:
    chosen = work()
    gallery = Gallery(tmp_path / "pictures", chosen, photos=1, where={"texture": ["on"]}, across="method")
    for case in gallery.cases:
        gallery.keep("T", case, case.asked)
    gallery.save("T", tmp_path)
    one_column = figures.grid({"photo": torch.rand(2, 3, 24, 24)}, ["4 colours, texture on"] * 2)
    assert Image.open(tmp_path / "grid_T.png").width > 2.5 * (one_column.width - 150)
    assert [path.name for path in tmp_path.glob("*.png")] == ["grid_T.png"]
