from pathlib import Path

import pytest
import torch

from dequant.diffusion.sampler import Sampler
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled
from dequant.training.dequantizer import Dequantizer
from dequant.training.distillation import Distillation


@pytest.fixture
def student(tiny_base: DiffusionBase) -> ControlEncoder:
    tiny_base.requires_grad_(False)
    torch.manual_seed(1)
    made = ControlEncoder.from_base(tiny_base, "T")
    for conv in (*made.zero_convs, made.zero_conv_mid):
        torch.nn.init.normal_(conv.weight, std=0.1)
    return made


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_the_last_step_of_the_grid_is_the_teachers_own(
    tiny_base: DiffusionBase, student: ControlEncoder, condition: torch.Tensor
) -> None:
    """There the target is the end of the teacher's step, which is what an unchanged student predicts."""
    distillation = Distillation(steps=50, decay=0.95)
    distillation.start(student)
    x = 2 * condition[:, :3] - 1
    arguments = (tiny_base, student, condition, x, noise())
    assert distillation(*arguments, torch.tensor([0, 19])) == 0
    assert distillation(*arguments, torch.tensor([20, 999])) > 0


def test_only_the_student_learns_and_the_target_follows(
    tiny_base: DiffusionBase, student: ControlEncoder, condition: torch.Tensor
) -> None:
    distillation = Distillation(steps=50, decay=0.75)
    distillation.start(student)
    before = student.zero_conv_mid.weight.detach().clone()
    with torch.no_grad():
        student.zero_conv_mid.weight += 1
    distillation(tiny_base, student, condition, condition[:, :3], noise(), torch.tensor([100, 900])).backward()
    assert distillation.teacher is not None
    assert distillation.target is not None
    torch.testing.assert_close(distillation.target.zero_conv_mid.weight, before + 0.25)
    torch.testing.assert_close(distillation.teacher.zero_conv_mid.weight, before)
    assert student.zero_conv_mid.weight.grad is not None
    others = (*tiny_base.parameters(), *distillation.parameters())
    assert all(parameter.grad is None for parameter in others)


@pytest.mark.slow
def test_a_student_learns_to_jump_to_the_end_of_the_teachers_path(
    tiny_base: DiffusionBase, student: ControlEncoder, condition: torch.Tensor
) -> None:
    def end(steps: int) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(i) for i in (5, 6)]
        return Sampler(num_inference_steps=steps).draw(Controlled(tiny_base, student), condition, generators)

    path, before = end(4), end(1)
    distillation = Distillation(steps=4, decay=0.5)
    distillation.start(student)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    x = 2 * condition[:, :3] - 1
    generator = torch.Generator().manual_seed(0)
    for step in range(80):
        t = torch.randint(1000, (2,), generator=generator)
        optimizer.zero_grad()
        distillation(tiny_base, student, condition, x, noise(step), t).backward()
        optimizer.step()
    assert (end(1) - path).square().mean() < 0.7 * (before - path).square().mean()


def test_a_checkpoint_keeps_the_target(tiny_base: DiffusionBase, student: ControlEncoder, tmp_path: Path) -> None:
    model = Dequantizer(tiny_base, lambda *_: student, Sampler(), distillation=Distillation(steps=50, decay=0.95))
    model.setup("fit")
    checkpoint = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    parts = {name.split(".")[0] + "." + name.split(".")[1] for name in checkpoint["state_dict"]}
    assert "distillation.target" in parts
    assert not {part for part in parts if part.startswith(("base.", "distillation.teacher"))}
