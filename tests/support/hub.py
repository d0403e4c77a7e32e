"""A model hub on this machine, and its cache, as far as huggingface_hub and diffusers read from it."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from dequant.pipelines.saving import WITHOUT_CODE

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(NamedTuple):
    """Its address, and the files asked for so far, as "OWNER/NAME/PATH"."""

    url: str
    fetched: list[str]


@contextmanager
def serve(repositories: Mapping[str, Path]) -> Iterator[Hub]:
    """Serve folders as models with these ids."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            for name, folder in repositories.items():
                if path.startswith(f"/{name}/resolve/"):
                    file = path.removeprefix(f"/{name}/resolve/").partition("/")[2]
                    if (folder / file).is_file():
                        fetched.append(f"{name}/{file}")
                        return self.send((folder / file).read_bytes(), body)
                elif path.startswith(f"/api/models/{name}/tree/"):
                    return self.send(json.dumps(listing(folder)).encode(), body)
                elif path in (f"/api/models/{name}", *(f"/api/models/{name}/revision/{r}" for r in ("main", COMMIT))):
                    siblings = [{"rfilename": entry["path"]} for entry in listing(folder)]
                    return self.send(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode(), body)
            self.send_error(404)

        def send(self, content: bytes, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Hub(f"http://127.0.0.1:{server.server_port}", fetched)
    finally:
        server.shutdown()
        server.server_close()


def cached(folder: Path, cache: Path, patterns: Sequence[str] = WITHOUT_CODE) -> Path:
    """A cache of the hub with what is fetched of a folder, as owner/name."""
    repository = cache / "models--owner--name"
    snapshot = repository / "snapshots" / COMMIT
    for pattern in patterns:
        for file in folder.rglob(pattern):
            copy = snapshot / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return cache


def listing(folder: Path) -> list[dict[str, Any]]:
    """Its files, in the words of the hub."""
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
