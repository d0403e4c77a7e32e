import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from dequant.cli.main import main
from tests.support.paths import GOLDEN, ROOT


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a server on a free port, and its process, whose temporary files are in `tmp_path`."""
    command = [sys.executable, "-m", "dequant.cli", "serve", "--port", "0", "--max-mb", "1"]
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        process.kill()


@pytest.mark.slow
def test_a_server_takes_photos_and_leaves_nothing(server: tuple[str, subprocess.Popen], tmp_path: Path) -> None:
    url, process = server
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    with httpx2.Client(base_url=url, trust_env=False) as client:
        told = client.post("/v1/photos", content=(GOLDEN / "caps.png").read_bytes())
        assert told.status_code == 201
        assert client.get(f"/v1/photos/{told.json()['id']}").json() == told.json()
        assert client.get("/v1/info", headers={"Host": "evil.example"}).status_code == 403
        assert "server" not in told.headers
    assert endless(url) == b"HTTP/1.1 413"
    (root,) = tmp_path.glob("dequant-*")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not root.exists()
    assert process.stderr is not None and process.stderr.read() == ""


def endless(url: str) -> bytes:
    """The status with which a server ends a body that has no end."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /v1/photos HTTP/1.1\r\nHost: {host}:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(33):  # 2 KiB beyond the limit
            connection.sendall(b"8000\r\n" + bytes(0x8000) + b"\r\n")
        return connection.recv(12)


def test_a_taken_port_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = failure(["--port", str(taken.getsockname()[1])], capsys)
    assert said.startswith("error: Cannot listen on port") and "--port" in said


@pytest.mark.parametrize(
    ("host", "sentence"), [("0.0.0.0", "every address"), ("::", "every address"), ("no such host", "no address")]
)
def test_a_wrong_host_is_one_sentence(host: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in failure(["--host", host], capsys)


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'dequant[studio]'" in failure([], capsys)


def failure(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(["serve", *arguments])
    assert end.value.code == 2
    return capsys.readouterr().err
