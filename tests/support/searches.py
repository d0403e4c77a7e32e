"""Folders as searches leave them."""

import json
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from tests.support.paths import CONF


def composed(config: str, *options: str) -> DictConfig:
    """A configuration of train.py or evaluate.py, Hydra's part included."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config, [*options, "run_dir=run"], return_hydra_config=True)


def finished(folder: Path, number: int, gain: float, *options: str) -> None:
    """Write what a run of 20 steps leaves."""
    run = folder / str(number)
    (run / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(list(options)), run / ".hydra" / "overrides.yaml")
    (run / "metrics.json").write_text(json.dumps({"step": 20, "val/gain": gain, "val/ssim": gain / 2}))
