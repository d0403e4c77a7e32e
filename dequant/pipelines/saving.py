"""Saved pipelines: their folders load in plain diffusers too, and here without running code from them."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from diffusers import schedulers
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from huggingface_hub import snapshot_download

from dequant.errors import InputError
from dequant.io.files import whole_file
from dequant.models.control import ControlEncoder
from dequant.models.folders import check_config, check_schedule_config, is_folder, read_json, reason
from dequant.models.hub import Source
from dequant.pipelines.components import KINDS

INDEX = "model_index.json"

WITHOUT_CODE = ["*.json", "*.safetensors"]
"""The files that are fetched from the hub."""

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")


class SavedPipeline(DiffusionPipeline):
    """A pipeline of this package's classes, which is saved and loaded.

    diffusers imports classes that are not its own only from modules in the saved folder, and only with
    `trust_remote_code=True`. So `save_pretrained` and `push_to_hub` write such modules, one line each, which import the
    classes from the installed package; `from_pretrained` of this package does not need them.
    """

    kinds: ClassVar[Mapping[str, tuple[type, ...]]] = KINDS
    """Classes that each component may have."""

    mark: ClassVar[str] = ControlEncoder.__name__
    """A class that the index of such a pipeline names."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Self:
        """Load a saved pipeline from a folder or the hub. No code from there is run.

        Args:
            pretrained_model_name_or_path: a folder that `save_pretrained` wrote, or a hub id "OWNER/NAME".
            options: those of diffusers, such as `torch_dtype`, `variant`, `revision` and `token`. `use_safetensors` is
                True by default; `custom_pipeline` and `trust_remote_code` are ignored.

        Raises:
            InputError: there is no such pipeline, or it cannot be loaded.
        """
        folder = fetch(pretrained_model_name_or_path, cls.mark, **options)
        options = {"use_safetensors": True} | options | {"custom_pipeline": None, "trust_remote_code": False}
        with reading(pretrained_model_name_or_path, folder / INDEX):
            check_parts(folder, cls.kinds, given=set(options))
            pipeline = super().from_pretrained(str(folder), **options)
        pipeline.register_to_config(_name_or_path=str(pretrained_model_name_or_path))
        return pipeline

    @classmethod
    def load_config(cls, *args: Any, **options: Any) -> dict[str, Any]:
        """The saved index. Classes of this package are the installed ones, whatever modules the index names."""
        own = _own_classes(cls)
        index = {**super().load_config(*args, **options), "_class_name": cls.__name__}
        for component, value in index.items():
            match value:
                case [str(_), str(name)] if name in own:
                    index[component] = [own[name].__module__, name]
        return index

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write the index, and the modules that it names."""
        path = Path(json_file_path)
        index = json.loads(self.to_json_string())
        index.pop("_name_or_path", None)  # a copy does not say where its original was
        name = type(self).__name__
        _write_module(path.with_name("pipeline.py"), type(self).__module__, name)
        index["_class_name"] = ["pipeline", name]
        for component, value in index.items():
            match value:
                case [str(library), str(name)] if library.startswith("dequant."):
                    module = f"dequant_{component}"
                    _write_module(path.parent / component / f"{module}.py", library, name)
                    index[component] = [module, name]
        with whole_file(path) as file:
            file.write(json.dumps(index, indent=2, sort_keys=True) + "\n")


def fetch(source: str | os.PathLike[str], mark: str = ControlEncoder.__name__, **options: Any) -> Path:
    """The folder that a path or a hub id means. Of a model on the hub, it holds the JSON and safetensors files.

    Args:
        source: a folder, or the id of a model on the hub, "OWNER/NAME".
        mark: a class that its JSON files name.
        options: `cache_dir`, `force_download`, `local_files_only`, `revision` and `token` of the hub; others are
            ignored.

    Raises:
        InputError: there is no such folder, no such model could be fetched, or it is of another kind.
    """
    if is_folder(source):
        return Path(source)
    repo_id = str(source)
    if not is_hub_id(repo_id):
        raise InputError(f"There is no folder '{source}': give that of a saved pipeline, or a hub id OWNER/NAME.")
    hub = {name: options[name] for name in HUB_OPTIONS if options.get(name) is not None}
    download = partial(snapshot_download, repo_id, **hub)
    folder = Path(Source(repo_id).load(lambda: download(allow_patterns=["*.json"])))
    if not any(mark in path.read_text() for path in folder.glob("*.json")):
        raise InputError(f"{source} on the hub has no {mark}: give the id of a pipeline saved by dequant.")
    return Path(Source(repo_id).load(lambda: download(allow_patterns=WITHOUT_CODE, revision=folder.name)))


def check_parts(folder: Path, kinds_of: Mapping[str, tuple[type, ...]], given: set[str]) -> None:
    """Check the components that a saved pipeline names, without loading their weights.

    Args:
        folder: of the pipeline.
        kinds_of: classes that each component may have.
        given: names of components that the caller brings along.

    Raises:
        InputError: the index is damaged or names other classes, or a component's configuration is impossible.
    """
    index = read_json(folder / INDEX)
    for name, kinds in kinds_of.items():
        if name in given or (name not in index and type(None) in kinds):
            continue
        value = index.get(name)
        kind = value[1] if isinstance(value, list) and len(value) == 2 else value
        if kind is None and type(None) in kinds:
            continue
        if name == "scheduler":
            if not isinstance(kind, str) or not issubclass(getattr(schedulers, kind, object), SchedulerMixin):
                raise InputError(f"Expected a scheduler of diffusers in {INDEX}, got {value!r}.")
            check_schedule_config(folder / name)
        else:
            possible = {one.__name__: one for one in kinds}
            if not isinstance(kind, str) or kind not in possible:
                raise InputError(f"Expected {' or '.join(possible)} for {name} in {INDEX}, got {value!r}.")
            if issubclass(possible[kind], ModelMixin):
                check_config(folder / name, possible[kind])


def is_hub_id(source: str) -> bool:
    """Whether this has the form OWNER/NAME."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) is not None


@contextmanager
def reading(source: str | os.PathLike[str], config: Path) -> Iterator[None]:
    """Turn what goes wrong while a saved folder is loaded into a sentence.

    Args:
        source: what the user gave for the folder.
        config: the file in the folder that says what it holds.

    Raises:
        InputError: the file is missing, or loading fails.
    """
    if not config.is_file():
        raise InputError(f"'{source}' has no {config.name}: give a folder or a hub id that `save_pretrained` wrote.")
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"'{source}' cannot be loaded: {reason(error)}.") from error


def _own_classes(pipeline: type) -> dict[str, type]:
    """The components' classes that are this package's, by name."""
    hints = [parameter.annotation for parameter in signature(pipeline).parameters.values()]
    kinds = [kind for hint in hints for kind in get_args(hint) or [hint]]
    return {kind.__name__: kind for kind in kinds if isinstance(kind, type) and kind.__module__.startswith("dequant.")}


def _write_module(path: Path, module: str, name: str) -> None:
    with whole_file(path) as file:
        file.write(f"from {module} import {name}\n")
