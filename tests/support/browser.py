"""A real browser on a real studio."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]
MISSING = "There is no Chromium: install it (Debian: apt-get install chromium) to test the studio in a browser."


def need_browser() -> None:
    """Skip a test where there is no browser; in CI that is a failure."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)


class Server:
    """`dequant studio` in a process of its own.

    Args:
        folder: for its temporary files.
        port: 0 for a free one.
        options: of the command.
    """

    def __init__(self, folder: Path, port: int = 0, *options: str) -> None:
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "dequant.cli", "studio", "--no-browser", "--port", str(port), *options]
        environment = {**os.environ, "TMPDIR": str(folder)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline()]
        while not lines[-1].startswith("http"):
            assert lines[-1], "the server has ended"
            lines.append(self.process.stdout.readline())
        self.url = lines[-1].strip()
        self.port = int(self.url.partition("?")[0].rstrip("/").rsplit(":", 1)[1])

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it, and wait until it has."""
        self.process.send_signal(how)
        self.process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()


class Visit:
    """A page of a studio, and all that it asked for and complained about."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url, self.page = url, context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(str(message.text)))
        self.page.goto(url)
        self.page.wait_for_selector("html[data-theme]", timeout=60_000)  # its modules run

    def said(self) -> str:
        """What the page says last."""
        return self.page.inner_text("#said")

    def wait(self, selector: str, *texts: str, seconds: float = 120) -> str:
        """Wait until an element has one of these texts, or begins with it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.page.inner_text(selector)
            if found.startswith(texts):
                return found
            time.sleep(0.05)
        raise AssertionError(f"{selector} has {self.page.inner_text(selector)!r} and not {texts}: {self.said()}")

    def open(self, path: Path) -> None:
        """Open a photo, and wait for its palette."""
        self.page.set_input_files("#file", path)
        self.page.wait_for_selector(".swatch", state="attached", timeout=60_000)
        self.wait("#said", path.name, "This photo is grey")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a share of the picture's sides is on the screen."""
        box = self.page.locator("#after").bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def click(self, x: float, y: float, **options: object) -> None:
        """Click there."""
        self.page.mouse.click(*self.place(x, y), **options)  # type: ignore[arg-type]

    def download(self, button: str, folder: Path) -> Path:
        """The file that a button gives."""
        with self.page.expect_download(timeout=120_000) as found:
            self.page.click(button)
        path = folder / found.value.suggested_filename
        found.value.save_as(path)
        return path

    def check(self) -> None:
        """Nothing was asked of another address, and nothing was complained about."""
        own = self.url.partition("?")[0].rstrip("/")
        assert [one for one in self.requests if not one.startswith((own, f"blob:{own}"))] == []
        assert self.complaints == []


@contextmanager
def browsing(width: int = 1360, height: int = 860, **options: object) -> Iterator[BrowserContext]:
    """A browser with an empty profile."""
    need_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        viewport = {"width": width, "height": height}
        context = browser.new_context(viewport=viewport, **options)  # type: ignore[arg-type]
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield context
        browser.close()


def hold(page: Page, selector: str, *keys: str) -> None:
    """Press keys in an element."""
    page.focus(selector)
    for key in keys:
        page.keyboard.press(key)
