"""State dicts in the wrappings that people save them in, and files that hold none."""

import json
import lzma
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from dequant.cli.main import main
from dequant.errors import InputError
from dequant.models.state_dict import read_state_dict
from tests.support.paths import GOLDEN

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    generator = torch.Generator().manual_seed(0)
    names = ("input_blocks.0.0.weight", "out.2.bias", "control_model.input_hint_block.0.weight")
    return {name: torch.rand(3, 2, generator=generator) for name in names}


def prefixed(state: State, *prefixes: str) -> State:
    return {"".join(prefixes) + name: value for name, value in state.items()}


EXTRAS: dict[str, Any] = {
    "epoch": 3,
    "version": "1.0",
    "loss": 0.5,
    "args": {"lr": 1e-4, "widths": [1, 2]},
    "best": None,
}
OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.rand(2)}}, "param_groups": [{"lr": 0.1}]}
WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "ordered": lambda state: OrderedDict(state),
    "parameters": lambda state: {name: nn.Parameter(value) for name, value in state.items()},
    "DataParallel": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "both": lambda state: prefixed(state, "module.", "_orig_mod."),
    "both, twice": lambda state: prefixed(state, "_orig_mod.", "module.", "module.", "_orig_mod."),
    "a part compiled": lambda state: {n.replace("model.", "model._orig_mod.module."): v for n, v in state.items()},
    "an attribute": lambda state: prefixed(state, "model.", "module."),
    "swa_utils": lambda state: prefixed(state, "module.") | {"n_averaged": torch.tensor(5)},
    "beside numbers": lambda state: state | {"epoch": 3, "version": "1.0"},
    "all at once": lambda state: {
        "model": {"state_dict": prefixed(state, "module."), **EXTRAS},
        "optimizer": OPTIMIZER,
    },
    **{
        key: lambda state, key=key: {key: state, "optimizer_state_dict": OPTIMIZER, **EXTRAS}
        for key in (
            "state_dict",
            "model",
            "model_state_dict",
            "ema",
            "params",
            "params_ema",
            "weights",
            "net",
            "module",
        )
    },
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("legacy", [False, True])
def test_wrappings_are_taken_off(state: State, tmp_path: Path, wrapping: str, legacy: bool) -> None:
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "T.pt", _use_new_zipfile_serialization=not legacy)
    found, _ = read_state_dict(tmp_path / "T.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_safetensors_are_read(state: State, tmp_path: Path) -> None:
    for name in ("T.safetensors", "T.bin"):
        save_file(prefixed(state, "module."), tmp_path / name)
        assert read_state_dict(tmp_path / name)[0].keys() == state.keys()


def test_what_lies_beside_is_named(state: State, tmp_path: Path) -> None:
    torch.save({"model": {"state_dict": state, "epoch": 3}, "optimizer": OPTIMIZER, "step": 7}, tmp_path / "T.pt")
    assert sorted(read_state_dict(tmp_path / "T.pt")[1]) == ["epoch", "optimizer", "step"]
    torch.save(state | {"epoch": 3, "n_averaged": torch.tensor(5)}, tmp_path / "T.pt")
    assert read_state_dict(tmp_path / "T.pt")[1] == ["epoch", "n_averaged"]


def nan(state: State) -> State:
    return state | {"out.2.bias": torch.tensor([1.0, float("nan")])}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda s: {"model": s, "ema": s, "epoch": 1}, "holds 2 state dicts, ema, model: keep the one that you mean"),
        (lambda s: {"a": {"b": s}, "c": [s], "d": s}, "holds 2 state dicts, a/b, d"),
        (lambda s: s | prefixed(s, "module."), "weight twice, with and without module"),
        (lambda s: {}, "holds no state dict"),
        (lambda s: {"epoch": 3}, "holds no state dict"),
        (lambda s: list(s.values()), "holds no state dict"),
        (lambda s: torch.rand(3), "holds no state dict"),
        (lambda s: {"model": OPTIMIZER}, "holds no state dict"),
        (
            lambda s: {"model": s, "loss": np.float64(1)},
            "scalar.* beside tensors, which could run code and is not read",
        ),
        (lambda s: {"model": s, "time": Path("x")}, "beside tensors, which could run code"),
        (lambda s: nn.Linear(2, 2), "beside tensors, which could run code"),
        (nan, "its out.2.bias is not finite"),
        (lambda s: s | {"out.2.bias": torch.zeros(2, dtype=torch.int8)}, "its out.2.bias is torch.int8"),
        (lambda s: s | {"out.2.bias": torch.zeros(2, device="meta")}, "its out.2.bias is torch.float32 without values"),
    ],
)
def test_other_contents_are_one_sentence(state: State, tmp_path: Path, make: Callable, sentence: str) -> None:
    torch.save(make(state), tmp_path / "T.pt")
    with pytest.raises(InputError, match=sentence) as error:
        read_state_dict(tmp_path / "T.pt")
    assert "\n" not in str(error.value)


def test_other_files_are_one_sentence(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"a")
    weights, checkpoint = (tmp_path / "whole.safetensors").read_bytes(), (tmp_path / "whole.pt").read_bytes()
    contents = {
        b"": "is empty",
        b"<!DOCTYPE html><html>": "is a web page",
        b"\n <html>": "is a web page",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "is a pointer of Git LFS",
        b'{"a": 1}': "is text",
        b"no tensors": "is no checkpoint of tensors",
        bytes(range(256)): "is no checkpoint of tensors",
        (tmp_path / "photos.zip").read_bytes(): "is a zip archive of a.jpg, no checkpoint of tensors",
        weights[:-5]: "is a damaged safetensors file",
        weights[:20]: "is a damaged safetensors file",
        checkpoint[: len(checkpoint) // 2]: "is no checkpoint of tensors, or damaged",
        checkpoint[:-30]: "is no checkpoint of tensors, or damaged",
        lzma.compress(checkpoint): "is no checkpoint of tensors",
    }
    for content, sentence in contents.items():
        (tmp_path / "T.pt").write_bytes(content)
        with pytest.raises(InputError, match=sentence) as error:
            read_state_dict(tmp_path / "T.pt")
        assert "\n" not in str(error.value)
    for path, sentence in ((tmp_path, "is a folder"), (tmp_path / "no.pt", "cannot be opened")):
        with pytest.raises(InputError, match=sentence):
            read_state_dict(path)


def test_the_command_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = GOLDEN / "network"
    (tmp_path / "config.yml").write_text(
        yaml.safe_dump({"params": json.loads((network / "network.json").read_text())["params"]})
    )
    with lzma.open(network / "checkpoint.pt.xz") as file:
        state = torch.load(file, weights_only=True)["model_state_dict"]
    torch.save({"state_dict": prefixed(state, "module.", "_orig_mod."), "epoch": 3}, tmp_path / "T.pt")
    main(["convert", "authors", f"{tmp_path}/T.pt", "--base", str(tmp_path), "-o", f"{tmp_path}/ours"])
    assert "left out epoch, which lie beside the weights" in capsys.readouterr().out
    main(["convert", "to-authors", f"{tmp_path}/ours", "-o", f"{tmp_path}/back.pt"])
    back = torch.load(tmp_path / "back.pt", weights_only=True)["model_state_dict"]
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
