"""Training that is split over processes."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
import torch.distributed as dist
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from dequant.data.examples import batch
from dequant.diffusion.sampler import Sampler
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.training import fsdp
from dequant.training.callbacks import EMA
from dequant.training.dequantizer import Dequantizer
from tests.support import programs
from tests.support.paths import ROOT

RANKS = 2
TINY = [
    "base=small_init",
    "base.unet.block_out_channels=[8,16]",
    "base.unet.norm_num_groups=4",
    "data.size=32",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.max_val=2",
    "callbacks.last.every_n_steps=2",
    "trainer.val_check_interval=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
]


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """Of this one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_whole_is_the_inverse_of_shard(mesh: DeviceMesh, tiny_base: DiffusionBase, condition: torch.Tensor) -> None:
    control = ControlEncoder.from_base(tiny_base, "T")
    torch.nn.init.normal_(control.zero_conv_mid.weight)
    control.time_embedding.requires_grad_(False)
    before = {name: value.clone() for name, value in control.state_dict().items()}
    t = torch.tensor([3, 900])
    expected = control(condition, t)[1]
    for _ in range(2):  # the second time it is split already
        fsdp.shard(control, mesh)
    assert type(control) is ControlEncoder
    assert all(isinstance(parameter, DTensor) for parameter in control.parameters())
    torch.testing.assert_close(control(condition, t)[1], expected)
    again = fsdp.whole(control)
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, before[name]), name
        assert type(parameter) is torch.nn.Parameter
        assert parameter.requires_grad == (not name.startswith("time_embedding"))
    torch.testing.assert_close(again(condition, t)[1], expected)


def test_split_like_and_gathered_are_inverse(mesh: DeviceMesh) -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(3, 5))
    value = torch.rand(5, 3)
    assert torch.equal(fsdp.split_like(value, layer[0].weight), value)
    fsdp.shard(layer, mesh)
    split = fsdp.split_like(value, layer[0].weight)
    assert isinstance(split, DTensor)
    assert torch.equal(fsdp.gathered(split), value)


def test_average_of_split_weights_is_saved_whole(mesh: DeviceMesh, tiny_base: DiffusionBase) -> None:
    model = Dequantizer(tiny_base, ControlEncoder.from_base, Sampler())
    first = {name: value.detach().clone() for name, value in model.trained.named_parameters()}
    fsdp.shard(model.trained, mesh)
    trainer, average, checkpoint = SimpleNamespace(global_step=0), EMA(decay=0.5), {}
    average.on_fit_start(trainer, model)
    with torch.no_grad():
        for value in model.trained.parameters():
            value.add_(1)
    trainer.global_step = 3  # at which the rate is 1 - 4 / 13
    average.on_train_batch_end(trainer, model)
    average.on_save_checkpoint(trainer, model, checkpoint)
    for name, value in checkpoint["ema"].items():
        assert not isinstance(value, DTensor)
        torch.testing.assert_close(value, first[name] + 9 / 13)

    again = EMA(decay=0.5)
    again.on_load_checkpoint(trainer, model, checkpoint)
    again.on_validation_start(trainer, model)
    for name, value in model.trained.named_parameters():
        assert torch.equal(fsdp.gathered(value), checkpoint["ema"][name])
    again.on_validation_end(trainer, model)
    for name, value in model.trained.named_parameters():
        torch.testing.assert_close(fsdp.gathered(value), first[name] + 1)


def test_optimizer_state_has_names_and_loads() -> None:
    def trained() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        layer = torch.nn.Linear(3, 5)
        return layer, torch.optim.AdamW(layer.parameters())

    layer, optimizer = trained()
    layer(torch.rand(2, 3)).sum().backward()
    optimizer.step()
    named = fsdp.optimizer_state(layer, optimizer)
    assert set(named["state"]) == {"weight", "bias"}
    _, other = trained()
    other.load_state_dict(named)
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def train(folder: Path, *overrides: str) -> dict:
    """Run train.py and read its checkpoint."""
    done = programs.run("train.py", *TINY, f"hydra.run.dir={folder}", *overrides, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def reference(steps: int) -> tuple[Dequantizer, dict[str, torch.Tensor]]:
    """The run in one process: at each step the mean gradient of what each rank would see. Also the average."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [*TINY, f"trainer.max_steps={steps}"])
    L.seed_everything(cfg.seed, verbose=False)
    model, stream = instantiate(cfg.model), instantiate(cfg.data.module).train_dataloader().dataset
    model.log = lambda *args, **kwargs: None
    configured = model.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    average = {name: value.detach().clone() for name, value in model.trained.named_parameters()}
    size = cfg.data.batch_size
    for step in range(steps):
        optimizer.zero_grad()
        for rank in range(RANKS):
            first = step * size * RANKS + rank
            samples = batch([stream[first + RANKS * i] for i in range(size)])
            (model.training_step(samples, step) / RANKS).backward()
        torch.nn.utils.clip_grad_norm_(model.trained.parameters(), cfg.trainer.gradient_clip_val)
        optimizer.step()
        schedule.step()
        rate = 1 - min(cfg.callbacks.ema.decay, (2 + step) / (11 + step))
        for name, value in model.trained.named_parameters():
            average[name].lerp_(value.detach(), rate)
    return model, average


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Two steps equal those of one process; the checkpoint is whole, and each resumes from that of the other."""
    split = ["trainer=fsdp", f"trainer.devices={RANKS}"]
    checkpoint = train(tmp_path / "fsdp", *split, "trainer.max_steps=2")
    model, average = reference(2)
    moved = 0
    for name, value in model.trained.named_parameters():
        torch.testing.assert_close(checkpoint["state_dict"][f"control.{name}"], value.detach(), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(checkpoint["ema"][name], average[name], atol=1e-6, rtol=1e-5)
        moved += not torch.equal(value.detach(), average[name])
    assert moved > 10
    model.load_weights(tmp_path / "fsdp" / "checkpoints" / "last.ckpt")
    assert all(torch.equal(value, checkpoint["ema"][name]) for name, value in model.trained.named_parameters())
    model.load_weights(tmp_path / "fsdp" / "weights")

    path = f"ckpt_path={tmp_path}/fsdp/checkpoints/last.ckpt"
    alone = train(tmp_path / "fsdp", path, "trainer.max_steps=4")
    assert alone["global_step"] == 4
    together = train(tmp_path / "fsdp", path, *split, "trainer.max_steps=6")
    assert together["global_step"] == 6
    steps = {float(state["step"]) for state in together["optimizer_states"][0]["state"].values()}
    assert steps == {6.0}
