"""Configurations composed as the commands do, and options that make a run tiny."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tests.support.paths import CONF

GROUPS = {group.name: sorted(path.stem for path in group.glob("*.yaml")) for group in CONF.iterdir() if group.is_dir()}
TINY_BASE = ["base=small_init", "base.unet.block_out_channels=[8,16]", "base.unet.norm_num_groups=4"]

TINY = [
    *TINY_BASE,
    *("data.size=32", "data.val_size=32", "data.batch_size=4", "data.num_workers=0", "data.max_val=3"),
    *("trainer.val_check_interval=2", "trainer.log_every_n_steps=1", "callbacks.last.every_n_steps=2"),
]


def load(config: str, tmp_path: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(config, [*overrides, f"run_dir={tmp_path}"], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return cfg


def job(config: str, folder: Path, *options: str) -> DictConfig:
    """A configuration as Hydra gives it to a job."""
    cfg = load(config, folder, *options)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg
