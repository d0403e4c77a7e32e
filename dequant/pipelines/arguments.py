"""Arguments of a call that are the same for every pipeline of diffusers: seeds and callbacks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import Tensor

from dequant.diffusion.solver import StepCallback
from dequant.errors import InputError, whole_number

StepEnd = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
"""The pipeline, the number of the step, the timestep and tensors by name -> tensors to continue with, or None."""


MOST = 10_000
"""Images of one edit."""


def check_seeds(seeds: Iterable[int]) -> list[int]:
    """Seeds as a list.

    Raises:
        InputError: they are not whole numbers that a generator takes.
    """
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise InputError(f"Expected a list of whole numbers for seeds, got {seeds!r}.")
    return [whole_number("each of the seeds", seed, -(2**63), 2**64 - 1) for seed in seeds]


def step_end(pipeline: DiffusionPipeline, callback: StepEnd | None, names: Sequence[str]) -> StepCallback | None:
    """`callback_on_step_end`, given the tensors of these names, as samplers take it.

    Raises:
        InputError: there is no such tensor, or the callback is no function or returns something else.
    """
    known = pipeline._callback_tensor_inputs
    names = getattr(callback, "tensor_inputs", names)  # diffusers' own callbacks say what they need
    if isinstance(names, str) or not isinstance(names, Sequence) or any(name not in known for name in names):
        raise InputError(f"Expected names out of {known} for callback_on_step_end_tensor_inputs, got {names!r}.")
    if callback is None:
        return None
    if not callable(callback):
        raise InputError(f"Expected a function for callback_on_step_end, got {callback!r}.")

    def on_step(i: int, t: Tensor, x: Tensor) -> Tensor:
        changed = callback(pipeline, i, t, {"latents": x} if "latents" in names else {})
        changed = {} if changed is None else changed
        latents = changed.get("latents", x) if isinstance(changed, dict) else None
        if not isinstance(latents, Tensor) or latents.shape != x.shape:
            raise InputError(
                f"Expected None or {{'latents': a tensor {tuple(x.shape)}}} from callback_on_step_end, got {changed!r}."
            )
        return latents

    return on_step


def counted(bar: Any, callback: StepCallback | None) -> StepCallback:
    """A callback that also moves a progress bar."""

    def on_step(i: int, t: Tensor, x: Tensor) -> Tensor:
        bar.update()
        return x if callback is None else callback(i, t, x)

    return on_step
