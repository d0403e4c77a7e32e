"""What makes pictures: a model, baselines, and how their settings are known."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dequant.condition.texture_maps import thresholded_gradient_map
from dequant.diffusion.sampler import Sampler
from dequant.evaluation import methods
from dequant.evaluation.protocols import dequantization
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.training.dequantizer import Dequantizer
from tests.support.photos import some_photos


def test_a_model_samples_and_may_be_finished(tiny_base: DiffusionBase, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Dequantizer(tiny_base, ControlEncoder.from_base, Sampler(num_inference_steps=2))
    cases = dequantization(
        some_photos(1)[0][1], np.random.default_rng(0), texture_map=thresholded_gradient_map, n_colors=[4, 16]
    )
    options: dict[str, Any] = {"device": torch.device("cpu"), "bf16": False}

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(0) for _ in cases]

    plain = methods.of_model(model, {"seed": 0}, **options)
    finished = methods.of_model(model, {"seed": 0}, **options, finish=methods.with_source_luminance)
    output = plain.restore(cases, generators())
    expected = model.draw(torch.stack([case.condition for case in cases]), generators())
    torch.testing.assert_close(output, expected)
    with monkeypatch.context() as patch:
        patch.setattr(methods, "PIXELS", 1)
        torch.testing.assert_close(plain.restore(cases, generators()), expected, atol=1e-5, rtol=0)  # one by one
    assert not plain.alone
    of_source = methods.with_source_luminance(output, torch.stack([case.source for case in cases]))
    assert torch.equal(finished.restore(cases, generators()), of_source)
    assert plain.settings != methods.of_model(model, {"seed": 1}, **options).settings
    before = methods.weights_hash(model.trained)
    torch.nn.init.normal_(model.trained.zero_conv_mid.weight)
    assert before != methods.weights_hash(model.trained)


def test_baselines_are_known_by_what_they_do() -> None:
    def brighten(rgb: Tensor, n_colors: int, by: float) -> Tensor:
        return (rgb + by).clamp(0, 1)

    first, same, other = (methods.of_restorer(partial(brighten, by=by)).settings for by in (0.1, 0.1, 0.2))
    assert first == same != other


def test_weights_are_known_by_their_values() -> None:
    layer = torch.nn.Linear(2, 2)
    before = methods.weights_hash(layer)
    assert before == methods.weights_hash(layer)
    torch.nn.init.zeros_(layer.bias)
    assert before != methods.weights_hash(layer)
