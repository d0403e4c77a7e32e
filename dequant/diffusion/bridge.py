"""The bridge from grey to colour: cold diffusion (Bansal et al., arXiv:2208.09392) whose degradation fades the colour.

Latents lie on a line, `z_t = z_gray + (1 - t) delta`, from the photo at t = 0 to its grey copy at t = 1; there is no
noise (Diffusing Colors, section 3.2, whose T steps are a t of 1 here).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dequant.errors import InputError, whole_number

TARGETS = ("delta", "togo", "x0")
"""What a network predicts: the whole colour, what is left of it at t, or the photo's latents."""

MOST = 1000
"""Steps at most."""

Predict = Callable[[Tensor, Tensor], Tensor]
"""Latents (B, C, h, w) and t (B,) in [0, 1] -> the target."""


def faded(z_gray: Tensor, delta: Tensor, t: Tensor) -> Tensor:
    """The latents at t (B,): exactly `z_gray` at 1."""
    return z_gray + (1 - t).view(-1, 1, 1, 1) * delta


def target_of(kind: str, z_gray: Tensor, delta: Tensor, t: Tensor) -> Tensor:
    """What a network must predict at t (B,)."""
    if kind == "delta":
        return delta
    return t.view(-1, 1, 1, 1) * delta if kind == "togo" else z_gray + delta


def delta_of(kind: str, prediction: Tensor, z_gray: Tensor, t: Tensor) -> Tensor:
    """The colour that a prediction at t (B,) stands for."""
    if kind == "delta":
        return prediction
    return prediction / t.view(-1, 1, 1, 1) if kind == "togo" else prediction - z_gray


def restore(predict: Predict, z_gray: Tensor, steps: int, kind: str = "delta") -> Tensor:
    """Draw the colour of grey latents: algorithm 2 of cold diffusion, which on this line is Euler's method.

    Args:
        predict: the network.
        z_gray: (B, C, h, w).
        steps: from 1, where the answer is the mean of what is likely, to 1000.
        kind: what it predicts, one of `TARGETS`.

    Returns:
        The colour (B, C, h, w), so that `z_gray` plus it are the latents of the photo.

    Raises:
        InputError: there is no such kind or number of steps.
    """
    check_target(kind)
    whole_number("num_inference_steps", steps, 1, MOST)
    z = z_gray
    for step in range(steps):
        t, after = (torch.full((len(z),), 1 - at / steps, device=z.device) for at in (step, step + 1))
        delta = delta_of(kind, predict(z, t), z_gray, t)
        z = z - faded(z_gray, delta, t) + faded(z_gray, delta, after)
    return z - z_gray


def check_target(kind: str) -> None:
    """Raise `InputError` for what is not one of `TARGETS`."""
    if kind not in TARGETS:
        raise InputError(f"There is no target {kind!r}: choose of {', '.join(TARGETS)}.")
