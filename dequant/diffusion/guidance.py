"""Classifier-free guidance (Ho and Salimans, arXiv:2207.12598)."""

from collections.abc import Callable

import torch
from torch import Tensor

PredictText = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Latents (B, C, h, w), timesteps (B,) and embedded texts (B, T, D) -> a prediction."""


def guided(predict: PredictText, text: Tensor, empty: Tensor, scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Predict as if the text said more than it does: `p_empty + scale (p_text - p_empty)`, in one batch.

    Args:
        predict: the network.
        text: embedded texts (B, T, D).
        empty: the embedded empty text (1, T, D).
        scale: 1 takes the text as it is, 0 leaves it out; neither computes the other prediction.
    """

    def with_text(z: Tensor, t: Tensor) -> Tensor:
        if scale in (0, 1):
            return predict(z, t, text if scale == 1 else empty.expand_as(text))
        without, with_ = predict(torch.cat([z, z]), torch.cat([t, t]), torch.cat([empty.expand_as(text), text])).chunk(
            2
        )
        return without + scale * (with_ - without)

    return with_text
