"""State dicts in files of others: wrappings are taken off, and what lies beside them is named."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dequant.errors import InputError
from dequant.models.finite import is_finite

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of names that DataParallel, torch.compile and FSDP put in, wherever they are."""
HOLDERS = ("model", "net", "network", "unet", "ema", "ema_model")
"""First parts of names, where all names have them: attributes of a module around the network."""
STARTS = {
    b"version https://git-lfs": "a pointer of Git LFS in place of the file: run git lfs pull",
    b"<": "a web page: download the file itself",
    b"{": "text: give the file of weights",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x89HDF": "HDF5: give weights of PyTorch",
}
"""What files are that begin so, and what helps."""
FEW = 3
"""Names in a sentence."""


def read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """The one state dict in a file of PyTorch or safetensors, wherever it is nested; nothing in the file is run.

    Returns:
        Weights by names without wrappers such as `module.`, and the names of what else the file holds, such as epoch.

    Raises:
        InputError: it is no such file, or holds no state dict, several, or weights that are not finite.
    """
    loaded = _load(Path(path))
    found = dict(_state_dicts(loaded))
    if not found:
        raise InputError(f"{path} holds no state dict: give a .pt or .bin file of the released code.")
    if len(found) > 1:
        raise InputError(
            f"{path} holds {len(found)} state dicts, {some(sorted(found))}: keep the one that you mean, with "
            f"torch.save, in a file of its own."
        )
    ((where, state),) = found.items()
    weights = {name: value for name, value in state.items() if isinstance(value, Tensor) and "." in str(name)}
    bare = _unwrapped(path, weights)
    for name, value in bare.items():
        if value.is_meta or not value.is_floating_point() or not is_finite([value]):
            what = "not finite" if value.is_floating_point() and not value.is_meta else f"{value.dtype} without values"
            raise InputError(f"{path} cannot be used: its {name} is {what}.")
    beside = [str(name) for name in state if name not in weights]
    outer, parts = loaded, where.split("/") if where else []
    for part in parts:
        beside += [str(name) for name in outer if str(name) != part]
        outer = outer[part]
    return bare, beside


def some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {more} more" if more > 0 else "")


def _load(path: Path) -> Any:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the file of weights in it.")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: give the path of a checkpoint.") from error
    if not start:
        raise InputError(f"{path} is empty: copy or download it again.")
    for known, what in STARTS.items():
        if start.lstrip().startswith(known):
            raise InputError(f"{path} is {what}.")
    try:
        if path.suffix == ".safetensors" or start[8:9] == b"{":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise InputError(f"{path} is a damaged safetensors file ({error}): copy or download it again.") from error
    except Exception as error:
        raise InputError(f"{path} {_why(path)}") from error


def _why(path: Path) -> str:
    """Why PyTorch does not load a file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if not any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
            return f"is a zip archive of {some(names) or 'nothing'}, no checkpoint of tensors: unpack it first."
        try:
            foreign = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except Exception:
            foreign = []
        if foreign:
            return (
                f"holds {some(foreign)} beside tensors, which could run code and is not read: save the state dict "
                "alone, with torch.save, where you trust the file."
            )
    return "is no checkpoint of tensors, or damaged: give a .pt or .bin file of the released code."


def _state_dicts(node: Any, where: str = "") -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Mappings that hold tensors by dotted names, by where they are."""
    if not isinstance(node, Mapping):
        return
    if any(isinstance(value, Tensor) and "." in str(name) for name, value in node.items()):
        yield where, node
        return
    for name, value in node.items():
        yield from _state_dicts(value, f"{where}/{name}" if where else str(name))


def _unwrapped(path: str | Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the parts that wrappers put in."""
    bare: dict[str, Tensor] = {}
    for name, value in state.items():
        short = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if short in bare:
            raise InputError(f"{path} holds {short} twice, with and without {' or '.join(WRAPPERS[:2])}: keep one.")
        bare[short] = value
    while len(holders := {name.partition(".")[0] for name in bare}) == 1 and holders <= set(HOLDERS):
        bare = {name.partition(".")[2]: value for name, value in bare.items()}
    return bare
