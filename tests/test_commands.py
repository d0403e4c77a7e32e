"""The commands of the documents, as written, on less work."""

import re
import shlex
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from PIL import Image

from dequant.cli.main import main
from dequant.colorization import tuning
from dequant.colorization.tuning import Tuning
from dequant.data.packing import COLUMNS
from dequant.data.sources import Shards, bundled
from dequant.io.files import write_csv
from tests.support import programs
from tests.support.paths import ROOT

DOCUMENTS = ("README.md", "docs/train.md", "docs/evaluate.md", "docs/sample.md")
"""Whose ```bash blocks are run."""

ELSEWHERE = {
    "python train.py -m variant=L,G,T": "sweeps/test_runs.py",
    "python evaluate.py eval=all data=folder data.root=photos": "test_evaluate.py",
    "python evaluate.py -m eval=palette_transfer eval.method=color,negative_color variant=T,G,L,L_post": (
        "test_evaluate.py"
    ),
}
"""Commands that other tests run, with other paths and fewer variants."""

LESS = {
    "python train.py": ["trainer.max_steps=2", "trainer.val_check_interval=2", "data.batch_size=2", "data.max_val=2"],
    "python evaluate.py": ["eval.max_photos=2", "eval.size=32", "eval.baselines=null"],
    "sweeps.study": ["search.trials=2"],
    "hparams_search=variants": ["seed=0"],
    "eval=text_control": ["eval.scenes=4"],
    "eval=colorization": ["eval.num_inference_steps=2"],
}
"""What a command gets that has these words."""
LESS["sweeps.study"] += LESS["python train.py"]


def commands(start: str, documents: Sequence[str] = DOCUMENTS) -> list[str]:
    """Those of some documents that begin like this, each once, in the order in which they are read."""
    texts = [(ROOT / name).read_text() for name in documents if (ROOT / name).is_file()]
    blocks = re.findall(r"```bash\n(.*?)```", "".join(texts), re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith(start) and line not in ELSEWHERE))


def run(line: str, folder: Path) -> None:
    words = shlex.split(line)
    _, script, *arguments = words if words[0] == "python" else ["python", "-m", "dequant.cli", *words[1:]]
    name = arguments.pop(0) if script == "-m" else script
    less = [option for words, options in LESS.items() if words in line for option in options]
    done = programs.run(name, *arguments, *less, cwd=folder)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def within(line: str) -> None:
    """Run a command `dequant` in this process, which is faster."""
    try:
        main(shlex.split(line)[1:])
    except SystemExit as end:
        assert not end.code, line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `photos/`, `photo.jpg`, `other.jpg`, `edited.png`, `mask.png` and `dithered.gif`."""
    (tmp_path / "photos" / "below").mkdir(parents=True)
    shards = Shards(bundled())
    for key in shards.keys("val")[:6]:
        (tmp_path / "photos" / "below" / f"{Path(key).name}.jpg").write_bytes(shards.read(key))
    for name, key in zip(("photo.jpg", "other.jpg"), shards.keys("test"), strict=False):
        small = Image.open(BytesIO(shards.read(key))).resize((160, 128), Image.Resampling.BOX)
        small.save(tmp_path / name, quality=95)
    photo = Image.open(tmp_path / "photo.jpg")
    photo.point(lambda level: min(255, level + 6)).save(tmp_path / "edited.png")
    mask = Image.new("L", photo.size)
    mask.paste(255, (8, 8, photo.width // 3, photo.height // 3))
    mask.save(tmp_path / "mask.png")
    photo.resize((96, 64)).quantize(16, dither=Image.Dither.FLOYDSTEINBERG).save(tmp_path / "dithered.gif")
    return tmp_path


@pytest.mark.slow
def test_train_commands(folder: Path) -> None:
    """In README's order, since one of them resumes the run of another."""
    lines = commands("python train.py")
    assert len(lines) >= 5
    for line in lines:
        run(line, folder)
    assert list(folder.glob("outputs/train/ours-T/*/weights/config.json"))
    assert list(folder.glob("outputs/train/prior/*/weights/base.json"))
    assert list(folder.rglob("run-*.wandb"))


@pytest.mark.slow
@pytest.mark.parametrize("line", commands("python evaluate.py"))
def test_evaluate_commands(line: str, folder: Path) -> None:
    run(line, folder)
    assert list(folder.rglob("cells.csv"))
    assert list(folder.rglob("grid*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("line", commands("dequant ") + commands("python -m dequant.cli "))
def test_command_line(line: str, folder: Path) -> None:
    before = set(folder.rglob("*"))
    run(line, folder)
    assert set(folder.rglob("*")) > before


@pytest.mark.slow
def test_commands_for_artists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, since some need the results of others, and in one process, which is faster."""
    monkeypatch.chdir(folder)
    lines = commands("dequant ", ["docs/artists.md"])
    assert len(lines) >= 12
    for line in lines:
        within(line)
    assert (folder / "look.cube").is_file() and list(folder.glob("alike/**/*.yaml"))


@pytest.mark.slow
def test_commands_of_colorize(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page: first what colours, in one process, then what trains, each from what came before."""
    monkeypatch.chdir(folder)
    page = ["docs/colorize.md"]
    for line in commands("dequant colorize ", page):
        within(line)
    assert {one.name for one in folder.glob("*.yaml")} >= {"photo.colorize.jpg.yaml", "red.png.yaml", "alike.png.yaml"}
    for line in commands("python evaluate.py", page):
        run(line, folder)
    fill_manifest(folder / "photos")
    run(commands("dequant shards", page)[0], folder)
    for line in commands("python train.py", page):
        for name, run_of in (("VAE", "small_vae"), ("WEIGHTS", "small_diffusing_colors")):
            line = re.sub(rf"={name}$", f"={next(folder.glob(f'outputs/train/{run_of}/*/weights'), name)}", line)
        run(line, folder)
    assert len(list(folder.glob("outputs/train/small_*/*/weights"))) == 3


@pytest.mark.slow
def test_commands_of_semantic(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page colours, with the bundled weights: what is read stands in the recipe, which a replay takes."""
    monkeypatch.chdir(folder)
    for line in commands("dequant colorize ", ["docs/semantic.md"]):
        within(line)
    content = yaml.safe_load((folder / "photo.colorize.jpg.yaml").read_text())
    assert {"prompt", "category", "regions"} <= set(content["edit"])
    content["edit"]["regions"] = [{"text": "a blue shirt", "box": [0, 0, 40, 40]}]
    (folder / "changed.yaml").write_text(yaml.safe_dump(content))
    run("dequant replay changed.yaml photo.jpg -o again.jpg", folder)
    assert (folder / "again.jpg").read_bytes() != (folder / "photo.colorize.jpg").read_bytes()


@pytest.mark.slow
def test_commands_of_diffcolor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt is tuned to once; edits and strips take up what was tuned."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tuning, "Tuning", partial(Tuning, color_steps=3, embedding_steps=3, network_steps=3))
    for line in commands("dequant colorize ", ["docs/diffcolor.md"]):
        within(line)
    assert len(list(folder.glob("diffcolor/*/state.pt"))) == 1
    photo, strip = Image.open(folder / "photo.jpg"), Image.open(folder / "strip.png")
    assert strip.size == (4 * photo.width, photo.height)


def fill_manifest(photos: Path) -> None:
    """Write the manifest of a folder of photos, and move one of each split to `things/`."""
    (photos / "things").mkdir()
    files = sorted(photos.rglob("*.jpg"))
    rows = []
    for number, file in enumerate(files):
        place = file if number % 3 else file.rename(photos / "things" / file.name)
        content = place.read_bytes()
        row = dict.fromkeys(COLUMNS, "free") | {"file": place.relative_to(photos).as_posix(), "crop": "whole"}
        rows.append(
            row | {"blob": sha256(content).hexdigest(), "bytes": len(content), "sha256": sha256(content).hexdigest()}
        )
    write_csv(photos / "manifest.csv", COLUMNS, rows)


@pytest.mark.slow
def test_search_commands(folder: Path) -> None:
    """In README's order, since one of them sums up what another found."""
    for line in commands("python -m sweeps"):
        run(line, folder)
        assert list(folder.glob("outputs/sweep/*/ranking.csv"))


def test_every_command_of_readme_exists() -> None:
    for line in (ROOT / "README.md").read_text().splitlines():
        if match := re.match(r"make (\w+)", line):
            assert f"\n{match[1]}:" in (ROOT / "Makefile").read_text()
        if match := re.match(r"python (\S+\.py)", line):
            assert (ROOT / match[1]).is_file()
