"""Classifier-free guidance: its formula, and how often the network is called."""

import pytest
import torch
from torch import Tensor

from dequant.diffusion.guidance import guided


class Network:
    """Adds a number that depends on the text, and counts what it is asked for."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, z: Tensor, t: Tensor, text: Tensor) -> Tensor:
        assert len(z) == len(t) == len(text)
        self.batches.append(len(z))
        return z * t.view(-1, 1, 1, 1) + text.mean((1, 2)).view(-1, 1, 1, 1) ** 2


Z, T = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 0.5])
TEXT, EMPTY = torch.tensor([2.0, 3.0]).view(2, 1, 1).expand(2, 5, 6), torch.ones(1, 5, 6)


@pytest.mark.parametrize("scale", [1.5, 7, 0.5])
def test_the_difference_is_exaggerated_in_one_batch(scale: float) -> None:
    network = Network()
    with_text, without = Network()(Z, T, TEXT), Network()(Z, T, EMPTY.expand_as(TEXT))
    torch.testing.assert_close(guided(network, TEXT, EMPTY, scale)(Z, T), without + scale * (with_text - without))
    assert network.batches == [4]


@pytest.mark.parametrize(("scale", "text"), [(1, TEXT), (1.0, TEXT), (0, EMPTY.expand_as(TEXT)), (0.0, EMPTY)])
def test_one_and_zero_need_one_prediction(scale: float, text: Tensor) -> None:
    network = Network()
    assert torch.equal(guided(network, TEXT, EMPTY, scale)(Z, T), Network()(Z, T, text.expand_as(TEXT)))
    assert network.batches == [2]
