"""A disk that fails while a run is recorded ends the run, and nothing is lost."""

import errno
from pathlib import Path
from typing import Any

import pytest

from dequant.cli import manifest
from dequant.cli.batch import run
from dequant.cli.options import BatchOptions
from tests.support.operations import Copy


def test_a_disk_that_becomes_read_only_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_text(name)
    options = BatchOptions(out=f"{tmp_path}/out/", jobs=0, recipe=False, resume=True)
    append = manifest.append

    def failing(path: Path, record: Any) -> None:
        if record.input.endswith("b.jpg"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        append(path, record)

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "append", failing)
        assert run(Copy(1), [str(tmp_path)], options) == 1
    said = capsys.readouterr().err
    assert f"failed: Read-only file system: {tmp_path}/out/dequant.jsonl. The run ends here." in said
    assert "2 not tried" in said
    assert [path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".jsonl"] == ["a.txt"]
    assert run(Copy(1), [str(tmp_path)], options) == 0
    assert "2 written, 1 skipped" in capsys.readouterr().err
