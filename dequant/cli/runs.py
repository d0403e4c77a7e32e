"""The folder of a run: one for each training, held by one process, and never changed by a refused one."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import yaml
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from dequant.cli.hydra import resolved
from dequant.errors import InputError
from dequant.io.files import whole_file
from dequant.masking import mask_yaml

log = logging.getLogger(__name__)

LOCK = ".lock"

UNCOMPARED = ("search", "ckpt_path", "logger")
"""Options that may differ between two parts of one run."""

_new: dict[str, str] = {}


def new_folder(path: str) -> str:
    """Make a folder that did not exist: the path, or with `_2`, `_3`, ... behind it. The same again in one process.

    Processes of a run beyond its first take the path as it is.
    """
    if path not in _new:
        number = 1
        while rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            folder = Path(path if number == 1 else f"{path}_{number}")
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
        _new[path] = path if number == 1 else f"{path}_{number}"
    return _new[path]


OmegaConf.register_new_resolver("new_folder", new_folder, replace=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; the system frees it when this one ends, however it does.

    Raises:
        InputError: another process holds it.
    """
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"'{folder}' is in use by another training: wait for its end, or start a run of its own, without ckpt_path."
        ) from None
    try:
        yield
    finally:
        lock.release()


def take_up(folder: Path) -> None:
    """Go on in the folder of an older run: its log is continued, and the new folder that Hydra made is removed.

    A folder with anything but Hydra's own files stays.
    """
    if rank_zero_only.rank != 0 or not HydraConfig.initialized():  # type: ignore[attr-defined]
        return
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.RUN or OmegaConf.is_missing(hydra.runtime, "output_dir"):
        return
    fresh = Path(hydra.runtime.output_dir)
    if fresh.resolve() == folder.resolve():
        return
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, logging.FileHandler)]:
        if Path(handler.baseFilename).parent == fresh:
            handler.close()
            continued = logging.FileHandler(folder / Path(handler.baseFilename).name, delay=True)
            continued.setFormatter(handler.formatter)
            root.removeHandler(handler)
            root.addHandler(continued)
    if {path.name for path in fresh.iterdir()} <= {hydra.output_subdir, f"{hydra.job.name}.log"}:
        shutil.rmtree(fresh)
    node = cast(DictConfig, hydra)
    with read_write(node), open_dict(node):  # where further processes of this run will log
        node.run.dir = node.runtime.output_dir = str(folder)


def hide_secrets() -> None:
    """Mask secrets in what Hydra wrote of this job's configuration."""
    hydra = HydraConfig.get()
    output = Path(hydra.runtime.output_dir)
    written = [] if hydra.output_subdir is None else list((output / hydra.output_subdir).glob("*.yaml"))
    if hydra.mode == RunMode.MULTIRUN:
        written.append(Path(hydra.sweep.dir) / "multirun.yaml")
    for path in written:
        if path.is_file() and (shown := mask_yaml(text := path.read_text())) != text:
            with whole_file(path) as file:
                file.write(shown)


def differences(cfg: DictConfig, path: Path) -> list[str]:
    """Names of the options that differ from those in a file of `keep_config`; none where there is no file.

    What lies in the run's folder may lie in another one since.
    """
    try:
        old = yaml.safe_load(path.read_text()) if path.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError):
        return [path.name]
    if not isinstance(old, dict):
        return []
    before, now = (_flat(one, str(one.get("run_dir"))) for one in (old, _kept(cfg)))
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def keep_config(cfg: DictConfig, path: Path) -> None:
    """Write a resolved configuration, without its search and without secrets, to a file."""
    with whole_file(path) as file:
        file.write(OmegaConf.to_yaml(OmegaConf.create(_kept(cfg))))


def _kept(cfg: DictConfig) -> dict[str, Any]:
    return {name: value for name, value in resolved(cfg).items() if name not in ("search", "ckpt_path")}


def _flat(options: Mapping[str, Any], run_dir: str, prefix: str = "") -> dict[str, str]:
    """{dotted name: value as text, with the run's folder left out}."""
    flat: dict[str, str] = {}
    for name, value in options.items():
        if prefix or name not in UNCOMPARED:
            inner = value if isinstance(value, Mapping) and value else None
            flat |= (
                _flat(inner, run_dir, f"{prefix}{name}.")
                if inner
                else {f"{prefix}{name}": str(value).replace(run_dir, "")}
            )
    return flat
