"""A latent base that reads text: parts that do not fit, its tokenizer, folders of it, and low-rank changes."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file

from dequant.colorization.priors import vocabulary
from dequant.errors import InputError
from dequant.models.latent import END, START, LatentBase, new_tokenizer
from tests.support import latents

Z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
T = torch.tensor([999, 10])


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae")
    latents.vae().save_pretrained(folder)
    return folder


@pytest.fixture
def base(coder: Path) -> LatentBase:
    return latents.base(coder)


def predicted(base: LatentBase, text: str = "a red car") -> torch.Tensor:
    with torch.no_grad():
        return base.predict(Z, T, base.embed([text] * 2))


def test_sizes(base: LatentBase) -> None:
    assert (base.multiple, base.side) == (8, latents.SIDE)
    assert base.embed(["a red car", ""]).shape == (2, 8, 32)
    assert base.decode(base.encode(torch.rand(1, 3, 16, 24)), torch.rand(1, 3, 16, 24)).shape == (1, 3, 16, 24)
    assert not any(weight.requires_grad for weight in base.vae.parameters())


def test_the_text_matters_and_long_texts_are_cut(base: LatentBase) -> None:
    assert not torch.equal(predicted(base, "a red car"), predicted(base, "a blue car"))
    assert torch.equal(predicted(base, "red " * 6), predicted(base, "red " * 100))
    each = base.predict(Z[1:], T[1:], base.embed(["a red car"]))
    torch.testing.assert_close(each, predicted(base)[1:], atol=1e-5, rtol=1e-4)


def test_a_new_base_predicts_no_colour(coder: Path) -> None:
    torch.manual_seed(0)
    new = latents.new_latent_base(str(coder), ["red"], [8, 16], 32, 1, 8, 8, 4, False)
    assert torch.equal(predicted(new), torch.zeros_like(Z))


def test_parts_that_do_not_fit_are_one_sentence(base: LatentBase) -> None:
    def unet(**changes: int) -> UNet2DConditionModel:
        return UNet2DConditionModel.from_config(dict(base.unet.config) | changes)

    def of(unet: UNet2DConditionModel) -> LatentBase:
        return LatentBase(base.vae, unet, base.text_encoder, base.tokenizer)

    with pytest.raises(InputError, match="from 5 to 4 channels, but the autoencoder's latents have 4: give the unet"):
        of(unet(in_channels=5))
    with pytest.raises(InputError, match="from 4 to 8 channels"):
        of(unet(out_channels=8))
    with pytest.raises(InputError, match="texts of width 48, but the text encoder's have 32: give the unet"):
        of(unet(cross_attention_dim=48))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 4, 7, 8), (2, 4, 8, 5), (4, 8, 8)])
def test_latents_of_a_wrong_size_are_one_sentence(base: LatentBase, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"Expected latents \(B, 4, h, w\) with h and w multiples of 2, got"):
        base.predict(torch.zeros(shape), T, base.embed(["", ""]))


def test_a_folder_holds_everything(base: LatentBase, tmp_path: Path, coder: Path) -> None:
    base.vae.register_to_config(scaling_factor=0.7)
    base.save_pretrained(tmp_path, torch.float32)
    assert {path.name for path in tmp_path.iterdir()} == {"vae", "unet", "text_encoder", "tokenizer"}
    assert not list(tmp_path.rglob("*.bin"))
    again = LatentBase.from_pretrained(tmp_path)
    assert torch.equal(predicted(again), predicted(base))
    rgb = torch.rand(1, 3, 16, 16)
    assert torch.equal(again.encode(rgb), base.encode(rgb))
    other = LatentBase.from_pretrained(tmp_path, vae=str(coder))
    torch.testing.assert_close(0.7 * other.encode(rgb), base.encode(rgb))


def test_released_weights_are_of_half_precision(base: LatentBase, tmp_path: Path) -> None:
    base.save_pretrained(tmp_path)
    for path in tmp_path.rglob("*.safetensors"):
        assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    torch.testing.assert_close(predicted(LatentBase.from_pretrained(tmp_path)), predicted(base), atol=1e-2, rtol=0)
    assert base.unet.dtype == base.text_encoder.dtype == torch.float32


def test_folders_without_a_part_are_one_sentence(base: LatentBase, tmp_path: Path) -> None:
    base.save_pretrained(tmp_path)
    for part in ("vae", "text_encoder", "tokenizer", "unet"):
        shutil.rmtree(tmp_path / part)
        with pytest.raises(InputError) as raised:
            LatentBase.from_pretrained(tmp_path)
        assert "\n" not in str(raised.value)


def test_weights_that_are_not_finite_are_refused(base: LatentBase, tmp_path: Path) -> None:
    with torch.no_grad():
        base.text_encoder.get_input_embeddings().weight[0] = float("nan")
    with pytest.raises(InputError, match="text encoder"):
        base.save_pretrained(tmp_path)


def test_words_are_kept_whole_and_any_text_is_taken() -> None:
    words = vocabulary()
    tokenizer = new_tokenizer(words, 24)
    assert tokenizer.model_max_length == 24
    assert (tokenizer.bos_token, tokenizer.eos_token) == (START, END)
    for word in words:
        assert tokenizer.tokenize(word) == [f"{word}</w>"], word
    for text in ("a red car on blue", "A RED Car", "zyx42 qu!", "größer 世界 🎨", ""):
        tokens = tokenizer(text, padding="max_length", truncation=True, max_length=24).input_ids
        assert len(tokens) == 24 and tokens[0] == tokenizer.bos_token_id and max(tokens) < len(tokenizer)
        assert tokenizer.unk_token_id not in tokens[1 : tokens.index(tokenizer.eos_token_id)]
        assert tokenizer.decode(tokens, skip_special_tokens=True).replace(" ", "") == text.lower().replace(" ", "")


def test_the_same_words_make_the_same_tokenizer() -> None:
    """A resumed training makes it anew."""
    first, again = (new_tokenizer(vocabulary(), 24).get_vocab() for _ in range(2))
    assert first == again


def test_a_saved_tokenizer_says_the_same(tmp_path: Path) -> None:
    tokenizer = new_tokenizer(["red", "car"], 8)
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    assert again.model_max_length == 8
    for text in ("red car", "größer", "🎨 reda"):
        assert again(text).input_ids == tokenizer(text).input_ids


def test_low_rank_changes_alone_learn_and_are_fused_on_saving(base: LatentBase, tmp_path: Path) -> None:
    before = predicted(base)
    frozen = copy.deepcopy(base.unet.state_dict())
    base.add_lora(2)
    learning = {name for name, weight in base.unet.named_parameters() if weight.requires_grad}
    assert learning and all("lora_" in name for name in learning)
    torch.testing.assert_close(predicted(base), before, atol=1e-6, rtol=0)
    with torch.no_grad():
        for name, weight in base.unet.named_parameters():
            if name in learning:
                torch.nn.init.normal_(weight, std=0.3)
    changed = predicted(base)
    assert (changed - before).abs().max() > 1e-4
    base.save_pretrained(tmp_path, torch.float32)
    again = LatentBase.from_pretrained(tmp_path)
    assert set(again.unet.state_dict()) == set(frozen)
    torch.testing.assert_close(predicted(again), changed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(predicted(base), changed, atol=0, rtol=0)
    assert {name for name, weight in base.unet.named_parameters() if weight.requires_grad} == learning


def test_low_rank_changes_need_peft(base: LatentBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(InputError, match="pip install 'dequant\\[lora\\]'"):
        base.add_lora(2)
