"""Options that follow the machine."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from dequant.cli.hydra import computes_bfloat16, fast_precision, one_sentence


@pytest.mark.parametrize(
    ("has", "precision"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "32-true"),
        ({"avx512_f": True, "avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"neon": True, "bf16": True}, "bf16-mixed"),  # ARM
        ({"neon": True, "bf16": False}, "32-true"),
    ],
)
def test_a_cpu_trains_in_bfloat16_only_if_it_computes_in_it(
    has: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert fast_precision("cpu") == precision
    assert computes_bfloat16(torch.device("cpu")) == (precision == "bf16-mixed")


def test_auto_takes_the_accelerator_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    assert fast_precision("auto") == "32-true"
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert fast_precision("auto") == fast_precision("gpu") == "bf16-mixed"


def test_a_logger_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(f"lightning.fabric.loggers.tensorboard.{name}", False)
    logger = {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "save_dir": str(tmp_path)}
    sentence = r"^error: This needs tensorboard: pip install 'dequant\[tensorboard\]'\.$"
    with pytest.raises(SystemExit, match=sentence), one_sentence():
        instantiate({"tensorboard": logger})
