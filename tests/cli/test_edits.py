"""The commands that edit photos, on what people bring."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dequant.cli.main import main
from dequant.edit.painting import Settings
from dequant.edit.regions import Region
from dequant.edit.repainting import repaint
from dequant.edit.seeds import seed_of
from dequant.io.originals import read_original
from tests.support.paths import CASES, GOLDEN
from tests.support.profiles import ink_profile

SWAP = ["--pin-color", "#b04030=#2040c0"]


def _status(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as error:
        return int(error.code or 0)
    return 0


@pytest.fixture
def photo() -> Image.Image:
    return Image.open(GOLDEN / "caps.png").convert("RGB").resize((60, 40), Image.Resampling.BOX)


@pytest.fixture
def tree(tmp_path: Path, photo: Image.Image) -> Path:
    """A folder of all that is difficult."""
    folder = tmp_path / "photos"
    (folder / "über uns" / "deep").mkdir(parents=True)
    deep = np.full((20, 30, 4), 40_000, np.uint16)
    deep[..., 0] = np.linspace(0, 65535, 30)
    (folder / "deep 16.png").write_bytes(imagecodecs.png_encode(deep))
    photo.convert("CMYK").save(folder / "über uns" / "cmyk.jpg", icc_profile=ink_profile(), quality=95)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    photo.save(folder / "über uns" / "turned.jpg", exif=exif, quality=95)
    Image.new("RGB", (1, 1), "#b04030").save(folder / "über uns" / "deep" / "one.png")
    photo.quantize(8, dither=Image.Dither.FLOYDSTEINBERG).save(folder / "-dithered.gif")
    (folder / "broken.jpg").write_bytes((CASES / "p3_photo.jpg").read_bytes()[:300])
    photo.save(folder / "plain.webp", lossless=True)
    return folder


def test_a_tree_is_edited_and_the_broken_one_is_listed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tree.parent / "out"
    assert _status(["transfer", str(tree), *SWAP, "-o", f"{out}/", "--json"]) == 1
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert sorted(line["status"] for line in lines) == ["failed"] + 6 * ["written"]
    assert "broken.jpg" in printed.err and "Traceback" not in printed.err
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.suffix in (".png", ".jpg", ".webp"))
    assert made == [
        "-dithered.png",
        "deep 16.png",
        "plain.webp",
        "über uns/cmyk.jpg",
        "über uns/deep/one.png",
        "über uns/turned.jpg",
    ]
    deep = read_original(out / "deep 16.png")
    assert deep.levels.dtype == np.uint16 and deep.alpha is not None
    turned = Image.open(out / "über uns" / "turned.jpg")
    assert turned.size == (40, 60) and turned.getexif()[0x010F] == "Maker" and turned.getexif().get(0x0112, 1) == 1
    assert Image.open(out / "über uns" / "cmyk.jpg").mode == "RGB"
    assert Image.open(out / "über uns" / "deep" / "one.png").getpixel((0, 0)) == (0x20, 0x40, 0xC0)


def test_untouched_colours_of_a_photo_in_p3_keep_their_bits(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert _status(["recolor", str(CASES / "p3_photo.png"), "--region", "0,0,2,2=navy", "-o", str(out)]) == 0
    before, after = Image.open(CASES / "p3_photo.png"), Image.open(out)
    assert after.info["icc_profile"] == before.info["icc_profile"]
    assert (np.asarray(before)[4:, 4:] == np.asarray(after)[4:, 4:]).all()


def test_a_network_edits_and_a_replay_repeats_it(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "photo.png")
    assert _status(["transfer", str(tmp_path / "photo.png"), "-p", "viridis", "-n", "4", "-k", "2"]) == 0
    for made in ("photo.transfer.png", "photo.transfer.2.png"):
        again = tmp_path / f"again_{made}"
        assert _status(["replay", str(tmp_path / made), str(tmp_path / "photo.png"), "-o", str(again)]) == 0
        assert again.read_bytes() == (tmp_path / made).read_bytes()
    first, second = (Image.open(tmp_path / name).tobytes() for name in ("photo.transfer.png", "photo.transfer.2.png"))
    assert first != second


@pytest.mark.parametrize("way", ["change", "anew", "move"])
def test_a_repaint_is_what_python_makes_with_the_seed_of_the_file(tmp_path: Path, photo: Image.Image, way: str) -> None:
    path, mask = tmp_path / "photo.png", np.zeros((40, 60), np.uint8)
    photo.save(path)
    mask[5:20, 5:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    command = ["repaint", str(path), *SWAP, "-n", "5", "--pin", "50,30=navy", "--region", f"{tmp_path}/mask.png=gold"]
    command += ["--region", "40,2,58,20=#c81e1e", "--spread", "0.5", "--steps", "2", "--seed", "3"]
    assert _status([*command, "--way", way]) == 0
    seed = seed_of(3, sha256(path.read_bytes()).hexdigest())
    edited = repaint(
        path,
        5,
        swaps={"#b04030": "#2040c0"},
        pins=[((50, 30), "navy")],
        regions=[Region("gold", mask=mask), Region("#c81e1e", box=(40, 2, 58, 20))],
        way=way,
        settings=Settings(num_inference_steps=2, seed=seed, spread=0.5),
    )
    edited.save(tmp_path / "expected.png")
    assert (tmp_path / "photo.repaint.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    again = tmp_path / "again.png"
    assert _status(["replay", str(tmp_path / "photo.repaint.png"), str(path), "-o", str(again)]) == 0
    assert again.read_bytes() == (tmp_path / "photo.repaint.png").read_bytes()


def test_the_report_is_a_table_on_screen(
    tmp_path: Path, photo: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    photo.save(tmp_path / "photo.png")
    assert _status(["recolor", str(tmp_path / "photo.png"), "--region", "5,5,30,30=tomato"]) == 0
    printed = capsys.readouterr().err
    assert "region 1" in printed and "#ff6347" in printed and "elsewhere: dE 0.00" in printed


def test_stdin_becomes_stdout(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "photo.png")
    command = [sys.executable, "-m", "dequant.cli", "transfer", "-", *SWAP]
    done = subprocess.run(command, input=(tmp_path / "photo.png").read_bytes(), capture_output=True, check=True)
    (tmp_path / "out.png").write_bytes(done.stdout)
    assert Image.open(tmp_path / "out.png").size == (60, 40)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["transfer", "PHOTO"], "Nothing is asked for"),
        (["transfer", "PHOTO", "-p", "no colour"], "not a colour"),
        (["transfer", "PHOTO", "-p", "missing.gpl"], "cannot be read"),
        (["transfer", "PHOTO", "--pin", "5=red"], "Expected 2 whole numbers"),
        (["transfer", "PHOTO", "--pin-color", "red"], "Expected something such as"),
        (["recolor", "PHOTO", "--at", "3,3"], "belong together"),
        (["recolor", "PHOTO", "--region", "mask.png=red"], "is no place"),
        (["recolor", "PHOTO", "--region", "³,5=red"], "is no place"),
        (["recolor", "PHOTO", "--region", f"{'9' * 5000},5=red"], "File name too long"),
        (["recolor", "PHOTO", "--at", f"{'9' * 5000},5", "--color", "red"], "Expected 2 whole numbers"),
        (["transfer", "PHOTO", "--pin-color", "red=blue", "--pin-color", "red=green"], "give each colour once"),
        (["transfer", "PHOTO", "--pin-color", "red=blue", "--pin-color", "#ff0000=green"], "give each colour once"),
        (["repaint", "PHOTO"], "Nothing is asked for: give --pin-color, --pin or --region"),
        (["repaint", "PHOTO", "--way", "move"], "Nothing is asked for"),
        (["repaint", "PHOTO", "--pin-color", "red"], "Expected something such as"),
        (["repaint", "PHOTO", "--pin-color", "red=no colour"], "not a colour"),
        (["repaint", "PHOTO", "--pin", "5=red"], "Expected 2 whole numbers"),
        (["repaint", "PHOTO", "--pin", "5,5=no colour"], "not a colour"),
        (["repaint", "PHOTO", "--region", "mask.png=red"], "is no place"),
        (["repaint", "PHOTO", "--region", "5,5=no colour"], "not a colour"),
        (["repaint", "PHOTO", "--pin", "5,5=red", "--pin", "5,5=blue"], "Two pins share the pixel 5,5"),
        (["dequantize", "PHOTO", "--weights", "nowhere"], "'nowhere' is none of these"),
        (["recolor", "PHOTO", "--at", "3,3", "--color", "red", "--weights", "nowhere"], "is none of these"),
        (["replay", "missing.yaml", "PHOTO"], "There is no recipe"),
        (["lock", "PHOTO", "--source", "missing.png"], "There is no photo or folder"),
        (["lock", "PHOTO", "--source", "PHOTO", "--mask", "missing.png"], "There is no mask or folder"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(
    arguments: list[str], sentence: str, tmp_path: Path, photo: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    photo.save(tmp_path / "photo.png")
    assert _status([str(tmp_path / "photo.png") if one == "PHOTO" else one for one in arguments]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed and len(printed.splitlines()) == 1


def test_a_lock_says_what_it_writes(tmp_path: Path, photo: Image.Image, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no recipe, and a mask of another size is named by its sizes."""
    photo.save(tmp_path / "photo.png")
    photo.point(lambda level: level * 0.95).save(tmp_path / "edited.png")
    for name, size in (("mask.png", photo.size), ("small.png", (30, 20))):
        mask = Image.new("L", size)
        mask.paste(255, (5, 5, 20, 15))
        mask.save(tmp_path / name)
    command = ["lock", str(tmp_path / "edited.png"), "--source", str(tmp_path / "photo.png"), "--mask"]
    assert _status([*command, str(tmp_path / "small.png")]) == 1
    assert "Expected a mask of 60 x 40 pixels, as the source has, got 30 x 20" in capsys.readouterr().err
    assert _status([*command, str(tmp_path / "mask.png")]) == 0
    assert "edited.lock.png" in (said := capsys.readouterr().err) and ".yaml" not in said
    assert not (tmp_path / "edited.lock.png.yaml").exists()


def test_each_picture_is_locked_with_its_own_mask(tmp_path: Path, photo: Image.Image) -> None:
    for name in ("edited", "source", "masks"):
        (tmp_path / name).mkdir()
    for number, left in enumerate((5, 35), start=1):
        photo.save(tmp_path / "source" / f"{number}.png")
        photo.point(lambda level: level * 0.95).save(tmp_path / "edited" / f"{number}.png")
        mask = Image.new("L", photo.size)
        mask.paste(255, (left, 5, left + 15, 15))
        mask.save(tmp_path / "masks" / f"{number}.png")
    words = ["lock", "edited", "--source", "source", "--mask", "masks", "-o", "locked/"]
    paths = {one: str(tmp_path / one) for one in ("edited", "source", "masks")} | {"locked/": f"{tmp_path}/locked/"}
    assert _status([paths.get(one, one) for one in words]) == 0
    for number, left in enumerate((5, 35), start=1):
        locked, edited = (np.array(Image.open(tmp_path / one / f"{number}.png")) for one in ("locked", "edited"))
        assert (locked[5:15, left : left + 15] == edited[5:15, left : left + 15]).all()
        assert (locked[:, 40 - left] != edited[:, 40 - left]).any()
    given = [paths.get(one, one) for one in words]
    before = (tmp_path / "locked" / "1.png").read_bytes()
    other = Image.new("L", photo.size)
    other.paste(255, (20, 20, 50, 38))
    other.save(tmp_path / "masks" / "1.png")
    assert _status([*given, "--resume", "--overwrite"]) == 0
    assert (tmp_path / "locked" / "1.png").read_bytes() != before  # it was made with another mask


def test_fewer_assignments_than_asked_for_are_written(
    tmp_path: Path, photo: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    photo.save(tmp_path / "photo.png")
    words = [
        "transfer",
        str(tmp_path / "photo.png"),
        "-p",
        "navy,gold",
        "-n",
        "2",
        "-k",
        "4",
        "-o",
        f"{tmp_path}/out/",
        "--resume",
    ]
    assert _status(words) == 0
    said = capsys.readouterr().err
    assert "only 2 assignments differ" in said and "photo.2.png" in said and "photo.3.png" not in said
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert _status([*words, "--json"]) == 0


def test_a_look_up_table_that_carries_nothing_changes_nothing(
    tmp_path: Path, photo: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise has no colours of its own."""
    pixels = np.array(photo)
    noisy = (pixels.astype(int) + np.random.default_rng(0).integers(-9, 10, pixels.shape)).clip(0, 255)
    photo.save(tmp_path / "photo.png")
    Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / "noisy.png")
    words = ["lut", str(tmp_path / "noisy.png"), "-s", str(tmp_path / "photo.png"), "-o", str(tmp_path / "a.cube")]
    assert _status([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["report"]
    assert found["residual"] <= found["edit"]


@pytest.mark.parametrize("command", ["transfer", "repaint"])
def test_a_pin_outside_a_photo_fails_for_this_photo(tmp_path: Path, photo: Image.Image, command: str) -> None:
    photo.save(tmp_path / "photo.png")
    assert _status([command, str(tmp_path / "photo.png"), "--pin", "600,4=red"]) == 1
    assert not (tmp_path / f"photo.{command}.png").exists()


@pytest.mark.slow
def test_24_megapixels_are_edited_in_bounded_memory(tmp_path: Path, photo: Image.Image) -> None:
    photo.resize((6000, 4000), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=90)
    code = (
        "import resource, sys; from dequant.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    command = [sys.executable, "-c", code, "transfer", str(tmp_path / "large.jpg"), "-p", "viridis", "--jobs", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 3000
    assert Image.open(tmp_path / "large.transfer.jpg").size == (6000, 4000)
