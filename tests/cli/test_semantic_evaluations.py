"""evaluate.py on a colorizer that reads what photos show: its parts, decoders and regions."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from dequant.cli import coloring
from dequant.colorization.semantic import Sampling, SemanticColors
from dequant.data.sources import Shards, bundled
from dequant.errors import InputError
from dequant.models.luma_skips import LumaSkips
from tests.support import latents
from tests.support.configs import job
from tests.support.image_texts import judge
from tests.support.tunings import FEW


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a training, those of a decoder, and two photos."""
    folder = tmp_path_factory.mktemp("semantic")
    vae = latents.vae()
    vae.save_pretrained(folder / "vae")
    learner = SemanticColors(latents.base(folder / "vae"), sampling=Sampling(2, 1.5))
    torch.nn.init.normal_(learner.mix.layer.weight, std=0.3)
    learner.save_pretrained(folder / "run" / "weights")
    skips = LumaSkips.of(vae)
    torch.nn.init.normal_(skips.layers[0].weight, std=0.3)
    skips.save_pretrained(folder / "aware" / "skips")
    vae.save_pretrained(folder / "aware" / "vae")
    source = Shards(bundled())
    (folder / "photos").mkdir()
    for number, key in enumerate(source.keys("test")[:2]):
        (folder / "photos" / f"{number}.jpg").write_bytes(source.read(key))
    return folder


def evaluated(place: Path, out: Path, *options: str, model: str = "semantic") -> list[dict[str, Any]]:
    """The rows of the results."""
    own = (f"ckpt_path={place}/run", f"model={model}", "data=folder", f"data.root={place}/photos")
    out.mkdir(exist_ok=True)
    rest = ("data.eval_split=all", "eval.size=32", f"results={out}/results.csv", *options)
    coloring.evaluate(job("evaluate", out, *own, *rest))
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_an_ablation_has_all_parts_and_pictures(place: Path, tmp_path: Path) -> None:
    rows = evaluated(place, tmp_path / "out", "eval=ablation", f"eval.decoder={place}/aware")
    assert {row["variant"] for row in rows} == {"neither", "decoder", "guidance", "both"}
    values = {(row["variant"], row["metric"]): row for row in rows if row["method"] == "as decoded"}
    assert values["both", "fd"]["paper"] == "9.799" and values["guidance", "colorfulness"]["paper"] == "42.55"
    assert values["decoder", "colorfulness"]["mean"] != values["neither", "colorfulness"]["mean"]
    assert all(row["sampler"] == "ddim2, guidance 1.5" for row in rows) and (tmp_path / "out" / "grid.png").is_file()


def test_decoders_are_compared(place: Path, tmp_path: Path) -> None:
    rows = evaluated(place, tmp_path / "out", "eval=decoders", f"eval.decoder={place}/aware")
    assert {row["metric"] for row in rows} == {"psnr", "fine_error", "ciede2000"}
    assert {row["method"] for row in rows} == {"the photo's latents", "drawn latents"}


def test_regions_and_categories_are_measured(place: Path, tmp_path: Path) -> None:
    rows = evaluated(place, tmp_path / "out", "eval=region_control", "eval.scenes=1", "eval.strengths=[0,1]")
    assert {row["method"] for row in rows} >= {"thing", "ground, own", "ground, beside another"}
    assert {row["strength"] for row in rows if row["metric"] == "obeyed"} == {"0", "1"}


def test_other_colorizers_have_no_priors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="diffusing_colors takes no priors to measure in eval=ablation"):
        coloring.evaluate(job("evaluate", tmp_path, "eval=ablation", "model=diffusing_colors"))


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "metric"), [("edit_control", "kept"), ("colorization", "ciede2000")])
def test_a_network_that_is_tuned_to_each_photo_is_measured(
    place: Path, tmp_path: Path, protocol: str, metric: str
) -> None:
    judge().save_pretrained(tmp_path / "judge")
    steps = (f"model.tuning.{name}={value}" for name, value in FEW.items())
    few = (f"model.likeness={tmp_path}/judge", *steps, "eval.max_photos=1")
    extra = ("eval.scenes=1", "eval.strengths=[1]") if protocol == "edit_control" else ()
    rows = evaluated(place, tmp_path / "out", f"eval={protocol}", *few, *extra, model="diffcolor")
    own = [row for row in rows if row["variant"].startswith("diffcolor") and row["metric"] == metric]
    assert own and all(row["sampler"] == "ddim2, guidance 1.5" and row["weights"].endswith("/run") for row in own)


def test_protocols_of_one_colorizer_are_refused_for_another(place: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="eval=edit_control is not for model=semantic"):
        evaluated(place, tmp_path / "out", "eval=edit_control")
    with pytest.raises(InputError, match="diffcolor takes no priors to measure"):
        evaluated(place, tmp_path / "out", "eval=ablation", model="diffcolor")
