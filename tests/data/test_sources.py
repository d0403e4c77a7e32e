import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dequant.data.datasets import TrainingStream
from dequant.data.sources import Folder, Photos, Shards
from dequant.data.splits import splits_by_digest
from dequant.errors import InputError
from dequant.io.formats import DAMAGED
from tests.support.data import condition, fill, jpeg
from tests.support.paths import CASES
from tests.support.shards import write


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_splits_depend_on_content_and_fill_small_folders(contents: list[int]) -> None:
    digests = [hashlib.sha256(bytes([value])).hexdigest() for value in contents]
    splits = splits_by_digest(digests)
    assert len(set(zip(contents, splits, strict=True))) == len(set(contents))
    if len(set(contents)) >= 3:
        assert set(splits) == {"train", "val", "test"}


def test_splits_are_80_10_10_and_stable() -> None:
    digests = [hashlib.sha256(str(value).encode()).hexdigest() for value in range(4000)]
    splits = splits_by_digest(digests)
    assert [splits.count(name) / 4000 for name in ("train", "val", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert splits_by_digest(digests[:500]) == splits[:500]


def test_smallest_digests_fill_empty_splits() -> None:
    assert splits_by_digest(["30" * 32, "10" * 32, "20" * 32]) == ["train", "val", "test"]


def test_folder_splits_are_disjoint_complete_and_survive_renaming(tmp_path: Path) -> None:
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


def test_sub_folders_are_the_splits(folder: Path) -> None:
    source = Folder(folder)
    assert [len(source.keys(split)) for split in ("train", "val", "test", "all")] == [7, 4, 3, 14]
    assert all(key.startswith("val/") for key in source.keys("val"))


def test_one_sub_folder_named_like_a_split_is_an_ordinary_one(tmp_path: Path) -> None:
    fill(fill(tmp_path, 5), 3, "test", start=5)
    assert sum(len(Folder(tmp_path).keys(split)) for split in ("train", "val", "test")) == 8


@pytest.mark.parametrize("source", [Folder, Shards])
def test_photos_without_a_path_are_asked_for(source: type[Folder | Shards]) -> None:
    with pytest.raises(InputError, match="Say where the photos are: data=folder data.root=PATH"):
        source(None)


def test_folder_errors(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"There is no folder '.*nowhere': give the path of a folder of photos"):
        Folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no image in it: put \.avif, \.bmp"):
        Folder(tmp_path)
    with pytest.raises(InputError, match="There is no split 'training': choose train, val, test or all"):
        Folder(folder).keys("training")
    fill(tmp_path, 1)
    empty = next(split for split in ("val", "test") if split not in Folder(tmp_path).splits.values())
    with pytest.raises(InputError, match=f"The split '{empty}' of '.*' is empty"):
        Folder(tmp_path).keys(empty)
    with pytest.raises(InputError, match="gone.jpg' cannot be read"):
        Folder(tmp_path).read("gone.jpg")


def test_shards_give_the_stored_bytes_in_any_order(tmp_path: Path) -> None:
    files = {f"scene/{seed}.jpg": jpeg(seed) for seed in range(6)}
    names = list(files)
    write(tmp_path / "train-000000.tar", {name: files[name] for name in names[:3]} | {"scene/0.json": b"{}"})
    write(tmp_path / "train-000001.tar", {names[3]: files[names[3]]})
    write(tmp_path / "val-000000.tar", {names[4]: files[names[4]]})
    write(tmp_path / "other.tar", {names[5]: files[names[5]]})
    source = Shards(tmp_path)
    assert source.keys("train") == names[:4] and source.keys("all") == names[:5]
    assert all(source.read(key) == files[key] for key in reversed(source.keys("all")))
    with pytest.raises(InputError, match="The split 'test' of '.*' is empty"):
        source.keys("test")
    with pytest.raises(InputError, match="There is no split 'dev'"):
        source.keys("dev")


def test_shard_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no folder '.*nowhere': give the path of a folder of shards"):
        Shards(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no shard in it"):
        Shards(tmp_path)
    write(tmp_path / "train-000000.tar", {"a.jpg": b"1"})
    write(tmp_path / "val-000000.tar", {"a.jpg": b"2"})
    with pytest.raises(InputError, match="'a.jpg' is twice in"):
        Shards(tmp_path)
    (tmp_path / "val-000000.tar").write_bytes(b"not a tar")
    with pytest.raises(InputError, match="val-000000.tar' is not a readable, uncompressed tar file"):
        Shards(tmp_path)


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", 2)
    root = fill(tmp_path / "root", 3, "z", start=5)
    (root / "a").symlink_to(tmp_path / "elsewhere")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "c").symlink_to(root / "z")
    (root / "z" / "loop").symlink_to(root)
    (root / "one.jpg").symlink_to(tmp_path / "elsewhere" / "photo_00.jpg")
    (tmp_path / "link").symlink_to(root)
    names = [*(f"a/photo_0{number}.jpg" for number in (0, 1)), "one.jpg", *(f"z/photo_0{n}.jpg" for n in (5, 6, 7))]
    assert Folder(root).keys("all") == Folder(tmp_path / "link").keys("all") == names


def test_what_is_not_read_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("1.xyz", "2.XYZ", "notes\n.txt", "none", "odd.a\nb", ".hidden.xyz"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"has no image in it \(2 XYZ, 2 without a suffix, 1 TXT\): put"):
        Folder(tmp_path)
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "large.jpg").write_bytes(bytes(2000))
    (tmp_path / "a.jpg").write_bytes(jpeg(1)[:900])
    assert Folder(tmp_path, max_file_mb=0.001).keys("all") == ["a.jpg"]
    assert "Skipped 7 files of" in caplog.text and "1 broken links, 1 larger than max_file_mb" in caplog.text
    with pytest.raises(InputError, match="max_file_mb is -1: expected a positive number, or null for no limit"):
        Folder(tmp_path, max_file_mb=-1)


def test_a_header_that_lies_about_the_size_does_not_end_a_stream(tmp_path: Path) -> None:
    (tmp_path / "two.png").write_bytes((CASES / "faults" / "two_ihdr.png").read_bytes())
    (tmp_path / "sound.jpg").write_bytes(jpeg(1, width=64, height=64))
    stream = TrainingStream(Photos(Folder(tmp_path), "all", 64), condition, 64, seed=0)
    assert all(stream[k]["target"].shape == (3, 64, 64) for k in range(8))


def test_names_are_escaped_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "two\n\x1b[2J.jpg").write_bytes(jpeg(1, width=200, height=200)[:2500])
    photos = Photos(Folder(tmp_path), "all")
    assert photos.image(0) is None and photos.skipped == {DAMAGED: 1}
    assert [r"two\n\x1b[2J.jpg" in message and "\n" not in message for message in caplog.messages] == [True]


def test_samples_without_an_image_are_counted_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "train-000000.tar", {"a.img": b"1", "a.json": b"{}", "b.img": b"2"})
    with pytest.raises(
        InputError, match="No member of the shards in '.*' is an image: 'a.img' is an example, and images"
    ):
        Shards(tmp_path)
    write(tmp_path / "val-000000.tar", {"c.x.jpg": b"3", "c.json": b"{}", "d.txt": b""})
    assert Shards(tmp_path).keys("all") == ["c.x.jpg"]
    assert "2 without an image ('a.img')" in caplog.text and "1 without an image ('d.txt')" in caplog.text


def test_a_shard_cut_short_keeps_its_whole_photos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "train-000000.tar", {f"{seed}.jpg": jpeg(seed) for seed in range(4)})
    data = (tmp_path / "train-000000.tar").read_bytes()
    (tmp_path / "train-000000.tar").write_bytes(data[:5000])
    whole = Shards(tmp_path).keys("all")
    assert 1 <= len(whole) < 4 and "1 cut short, or of a wrong size" in caplog.text and "is cut short" in caplog.text


def test_conversions_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("p3_photo.jpg", "photo.png"):
        (tmp_path / name).write_bytes((CASES / name).read_bytes())
    with caplog.at_level("INFO"):
        Photos(Folder(tmp_path), "all")
    assert "Photos of split 'all' that are converted to sRGB on reading: 1 from Display P3 like." in caplog.text
