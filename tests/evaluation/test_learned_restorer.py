"""Pretrained restoration networks, loaded by spandrel."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dequant.errors import InputError
from dequant.evaluation.restorers import LearnedRestorer
from tests.support.photos import noise


def spandrel_works() -> bool:
    try:
        importlib.import_module("spandrel")
    except Exception:
        return False
    return True


needs_spandrel = pytest.mark.skipif(not spandrel_works(), reason="spandrel, or a torchvision that fits, is missing")


@pytest.mark.parametrize(
    "code",
    ["raise ImportError('no torchvision')", "raise RuntimeError('operator torchvision::nms does not exist')"],
    ids=["missing", "unfit"],
)
def test_spandrel_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    (tmp_path / "spandrel.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    with pytest.raises(InputError, match=r"torchvision.*dequant\[baselines\]"):
        LearnedRestorer(tmp_path / "weights.pth")


def small_network(kind: str) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """A network of a released layout, with random weights, and its state."""
    torch.manual_seed(0)
    if kind.startswith("FBCNN"):
        fbcnn = importlib.import_module("spandrel.architectures.FBCNN").FBCNN
        channels = 1 if kind == "FBCNN grey" else 3
        network = fbcnn(in_nc=channels, out_nc=channels, nc=[8, 8, 16, 512], nb=2)
    elif kind == "Restormer":
        restormer = pytest.importorskip("spandrel_extra_arches.architectures.Restormer").Restormer
        network = restormer(dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1)
    elif kind == "NAFNet":
        nafnet = importlib.import_module("spandrel.architectures.NAFNet").NAFNet
        network = nafnet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
    else:
        swinir = importlib.import_module("spandrel.architectures.SwinIR").SwinIR
        network = swinir(
            img_size=32, window_size=8, depths=[2], num_heads=[2], embed_dim=8, mlp_ratio=2,
            upscale=2 if kind == "SwinIR x2" else 1,
            upsampler="pixelshuffledirect" if kind == "SwinIR x2" else "",
        )  # fmt: skip
    return network.eval(), network.state_dict()


@needs_spandrel
@pytest.mark.parametrize("kind", ["FBCNN", "FBCNN grey", "NAFNet", "SwinIR", "Restormer"])
@pytest.mark.parametrize("shape", [(32, 32), (21, 30)])
def test_learned_restorer_runs_the_network(tmp_path: Path, kind: str, shape: tuple[int, int]) -> None:
    network, state = small_network(kind)
    torch.save(state, tmp_path / "weights.pth")
    rgb = noise(*shape, seed=2)
    restored = LearnedRestorer(tmp_path / "weights.pth")(rgb, 16)
    assert restored.shape == rgb.shape
    assert restored.dtype == torch.float32
    assert 0 <= restored.min() <= restored.max() <= 1
    if shape == (32, 32):
        with torch.no_grad():
            output = network(rgb[:, None] if kind == "FBCNN grey" else rgb[None])
        output = output[0] if isinstance(output, tuple) else output
        torch.testing.assert_close(restored, output.reshape(3, 32, 32).clamp(0, 1), rtol=0, atol=1e-5)


@needs_spandrel
def test_learned_restorer_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        LearnedRestorer(tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(InputError, match="no network"):
        LearnedRestorer(tmp_path / "text.pth")
    torch.save({"unknown.weight": torch.zeros(3)}, tmp_path / "unknown.pth")
    with pytest.raises(InputError, match="no network"):
        LearnedRestorer(tmp_path / "unknown.pth")
    torch.save(small_network("SwinIR x2")[1], tmp_path / "enlarges.pth")
    with pytest.raises(InputError, match="same size"):
        LearnedRestorer(tmp_path / "enlarges.pth")
