"""The searches, ablations and sweeps of W&B that come with the repository, and multiruns that are killed."""

import signal
import time
from pathlib import Path
from typing import Any, cast

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.support.configs import TINY
from tests.support.paths import ROOT
from tests.support.programs import Program
from tests.support.searches import composed

SEARCHES = sorted(path.stem for path in (ROOT / "sweeps" / "hparams_search").glob("*.yaml") if path.stem != "default")
ABLATIONS = sorted(path.stem for path in (ROOT / "sweeps" / "ablation").glob("*.yaml"))
AGENTS = sorted((ROOT / "sweeps" / "wandb").glob("*.yaml"))


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_try_options_that_exist(name: str) -> None:
    door = "evaluate" if name == "sampler_steps" else "train"
    cfg = composed(door, f"hparams_search={name}")
    assert cfg.search.name == name
    params = [f"{key}={value}" for key, value in cfg.hydra.sweeper.params.items() if key != "+ablation"]
    for override in OverridesParser.create().parse_overrides(params):
        assert override.is_choice_sweep()
        first, *others = override.sweep_string_iterator()
        assert others
        composed(door, f"hparams_search={name}", f"{override.get_key_element()}={first}")
    for key, distribution in instantiate(cfg.search.space).items():
        value = getattr(distribution, "low", None)
        composed(door, f"hparams_search={name}", f"{key}={distribution.choices[0] if value is None else value}")


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_can_be_trained_and_saved(name: str, tmp_path: Path) -> None:
    cfg = composed("train", "hparams_search=ablations", f"+ablation={name}")
    model = instantiate(cfg.model)
    assert model.configure_optimizers()
    model.save_pretrained(tmp_path / "weights")
    assert list((tmp_path / "weights").rglob("*.safetensors"))


def test_the_search_for_ablations_runs_all_of_them() -> None:
    params = composed("train", "hparams_search=ablations").hydra.sweeper.params
    assert sorted(params["+ablation"].split(",")) == ABLATIONS


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: path.stem)
def test_sweeps_of_wandb_set_options_that_exist(path: Path) -> None:
    sweep = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path)))
    door = Path(sweep["program"]).stem
    fixed = [word for word in sweep["command"] if "=" in word]
    assert "logger=wandb" in fixed and (ROOT / sweep["program"]).is_file()
    for name, about in sweep["parameters"].items():
        composed(door, *fixed, f"{name}={about['values'][0] if 'values' in about else about['min']}")
    assert sweep["metric"] == {"name": composed(door, *fixed).optimized_metric, "goal": "maximize"}


def start(folder: Path, *options: str) -> Program:
    few = [*TINY, "trainer.max_steps=4", "trainer.val_check_interval=2", "hparams_search=variants"]
    return Program("train.py", "-m", *few, *options, cwd=folder, PYTHONPATH=str(ROOT))


def run(folder: Path, *options: str) -> Path:
    done = start(folder, *options).wait()
    assert done.returncode == 0, done.stderr
    assert "best first" in done.stdout
    return folder / "outputs" / "sweep" / "variants"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_run_the_jobs_and_rank_them(launcher: str, tmp_path: Path) -> None:
    options = {"joblib": ["hydra.launcher.n_jobs=2"], "submitit_local": ["hydra.launcher.timeout_min=10"]}[launcher]
    folder = run(tmp_path, f"hydra/launcher={launcher}", "variant=L,T", "seed=0", *options)
    assert {path.parent.name for path in folder.glob("*/weights")} == {"0", "1"}
    assert (folder / "ranking.csv").read_text().count("\n") == 3


@pytest.mark.slow
def test_killed_multirun_resumes(tmp_path: Path) -> None:
    options = ["variant=L,T", "seed=0"]
    process = start(tmp_path, *options)
    folder = tmp_path / "outputs" / "sweep" / "variants"
    while not list((folder / "1" / "checkpoints").glob("*.ckpt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (folder / "0" / "metrics.json").stat().st_mtime_ns
    run(tmp_path, *options)
    assert (folder / "0" / "metrics.json").stat().st_mtime_ns == before
    assert (folder / "1" / "weights").is_dir() and (folder / "parallel.png").is_file()
