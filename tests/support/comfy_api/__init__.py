"""A stub of ComfyUI's `comfy_api`, and of its progress bar, for tests of the node pack where ComfyUI is not installed.

It declares the part of the V3 schema that the pack uses, with the names, arguments and rules of ComfyUI 0.3.64, and is
stricter than that where a slip would only show in the browser: unknown arguments, wrong types and wrong counts fail.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.comfy_api import io
from tests.support.comfy_api.execution import ProgressBar

NodeClass = type[io.ComfyNode]


class ComfyExtension:
    """What a pack offers."""

    async def get_node_list(self) -> list[NodeClass]:
        raise NotImplementedError


@contextmanager
def installed() -> Iterator[None]:
    """`comfy_api.latest` and `comfy.utils` can be imported, with what the pack uses of them."""
    offered: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy_api": {},
        "comfy_api.latest": {"io": io, "ComfyExtension": ComfyExtension},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, members in offered.items():
            module = ModuleType(name)
            vars(module).update(members)
            patch.setitem(sys.modules, name, module)
        yield


def load_pack(folder: Path) -> dict[str, NodeClass]:
    """The nodes of a folder of custom_nodes, by their ids, loaded as ComfyUI loads them: under the name of its path."""
    name = str(folder).replace(".", "_x_")
    spec = spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return asyncio.run(_nodes(module))


async def _nodes(module: ModuleType) -> dict[str, NodeClass]:
    extension = await module.comfy_entrypoint()
    assert isinstance(extension, ComfyExtension)
    found = await extension.get_node_list()
    schemas = [one.GET_SCHEMA() for one in found]
    assert len({one.node_id for one in schemas}) == len(found), "node ids must be unique"
    return dict(zip([one.node_id for one in schemas], found, strict=True))
