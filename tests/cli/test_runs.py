"""Folders of runs, and options in words that Hydra accepts."""

import shlex
import signal
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from dequant.cli import runs
from dequant.cli.hydra import _explain, options
from dequant.errors import InputError
from tests.support.paths import CONF
from tests.support.programs import Program

NEW = "import sys; from dequant.cli.runs import new_folder; print(new_folder(sys.argv[1]), new_folder(sys.argv[1]))"
HOLD = "import sys, time, pathlib; from dequant.cli.runs import held\n"
HOLD += "with held(pathlib.Path(sys.argv[1])):\n    pathlib.Path(sys.argv[2]).touch(); time.sleep(60)"


def start(folder: Path, code: str, *arguments: str) -> Program:
    (folder / "code.py").write_text(code)
    return Program(str(folder / "code.py"), *arguments, cwd=folder)


def test_a_new_folder_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_new", {})
    path = str(tmp_path / "my runs" / "now")
    assert runs.new_folder(path) == runs.new_folder(path) == path
    monkeypatch.setattr(runs, "_new", {})
    assert runs.new_folder(path) == f"{path}_2"
    monkeypatch.setattr(runs, "_new", {})
    monkeypatch.setattr(runs.rank_zero_only, "rank", 1)
    assert runs.new_folder(path) == path


@pytest.mark.slow
def test_processes_that_start_together_get_folders_of_their_own(tmp_path: Path) -> None:
    both = [start(tmp_path, NEW, str(tmp_path / "now")) for _ in range(2)]
    printed = [process.wait().stdout.split() for process in both]
    assert all(first == second for first, second in printed)
    assert {first for first, _ in printed} == {str(tmp_path / "now"), str(tmp_path / "now_2")}


@pytest.mark.slow
def test_a_folder_is_held_until_its_process_dies(tmp_path: Path) -> None:
    process = start(tmp_path, HOLD, str(tmp_path), str(tmp_path / "told"))
    while not (tmp_path / "told").exists():
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(InputError, match="in use by another training"), runs.held(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with runs.held(tmp_path):
        pass
    with runs.held(tmp_path):
        pass


def config(folder: str, **options: object) -> DictConfig:
    own = {"seed": 0, "run_dir": folder, "callbacks": {"folder": f"{folder}/pictures"}, "ckpt_path": None}
    return OmegaConf.create(own | {"search": {"trials": 3}, "logger": {"csv": {}}} | options)


def test_kept_config_tells_options_apart(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert runs.differences(config("a"), path) == []
    runs.keep_config(config("a/b", token="hunter2hunter2"), path)
    assert OmegaConf.load(path).token == "***"
    same = {"ckpt_path": "here", "search": {"trials": 6}, "logger": None, "token": "hunter2hunter2"}
    assert runs.differences(config("moved", **same), path) == []
    assert runs.differences(config("a/b", seed=1, callbacks={"folder": "x"}), path) == [
        "callbacks.folder",
        "seed",
        "token",
    ]
    path.write_bytes(b"\xff\xfe: [")
    assert runs.differences(config("a"), path) == ["config.yaml"]


def composed(program: str, *given: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(program, options(given))


@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_what_is_off_by_default_can_be_null(program: str) -> None:
    cfg = composed(program, "logger=null", "experiment=null", "search=null", "hparams_search=null")
    assert cfg.get("logger") is None and cfg.search is None
    assert set(composed(program, "logger=[csv,wandb]").logger) == {"csv", "wandb"}


def test_a_plus_before_an_option_that_exists_is_no_fault() -> None:
    assert composed("train", "+trainer.enable_progress_bar=false").trainer.enable_progress_bar is False
    assert composed("train", "+trainer.limit_val_batches=2").trainer.limit_val_batches == 2
    assert options(["+experiment=paper", "~logger"]) == ["+experiment=paper", "~logger"]


NAMES = ["my photos (1)", "a=b", "a{b}", "[2019] trip", "Фото", "été", "写真", "a#b", "~/a", "a&b", "o'neil (2)"]
NAMES += ['a"b(c)', "a\\'(", "$HOME (x)", "x!(", "back`tick(", "(end\\"]


@pytest.mark.parametrize("name", NAMES)
def test_the_quotes_shown_let_a_path_through(name: str) -> None:
    with pytest.raises(OverrideParseException) as caught:
        composed("train", "data=folder", f"data.root={name}")
    sentence = _explain(caught.value)
    assert sentence is not None and sentence.startswith("The value of data.root needs quotes")
    (argument,) = shlex.split(sentence.partition(": write ")[2].removesuffix("."))
    assert composed("train", "data=folder", argument).data.root == name
