import numpy as np
import pytest
import torch

from dequant.data.examples import batch, training_sample
from tests.support.data import SIZE, condition, picture


@pytest.mark.parametrize("window", [None, 16])
def test_sample_is_a_function_of_the_generator(window: int | None) -> None:
    one, again, other = (
        training_sample(picture(1), [], np.random.default_rng(seed), condition, SIZE, window) for seed in (0, 0, 1)
    )
    assert one["target"].shape == (3, window or SIZE, window or SIZE)
    assert torch.equal(one["condition"], again["condition"]) and one["seed"] == again["seed"]
    assert not torch.equal(one["condition"], other["condition"]) and one["seed"] != other["seed"]


def test_window_is_cut_out_of_condition_and_target_alike() -> None:
    sample = training_sample(picture(1), [], np.random.default_rng(0), condition, SIZE, 16)
    assert torch.equal(sample["condition"][:3], sample["target"])


def test_batch_keeps_seeds_as_integers() -> None:
    samples = [{"target": torch.full((3, 2, 2), float(number)), "seed": 2**62 + number} for number in range(2)]
    stacked = batch(samples)
    assert stacked["target"].shape == (2, 3, 2, 2)
    assert stacked["seed"] == [2**62, 2**62 + 1]
    assert set(batch([{"target": torch.zeros(3, 2, 2)}])) == {"target"}
