"""Searches, their summaries, the plan of a reproduction and its report, and the dashboard's specification."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from dequant.errors import InputError
from sweeps import dashboard, report, reproduce, study, summary
from tests.support.configs import TINY
from tests.support.paths import CONF, ROOT

SEARCHES = sorted(path.stem for path in (ROOT / "sweeps" / "hparams_search").glob("*.yaml") if path.stem != "default")
ABLATIONS = sorted(path.stem for path in (ROOT / "sweeps" / "ablation").glob("*.yaml"))
AGENTS = sorted((ROOT / "sweeps" / "wandb").glob("*.yaml"))


def composed(config: str, *options: str) -> OmegaConf:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config, [*options, "run_dir=run"], return_hydra_config=True)


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
def test_ablations_can_be_trained_and_kept(name: str, tmp_path: Path) -> None:
    cfg = composed("train", "hparams_search=ablations", f"+ablation={name}")
    model = instantiate(cfg.model)
    assert model.configure_optimizers()
    model.save_pretrained(tmp_path / "weights")
    assert list((tmp_path / "weights").rglob("*.safetensors"))


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: path.stem)
def test_sweeps_of_wandb_set_options_that_exist(path: Path) -> None:
    sweep = OmegaConf.to_container(OmegaConf.load(path))
    door = Path(sweep["program"]).stem
    fixed = [word for word in sweep["command"] if "=" in word]
    assert "logger=wandb" in fixed and (ROOT / sweep["program"]).is_file()
    for name, about in sweep["parameters"].items():
        composed(door, *fixed, f"{name}={about['values'][0] if 'values' in about else about['min']}")
    assert sweep["metric"] == {"name": composed(door, *fixed).optimized_metric, "goal": "maximize"}


def finished(folder: Path, number: int, gain: float, *options: str) -> None:
    run = folder / str(number)
    (run / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(list(options)), run / ".hydra" / "overrides.yaml")
    (run / "metrics.json").write_text(json.dumps({"step": 20, "val/gain": gain, "val/ssim": gain / 2}))


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """A search of two learning rates and two variants with two seeds each."""
    gains = iter((0.1, 0.3, 0.5, 0.5, -0.2, 0.0, 0.9, 0.7))
    settings = [(v, lr, seed) for v in "LT" for lr in ("1e-3", "1e-2") for seed in (0, 1)]
    for number, (variant, lr, seed) in enumerate(settings):
        options = [f"variant={variant}", f"model.optimizer.lr={lr}", f"seed={seed}", "trainer.max_steps=20"]
        finished(tmp_path / "search", number, next(gains), *options)
    return tmp_path / "search"


def test_ranking_averages_over_seeds(searched: Path) -> None:
    best, second, third, last = summary.rank(searched, "val/gain")
    assert best.options == {"variant": "T", "model.optimizer.lr": "1e-2"}
    assert (best.mean, best.stderr, best.runs) == (pytest.approx(0.8), pytest.approx(0.1 / 2**0.5), ["6", "7"])
    assert [second.mean, third.mean, last.mean] == pytest.approx([0.5, 0.2, -0.1])
    assert second.stderr == 0


def test_summary_writes_table_and_plots(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary.summarize(searched, "val/gain")
    assert "0.800 ±0.071" in capsys.readouterr().out
    assert (searched / "ranking.csv").read_text().splitlines()[1].startswith("1,T,1e-2,0.8")
    sizes = [Image.open(searched / name).size for name in ("parallel.png", "slices.png")]
    assert all(width > 300 and height > 300 for width, height in sizes)


def test_summary_survives_runs_that_diverged(searched: Path) -> None:
    finished(searched, 8, float("nan"), "variant=T", "model.optimizer.lr=1", "seed=0")
    assert summary.summarize(searched, "val/gain")[-1].options["model.optimizer.lr"] == "1"


def test_published_rows_replace_those_of_the_same_search(searched: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    for _ in range(2):
        summary.publish(searched, path)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    assert len(rows) == 1 + 4 * 2
    assert rows[1][:7] == ["search", "variant=T model.optimizer.lr=1e-2", "val/gain", "0.8", "0.0707", "2", "20"]
    assert "python train.py -m trainer.max_steps=20" in rows[1]


def test_summary_errors(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        summary.rank(tmp_path / "nothing", "val/gain")
    with pytest.raises(InputError, match="no metric 'val/pnsr': choose one of step, val/gain, val/ssim"):
        summary.rank(searched, "val/pnsr")


def test_axes() -> None:
    assert summary.axis(["1", "3", "2"]).places == [0, 1, 0.5]
    assert summary.axis(["0.001", "0.01", "0.1"]).places == pytest.approx([0, 0.5, 1])
    assert summary.axis(["T", "L", "T"]) == summary.Axis([1, 0, 1], {0: "L", 1: "T"})
    assert summary.axis(["5", "5"]).places == [0, 0]
    assert summary.axis(["0", "1", "1.01", "2"]).ticks == {0: "0", 1: "2", 0.5: "1"}


class Killed(BaseException):
    pass


@pytest.fixture
def searching(monkeypatch: pytest.MonkeyPatch):
    """Runs a search of 6 trials whose trainings are a formula, and which can be killed at one of them."""

    def search(folder: Path, kill_at: int | None = None, n_trials: int = 6) -> list[tuple[str, float]]:
        trained: list[tuple[str, float]] = []

        def train(cfg: OmegaConf, callbacks: list[study.Prune]) -> float:
            trained.append((cfg.run_dir, cfg.model.optimizer.lr))
            if len(trained) == kill_at:
                raise Killed
            value = -abs(cfg.model.optimizer.lr - 1e-3)
            finished_metrics = {"step": 8, "val/gain": value}
            (Path(cfg.run_dir) / "metrics.json").write_text(json.dumps(finished_metrics))
            return value

        monkeypatch.setattr(study, "train", train)
        given = ["hparams_search=lr_by_variant"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", [*given, f"search.trials={n_trials}"])
            study.search(cfg, folder, given)
        return trained

    return search


def test_killed_study_goes_on_with_the_trial_it_was_at(tmp_path: Path, searching) -> None:
    with pytest.raises(Killed):
        searching(tmp_path, kill_at=3)
    known = optuna.load_study(study_name="lr_by_variant", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state.name for trial in known.trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    left = known.trials[2].params["model.optimizer.lr"]
    trained = searching(tmp_path)
    assert trained[0] == (str(tmp_path / "2"), left)
    assert len({rate for _, rate in trained}) == 4
    assert [folder for folder, _ in trained] == [str(tmp_path / str(number)) for number in (2, 3, 4, 5)]
    assert searching(tmp_path) == []
    assert len(searching(tmp_path, n_trials=8)) == 2
    assert (tmp_path / "ranking.csv").read_text().count("\n") == 1 + 8


def test_a_trial_of_a_living_process_is_left_to_it(tmp_path: Path) -> None:
    cfg = composed("train", "hparams_search=lr_by_variant", "search.trials=2")
    found = study.open_study(cfg, tmp_path)
    first, lock = study.next_trial(found, cfg.search, tmp_path)
    second, other = study.next_trial(found, cfg.search, tmp_path)
    assert (first.number, second.number) == (0, 1) and first.params != second.params
    assert study.next_trial(found, cfg.search, tmp_path) is None
    lock.release()
    again, lock = study.next_trial(found, cfg.search, tmp_path)
    assert again.number == 0 and again.params == first.params
    lock.release()
    other.release()


def test_pruning_stops_a_training_that_falls_behind() -> None:
    found = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(1, 0))
    trainers = []
    for value in (1.0, 0.5):
        trial = found.ask()
        prune = study.Prune(trial, "val/gain")
        metrics = {"val/gain": SimpleNamespace(item=lambda value=value: value)}
        trainer = SimpleNamespace(callback_metrics=metrics, global_step=4, max_steps=8, should_stop=False)
        prune.on_validation_end(trainer, None)
        trainers.append((trainer.should_stop, trial.user_attrs.get(study.PRUNED_AT)))
        found.tell(trial, value)
    assert trainers == [(False, None), (True, 4)]


def test_a_search_without_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to search"):
        study.open_study(composed("train"), tmp_path)


def test_dashboard_reads_back_and_shows_what_is_logged(tmp_path: Path) -> None:
    for item, name in ((dashboard.workspace("team", "p"), "workspace"), (dashboard.report("team", "p"), "report")):
        dashboard.write(item._to_model(), tmp_path / f"{name}.json")
        text = (tmp_path / f"{name}.json").read_text()
        for key in ("train/loss", "val/psnr/n_16", "eval/inpainting/psnr/texture_on/method_mean", "eval/strength"):
            assert key in text, (name, key)
    assert "eval/palette_transfer/palette_psnr/n_colors_8/texture_off/method_negative_color" in text


def test_plan_is_the_documented_commands_and_knows_what_is_done(tmp_path: Path) -> None:
    steps, costs = reproduce.plan("tiny", [f"out={tmp_path}"])
    assert [step.name for step in steps] == ["train", "evaluate", "report"] and "CPU minutes" in costs
    assert all(step.command.startswith("python ") for step in steps)
    assert not any(step.done for step in steps)
    steps[0].printed.parent.mkdir()
    steps[0].printed.write_text(f"$ {steps[0].command}\nprinted\n")
    assert [step.done for step in steps] == [True, False, False]
    again, _ = reproduce.plan("tiny", [f"out={tmp_path}", "steps_of_training=7"])
    assert not again[0].done


def test_plan_of_the_paper_has_costs_in_gpu_hours() -> None:
    steps, _ = reproduce.plan("full", ["shards=S", "photos=P", "base=sd15"])
    assert steps[0].cost == f"{902200 / reproduce.TFLOPS / 3600:.1f} h"
    assert "base=sd15" in steps[3].command and "'eval.protocols=[dequantization]'" in steps[3].command


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("huge", []), "There is no plan 'huge': choose full or tiny"),
        (("full", ["photos=P"]), "shards"),
        (("tiny", ["step=3"]), "step"),
    ],
)
def test_plan_errors(arguments: tuple[str, list[str]], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        reproduce.plan(*arguments)


def test_steps_keep_what_they_printed_if_they_end_well(tmp_path: Path) -> None:
    step = reproduce.Step("good", "echo seen", tmp_path / "good.txt", "1 min", 1)
    reproduce.execute(step)
    assert step.done and step.printed.read_text().splitlines()[1] == "seen"
    bad = reproduce.Step("bad", "echo seen; exit 3", tmp_path / "bad.txt", "1 min", 1)
    with pytest.raises(InputError, match="bad ended with status 3"):
        reproduce.execute(bad)
    assert not bad.done


def test_report_holds_tables_and_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no training"):
        report.page(tmp_path)
    (tmp_path / "robustness").mkdir()
    (tmp_path / "robustness" / "tables.txt").write_text("SSIM < 1")
    Image.new("RGB", (4, 4), "red").save(tmp_path / "robustness" / "curves.png")
    finished(tmp_path, 0, 0.5)
    page = report.page(tmp_path)
    assert "SSIM &lt; 1" in page and "Robustness (Figure 9)" in page and page.count("data:image/jpeg;base64,") == 1
    assert "<td>0.5</td>" in page and 'src="http' not in page


def command(folder: Path, *options: str) -> list[str]:
    few = [*TINY, "trainer.max_steps=4", "trainer.val_check_interval=2", "hparams_search=variants"]
    return [sys.executable, str(ROOT / "train.py"), "-m", *few, *options]


def run(folder: Path, *options: str) -> Path:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command(folder, *options), capture_output=True, text=True, cwd=folder, env=environment)
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
def test_killed_multirun_goes_on_where_it_was(tmp_path: Path) -> None:
    options = ["variant=L,T", "seed=0"]
    process = subprocess.Popen(command(tmp_path, *options), cwd=tmp_path, stdout=subprocess.DEVNULL)
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


def test_the_search_for_ablations_runs_all_of_them() -> None:
    params = OmegaConf.load(ROOT / "sweeps" / "hparams_search" / "ablations.yaml").hydra.sweeper.params
    assert sorted(params["+ablation"].split(",")) == sorted(
        path.stem for path in (ROOT / "sweeps" / "ablation").glob("*.yaml")
    )
