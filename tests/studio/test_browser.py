"""The studio as people use it: a real browser, a real server, real photos."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Response

from dequant.edit.recipe import read_recipe
from tests.support.browser import Server, Visit, browsing, hold
from tests.support.paths import GOLDEN, ROOT
from tests.support.programs import run

pytestmark = pytest.mark.slow

STATIC = ROOT / "dequant" / "studio" / "static"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
def visit(server: Server) -> Iterator[Visit]:
    with browsing() as context:
        yield Visit(context, server.url)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "five caps.png"
    Image.open(GOLDEN / "caps.png").convert("RGB").resize((240, 160), Image.Resampling.LANCZOS).save(path)
    return path


def swatch(visit: Visit, number: int) -> str:
    """Choose a colour of the palette."""
    one = visit.page.locator(".swatch").nth(number)
    one.click()
    return str(one.get_attribute("data-color"))


def edit_of(visit: Visit) -> dict:
    return json.loads(visit.page.evaluate("localStorage.getItem('dequant.studio')"))["edit"]


def test_a_whole_edit(visit: Visit, photo: Path, tmp_path: Path) -> None:
    """A palette's colour is dragged, a thing is recoloured, a pixel is pinned; all of it lasts and is replayed."""
    page = visit.page
    visit.open(photo)
    assert page.locator(".swatch").count() == 8

    first = swatch(visit, 1)
    hue = page.locator("#lch-h").bounding_box()
    assert hue is not None
    page.mouse.move(hue["x"] + 20, hue["y"] + 9)
    page.mouse.down()
    for step in range(10):
        page.mouse.move(hue["x"] + 20 + 12 * step, hue["y"] + 9)
    assert visit.wait("#kind", "preview", seconds=5)
    page.mouse.up()
    visit.wait("#kind", "after")
    assert list(edit_of(visit)["swaps"]) == [first]

    page.fill("#split", "50")
    assert page.locator("#stage").get_attribute("data-split") is not None
    page.check("text=Side by side", force=True)
    page.check("text=Slider", force=True)
    page.fill("#split", "0")

    page.uncheck("#live")
    page.click("#tab-things")
    visit.wait("#said", "Click a thing", seconds=30)
    visit.click(0.5, 0.55)
    page.fill("#thing-hex", "tomato")
    page.click("#give")
    assert page.locator("#thing-list li").count() == 1

    page.click("#tab-palette")
    page.click("#pinned summary")
    page.click("#pin")
    visit.click(0.7, 0.2)
    visit.click(0.9, 0.2)
    page.keyboard.press("Escape")
    assert page.locator("#pin-list li").count() == 2
    page.click("#undo")
    assert page.locator("#pin-list li").count() == 1

    page.click("#draw")
    visit.wait("#kind", "after")
    page.click("#tab-report")
    rows = page.locator("#table tbody tr th, #table tbody tr td:first-child").all_inner_texts()
    assert [one for one in rows if one.startswith("pin")] == ["pin 1"] and "thing 1" in rows
    page.click("#edges-on")
    picture, recipe = visit.download("#download", tmp_path), visit.download("#recipe", tmp_path)
    assert picture.name == "five caps.dequant.png" and visit.download("#lut", tmp_path).suffix == ".cube"
    page.click("#copy")
    assert page.evaluate("navigator.clipboard.readText()") == (
        "dequant replay 'five caps.dequant.yaml' 'five caps.png'"
    )

    page.reload()
    visit.wait("#said", "five caps.png is as you left it")
    assert page.locator("#pin-list li").count() == 1 and page.locator("#thing-list li").count() == 1
    page.click("#undo")
    assert page.locator("#pin-list li").count() == 0

    done = run("dequant.cli", "replay", str(recipe), str(photo), "-o", "again.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.png").read_bytes() == picture.read_bytes()
    found = read_recipe(recipe)
    assert found.operation == "repaint" and len(found.edit["regions"]) == len(found.edit["pins"]) == 1
    visit.check()


def test_the_copied_command_makes_the_same_picture(visit: Visit, photo: Path, tmp_path: Path) -> None:
    visit.open(photo)
    swatch(visit, 0)
    visit.page.fill("#hex", "rebeccapurple")
    visit.page.press("#hex", "Enter")
    visit.wait("#kind", "after")
    picture = visit.download("#download", tmp_path)
    visit.page.click("#copy")
    line = visit.page.evaluate("navigator.clipboard.readText()")
    assert line.startswith("dequant repaint 'five caps.png' -n 8 --pin-color '#")
    words = re.findall(r"'[^']*'|\S+", line)[1:]
    done = run("dequant.cli", *[word.strip("'") for word in words], "-o", "same.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "same.png").read_bytes() == picture.read_bytes()
    visit.check()


def test_an_edit_by_the_keyboard_alone(visit: Visit, photo: Path) -> None:
    page = visit.page
    with page.expect_file_chooser() as chooser:
        hold(page, "#open", "Enter")
    chooser.value.set_files(photo)
    page.wait_for_selector(".swatch")
    hold(page, ".swatch[tabindex='0']", "ArrowRight", "ArrowRight")
    assert page.locator(".swatch[aria-checked='true']").count() == 1
    hold(page, "#lch-h", *["ArrowRight"] * 8)
    assert len(edit_of_soon(visit, "swaps")) == 1
    page.keyboard.press("Alt+2")
    visit.wait("#said", "Click a thing", "Done", seconds=30)  # the hue is drawn meanwhile
    hold(page, "#stage", "ArrowRight", "ArrowDown", "Enter", "+", "-")
    hold(page, "#thing-hex", "Control+a")
    page.keyboard.type("navy")
    page.keyboard.press("Enter")
    assert len(edit_of_soon(visit, "things")) == 1
    page.keyboard.press("Alt+1")
    page.keyboard.press("g")
    visit.wait("#kind", "after")
    page.keyboard.press("Control+z")
    assert len(edit_of_soon(visit, "things", 0)) == 0
    page.keyboard.press("Control+Shift+Z")
    assert len(edit_of_soon(visit, "things")) == 1
    visit.check()


def edit_of_soon(visit: Visit, name: str, count: int = 1) -> list | dict:
    """A part of the edit, once it is kept."""
    for _ in range(60):
        if visit.page.evaluate("localStorage.getItem('dequant.studio')") and len(edit_of(visit)[name]) == count:
            break
        time.sleep(0.05)
    return edit_of(visit)[name]


def test_work_survives_a_restart_of_the_server(photo: Path, tmp_path: Path) -> None:
    with browsing() as context:
        with Server(tmp_path / "one") as server:
            visit = Visit(context, server.url)
            visit.open(photo)
            visit.page.uncheck("#live")
            color = swatch(visit, 2)
            visit.page.fill("#hex", "#123456")
            visit.page.press("#hex", "Enter")
            assert edit_of_soon(visit, "swaps") == {color: "#123456"}
        with Server(tmp_path / "two", server.port):
            visit.page.reload()
            visit.wait("#said", "five caps.png is as you left it")
            assert visit.page.locator(".swatch").count() == 8
            assert edit_of(visit)["swaps"] == {color: "#123456"}
            context.clear_cookies()  # a session that is lost while the page stays open
            visit.page.click("#draw")
            visit.wait("#kind", "after")
    assert [list((tmp_path / name).iterdir()) for name in ("one", "two")] == [[], []]


def test_a_grey_photo_is_offered_colour(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.open(GOLDEN / "caps.png").convert("L").resize((96, 64)).save(path)
    visit.open(path)
    page = visit.page
    assert page.locator("#tab-colorize").get_attribute("aria-selected") == "true"
    page.fill("#words", "a red shirt on green")
    page.click("#color")
    visit.wait("#said", "Done")
    page.click("#copy")
    assert page.evaluate("navigator.clipboard.readText()") == (
        "dequant colorize grey.png --method diffusing_colors --prompt 'a red shirt on green'"
    )
    page.fill("#words", "other words, which nobody asked to be drawn")
    page.click("#copy")
    assert "other words" not in page.evaluate("navigator.clipboard.readText()")
    page.click("#tab-palette")
    swatch(visit, 0)
    page.fill("#hex", "tomato")
    page.press("#hex", "Enter")
    assert "Colorize shows the colorization again" in visit.said()
    visit.check()


def test_the_photo_that_was_opened_last_is_shown(visit: Visit, photo: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    Image.open(photo).resize((2400, 1600)).save(large)
    answers: list[Response] = []
    visit.page.on("response", lambda one: answers.append(one))  # Playwright takes no builtins
    visit.page.set_input_files("#file", large)
    visit.page.set_input_files("#file", photo)
    visit.wait("#said", "five caps.png: 240 × 160 pixels")
    visit.page.wait_for_timeout(3000)
    assert visit.page.locator("#name").inner_text().startswith("five caps.png")
    assert sum("set-cookie" in one.all_headers() for one in answers) == 1  # one session
    visit.check()


def test_a_locked_colour_stays_and_a_report_goes_with_its_picture(visit: Visit, photo: Path) -> None:
    visit.open(photo)
    page = visit.page
    swatch(visit, 1)
    page.fill("#hex", "tomato")
    page.press("#hex", "Enter")
    visit.wait("#kind", "after")
    assert page.locator("#table table").count() == 1
    page.uncheck("#live")
    swatch(visit, 2)
    page.click("#lock")
    page.fill("#hex", "navy")
    page.press("#hex", "Enter")
    assert visit.said() == "This colour is locked: unlock it first."
    swatch(visit, 3)
    page.fill("#hex", "navy")
    page.press("#hex", "Enter")
    assert page.locator("#kind").inner_text() == "preview" and page.locator("#table table").count() == 0
    page.locator("#n").press("ArrowRight")
    assert visit.said() == "Another palette has other colours, so the changes are gone: Undo brings them back."
    visit.check()


def test_a_click_chooses_a_colour_where_a_drag_moves_the_picture(visit: Visit, photo: Path) -> None:
    page = visit.page
    visit.open(photo)
    for _ in range(3):
        page.click("#in")
    box = page.locator("#pane-after").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.locator("#pane-after .sheet").get_attribute("style")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=4)
    page.mouse.up()
    assert page.locator("#pane-after .sheet").get_attribute("style") != before
    assert page.locator(".swatch[aria-checked='true']").count() == 0
    page.mouse.click(x, y)
    assert page.locator(".swatch[aria-checked='true']").count() == 1
    visit.check()


def test_errors_are_one_plain_sentence(visit: Visit, tmp_path: Path, photo: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image at all")
    visit.page.set_input_files("#file", broken)
    visit.wait("#said", "'broken.jpg' is not an image")
    assert visit.page.locator("#said").get_attribute("role") == "alert"
    assert "Traceback" not in visit.said()
    visit.open(photo)
    swatch(visit, 0)
    visit.page.fill("#hex", "no colour")
    visit.page.press("#hex", "Enter")
    assert visit.said() == '"no colour" is no colour: give one such as #c81e1e, tomato or oklch(60% 0.2 30).'


def test_every_control_has_a_name(visit: Visit) -> None:
    nameless = visit.page.evaluate(
        """() => [...document.querySelectorAll("button, input:not([hidden]), select, textarea, [role='tab']")]
        .filter((one) => one.type !== "file")
        .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length))
        .filter((one) => !one.querySelector("img[alt]"))
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    ids = visit.page.evaluate("() => [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


def test_colours_of_the_page_have_contrast() -> None:
    """At least 4.5 to 1 for text (WCAG AA), in both themes."""
    css = (STATIC / "style.css").read_text()
    for theme in re.findall(r":root[^{]*\{(.*?)\}", css, re.DOTALL):
        color = dict(re.findall(r"--([\w-]+): (#\w{6});", theme))
        pairs = [(ink, ground) for ink in ("ink", "faint", "wrong") for ground in ("page", "panel", "raised")]
        pairs += [("ink", "stage"), ("faint", "stage"), ("on-accent", "accent"), ("focus", "panel")]
        assert {pair: value for pair in pairs if (value := contrast(*(color[one] for one in pair))) < 4.5} == {}


def contrast(one: str, other: str) -> float:
    light = sorted((luminance(one), luminance(other)))
    return (light[1] + 0.05) / (light[0] + 0.05)


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_nothing_of_the_page_comes_from_elsewhere() -> None:
    for path in STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import|innerHTML|\beval\(", text), path.name
