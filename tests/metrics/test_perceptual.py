"""Perceptual measures on random networks of the real layouts: what they compute, what is kept, what is refused."""

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.clip.modeling_clip import CLIPModel

from dequant.color.rgb import to_uint8
from dequant.condition.texture_maps import thresholded_gradient_map
from dequant.errors import InputError
from dequant.evaluation import runner
from dequant.evaluation.cases import Case
from dequant.evaluation.measurements import Measurements
from dequant.evaluation.methods import IDENTITY, Method, identity
from dequant.evaluation.perceptual import PerceptualMeasures
from dequant.evaluation.protocols import inpainting
from dequant.evaluation.runner import COLUMNS, Work
from dequant.io.files import Row
from dequant.metrics.perceptual import ClipImages, Lpips, _vgg16, frechet_distance, kernel_distance
from tests.support.configs import load
from tests.support.features import Pooled
from tests.support.photos import some_photos

INPAINTING = partial(inpainting, texture_map=thresholded_gradient_map, methods=["mean", "random"])


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as torchvision saves them, the classifier cut short."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg16") / "vgg16.pth"
    weights = {f"features.{name}": tensor for name, tensor in _vgg16().state_dict().items()}
    torch.save(weights | {"classifier.0.bias": torch.zeros(2)}, path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP model of two narrow layers."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = small | {"vocab_size": 8, "bos_token_id": 0, "eos_token_id": 1}
    config = CLIPConfig(text_config=text, vision_config=small | {"image_size": 32, "patch_size": 8}, projection_dim=8)
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(folder)
    return folder


def features(count: int, size: int, seed: int) -> Tensor:
    return torch.rand(count, size, generator=torch.Generator().manual_seed(seed))


def pictures(count: int = 2, side: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_trunk_is_torchvisions() -> None:
    convolutions = [n for n, layer in _vgg16().named_children() if isinstance(layer, nn.Conv2d)]
    assert [int(name) for name in convolutions] == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


def test_lpips_is_that_of_torchmetrics(vgg16: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lpips = pytest.importorskip("torchmetrics.functional.image.lpips")
    ours = Lpips(vgg16)
    monkeypatch.setattr(lpips, "_get_tv_model_features", lambda *_: ours.trunk)
    theirs = lpips._LPIPS(net="vgg", use_dropout=True)
    first, second = pictures(seed=1), pictures(seed=2)
    with torch.inference_mode():
        distances = ours(first, second)
        torch.testing.assert_close(distances, theirs(first, second, normalize=True).flatten())
        assert torch.equal(ours(first, first), torch.zeros(2))
    assert distances.shape == (2,)
    assert (distances > 0).all()
    with pytest.raises(InputError, match="15 by 64"):
        ours(first[:, :, :15], second[:, :, :15])


def test_lpips_takes_safetensors_and_other_heads(vgg16: Path, tmp_path: Path) -> None:
    weights = torch.load(vgg16, weights_only=True)
    trunk = {name.removeprefix("features."): tensor for name, tensor in weights.items() if "features" in name}
    save_file(trunk, tmp_path / "vgg16.safetensors")
    sizes = (64, 128, 256, 512, 512)
    torch.save({f"lin{k}.model.1.weight": torch.zeros(1, n, 1, 1) for k, n in enumerate(sizes)}, tmp_path / "heads.pth")
    with torch.inference_mode():
        distances = Lpips(tmp_path / "vgg16.safetensors", tmp_path / "heads.pth")(pictures(), pictures(seed=1))
    assert torch.equal(distances, torch.zeros(2))


def test_lpips_says_what_it_needs(vgg16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"perceptual\.lpips\.weights=PATH of VGG16"):
        Lpips(None)
    with pytest.raises(InputError, match=r"no file 'missing\.pth': give perceptual\.lpips\.weights"):
        Lpips("missing.pth")
    (tmp_path / "text.pth").write_text("no weights")
    torch.save(nn.Linear(2, 2), tmp_path / "code.pth")
    torch.save({"features.0.weight": torch.zeros(2, 3, 3, 3)}, tmp_path / "other.pth")
    for name in ("text.pth", "code.pth", "other.pth"):
        with pytest.raises(InputError, match=rf"{name}' holds something else"):
            Lpips(tmp_path / name)
    with pytest.raises(InputError, match=r"perceptual\.lpips\.heads=PATH"):
        Lpips(vgg16, vgg16)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"dequant\[perceptual\]"):
        Lpips(vgg16)


def test_clip_features_are_those_of_transformers(clip: Path) -> None:
    rgb = to_uint8(pictures(side=40))
    model = CLIPModel.from_pretrained(clip)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    seen = processor(list(rgb.numpy()), input_data_format="channels_first", return_tensors="pt")
    with torch.inference_mode():
        features = ClipImages(str(clip))(rgb.float() / 255)
        expected = model.get_image_features(**seen).pooler_output
    torch.testing.assert_close(features, expected, rtol=0, atol=0.02 * expected.abs().max().item())


def test_clip_says_what_it_needs(clip: Path, tmp_path: Path) -> None:
    for name in (str(tmp_path / "missing"), "openai/clip-vit-base-patch32"):
        with pytest.raises(InputError, match=rf"'{name}': give perceptual\.features\.clip\.model=FOLDER"):
            ClipImages(name)
    weights = load_file(clip / "model.safetensors")
    half = {name: tensor for name, tensor in weights.items() if not name.startswith("vision_model.encoder")}
    save_file(half, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((clip / "config.json").read_text())
    with pytest.raises(InputError, match="lacks weights of CLIP's image network"):
        ClipImages(str(tmp_path))


@pytest.mark.parametrize("count", [6, 40])  # fewer and more than features
def test_frechet_distance_is_that_of_torchmetrics(count: int) -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    network = nn.Flatten()
    network.num_features = 12
    metric = fid.FrechetInceptionDistance(network)
    first, second = features(count, 12, seed=1), 2 * features(count + 3, 12, seed=2)
    metric.update(second.reshape(-1, 3, 2, 2), real=True)
    metric.update(first.reshape(-1, 3, 2, 2), real=False)
    assert frechet_distance(first, second) == pytest.approx(metric.compute().item(), rel=1e-4)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_that_of_torchmetrics_but_for_pairs() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    first, second = features(2000, 3, seed=1), features(2000, 3, seed=2) + 0.2
    with pytest.warns(UserWarning, match="memory"):
        metric = kid.KernelInceptionDistance(nn.Identity(), subsets=1, subset_size=2000)
    metric.update(second, real=True)
    metric.update(first, real=False)
    assert kernel_distance(first, second) == pytest.approx(metric.compute()[0].item(), abs=0.002)
    assert kernel_distance(first, second) > 0.2
    assert kernel_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_by_hand() -> None:
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [-1.0]])
    assert kernel_distance(a, b) == pytest.approx(1**3 + (-1) ** 3 - (1**3 + 3**3))


def brighter(cases: Sequence[Case], generators: Sequence[torch.Generator]) -> Tensor:
    return (torch.stack([case.asked for case in cases]) + 0.1).clamp(0, 1)


def run(folder: Path, measures: PerceptualMeasures, limit: int | None = None) -> list[Row]:
    work = Work(runner.choose(some_photos(4), limit), INPAINTING, 0)
    kept = Measurements(measures.folder, (*COLUMNS, *measures.columns))
    contest = {"T": Method(brighter, "s"), IDENTITY: identity()}
    rows = runner.run(work, contest, kept, batch_size=3, more=measures.measure)
    assert rows is not None
    return rows


def test_by_default_nothing_is_measured(tmp_path: Path) -> None:
    cfg = load("evaluate", tmp_path)
    measures = instantiate(cfg.perceptual, folder=tmp_path, device="cpu")
    assert (measures.folder, measures.columns, measures.metrics) == (tmp_path, (), ())
    rows = run(tmp_path, measures, limit=2)
    assert tuple(rows[0]) == COLUMNS
    assert measures.of_cell(rows) == {}
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv"}


def test_configured_measures(vgg16: Path, clip: Path, tmp_path: Path) -> None:
    options = [f"perceptual.lpips.weights={vgg16}", f"perceptual.features.clip.model={clip}"]
    cfg = load("evaluate", tmp_path, "perceptual=[lpips,clip]", *options)
    measures = instantiate(cfg.perceptual, folder=tmp_path, device="cpu")
    assert measures.metrics == ("lpips", "clip_cosine", "clip_fid", "clip_kid")
    assert measures.folder.parent == tmp_path
    rows = run(tmp_path, measures)
    assert {row["method"] for row in rows if row["lpips"]} == {"mean"}
    assert all(-1 <= float(row["clip_cosine"]) <= 1 for row in rows)
    own = load("evaluate", tmp_path, "+perceptual.features.pooled={_target_:tests.support.features.Pooled}")
    measures = instantiate(own.perceptual, folder=tmp_path, device="cpu")
    assert measures.metrics == ("pooled_cosine", "pooled_fid", "pooled_kid")


def test_numbers_of_a_cell_come_from_all_its_pictures(tmp_path: Path) -> None:
    network = Pooled()
    measures = PerceptualMeasures(tmp_path, features={"pooled": network})
    rows = run(tmp_path, measures)
    summary = runner.summarize(rows, measures.of_cell)
    cells = [c for c in summary if c["variant"] == "T" and c["method"] == "random" and c["texture"] == "on"]
    found = {cell["metric"]: (cell["mean"], cell["stderr"], cell["n"]) for cell in cells}
    photos = runner.choose(some_photos(4))
    cases = [Work(photos, INPAINTING, 0).cases(photo)[2] for photo in photos]
    outputs, sources = brighter(cases, []).mean((2, 3)), torch.stack([case.source for case in cases]).mean((2, 3))
    assert found["pooled_fid"] == (pytest.approx(frechet_distance(outputs, sources)), None, 4)
    assert found["pooled_kid"] == (pytest.approx(kernel_distance(outputs, sources)), None, 4)
    assert found["pooled_cosine"][0] == pytest.approx(torch.cosine_similarity(outputs, sources).mean().item())
    assert found["pooled_cosine"][1] > 0
    assert measures.of_cell(rows[:1]) == {}


def test_features_are_kept_for_a_later_run(tmp_path: Path) -> None:
    first = PerceptualMeasures(tmp_path, features={"pooled": Pooled()})
    run(tmp_path, first, limit=2)
    network = Pooled()
    again = PerceptualMeasures(tmp_path, features={"pooled": network})
    rows = run(tmp_path, again)
    assert network.seen == 2 * 2 * 4 + 2 * 2 * 2  # of two more photos: outputs, and each photo once in a batch
    whole = PerceptualMeasures(tmp_path / "whole", features={"pooled": Pooled()})
    assert rows == run(tmp_path / "whole", whole)
    assert runner.summarize(rows, again.of_cell) == runner.summarize(rows, whole.of_cell)


def test_other_weights_are_measured_anew(tmp_path: Path) -> None:
    folders = {PerceptualMeasures(tmp_path, features={"pooled": Pooled(factor)}).folder for factor in (1, 1, 2)}
    assert len(folders) == 2
    assert tmp_path not in folders


def test_a_network_must_return_vectors(tmp_path: Path) -> None:
    measures = PerceptualMeasures(tmp_path, features={"maps": nn.Conv2d(3, 2, 1)})
    with pytest.raises(InputError, match=r"perceptual\.features\.maps .* one vector for each"):
        run(tmp_path, measures)
