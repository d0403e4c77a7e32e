"""The average of the weights."""

from types import SimpleNamespace

import pytest
import torch

from dequant.diffusion.sampler import Sampler
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.training.callbacks import EMA
from dequant.training.dequantizer import Dequantizer


@pytest.mark.parametrize("validating", [False, True])
def test_an_interruption_finds_the_weights_in_place(tiny_base: DiffusionBase, validating: bool) -> None:
    model = Dequantizer(tiny_base, ControlEncoder.from_base, Sampler())
    first = {name: value.detach().clone() for name, value in model.trained.named_parameters()}
    trainer, average = SimpleNamespace(global_step=0), EMA(decay=0.5)
    average.on_fit_start(trainer, model)
    with torch.no_grad():
        for value in model.trained.parameters():
            value.add_(1)
    if validating:
        average.on_validation_start(trainer, model)
        assert all(torch.equal(value, first[name]) for name, value in model.trained.named_parameters())
    average.on_exception(trainer, model, KeyboardInterrupt())
    for name, value in model.trained.named_parameters():
        assert torch.equal(value, first[name] + 1)
        assert torch.equal(average.average[name], first[name])
