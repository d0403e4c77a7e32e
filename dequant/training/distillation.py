"""Consistency distillation: an encoder learns to jump to the end of the path that its teacher walks step by step."""

import copy

import torch
from torch import Tensor, nn

from dequant.diffusion.schedule import Generator, predicted_clean, signal_and_noise
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled


class Distillation(nn.Module):
    """The loss of latent consistency models (arXiv:2310.04378, algorithm 1), for a control encoder on a frozen base.

    A trained encoder, the teacher, takes one DDIM step from a noised photo to the next timestep of a coarse grid. Both
    ends lie on one path to one clean image, so the student at the start must predict what its slow average, the target,
    predicts at the end. The base's own prediction of the clean image is the consistency function: it is x_t / a where
    there is no noise, as the boundary condition asks.

    Args:
        steps: of the grid, which divide those of the schedule.
        decay: of the average, per training step (arXiv:2303.01469, section 5).
    """

    def __init__(self, steps: int, decay: float) -> None:
        super().__init__()
        self.steps = steps
        self.decay = decay
        self.teacher: ControlEncoder | None = None
        self.target: ControlEncoder | None = None

    def start(self, student: ControlEncoder) -> None:
        """Keep two copies of the encoder that training begins with."""
        self.teacher, self.target = (copy.deepcopy(student).requires_grad_(False) for _ in range(2))

    def forward(
        self,
        base: DiffusionBase,
        student: ControlEncoder,
        condition: Tensor,
        x: Tensor,
        noise: Tensor,
        t: Tensor,
        generator: Generator = None,
    ) -> Tensor:
        """Mean squared error between student and target, in the network's own units where it has such.

        Args:
            base: frozen.
            student: in training; the target moves towards it first.
            condition: (B, 7, H, W) in [0, 1].
            x: the photos (B, C, h, w), in the space that diffusion runs in.
            noise: (B, C, h, w), standard normal.
            t: timesteps (B,), each rounded up to the grid.
            generator: of what else the base draws.
        """
        assert self.teacher is not None and self.target is not None, "start comes first"
        stride = len(base.scheduler.betas) // self.steps
        start = (t // stride + 1) * stride - 1
        end = start - stride
        x_start = base.add_noise(x, noise, start)
        with torch.no_grad():
            self._follow(student)
            clean, _ = predict_clean(base, self.teacher, condition, x_start, start, generator)
            a, s = signal_and_noise(base.scheduler, start)
            x_end = base.add_noise(clean, (x_start - a * clean) / s, end.clamp(min=0))
            wanted, _ = predict_clean(base, self.target, condition, x_end, end.clamp(min=0), generator)
            wanted = torch.where((end < 0).view(-1, 1, 1, 1), clean, wanted)
        found, deviation = predict_clean(base, student, condition, x_start, start, generator)
        error = found - wanted
        return (error if deviation is None else error / deviation).square().mean()

    @torch.no_grad()
    def _follow(self, student: ControlEncoder) -> None:
        assert self.target is not None
        ours, theirs = list(self.target.parameters()), list(student.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - self.decay)


def predict_clean(
    base: DiffusionBase,
    control: ControlEncoder,
    condition: Tensor,
    x_t: Tensor,
    t: Tensor,
    generator: Generator = None,
) -> tuple[Tensor, Tensor | None]:
    """The clean image (B, C, h, w) predicted at timesteps `t` (B,), and the deviation that `loss.loss` divides by.

    In pixels it is clamped to [-1, 1], as samplers do.
    """
    output, deviation = Controlled(base, control).denoise(x_t, t, condition, generator)
    clean = predicted_clean(output[:, : x_t.shape[1]], x_t, t, base.scheduler)
    return (clean.clamp(-1, 1) if base.vae is None else clean), deviation
