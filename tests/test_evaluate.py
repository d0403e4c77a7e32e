"""`python evaluate.py` as a user runs it: all protocols, several variants, killed and resumed, with bad input."""

import csv
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image
from torch import nn

import evaluate as program
from dequant import provenance
from dequant.data.sources import Shards, bundled
from dequant.errors import InputError
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from tests.support.configs import GROUPS, load
from tests.support.paths import ROOT
from tests.support.programs import Done, Program

COLORIZATION = ("colorization", "color_scale", "text_control", "ablation", "decoders", "region_control", "edit_control")
PROTOCOLS = [name for name in GROUPS.get("eval", []) if name not in ("all", "steps", *COLORIZATION)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, encoders of all variants and 4 photos."""
    folder = tmp_path_factory.mktemp("evaluate")
    torch.manual_seed(0)
    cfg = load("train", folder, "base=small_init", "base.unet.block_out_channels=[8,16]", "base.unet.norm_num_groups=4")
    base: DiffusionBase = instantiate(cfg.base)
    nn.init.normal_(base.unet.conv_out.weight, std=0.02)
    base.save_pretrained(folder / "base")
    for variant in ("T", "G", "L"):
        control = ControlEncoder.from_base(base, variant)
        nn.init.normal_(control.zero_conv_mid.weight, std=0.1)
        control.save_pretrained(folder / f"small_{variant}")
    (folder / "photos").mkdir()
    source = Shards(bundled())
    for number, key in enumerate(source.keys("test")[:4]):
        (folder / "photos" / f"{number}.jpg").write_bytes(source.read(key))
    (folder / "photos" / "broken.jpg").write_bytes(b"no photo")
    return folder


def start(place: Path, out: Path, *overrides: str, multirun: bool = False, **environment: str) -> Program:
    return Program(
        *("evaluate.py", *(["-m"] if multirun else [])),
        *("data=folder", f"data.root={place}/photos", "eval.size=32", f"base.path={place}/base"),
        *(f"ckpt_path={place}/small_${{variant.name}}", f"run_dir={out}/${{eval.name}}"),
        *(f"hydra.run.dir={out}/logs", f"hydra.sweep.dir={out}/logs", *overrides),
        cwd=place,
        **environment,
    )


def evaluate(place: Path, out: Path, *overrides: str, multirun: bool = False, **environment: str) -> Done:
    return start(place, out, *overrides, multirun=multirun, **environment).wait()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def lines(folder: Path) -> dict[str, list[str]]:
    return {str(path.relative_to(folder)): path.read_text().splitlines() for path in folder.rglob("measurements/*.csv")}


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("variant", ["T", "L_post"])
def test_configured_protocols_make_cases(name: str, variant: str, tmp_path: Path) -> None:
    cfg = load("evaluate", tmp_path, "base=small_init", f"eval={name}", f"variant={variant}")
    reference = {"reference": torch.rand(3, 32, 32)} if cfg.eval.with_reference else {}
    cases = instantiate(cfg.eval.protocol)(torch.rand(3, 32, 32), np.random.default_rng(0), **reference)
    assert cases
    instantiate(cfg.eval.baselines)


def test_a_dirty_tree_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before a network is loaded."""
    monkeypatch.setattr(provenance, "commit", lambda: "abcdef1+")
    cfg = load("evaluate", tmp_path, f"results={ROOT}/results/new.csv", "ckpt_path=missing.ckpt")
    with pytest.raises(InputError, match="commit abcdef1: commit them first, or allow it with allow_dirty=true"):
        program.evaluate(cfg)
    cfg.allow_dirty = True
    with pytest.raises(InputError, match=r"missing\.ckpt"):
        program.evaluate(cfg)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["results=/dev/full"], "not an ordinary file"),
        (["results={folder}"], "not an ordinary file"),
        (["results={folder}/marked.csv"], "is read-only"),
        (["results={folder}/closed/new.csv"], "is read-only"),
        (["run_dir={folder}/closed/run"], "is read-only.: choose another folder with run_dir=PATH"),
        (["run_dir={folder}/marked.csv"], "is not a folder.: choose another folder with run_dir=PATH"),
        (["bf16=3"], "Expected bf16 to be true, false or null, got 3"),
        (["ckpt_path=3"], "Expected ckpt_path to be a path or null, got 3"),
        (["eval.batch_size=2.5"], "Expected eval.batch_size to be a whole number, got 2.5"),
        (["eval.max_photos=true"], "Expected eval.max_photos to be a whole number or null, got True"),
        (["eval.same=[foo]"], "no column 'foo'"),
    ],
)
def test_what_cannot_be_is_refused_ahead(tmp_path: Path, options: list[str], sentence: str) -> None:
    (tmp_path / "closed").mkdir(0o555)
    (tmp_path / "marked.csv").touch(0o444)
    cfg = load("evaluate", tmp_path / "run", *(option.format(folder=tmp_path) for option in options))
    for option in options:  # `load` has set run_dir
        if option.startswith("run_dir="):
            cfg.run_dir = option.removeprefix("run_dir=").format(folder=tmp_path)
    with pytest.raises(InputError, match=sentence):
        program.evaluate(cfg)
    assert not (tmp_path / "run").exists()


def test_an_evaluation_runs_once_at_a_time(tmp_path: Path) -> None:
    cfg, other = (load("evaluate", tmp_path, f"variant={name}") for name in "TG")
    with program.claimed([cfg]):
        with pytest.raises(InputError, match=r"Another process runs this evaluation in .*run_dir=PATH"):
            program.claimed([other, cfg]).__enter__()
        with program.claimed([other]):
            pass
    with program.claimed([cfg, other]):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_a_stopped_evaluation_says_that_it_resumes(place: Path, tmp_path: Path, number: int, name: str) -> None:
    process = start(place, tmp_path)
    while not list(tmp_path.rglob("measurements/*.csv")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    done = process.wait()
    assert done.returncode != 0
    assert done.stderr == f"stopped by {name}: the measurements so far are kept, and the same command resumes\n"
    assert not list(tmp_path.rglob("*partial*"))


@pytest.mark.slow
def test_multirun_prints_tables_1_and_2(place: Path, tmp_path: Path) -> None:
    options = ["eval=palette_transfer", "eval.method=color,negative_color", "variant=T,L_post", "eval.max_photos=2"]
    done = evaluate(place, tmp_path, *options, f"results={tmp_path}/results.csv", multirun=True)
    assert done.returncode == 0, done.stderr
    last = done.stdout.split("Palette transfer, palette error, color (Table 1)")[-1]
    for part in (
        "(Table 2)",
        "ours-T",
        "ours-L_post",
        "identity",
        "reinhard",
        "paper 23.0",
        "paper -0.0853",
        "photos: 2",
    ):
        assert part in last
    results = rows(tmp_path / "results.csv")
    assert {row["paper_item"] for row in results} == {"Table 1", "Table 2"}
    assert {row["variant"] for row in results} >= {"T", "L_post", "identity"}
    assert {row["dataset"] for row in results} == {"photos/all"}
    assert {path.name for path in (tmp_path / "palette_transfer").glob("*.png")} == {
        *("front.png", "grid_color.png", "grid_negative_color.png")
    }


@pytest.mark.slow
def test_all_is_killed_and_resumes(place: Path, tmp_path: Path) -> None:
    """SIGKILL amid the protocols, then the same command: nothing is measured twice, everything is there."""
    options = ["eval=all", "eval.variants=[T]", "eval.batch_size=3", "eval.max_photos=2"]
    process = start(place, tmp_path, *options)
    while not (tmp_path / "palette_transfer" / "measurements" / "T.csv").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = lines(tmp_path)
    done = evaluate(place, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    after = lines(tmp_path)
    for name, old in before.items():
        assert after[name][: len(old) - 1] == old[:-1]
    for name, new in after.items():
        assert len(set(new)) == len(new), name
    assert {path.name for path in tmp_path.iterdir()} == {*PROTOCOLS, "logs"}
    for name in PROTOCOLS:
        assert {row["variant"] for row in rows(tmp_path / name / "cells.csv")} >= {"T", "identity"}
        assert list((tmp_path / name).glob("grid*.png"))
        assert (tmp_path / name / "tables.txt").read_text().count("identity") > 0
    assert {path.parent.name for path in tmp_path.rglob("curves.png")} == {"dequantization", "robustness"}
    again = evaluate(place, tmp_path, *options)
    assert again.returncode == 0, again.stderr
    assert lines(tmp_path) == after


@pytest.mark.slow
def test_perceptual_tables(place: Path, tmp_path: Path) -> None:
    network = "+perceptual.features.pooled={_target_:tests.support.features.Pooled}"
    options = ["eval=palette_transfer", "eval.n_colors=8", "eval.baselines=null", network]
    done = evaluate(place, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    for title in ("pooled cosine, color (Table 1)", "pooled fid, negative_color (Table 2)", "pooled kid, color"):
        assert title in done.stdout
    cells = rows(tmp_path / "palette_transfer" / "cells.csv")
    assert {bool(cell["stderr"]) for cell in cells if cell["metric"] in ("pooled_fid", "pooled_kid")} == {False}
    assert {bool(cell["stderr"]) for cell in cells if cell["metric"] in ("pooled_cosine", "palette_psnr")} == {True}


@pytest.mark.slow
def test_processes_share_the_work(place: Path, tmp_path: Path) -> None:
    options = ["eval.n_colors=8", "eval.baselines=null"]
    ranks = [evaluate(place, tmp_path, *options, RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    assert [done.returncode for done in ranks] == [0, 0], ranks[0].stderr + ranks[1].stderr
    assert "Other processes are still running" in ranks[0].stdout
    assert "ours-T" in ranks[1].stdout
    assert "gaussian" not in ranks[1].stdout
    assert {row["n"] for row in rows(tmp_path / "dequantization" / "cells.csv")} == {"4"}
    assert Image.open(tmp_path / "dequantization" / "curves.png").width > 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["variant=X"], "Could not find 'variant/X'"),
        (["eval=figure_5"], "Could not find 'eval/figure_5'"),
        (["eval.n_colors=[4,257]"], "2 to 256 colours, got 257"),
        (["eval.size=5000"], "5000 pixels"),
        (["eval.size=0"], "at least 1 pixel"),
        (["seed=abc"], "data.module cannot be set up"),
        (["sampler.keep_palette=true"], "keep_palette=True"),
        (["eval.max_photos=0"], "at least 1 photo to evaluate"),
        (["data.root=no/such/folder"], "no/such/folder"),
        (["ckpt_path=missing.ckpt"], "missing.ckpt"),
        (["ckpt_path=small_L"], "variant 'L'"),
        (["eval=palette_transfer", "eval.max_photos=1"], "two or more photos"),
        (["run_dir=photos/0.jpg"], "photos/0.jpg"),
        (["results=photos/0.jpg"], "photos/0.jpg"),
        (["device=tpu"], "'tpu'"),
        (["perceptual=lpips"], "perceptual.lpips.weights=PATH of VGG16"),
        (["perceptual=clip"], "'openai/clip-vit-base-patch32'"),
        (["perceptual=fid"], "Could not find 'perceptual/fid'"),
        (
            ["+perceptual.features.x={_target_:no_such.Net}"],
            "x cannot be imported (No module named 'no_such')",
        ),
        (["optimized_metric=dequantization/foo"], "choose one of dequantization/psnr, "),
        (["eval.n_colors=[8.5]"], "2 to 256 colours, got 8.5"),
        (["eval.n_colors=['8']"], "2 to 256 colours, got '8'"),
        (["eval.n_colors=[]"], "at least one value"),
        (["eval=robustness", "eval.strengths=[a]"], "strengths from 0 to 1, got 'a'"),
        (["eval=all", "eval.variants=[]"], "There is nothing to evaluate"),
        (["eval=all", "eval.protocols=[]"], "There is nothing to evaluate"),
    ],
)
def test_bad_input_is_one_sentence(place: Path, tmp_path: Path, overrides: list[str], sentence: str) -> None:
    done = evaluate(place, tmp_path, *overrides)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.slow
def test_without_weights_it_says_how_to_get_them(place: Path, tmp_path: Path) -> None:
    done = evaluate(place, tmp_path, "variant.name=Q", "ckpt_path=null")
    assert done.returncode != 0
    assert "No weights 'small' of variant 'Q' are bundled" in done.stderr
    assert "train.py variant=Q" in done.stderr
