import hashlib
import io
import itertools
import logging
import os
import tarfile
import warnings

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dequant.data.crops import center_crop, random_crop
from dequant.data.datasets import StreamSampler, TrainingStream
from dequant.data.module import ImageData
from dequant.data.sources import Folder, Photos, Shards, bundled, splits_by_digest
from dequant.errors import InputError
from dequant.io.images import DAMAGED, NOT_AN_IMAGE, TOO_SMALL, read_image, write_image

SIZE = 32


def condition(rgb, rng):
    """Not the real condition, but one in which the crop and the state of the generator can be seen."""
    return {"condition": torch.cat([rgb, torch.full((4, *rgb.shape[1:]), rng.random())]), "target": rgb}


def photo(seed, width=48, height=40):
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(seed, **size):
    file = io.BytesIO()
    photo(seed, **size).save(file, "JPEG", quality=92)
    return file.getvalue()


def fill(folder, count, split=None, start=0):
    target = folder / split if split else folder
    target.mkdir(parents=True, exist_ok=True)
    for seed in range(start, start + count):
        (target / f"photo_{seed:02}.jpg").write_bytes(jpeg(seed))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for start, (split, count) in zip((0, 20, 30), (("train", 7), ("val", 4), ("test", 3)), strict=True):
        fill(root, count, split, start)
    return root


def data(root, **changes):
    options = {"condition": condition, "size": SIZE, "batch_size": 3, "num_workers": 0, "seed": 5}
    return ImageData(root=str(root), **options | changes)


def stream(module, batches=5):
    loader = module.train_dataloader()
    return torch.cat([batch["condition"] for batch in itertools.islice(loader, batches)])


# --- one image


def test_reads_what_was_written_without_loss(tmp_path):
    rgb = torch.randint(0, 256, (3, 9, 7)) / 255
    write_image(rgb, tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png"), rgb)
    assert torch.equal(read_image(str(tmp_path / "a.png")), rgb)
    assert torch.equal(read_image((tmp_path / "a.png").read_bytes()), rgb)


def test_write_rounds_and_clips(tmp_path):
    write_image(torch.tensor([-1.0, 0.5, 2.0])[:, None, None].expand(3, 2, 2), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").getpixel((0, 0)) == (0, 128, 255)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".bmp", ".tif", ".tiff"])
def test_every_suffix_can_be_written_and_read(tmp_path, suffix):
    rgb = read_image(jpeg(1))
    write_image(rgb, tmp_path / f"a{suffix}")
    assert (read_image(tmp_path / f"a{suffix}") - rgb).abs().mean() < 0.02


def test_exif_orientation_is_applied(tmp_path):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo(1).save(tmp_path / "a.png", exif=exif)
        turned = read_image(tmp_path / "a.png")
        assert tuple(turned.shape[1:]) == ((40, 48) if orientation < 5 else (48, 40))
    exif[0x0112] = 6
    photo(1).save(tmp_path / "a.png", exif=exif)
    upright = torch.rot90(read_image(tmp_path / "a.png"), 1, (1, 2))
    photo(1).save(tmp_path / "b.png")
    assert torch.equal(upright, read_image(tmp_path / "b.png"))


def test_phone_photos_with_two_frames_are_read():
    file = io.BytesIO()
    photo(1).save(file, "MPO", save_all=True, append_images=[photo(2)])
    assert read_image(file.getvalue()).shape == (3, 40, 48)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.convert("P" if mode == "PA" else mode).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[:, 0].tolist() == [[0, 1]] * 3


def test_half_transparency_mixes_with_white(tmp_path):
    Image.new("RGBA", (1, 1), (255, 0, 0, 51)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == pytest.approx([1, 0.8, 0.8])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_range(tmp_path, suffix):
    Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16)).save(tmp_path / f"a.{suffix}")
    assert (read_image(tmp_path / f"a.{suffix}")[:, 0] * 255).round().tolist() == [[0, 100, 255]] * 3


def test_grey_palette_bilevel_cmyk_and_float(tmp_path):
    for mode in ("L", "1", "P"):
        Image.new("L", (2, 2), 255).convert(mode).save(tmp_path / "a.png")
        assert torch.equal(read_image(tmp_path / "a.png"), torch.ones(3, 2, 2))
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert read_image(tmp_path / "a.jpg")[:, 3, 3].tolist() == pytest.approx([1, 0, 0], abs=0.02)
    Image.fromarray(np.full((2, 2), 0.2, dtype=np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, 0, 0] == pytest.approx(0.2)


def test_unreadable_images_are_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"There is no image file '.*nowhere.png'"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="There is no image file"):
        read_image(tmp_path)
    (tmp_path / "text.jpg").write_text("not a photo")
    with pytest.raises(InputError, match=r"text.jpg' is not an image"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(InputError, match="given bytes' is not an image"):
        read_image(b"")
    for name, format_ in (("cut.jpg", "JPEG"), ("cut.png", "PNG"), ("cut.webp", "WEBP"), ("cut.tif", "TIFF")):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        noise.save(tmp_path / name, format_)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:3000])
        with pytest.raises(InputError, match=rf"{name}' is (damaged|not an image)"):
            read_image(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="has too many pixels: at most 200 "):
        read_image(jpeg(1))


def test_write_leaves_the_old_file_and_no_rubbish_when_it_fails(tmp_path, monkeypatch):
    write_image(torch.zeros(3, 2, 2), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def fail(image, path, **options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_image(torch.ones(3, 2, 2), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_write_refuses_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"shape \(3, H, W\)"):
        write_image(torch.zeros(1, 3, 2, 2), tmp_path / "a.png")
    with pytest.raises(InputError, match="not finite"):
        write_image(torch.full((3, 2, 2), torch.nan), tmp_path / "a.png")
    with pytest.raises(InputError, match="no known image suffix"):
        write_image(torch.zeros(3, 2, 2), tmp_path / "a.xyz")
    with pytest.raises(InputError, match="does not exist"):
        write_image(torch.zeros(3, 2, 2), tmp_path / "none" / "a.png")


# --- crops


def test_center_crop_is_exact_at_native_size_and_centred():
    rgb = read_image(jpeg(3, width=48, height=32))
    assert torch.equal(center_crop(rgb, 32), rgb[:, :, 8:40])
    assert torch.equal(center_crop(photo(3, 32, 48), 32), center_crop(photo(3, 32, 48).copy(), 32))


def test_reduction_is_antialiased():
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(64, 64).expand(3, -1, -1)
    assert (center_crop(board, 32) - 0.5).abs().max() < 0.05


def test_random_crop_is_reproducible_and_within_the_photo():
    image = photo(4, 90, 70)
    crops = [random_crop(image, SIZE, np.random.default_rng(seed)) for seed in range(40)]
    again = [random_crop(read_image(_png(image)), SIZE, np.random.default_rng(seed)) for seed in range(40)]
    assert all(torch.equal(a, b) for a, b in zip(crops, again, strict=True))
    assert len({crop.numpy().tobytes() for crop in crops}) == 40
    assert all(crop.shape == (3, SIZE, SIZE) and 0 <= crop.min() <= crop.max() <= 1 for crop in crops)


def test_random_crop_reaches_both_extremes_of_scale_and_both_sides():
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1))).convert("RGB")
    spans, lefts, mirrored = [], [], []
    for seed in range(300):
        row = random_crop(ramp, 50, np.random.default_rng(seed))[0, 25]
        spans.append(float((row[-1] - row[0]).abs()))
        lefts.append(float(row.min()))
        mirrored.append(bool(row[0] > row[-1]))
    assert min(spans) < 52 / 255 and max(spans) > 94 / 255  # from 50 of the 200 columns to 100 of them
    assert min(lefts) < 4 / 255 and max(lefts) > 140 / 255
    assert 0.4 < np.mean(mirrored) < 0.6


@pytest.mark.parametrize("crop", [center_crop, lambda x, size: random_crop(x, size, np.random.default_rng(0))])
def test_crop_larger_than_the_image(crop):
    with pytest.raises(InputError, match="48 x 40 pixels is too small for a crop of 41"):
        crop(photo(1), 41)
    assert crop(photo(1), 40).shape == (3, 40, 40)


def _png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


# --- sources and splits


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_splits_depend_on_content_and_fill_small_folders(contents):
    digests = [hashlib.sha256(bytes([value])).hexdigest() for value in contents]
    splits = splits_by_digest(digests)
    assert len(set(zip(contents, splits, strict=True))) == len(set(contents))
    if len(set(contents)) >= 3:
        assert set(splits) == {"train", "val", "test"}


def test_splits_are_80_10_10_and_stable():
    digests = [hashlib.sha256(str(value).encode()).hexdigest() for value in range(4000)]
    splits = splits_by_digest(digests)
    assert [splits.count(name) / 4000 for name in ("train", "val", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert splits_by_digest(digests[:500]) == splits[:500]


def test_smallest_digests_fill_empty_splits():
    assert splits_by_digest(["30" * 32, "10" * 32, "20" * 32]) == ["train", "val", "test"]


def test_folder_splits_are_disjoint_complete_and_survive_renaming(tmp_path):
    root = fill(tmp_path, 25)
    (root / "deep").mkdir()
    (root / "photo_03.jpg").rename(root / "deep" / "x.JPEG")
    (root / "._photo.jpg").write_bytes(b"resource fork")
    (root / "notes.txt").write_text("no photo")
    source = Folder(root)
    parts = [source.keys(split) for split in ("train", "val", "test")]
    assert sorted(sum(parts, [])) == source.keys("all") and len(source.keys("all")) == 25
    before = {source.read(key): split for key, split in source.splits.items()}
    (root / "photo_04.jpg").rename(root / "zebra.jpg")
    assert {Folder(root).read(key): split for key, split in Folder(root).splits.items()} == before


def test_sub_folders_are_the_splits(folder):
    source = Folder(folder)
    assert [len(source.keys(split)) for split in ("train", "val", "test", "all")] == [7, 4, 3, 14]
    assert all(key.startswith("val/") for key in source.keys("val"))


def test_one_sub_folder_named_like_a_split_is_an_ordinary_one(tmp_path):
    fill(fill(tmp_path, 5), 3, "test", start=5)
    assert sum(len(Folder(tmp_path).keys(split)) for split in ("train", "val", "test")) == 8


def test_folder_errors(tmp_path, folder):
    with pytest.raises(InputError, match=r"There is no folder '.*nowhere': give the path of a folder of photos"):
        Folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no image in it: put \.bmp, \.jpeg"):
        Folder(tmp_path)
    with pytest.raises(InputError, match="There is no split 'training': choose train, val, test or all"):
        Folder(folder).keys("training")
    fill(tmp_path, 1)
    empty = next(split for split in ("val", "test") if split not in Folder(tmp_path).splits.values())
    with pytest.raises(InputError, match=f"The split '{empty}' of '.*' is empty"):
        Folder(tmp_path).keys(empty)
    with pytest.raises(InputError, match="gone.jpg' cannot be read"):
        Folder(tmp_path).read("gone.jpg")


def write_shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, payload in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            tar.addfile(info, io.BytesIO(payload))


def test_shards_give_the_stored_bytes_in_any_order(tmp_path):
    files = {f"scene/{seed}.jpg": jpeg(seed) for seed in range(6)}
    names = list(files)
    write_shard(tmp_path / "train-000000.tar", {name: files[name] for name in names[:3]} | {"scene/0.json": b"{}"})
    write_shard(tmp_path / "train-000001.tar", {names[3]: files[names[3]]})
    write_shard(tmp_path / "val-000000.tar", {names[4]: files[names[4]]})
    write_shard(tmp_path / "other.tar", {names[5]: files[names[5]]})
    source = Shards(tmp_path)
    assert source.keys("train") == names[:4] and source.keys("all") == names[:5]
    assert all(source.read(key) == files[key] for key in reversed(source.keys("all")))
    with pytest.raises(InputError, match="The split 'test' of '.*' is empty"):
        source.keys("test")
    with pytest.raises(InputError, match="There is no split 'dev'"):
        source.keys("dev")


def test_shard_errors(tmp_path):
    with pytest.raises(InputError, match=r"There is no folder '.*nowhere': give the path of a folder of shards"):
        Shards(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no shard in it"):
        Shards(tmp_path)
    write_shard(tmp_path / "train-000000.tar", {"a.jpg": b"1"})
    write_shard(tmp_path / "val-000000.tar", {"a.jpg": b"2"})
    with pytest.raises(InputError, match="'a.jpg' is twice in"):
        Shards(tmp_path)
    (tmp_path / "val-000000.tar").write_bytes(b"not a tar")
    with pytest.raises(InputError, match="val-000000.tar' is not a readable, uncompressed tar file"):
        Shards(tmp_path)


# --- the stream


@pytest.mark.parametrize("weights", [None, {"photo_01": 3.0}])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_stream(folder, workers, weights):
    alone = stream(data(folder, weights=weights))
    assert torch.equal(stream(data(folder, weights=weights, num_workers=workers)), alone)


def test_seed_changes_the_stream_and_global_state_does_not(folder):
    first = stream(data(folder))
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(stream(data(folder)), first)
    assert not torch.equal(stream(data(folder, seed=6)), first)


def test_each_pass_takes_every_photo_once_in_a_fresh_order(folder):
    items = TrainingStream(Photos(Folder(folder), "train"), condition, SIZE, seed=0)
    rng = np.random.default_rng(0)
    passes = [[_average(items._photo(p * 7 + i, rng)[1]) for i in range(7)] for p in range(3)]
    assert len({tuple(sorted(one)) for one in passes}) == 1 and len(set(passes[0])) == 7
    assert len({tuple(one) for one in passes}) == 3


def test_weights_are_the_shares_of_the_draws(folder):
    weights = {"photo_00": 5.0, "photo_0": 1.0, "photo_01": 0.0}
    photos = Photos(Folder(folder), "train")
    items = TrainingStream(photos, condition, SIZE, seed=0, weights=weights)
    names = {_average(photos.image(index)): key[-6:-4] for index, key in enumerate(photos.keys)}
    drawn = [names[_average(items._photo(0, np.random.default_rng(k))[1])] for k in range(1500)]
    assert drawn.count("01") == 0
    assert drawn.count("00") / 1500 == pytest.approx(0.5, abs=0.05)
    assert drawn.count("02") / 1500 == pytest.approx(0.1, abs=0.03)


def test_weight_errors(folder):
    for weights, message in (
        ({"object/": 2.0}, "No training photo has 'object/' in its key"),
        ({"photo": -1.0}, "The weight of 'photo' is -1.0"),
        ({"photo": float("nan")}, "must be finite and not negative"),
        ({"photo": 0.0}, "The weights leave no training photo"),
    ):
        with pytest.raises(InputError, match=message):
            data(folder, weights=weights).train_dataloader()


def test_ranks_share_the_stream(folder):
    items = TrainingStream(Photos(Folder(folder), "train"), condition, SIZE, seed=0)
    ranks = [itertools.islice(StreamSampler(items, lambda: 12, 3, rank), 4) for rank in range(3)]
    assert [k for group in zip(*ranks, strict=True) for k in group] == list(range(12, 24))


class Probe(lightning.LightningModule):
    """Remembers the training samples it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append(batch["condition"])
        return (self.weight * batch["target"].mean()).sum()

    def validation_step(self, batch, index):
        assert batch["condition"].shape[1:] == (7, SIZE, SIZE)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(module, path, steps, ckpt_path=None, **options):
    probe = Probe()
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=path,
        check_val_every_n_epoch=None,
        val_check_interval=2,
        **quiet | options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(probe, module, ckpt_path=ckpt_path)
    return trainer, torch.cat(probe.seen)


def test_a_resumed_run_goes_on_with_the_stream(folder, tmp_path):
    whole = stream(data(folder), 6)
    trainer, first = fit(data(folder), tmp_path, 4)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    _, rest = fit(data(folder, num_workers=1), tmp_path, 6, tmp_path / "a.ckpt")
    assert torch.equal(torch.cat([first, rest]), whole)
    _, accumulated = fit(data(folder), tmp_path, 3, accumulate_grad_batches=2, limit_train_batches=2)
    assert torch.equal(accumulated, whole)


# --- photos that cannot serve


def _average(image):
    return tuple(np.asarray(image).mean(axis=(0, 1)))


@pytest.fixture
def damaged(tmp_path):
    fill(tmp_path, 6, "train")
    fill(tmp_path, 2, "val", start=10)
    for split, seed in (("train", 20), ("train", 21), ("val", 22)):
        (tmp_path / split / f"cut_{seed}.jpg").write_bytes(jpeg(seed, width=200, height=200)[:2500])
    (tmp_path / "train" / "text.jpg").write_text("not a photo")
    (tmp_path / "train" / "small.jpg").write_bytes(jpeg(30, width=200, height=SIZE - 1))
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_unusable_photos_are_skipped_and_counted_by_cause(damaged, workers, caplog):
    module = data(damaged, num_workers=workers)
    with caplog.at_level(logging.WARNING):
        module.setup("fit")
        assert module.skipped == {"train": {NOT_AN_IMAGE: 1, TOO_SMALL: 1}}
        samples = stream(module, 6)
    assert len(samples) == 18
    assert module.skipped == {"train": {NOT_AN_IMAGE: 1, TOO_SMALL: 1, DAMAGED: 2}}
    assert "Skipped photos among the 10 of split 'train': 1 not an image, 1 too small." in caplog.text
    if workers == 0:
        assert len([line for line in caplog.messages if "is damaged" in line]) == 2
    else:
        assert torch.equal(samples, stream(data(damaged), 6))


def test_damaged_photos_are_left_out_of_evaluation(damaged):
    module = data(damaged)
    assert [len(batch["target"]) for batch in module.val_dataloader()] == [2]
    assert module.skipped["val"] == {DAMAGED: 1}
    assert [name for name, _ in module.photos("val")] == ["val/photo_10.jpg", "val/photo_11.jpg"]


def test_no_usable_photo_is_an_error(tmp_path, folder):
    with pytest.raises(InputError, match="sides of at least 41 pixels: the largest usable size is 40"):
        data(folder, size=41).setup("fit")
    (tmp_path / "a.jpg").write_text("not a photo")
    with pytest.raises(InputError, match="None of the 1 files of split 'all' is an image"):
        Photos(Folder(tmp_path), "all")
    (tmp_path / "a.jpg").write_bytes(jpeg(1, width=200, height=200)[:2500])
    items = TrainingStream(Photos(Folder(tmp_path), "all"), condition, SIZE, seed=0)
    with pytest.raises(InputError, match="All 1 training photos are damaged"):
        items[0]


# --- the module


def test_batches_have_the_promised_form(folder):
    batch = next(iter(data(folder).train_dataloader()))
    assert set(batch) == {"condition", "target", "seed"}
    assert len(set(batch["seed"])) == 3 and all(0 <= seed < 2**63 for seed in batch["seed"])
    assert batch["condition"].shape == (3, 7, SIZE, SIZE) and batch["target"].shape == (3, 3, SIZE, SIZE)
    assert batch["condition"].dtype == batch["target"].dtype == torch.float32


def test_evaluation_batches_are_every_photo_and_always_the_same(folder):
    first, again = ([*data(folder).val_dataloader()] for _ in range(2))
    assert [len(batch["target"]) for batch in first] == [3, 1]
    assert all(torch.equal(a["condition"], b["condition"]) for a, b in zip(first, again, strict=True))
    assert sum(len(batch["target"]) for batch in data(folder).test_dataloader()) == 3
    assert sum(len(batch["target"]) for batch in data(folder, eval_split="all").test_dataloader()) == 14
    assert len(data(folder, max_val=2).val_dataloader().dataset) == 2


def test_evaluation_palette_and_texture(folder):
    module = data(folder, texture_map=lambda rgb: rgb[:2], val_n_colors=[8, 2])
    batch, *others = module.val_dataloader()
    assert torch.cat([batch["n_colors"], *(other["n_colors"] for other in others)]).tolist() == [8] * 4 + [2] * 4
    given_rgb, texture, level, indicator = batch["condition"].split([3, 2, 1, 1], dim=1)
    assert (level == 8 / 256).all() and (indicator == 1).all()
    assert all(len(image.flatten(1).T.unique(dim=0)) <= 2 for image in others[-1]["condition"][:, :3])
    assert torch.equal(texture, batch["target"][:, :2])
    for image in given_rgb:
        assert len(image.flatten(1).T.unique(dim=0)) <= 8
    _, rgb = next(module.photos("val", SIZE))
    assert torch.equal(batch["target"][0], rgb)


def test_photos_at_native_size_and_scaled(folder):
    native = dict(data(folder).photos("test"))
    assert {tuple(rgb.shape) for rgb in native.values()} == {(3, 40, 48)}
    assert list(native) == Folder(folder).keys("test")
    assert {tuple(rgb.shape) for _, rgb in data(folder).photos("all", 16)} == {(3, 16, 16)}


def test_module_errors(folder, tmp_path):
    with pytest.raises(InputError, match="exactly one of root"):
        data(folder, shards="x")
    with pytest.raises(InputError, match="exactly one of root"):
        ImageData(condition=condition, size=8, batch_size=1, num_workers=0, seed=0)
    for name, least in (("size", 1), ("batch_size", 1), ("num_workers", 0), ("seed", 0), ("max_val", 1)):
        with pytest.raises(InputError, match=f"{name} is {least - 1}: it must be at least {least}"):
            data(folder, **{name: least - 1})
    with pytest.raises(InputError, match="There is no folder"):
        data(tmp_path / "nowhere").setup("fit")
    with pytest.raises(InputError, match="There is no split 'dev'"):
        data(folder, eval_split="dev").setup("test")


def test_bundled_photos_serve():
    module = ImageData(
        condition=condition,
        size=64,
        batch_size=4,
        num_workers=0,
        seed=0,
        shards=bundled(),
        weights={"object/": 0.2},
    )
    module.setup("fit")
    assert stream(module, 1).shape == (4, 7, 64, 64)
    assert module.skipped == {"train": {}}
    assert 8 <= sum(1 for _ in module.photos("test", 64)) <= 12
