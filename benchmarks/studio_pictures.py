"""The pictures of docs/studio.md: `python -m benchmarks.studio_pictures KODAK24 docs/images`."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from dequant.errors import one_sentence
from tests.support.browser import Server, Visit, browsing


def palette(visit: Visit, photos: Path) -> None:
    """A colour of the palette has changed, half of the photo is as before."""
    page = visit.page
    visit.open(photos / "23.png")
    page.fill("#n", "12")
    page.dispatch_event("#n", "change")
    time.sleep(2)
    page.locator(".swatch").nth(4).click()
    page.fill("#hex", "#3c6fd6")
    page.press("#hex", "Enter")
    visit.wait("#kind", "after")
    page.fill("#split", "46")


def thing(visit: Visit, photos: Path) -> None:
    """Two things have other colours."""
    page = visit.page
    visit.open(photos / "3.png")
    page.uncheck("#live")
    page.click("#tab-things")
    visit.wait("#said", "Click a thing", seconds=60)
    for place, color in (((0.25, 0.4), "#e0559a"), ((0.5, 0.55), "#2f7fd0")):
        visit.click(*place)
        page.fill("#thing-hex", color)
        page.click("#give")
    page.click("#draw")
    visit.wait("#kind", "after")
    visit.click(0.86, 0.69)
    time.sleep(0.5)


def report(visit: Visit, photos: Path) -> None:
    """What was asked for and delivered, both pictures side by side."""
    page = visit.page
    visit.open(photos / "5.png")
    page.click("#from summary")
    page.select_option("#map", "magma")
    visit.wait("#said", "6 assignments", seconds=60)
    visit.wait("#kind", "after")
    page.click("text=Side by side")
    page.click("#tab-report")
    time.sleep(0.5)


PICTURES = {
    "studio_palette": (palette, (1360, 860), "dark"),
    "studio_thing": (thing, (1360, 860), "light"),
    "studio_report": (report, (1360, 860), "dark"),
    "studio_narrow": (palette, (430, 860), "light"),
}


def main(
    photos: Annotated[Path, typer.Argument(help="The folder of Kodak's photos.")],
    folder: Annotated[Path, typer.Argument(help="Of the pictures.")],
) -> None:
    """Drive the studio, and take its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own, Server(Path(own)) as server:
        for name, (act, (width, height), scheme) in PICTURES.items():
            with browsing(width, height, color_scheme=scheme) as context:
                visit = Visit(context, server.url)
                act(visit, photos)
                visit.page.screenshot(path=folder / f"{name}.png")
                print(folder / f"{name}.png", flush=True)


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
