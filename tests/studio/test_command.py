import re
from functools import partial
from typing import Any

import pytest

from dequant.cli import serve
from dequant.cli.main import main


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What servers were started with; none is."""
    import uvicorn

    from dequant.studio import late

    found: list[dict[str, Any]] = []
    for name, with_page in (("create_late_app", True), ("create_ready_app", False)):
        monkeypatch.setattr(late, name, partial(create, found, with_page))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr(serve.threading, "Timer", lambda seconds, call, arguments: Timer(found, arguments))
    return found


def create(found: list[dict[str, Any]], with_page: bool, names: set[str], limits: object, token: str | None) -> None:
    found.append({"with_page": with_page, "token": token})


class Timer:
    def __init__(self, found: list[dict[str, Any]], arguments: list[str]) -> None:
        found[-1]["opened"] = arguments[0]

    def start(self) -> None:
        """Open no browser."""


def test_the_page_is_opened(started: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    main(["studio", "--port", "0"])
    url = capsys.readouterr().out.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert started[0]["opened"] == url and started[0]["with_page"] and started[0]["token"] is None


def test_or_only_its_address_is_printed(started: list[dict[str, Any]]) -> None:
    main(["studio", "--port", "0", "--no-browser"])
    main(["serve", "--port", "0"])
    assert all("opened" not in one for one in started) and [one["with_page"] for one in started] == [True, False]


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_token_is_made(started: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], host: str) -> None:
    main(["studio", "--host", host, "--port", "0", "--token", "new"])
    said = capsys.readouterr()
    token = started[0]["token"]
    assert len(token) >= 32 and re.fullmatch(rf"http://127\.0\.0\.1:\d+/\?token={token}", said.out.strip())
    assert started[0]["opened"] == said.out.strip()
    assert ("warning" in said.err) == (host == "0.0.0.0")
    main(["serve", "--host", host, "--port", "0", "--token", "new"])
    assert capsys.readouterr().out.strip().endswith(f"\ntoken: {started[1]['token']}")
    assert started[1]["token"] != token


def test_a_token_is_given(started: list[dict[str, Any]]) -> None:
    main(["serve", "--port", "0", "--token", "a-secret-of-mine-0"])
    assert started[0]["token"] == "a-secret-of-mine-0"


@pytest.mark.parametrize("token", ["", "short", "with spaces in it, long", "ä" * 20, "a;b" * 9])
@pytest.mark.parametrize("command", ["serve", "studio"])
def test_a_weak_token_is_one_sentence(
    started: list[dict[str, Any]], command: str, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--port", "0", "--token", token])
    assert end.value.code == 2 and "at least 16" in capsys.readouterr().err and not started


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
@pytest.mark.parametrize("command", ["serve", "studio"])
def test_everyone_needs_a_token(
    started: list[dict[str, Any]], command: str, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--host", host, "--port", "0"])
    assert end.value.code == 2 and "--token" in capsys.readouterr().err and not started
