"""The sampler: how photographs are drawn under conditions, whatever the model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Protocol

import torch
from diffusers.pipelines.deepfloyd_if.timesteps import super27_timesteps
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from torch.nn import functional as F

from dequant.condition.texture import Texture
from dequant.diffusion.fidelity import Fidelity, named, requests_of
from dequant.diffusion.orientations import Orientation
from dequant.diffusion.schedule import Generator
from dequant.diffusion.solver import (
    Interrupted,
    Predict,
    Projection,
    Seen,
    StepCallback,
    check_generators,
    check_result,
    prepare,
    solve,
)
from dequant.diffusion.tiles import Tile, blend, tiles
from dequant.errors import InputError, whole_number

SHORT_NAMES = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DPMSolverMultistepScheduler": "dpmpp",
    "UniPCMultistepScheduler": "unipc",
    "LCMScheduler": "lcm",
}
"""Of solvers, in results; others are called by their class."""
MEAN_DRAWS = 8
"""Draws of super27_mean."""
KEPT_TEXTURE = {"off": "", "exact": "+texture", "guided": "_guided"}
"""How a kept texture shows in the name of a sampler."""

Decode = Callable[[Tensor], Tensor]
"""Pixels or latents (B, C, h, w) -> rgb (B, 3, H, W) in [0, 1]."""

Finish = Callable[[Tensor], Tensor]
"""Rgb (B, 3, H, W) in [0, 1] -> the same, held to what was asked for."""


class Denoiser(Protocol):
    """What a sampler needs of a model."""

    @property
    def scheduler(self) -> SchedulerMixin:
        """The noise schedule."""

    @property
    def texture(self) -> Texture | None:
        """What the model sees of a photo besides its colours, None for nothing."""

    @property
    def is_latent(self) -> bool:
        """Whether x_t holds latents, which `decode` turns into pixels, differentiably."""

    @property
    def multiple(self) -> int:
        """Heights and widths of conditions must be multiples of this."""

    @property
    def downscale(self) -> int:
        """Pixels per side of one place of x_t."""

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (C, h, w) of x_t for one image."""

    def start(
        self,
        condition: Tensor,
        *,
        num_images: int = 1,
        generator: Generator = None,
        timesteps: Tensor | None = None,
        memory_share: float = 1.0,
    ) -> Predict:
        """Read a condition (B, 7, H, W) once, for predictions of `num_images` images of each at every step.

        Args:
            condition: in [0, 1].
            num_images: of each condition; they follow each other in x_t.
            generator: of noise that the model draws itself.
            timesteps: the steps that are coming, if known, for what can be computed ahead of time.
            memory_share: how much of its memory for that the model may use.
        """

    def decode(self, z: Tensor, in_tiles: bool = False) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] from clean x (B, C, h, w); in tiles where memory is short."""


@dataclass(frozen=True)
class Sampler:
    """A diffusers solver, its steps, and what every prediction is held to.

    Attributes:
        solver: diffusers scheduler class that starts from standard normal noise.
        options: its settings that differ from those of the base's noise schedule.
        num_inference_steps: number of steps, spaced by the solver: 1, unless given here or by
        timesteps: the steps themselves, descending, for solvers that take them, such as DDPMScheduler.
        draws: a picture is the mean of so many independent draws.
        orientations: each prediction is the mean over the image as it is (1), mirrored too (2), or turned too (8):
            nearer to the photo, at as many times the cost.
        keep_palette: "exact" moves every pixel to where the nearest palette colour is the one asked for, also in 8
            bits, and leaves the outside of a patch as it is; "strict" also stays closer to the colours, for an edited
            palette that the texture contradicts; "soft" goes half of the way, with smoother gradients; "off" trusts
            the network. Or a `Fidelity`.
        keep_texture: "exact" moves predictions to the nearest image with the luminance (variant L), gradients (G) or
            thresholded gradients (T) given, "guided" to the one that follows the photo's local colour lines, whatever
            the sign and contrast of the new colours; both as far as `keep_palette` allows. "off" trusts the network.
        tile: side in pixels of the overlapping tiles in which larger images are denoised, in bounded memory; None for
            whole images.

    Raises:
        InputError: a setting is impossible.
    """

    solver: type[SchedulerMixin] = DDIMScheduler
    options: Mapping[str, Any] = field(default_factory=lambda: {"timestep_spacing": "trailing"})
    num_inference_steps: int | None = None
    timesteps: Sequence[int] | None = None
    draws: int = 1
    orientations: int = 1
    keep_palette: str | Fidelity = "off"
    keep_texture: str = "off"
    tile: int | None = None

    def __post_init__(self) -> None:
        """Fill in the number of steps; refuse impossible settings with an `InputError`."""
        if not isinstance(self.options, Mapping):
            raise InputError(f"Expected a dict of the solver's settings for options, got {self.options!r}.")
        if self.timesteps is not None:
            object.__setattr__(self, "timesteps", _timesteps(self.timesteps))
        elif self.num_inference_steps is None:
            object.__setattr__(self, "num_inference_steps", 1)
        for name in ("num_inference_steps", "draws", "tile"):
            if (value := getattr(self, name)) is not None or name == "draws":
                object.__setattr__(self, name, whole_number(name, value))
        Orientation.first(whole_number("orientations", self.orientations))
        named(self.keep_palette, self.keep_texture)

    def check(self, scheduler: SchedulerMixin) -> None:
        """Raise `InputError` where the solver or its steps do not fit a noise schedule."""
        stepper = prepare(self.solver, self.options, scheduler, self.num_inference_steps, self.timesteps)
        check_result(stepper, scheduler, self.num_inference_steps or len(self.timesteps or ()))

    @property
    def fidelity(self) -> Fidelity | None:
        """What predictions are held to, None for nothing."""
        return named(self.keep_palette, self.keep_texture)

    @property
    def total_steps(self) -> int:
        """Steps of all draws."""
        return self.draws * (self.num_inference_steps or len(self.timesteps or ()))

    @property
    def name(self) -> str:
        """What results call it, such as one_step, ddim8, super27_mean or one_step_x8+exact+texture."""
        solver = SHORT_NAMES.get(self.solver.__name__, self.solver.__name__)
        name = f"{solver}{self.num_inference_steps}"
        if self.timesteps is not None:
            name = f"{solver}_at_{'_'.join(map(str, self.timesteps))}"
        name = "super27" if self.timesteps == super27_timesteps else "one_step" if name == "ddim1" else name
        name += f"_x{self.orientations}" if self.orientations > 1 else ""
        name += f"_tile{self.tile}" if self.tile else ""
        name += {1: "", MEAN_DRAWS: "_mean"}.get(self.draws, f"_mean{self.draws}")
        return name + _mark(self.keep_palette) + KEPT_TEXTURE[self.keep_texture]

    def _held(self, condition: Tensor, model: Denoiser, decode: Decode) -> tuple[Projection | None, Finish]:
        """What predictions are held to in each step, None where that changes nothing, and at the end."""
        requests = [] if self.fidelity is None else requests_of(condition, model.texture)
        if self.fidelity is None or self.fidelity.is_idle(requests):
            return None, lambda rgb: rgb
        hold = self.fidelity.in_steps(requests, decode if model.is_latent else None, *condition.shape[-2:])
        return hold, partial(self.fidelity.finish, requests=requests)

    def _prepared(self, model: Denoiser, held: bool) -> Callable[[torch.device], Any]:
        """Makes the solver, for a device; where predictions are held to something, it is given clean images."""
        options = {**self.options, **({"prediction_type": "sample"} if held else {})}
        return partial(prepare, self.solver, options, model.scheduler, self.num_inference_steps, self.timesteps)

    @torch.no_grad()
    def draw(
        self,
        model: Denoiser,
        condition: Tensor,
        generator: Generator = None,
        num_images: int = 1,
        callback: StepCallback | None = None,
        interrupted: Interrupted | None = None,
        latent: bool = False,
        seen: Seen | None = None,
    ) -> Tensor:
        """Draw photographs: rgb (B * num_images, 3, H, W) in [0, 1].

        Args:
            model: what denoises.
            condition: (B, 7, H, W) in [0, 1], any H and W.
            generator: CPU generators, one for all images or one for each.
            num_images: of each condition; they follow each other.
            callback: see `StepCallback`; steps are numbered afresh in each draw.
            interrupted: asked before each step; the steps and draws that are to come are left out where it says so.
            latent: return x (B * num_images, C, h, w), of padded sizes, ahead of `decode`.
            seen: sees the pictures (B * num_images, 3, H, W) in [0, 1] that each step predicts.

        Raises:
            InputError: generators, solver, steps or tiles do not fit.
        """
        check_generators(generator, len(condition) * num_images)
        # 1. Pad to what the network can take
        padded = _padded(condition, model.multiple)
        (height, width), (rows, columns) = condition.shape[-2:], padded.shape[-2:]
        shape = (len(condition) * num_images, *model.latent_shape(rows, columns))
        # 2. What predictions are held to
        pieces = [] if self.tile is None else list(tiles(rows, columns, self.tile, model.multiple))
        decode = partial(_decode, model, len(pieces) > 1)
        hold, finish = self._held(condition, model, decode)
        # 3. Predictions: from all orientations, whole or in tiles
        prepared = self._prepared(model, hold is not None)
        views, start = Orientation.first(self.orientations), {"num_images": num_images, "generator": generator}
        coming = {} if len(pieces) > 1 else {"timesteps": prepared(condition.device).timesteps}
        predict = _in_tiles(model, padded, views, pieces, start | coming)

        # 4. The mean of the draws, in pixels
        def one() -> Tensor:
            noise, stepper = _noise(shape, generator).to(condition.device), prepared(condition.device)
            shown = None if seen is None else partial(_show, seen, decode, (height, width))
            return solve(predict, noise, model.scheduler, stepper, generator, callback, hold, interrupted, shown)

        mean = _mean(one, self.draws, interrupted)
        return mean if latent else finish(decode(mean)[..., :height, :width])


def _padded(condition: Tensor, multiple: int) -> Tensor:
    """With its last rows and columns repeated until its sides are multiples."""
    height, width = condition.shape[-2:]
    padding = (0, -width % multiple, 0, -height % multiple)
    return F.pad(condition, padding, mode="replicate") if any(padding) else condition


def _mean(draw: Callable[[], Tensor], most: int, interrupted: Interrupted | None) -> Tensor:
    """The mean of so many draws, fewer after an interruption."""
    total, n = draw(), 1
    while n < most and not (interrupted is not None and interrupted()):
        total, n = total + draw(), n + 1
    return total / n


def _from_all_sides(model: Denoiser, condition: Tensor, views: list[Orientation], start: dict[str, Any]) -> Predict:
    """The mean of the predictions in several orientations."""
    share = 1 / len(views)
    predicts = [model.start(view.condition(condition, model.texture), memory_share=share, **start) for view in views]

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        found = [view.back(one(view.turn(x_t), t)) for view, one in zip(views, predicts, strict=True)]
        return found[0] if len(found) == 1 else torch.stack(found).mean(0)

    return predict


def _in_tiles(
    model: Denoiser, condition: Tensor, views: list[Orientation], pieces: list[Tile], start: dict[str, Any]
) -> Predict:
    """Predictions blended from tiles. Each tile is read again in every step, so that memory is bounded."""
    if len(pieces) <= 1:
        return _from_all_sides(model, condition, views, start)

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        def of_tile(tile: Tile, part: Tensor) -> Tensor:
            return _from_all_sides(model, condition[..., tile.rows, tile.columns], views, start)(part, t)

        return blend(of_tile, x_t, pieces, model.downscale)

    return predict


def _decode(model: Denoiser, in_tiles: bool, z: Tensor) -> Tensor:
    return model.decode(z.float(), in_tiles)


def _show(seen: Seen, decode: Decode, size: tuple[int, int], step: int, of: int, clean: Tensor) -> None:
    seen(step, of, decode(clean)[..., : size[0], : size[1]])


def _noise(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Standard normal, image by image, so that one with a generator of its own does not depend on the others."""
    generators = generator if isinstance(generator, list) else [generator] * shape[0]
    return torch.stack([torch.randn(shape[1:], generator=one) for one in generators])


def _timesteps(given: Any) -> list[int]:
    """Timesteps as a list of numbers.

    Raises:
        InputError: they are none.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"Expected a list of descending whole numbers for timesteps, got {given!r}.")
    items = given.tolist() if isinstance(given, Tensor) else given
    return [whole_number("each of the timesteps", t, 0) for t in items]


def _mark(palette: str | Fidelity) -> str:
    """How a kept palette shows in the name of a sampler: +exact, or the settings that differ from it."""
    if isinstance(palette, str):
        return "" if palette == "off" else f"+{palette}"
    changes = [f"+{one.name}={getattr(palette, one.name)}" for one in fields(palette)]
    usual = [f"+{one.name}={one.default}" for one in fields(palette)]
    return "+exact" + "".join(change for change in changes if change not in usual)
