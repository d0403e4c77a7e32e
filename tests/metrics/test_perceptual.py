"""Perceptual metrics on random networks of the real layouts: what they compute, and what is refused."""

from math import sqrt
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchmetrics.functional.image import lpips
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.clip.modeling_clip import CLIPModel

from dequant.color.rgb import to_uint8
from dequant.errors import InputError
from dequant.metrics.perceptual import ClipImages, Lpips, _vgg16, frechet_distance, kernel_distance
from tests.support.features import write_clip, write_vgg16


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of VGG16."""
    return write_vgg16(tmp_path_factory.mktemp("vgg16") / "vgg16.pth")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP model."""
    return write_clip(tmp_path_factory.mktemp("clip"))


def features(count: int, size: int, seed: int) -> Tensor:
    return torch.rand(count, size, generator=torch.Generator().manual_seed(seed))


def pictures(count: int = 2, side: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_trunk_is_torchvisions() -> None:
    convolutions = [n for n, layer in _vgg16().named_children() if isinstance(layer, nn.Conv2d)]
    assert [int(name) for name in convolutions] == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


def test_lpips_is_that_of_torchmetrics(vgg16: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_lpips_says_what_it_needs(vgg16: Path, tmp_path: Path) -> None:
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


def gaussians_distance(features: Tensor, reference: Tensor) -> float:
    """FID from singular values: the root of a product of covariances has those of the product of their factors."""
    first, second = ((x - x.mean(0)) / sqrt(len(x) - 1) for x in (features.double(), reference.double()))
    factors = [torch.linalg.qr(x, mode="r").R for x in (first, second)]
    overlap = torch.linalg.svdvals(factors[0] @ factors[1].T).sum()
    shift = (features.double().mean(0) - reference.double().mean(0)).square().sum()
    return (shift + first.square().sum() + second.square().sum() - 2 * overlap).item()


def unbiased_mmd(features: Tensor, reference: Tensor) -> float:
    """KID as its authors define it: all pairs of different pictures within a set, all pairs between the sets."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a.double() @ b.double().T / a.shape[1] + 1) ** 3

    within = [kernel(x, x).fill_diagonal_(0).sum() / (len(x) * (len(x) - 1)) for x in (features, reference)]
    return (sum(within) - 2 * kernel(features, reference).mean()).item()


@pytest.mark.parametrize(("count", "tolerance"), [(6, 1e-6), (40, 1e-9)])  # fewer and more pictures than features
def test_frechet_distance_is_that_of_gaussians(count: int, tolerance: float) -> None:
    first, second = features(count, 12, seed=1), 2 * features(count + 3, 12, seed=2)
    expected = gaussians_distance(first, second)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=tolerance)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_by_hand() -> None:
    """Variances 2 and 8, means 0 and 3: 3^2 + 2 + 8 - 2 * 4."""
    first, second = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])
    assert frechet_distance(first, second) == pytest.approx(11)


def test_kernel_distance_is_the_unbiased_mmd() -> None:
    first, second = features(40, 3, seed=1), features(40, 3, seed=2) + 0.2
    assert kernel_distance(first, second) == pytest.approx(unbiased_mmd(first, second), rel=1e-9)
    same_law = [kernel_distance(features(40, 3, seed), features(40, 3, seed + 100)) for seed in range(30)]
    assert abs(sum(same_law) / 30) < 0.1 * kernel_distance(first, second)
    assert kernel_distance(first, first) < 0  # pairs of a picture and itself count


def test_kernel_distance_by_hand() -> None:
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [-1.0]])
    between = (1**3 + 1**3 + 3**3 + 0**3) / 4
    assert kernel_distance(a, b) == pytest.approx(1**3 + (-1) ** 3 - 2 * between)


def test_kernel_distance_of_many_pictures_is_the_same_each_time() -> None:
    first, second = features(1200, 3, seed=1), features(1100, 3, seed=2) + 0.2
    before = torch.get_rng_state()
    once, twice = kernel_distance(first, second), kernel_distance(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert once == twice == pytest.approx(unbiased_mmd(first, second), rel=0.02)
