"""The site of the documentation in a real browser, and the notebooks in a real kernel."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest
import yaml
from nbclient import NotebookClient
from playwright.sync_api import sync_playwright

import dequant
from tests.support.browser import CHROMIUM, FLAGS, need_browser
from tests.support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.md"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of the site, built anew; a warning fails."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    handler = functools.partial(Quiet, directory=tmp_path / "site")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files without a log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.slow
def test_the_site_needs_no_other_server(site: str) -> None:
    need_browser()
    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        for name in ("index", "artists", "results/index", "cards/index", "decisions/index", "reference/color"):
            assert page.goto(f"{site}/{name}.html").ok  # type: ignore[union-attr]
        page.goto(f"{site}/concepts.html")
        line = page.get_by_label("How much is shown of the picture on the left")
        line.focus()
        for _ in range(10):
            page.keyboard.press("ArrowLeft")
        assert page.locator(".compare").evaluate("one => one.style.getPropertyValue('--line')") == "40%"
        page.get_by_label("Picture on the right").select_option("photo")
        shown = page.locator(".compare img").last
        shown.evaluate("one => one.decode()")
        assert shown.get_attribute("src") == "images/concept_photo.jpg" and shown.evaluate("one => one.naturalWidth")
        page.keyboard.press("/")
        page.get_by_label("Search").first.fill("bipartite")
        page.get_by_role("link", name="From the paper to the code").last.wait_for()
        browser.close()
    assert not said and all(one.startswith((site, "data:", "blob:")) for one in asked)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fewer steps; each cell that is left ends without an error."""
    for name in ("train.py", "conf"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("STEPS", "2")
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    printed = [output.get("text", "") for cell in cells for output in cell.outputs]
    assert not any("Traceback" in text or "error:" in text for text in printed), printed
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs) >= 1


def test_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == dequant.__version__
    assert yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())["name"]
