"""How fast the studio is, and whether it stays so: `python -m benchmarks.studio PHOTO [--csv FILE] [--minutes 5]`.

A real browser on a real server. The photo is used at 2 megapixels for the palette, at 512 pixels for results.

    drag, frame        milliseconds between two frames while a colour is dragged, 2 megapixels (median and p95)
    drag, work         milliseconds of those that the page works
    guided preview     milliseconds per megapixel in the page's worker
    first result       seconds from the change of a colour to the network's picture, 512 pixels: right after the
                       photo is opened, and 15 s later
    memory             MiB of the server after 10 and after 110 edits
    crowd              20 clients at once that upload, edit, cancel, reload and send broken images: requests, results of
                       another one, requests that failed, MiB and files before and 5 s after
"""

import io
import json
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import httpx2 as httpx
import torch
import typer
from PIL import Image

from dequant.errors import one_sentence
from dequant.io.files import write_csv
from dequant.provenance import check_clean, provenance
from tests.support.browser import Server, Visit, browsing

COLUMNS = ("what", "figure", "value", "unit", "command", "commit", "hardware", "torch", "date")
CLIENTS, EDITS, WARM, SIDE, PIXELS = 20, 100, 10, 512, 2**21

DRAG = """async () => {
    const slider = document.querySelector("#lch-h");
    const [frames, works] = [[], []];
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < 180; i++) {
        slider.value = (i * 7) % 360;
        const start = performance.now();
        slider.dispatchEvent(new Event("input", {bubbles: true}));
        works.push(performance.now() - start);
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
    }
    slider.dispatchEvent(new Event("change", {bubbles: true}));
    return [frames.slice(20), works.slice(20)];
}"""

Row = tuple[str, str, float, str]


def memory(server: Server) -> float:
    """MiB that the server holds."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def held(folder: Path) -> int:
    """Files and folders that servers hold there."""
    return len([*folder.glob("dequant-*"), *folder.glob("dequant-*/**/*")])


def dragged(server: Server, photo: Path, folder: Path) -> list[Row]:
    """Frames while a colour is dragged, and the guided preview."""
    image = Image.open(photo).convert("RGB")
    scale = (PIXELS / (image.width * image.height)) ** 0.5
    path = folder / "large.png"
    image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.LANCZOS).save(path)
    rows: list[Row] = []
    with browsing() as context:
        visit = Visit(context, server.url)
        visit.open(path)
        visit.page.uncheck("#live")
        visit.page.locator(".swatch").first.click()
        frames, works = visit.page.evaluate(DRAG)
        for name, values in (("frame", frames), ("work", works)):
            values = sorted(values)
            rows.append((f"drag, {name}", "median", statistics.median(values), "ms"))
            rows.append((f"drag, {name}", "p95", values[int(0.95 * len(values))], "ms"))
        time.sleep(3)
        times = visit.page.evaluate("performance.getEntriesByName('guided').map((one) => one.duration)")
        rows.append(("guided preview", "median", statistics.median(times) / (PIXELS / 1e6), "ms per megapixel"))
    return rows


def first_results(server: Server, photo: Path, folder: Path) -> list[Row]:
    """Seconds from a change to the network's picture."""
    image = Image.open(photo).convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    rows: list[Row] = []
    for name, pause in (("at once", 0.0), ("after 15 s", 15.0)):
        image.putpixel((0, 0), (int(pause), 0, 0))  # another photo, of which the server knows nothing
        image.save(folder / f"{int(pause)}.png")
        with browsing() as context:
            visit = Visit(context, server.url)
            visit.open(folder / f"{int(pause)}.png")
            time.sleep(pause)
            visit.page.locator(".swatch").nth(1).click()
            visit.page.fill("#hex", "#2040c0")
            start = time.perf_counter()
            visit.page.press("#hex", "Enter")
            visit.wait("#kind", "after")
            rows.append(("first result", name, time.perf_counter() - start, "s"))
    return rows


class Client:
    """A program that uses the server, with a session of its own."""

    def __init__(self, url: str, number: int) -> None:
        self.http = httpx.Client(base_url=url, timeout=600)
        self.number, self.random = number, random.Random(number)
        self.asked = self.foreign = self.failed = 0
        self.photo: str | None = None

    def picture(self) -> Image.Image:
        """A photo whose pixels say whose it is."""
        return Image.linear_gradient("L").resize((48, 32)).convert("RGB").point(lambda v: (v + 12 * self.number) % 256)

    def upload(self) -> None:
        """Another photo of the same look."""
        file = io.BytesIO()
        self.picture().save(file, "PNG")
        self.photo = self.post("/v1/photos?n_colors=4", file.getvalue()).json()["id"]

    def post(self, path: str, body: bytes | dict[str, Any], *expected: int) -> httpx.Response:
        """A request; other answers than those expected count as failures, but one: too many wait."""
        given: dict[str, Any] = {"json": body} if isinstance(body, dict) else {"content": body}
        self.asked += 1
        answer = self.http.post(path, **given)
        while answer.status_code == 503:
            time.sleep(self.random.uniform(0.5, 2))
            answer = self.http.post(path, **given)
        self.failed += answer.status_code not in (expected or (200, 201))
        return answer

    def act(self) -> None:
        """Do one of the things that people do."""
        what = self.random.choice(["edit", "edit", "cancel", "reload", "broken", "spy"])
        if self.photo is None or self.random.random() < 0.05:
            self.upload()
        if what == "broken":
            self.post("/v1/photos", b"\x89PNG\r\n\x1a\n" + self.random.randbytes(200), 415)
        elif what == "reload":
            self.asked += 1
            shown = self.http.get(f"/v1/photos/{self.photo}/view.png")
            self.foreign += Image.open(io.BytesIO(shown.content)).convert("RGB").tobytes() != self.picture().tobytes()
        elif what == "spy":
            stranger = httpx.get(f"{self.http.base_url}/v1/photos/{self.photo}/view.png")
            self.asked += 1
            self.foreign += stranger.status_code != 404
        elif what == "cancel":
            self.cancel()
        else:
            region = {"color": "#c81e1e", "box": [0, 0, 8, 8]}
            made = self.post(f"/v1/photos/{self.photo}/repaint", {"regions": [region]})
            if made.status_code == 201:
                picture = Image.open(io.BytesIO(self.http.get(made.json()["url"]).content)).convert("RGB")
                own = self.picture().crop((16, 8, 48, 32)).tobytes()
                self.foreign += picture.crop((16, 8, 48, 32)).tobytes() != own

    def cancel(self) -> None:
        """Ask for an edit as a stream, and leave."""
        self.asked += 1
        body = {"n_colors": 4, "swaps": [{"from": "#000000", "to": "#c81e1e"}], "settings": {"num_inference_steps": 20}}
        accept = {"Accept": "text/event-stream"}
        with self.http.stream("POST", f"/v1/photos/{self.photo}/repaint", json=body, headers=accept) as answer:
            if answer.status_code == 200:
                next(answer.iter_lines())
                time.sleep(self.random.uniform(0, 0.5))

    def live(self, end: float) -> None:
        """Act until then."""
        while time.monotonic() < end:
            try:
                self.act()
            except Exception as error:  # whatever it is, the server did not do what it should
                print(f"client {self.number}: {type(error).__name__}: {error}")
                self.failed += 1
        self.http.delete("/v1/session")


def crowd(server: Server, folder: Path, minutes: float) -> list[Row]:
    """Many clients for some minutes."""
    files, before = held(folder), memory(server)
    clients = [Client(server.url, number) for number in range(CLIENTS)]
    end = time.monotonic() + 60 * minutes
    threads = [threading.Thread(target=one.live, args=(end,)) for one in clients]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    time.sleep(5)
    sums = {name: sum(getattr(one, name) for one in clients) for name in ("asked", "foreign", "failed")}
    return [
        ("crowd", "minutes", minutes, "min"),
        ("crowd", "requests", sums["asked"], ""),
        ("crowd", "pictures of another", sums["foreign"], ""),
        ("crowd", "failed", sums["failed"], ""),
        ("crowd", "memory before", before, "MiB"),
        ("crowd", "memory after", memory(server), "MiB"),
        ("crowd", "files before", files, ""),
        ("crowd", "files after", held(folder), ""),
    ]


def lasting(server: Server) -> list[Row]:
    """Memory over a hundred edits of one photo."""
    client, rows = Client(server.url, 3), list[Row]()
    client.upload()
    color = client.http.get(f"/v1/photos/{client.photo}?n_colors=4").json()["palette"][0]["color"]
    for number in range(WARM + EDITS):
        if number == WARM:
            rows.append(("memory", f"after {WARM} edits", memory(server), "MiB"))
        swap = {"from": color, "to": f"#20{number:02x}c0"}
        client.post(f"/v1/photos/{client.photo}/repaint", {"n_colors": 4, "swaps": [swap]})
    rows.append(("memory", f"after {WARM + EDITS} edits", memory(server), "MiB"))
    client.http.delete("/v1/session")
    return [*rows, ("memory", "edits that failed", client.failed, "")]


def main(
    photo: Annotated[Path, typer.Argument(help="A photo.")],
    csv: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    minutes: Annotated[float, typer.Option(help="Of the crowd.")] = 5,
    allow_dirty: Annotated[bool, typer.Option(help="Publish from a dirty tree.")] = False,
) -> None:
    """Measure, and print the figures."""
    check_clean(csv, allow_dirty)
    with tempfile.TemporaryDirectory() as name:
        folder, own = Path(name), Path(name) / "server"
        with Server(own) as server:
            time.sleep(10)  # weights are loaded
            rows = [*dragged(server, photo, folder), *first_results(server, photo, folder)]
            rows += [*lasting(server), *crowd(server, own, minutes)]
        rows.append(("crowd", "files after the server", held(own), ""))
    for what, figure, value, unit in rows:
        print(f"{what:<16} {figure:<24} {value:.1f} {unit}")
    if csv is not None:
        about = provenance(torch.device("cpu"))
        kinds = ("what", "figure", "value", "unit")
        write_csv(csv, COLUMNS, [dict(zip(kinds, (a, b, f"{c:.2f}", d), strict=True)) | about for a, b, c, d in rows])
    failed = {figure: value for what, figure, value, _ in rows if figure in ("pictures of another", "failed")}
    print(json.dumps(failed))


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
