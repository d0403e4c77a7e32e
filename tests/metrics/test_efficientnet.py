"""The frozen classifier: its layout on random weights, and what the packaged weights say."""

from pathlib import Path

import pytest
import torch

from dequant.metrics.efficientnet import EfficientNetLite0
from tests.support.lite0 import STAGES, write_lite0


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> EfficientNetLite0:
    return EfficientNetLite0(write_lite0(tmp_path_factory.mktemp("weights") / "lite0.pth"))


def test_stages_have_the_channels_and_strides_of_the_paper(network: EfficientNetLite0) -> None:
    found = network.stage_features(torch.rand(2, 3, 64, 64), len(STAGES))
    assert [one.shape[1] for one in found] == [channels for channels, _, _ in STAGES]
    assert [64 // one.shape[2] for one in found] == [2, 4, 8, 16, 16, 32, 32]


@pytest.mark.parametrize("size", [(20, 50), (224, 224), (1, 1)])
def test_pictures_of_any_size_have_features(network: EfficientNetLite0, size: tuple[int, int]) -> None:
    rgb = torch.rand(1, 3, *size)
    places = network.places(rgb)
    assert places.shape == (1, 1280, 7, 7)
    torch.testing.assert_close(network(rgb), places.mean((2, 3)))
    assert not any(weight.requires_grad for weight in network.parameters())


def test_batch_normalization_is_folded_in(tmp_path: Path, network: EfficientNetLite0) -> None:
    state = torch.load(write_lite0(tmp_path / "lite0.pth"), weights_only=True)
    x = torch.randn(1, 3, 16, 16)
    expected = torch.nn.functional.batch_norm(
        torch.nn.functional.conv2d(x, state["_conv_stem.weight"], stride=2, padding=1),
        *(state[f"_bn0.{part}"] for part in ("running_mean", "running_var", "weight", "bias")),
        eps=1e-3,
    )
    torch.testing.assert_close(network.stem(x), expected)


def test_the_packaged_weights_make_a_classifier() -> None:
    network = EfficientNetLite0()
    grey = torch.full((1, 3, 64, 64), 0.5)
    classes = network.classes(network(grey)).softmax(1)
    assert classes.shape == (1, 1000) and classes.sum().item() == pytest.approx(1, abs=1e-4)
