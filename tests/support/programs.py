"""The repository's programs in processes of their own, forked from one that has imported what takes seconds."""

import atexit
import multiprocessing
import os
import re
import runpy
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

LATER = (
    *("dequant.training.dequantizer", "dequant.training.pictures", "dequant.data.module", "typer"),
    *("dequant.evaluation.restorers", "diffusers.schedulers.scheduling_ddim", "hydra._internal.hydra"),
)
"""What the programs import as they go."""

TEXTS = "".join((ROOT / name).read_text() for name in ("train.py", "evaluate.py"))
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([*re.findall(r"^(?:from|import) ([\w.]+)", TEXTS, re.MULTILINE), *LATER])


@dataclass
class Done:
    """What is left of a program that has ended."""

    returncode: int
    stdout: str
    stderr: str


class Program:
    """A script, such as train.py, or a module, such as dequant.cli, as `python` would run it in `cwd`."""

    def __init__(self, name: str, *arguments: str, cwd: Path, **environment: str) -> None:
        handle, out = tempfile.mkstemp(prefix="program-")
        os.close(handle)
        self._written = (Path(out), Path(f"{out}-err"))
        own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        self._process = _forks.Process(  # a daemon ends with the tests, also if one of them fails
            target=_run, args=(name, arguments, cwd, own | environment, self._written), daemon=True
        )
        self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self, timeout: float | None = None) -> Done:
        """The end of the program, which is killed if it does not come in time."""
        self._process.join(timeout)
        late = self._process.exitcode is None
        if late:
            self.send_signal(signal.SIGKILL)
            self._process.join()
        out, err = (path.read_text() if path.is_file() else "" for path in self._written)
        for path in self._written:
            path.unlink(missing_ok=True)
        assert not late, f"no end in {timeout} s\n{out}\n{err}"
        assert self._process.exitcode is not None
        return Done(self._process.exitcode, out, err)


def run(name: str, *arguments: str, cwd: Path, **environment: str) -> Done:
    """A program from its start to its end."""
    return Program(name, *arguments, cwd=cwd, **environment).wait()


def _run(
    name: str, arguments: tuple[str, ...], cwd: Path, environment: Mapping[str, str], written: tuple[Path, Path]
) -> None:
    multiprocessing.current_process().daemon = False  # it may start processes itself
    multiprocessing.set_start_method(None, force=True)  # and as it starts them without these tests
    atexit._clear()  # what the programs share, such as a folder of wandb's, stays when one of them ends
    for number, path in enumerate(written, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    try:
        if name.endswith(".py"):
            sys.argv = [str(ROOT / name), *arguments]
            sys.path.insert(0, str(ROOT))
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            sys.argv = [name, *arguments]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    finally:  # as an interpreter ends
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
