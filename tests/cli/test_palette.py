import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dequant.cli.main import main
from dequant.io.images import read_image, write_image
from tests.support.paths import GOLDEN

CAPS, PLANE = GOLDEN / "caps.png", GOLDEN / "plane.png"


def status(*arguments: str | Path) -> int:
    try:
        main([str(one) for one in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("case", ["L_4_tex", "G_16_tex", "T_64_tex", "T_16_notex"])
def test_inspect_writes_the_reference_condition(case: str, tmp_path: Path) -> None:
    variant, n_colors, texture = case.split("_")
    off = ["--no-texture"] if texture == "notex" else []
    main(["inspect", str(CAPS), "--variant", variant, "-n", n_colors, "--out", str(tmp_path), *off])
    condition = np.load(tmp_path / "condition.npz")["condition"]
    golden = np.load(GOLDEN / "cond_caps.npz")
    expected = golden["conditioning"][list(golden["cases"]).index(case)]
    assert condition.dtype == np.float32
    np.testing.assert_allclose(condition, expected, atol=1e-6)
    assert torch.equal(read_image(tmp_path / "quantized.png"), torch.from_numpy(condition[:3]))
    names = {"palette.png", "palette.json", "indices.png", "texture_rows.png", "texture_columns.png"}
    assert names <= {path.name for path in tmp_path.iterdir()}


def test_match_paints_what_it_says(tmp_path: Path) -> None:
    main(["palette", "match", str(CAPS), str(PLANE), "-n", "8", "--k", "3", "--pin", "0=7", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "match.json").read_text())
    assert sorted(found["assignment"]) == list(range(8))
    assert found["assignment"][0] == 7
    assert len(found["alternatives"]) == 2
    colors = read_image(tmp_path / "quantized.png").flatten(1).T.unique(dim=0)
    painted = {"#{:02x}{:02x}{:02x}".format(*c) for c in (colors * 255).round().int().tolist()}
    assert painted == set(found["target_palette"])
    assert (tmp_path / "quantized_3.png").is_file()


@pytest.mark.parametrize("reference", ["#ff0000,#00ff00", "colormap:viridis", "viridis"])
def test_match_takes_named_palettes(reference: str, tmp_path: Path) -> None:
    main(["palette", "match", str(CAPS), reference, "-n", "4", "--method", "frequency", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "match.json").read_text())["method"] == "frequency"


def test_a_bare_colour_map_is_matched_by_rank(tmp_path: Path) -> None:
    for name in ("viridis", "colormap:viridis"):
        main(["palette", "match", str(CAPS), name, "-n", "4", "-k", "2", "--out", str(tmp_path / name)])
    bare, named = ((tmp_path / name / "match.json").read_text() for name in ("viridis", "colormap:viridis"))
    assert bare == named and json.loads(bare)["method"] == "rank"
    assert (tmp_path / "viridis" / "quantized_2.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inspect", "missing.png", "--out", "OUT"], "missing.png"),
        (["inspect", str(CAPS), "-n", "0", "--out", "OUT"], "-n"),
        (["inspect", str(CAPS), "--quantizer", "magic", "--out", "OUT"], "magic"),
        (["inspect", str(CAPS), "--out", str(PLANE)], "folder"),
        (["palette", "match", str(CAPS), "#12", "--out", "OUT"], "#12"),
        (["palette", "match", str(CAPS), "nowhere.gpl", "--out", "OUT"], "nowhere.gpl"),
        (["palette", "match", "missing.png", "navy", "--out", "OUT"], "missing.png"),
        (["palette", "match", str(CAPS), "navy", "-k", "0", "--out", "OUT"], "-k"),
        (["palette", "match", str(CAPS), str(PLANE), "--pin", "³=0", "--out", "OUT"], "got '³=0'"),
        (["palette", "extract", "missing.png"], "missing.png"),
        (["palette", "extract", str(CAPS), "-n", "300"], "256"),
        (["palette", "show", "nocolour"], "nocolour"),
        (["palette", "show", "navy", "-n", "0"], "-n"),
        (["palette", "convert", "nowhere.gpl", "OUT"], "nowhere.gpl"),
        (["palette", "convert", "navy", "OUT"], "is no palette file"),
        (["palette", "match", str(CAPS), "colormap:nope", "--out", "OUT"], "nope"),
        (["palette", "match", str(CAPS), str(PLANE), "--method", "magic", "--out", "OUT"], "magic"),
        (["palette", "match", str(CAPS), str(PLANE), "--pin", "99=0", "--out", "OUT"], "99"),
        (["palette", "match", str(CAPS), str(PLANE), "--pin", "0=3", "--pin", "0=4", "--out", "OUT"], "pinned twice"),
        (["palette", "match", str(CAPS), str(PLANE), "--pin", "1-0", "--out", "OUT"], "got '1-0'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*(str(tmp_path / "out") if one == "OUT" else one for one in arguments)) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and sentence in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "cut.png", "--out", "out"],
        ["palette", "extract", "cut.png"],
        ["palette", "show", "cut.png"],
        ["palette", "convert", "cut.gpl", "out.hex"],
        ["palette", "match", str(CAPS), "cut.gpl", "--out", "out"],
    ],
)
def test_a_damaged_file_is_one_sentence_and_1(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.png").write_bytes(CAPS.read_bytes()[:3000])
    Path("cut.gpl").write_text("GIMP Palette\n300 0 x")
    assert status(*arguments) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and "cut." in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.gpl", "cut.png"]


def test_odd_photo(tmp_path: Path) -> None:
    write_image(torch.full((3, 5, 3), 0.5), tmp_path / "flat.png")
    main(["inspect", str(tmp_path / "flat.png"), "-n", "16", "--out", str(tmp_path / "out")])
    assert np.load(tmp_path / "out" / "condition.npz")["condition"].shape == (7, 5, 3)


def test_a_refused_blend_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["palette", "match", str(CAPS), str(PLANE), "--blend", "2", "--out", str(tmp_path / "out")])
    assert "less than or equal to 1. Add --help" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [["extract", "{photo}", "-n", "2", "-o"], ["convert", "navy,gold"]])
def test_a_palette_file_is_replaced_only_if_asked(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "colors.hex"
    out.write_text("mine")
    words = ["palette", *(word.format(photo=GOLDEN / "caps.png") for word in command), str(out)]
    assert status(*words) == 2
    assert "--overwrite" in capsys.readouterr().err and out.read_text() == "mine"
    assert status(*words, "--overwrite") == 0
    assert len(out.read_text().split()) == 2


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["inspect"], "texture_rows.png"),
        (["inspect"], "palette.json"),
        (["palette", "match", "navy,gold"], "match.json"),
        (["palette", "match", "navy,gold", "-k", "2"], "quantized_2.png"),
    ],
)
def test_results_are_replaced_only_if_asked(
    command: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing else of the folder is touched, whatever it is called."""
    words = [*command, CAPS, "-n", "2", "--out", tmp_path]
    if "match" in command:
        words = ["palette", "match", CAPS, *command[2:], "-n", "2", "--out", tmp_path]
    for one in (name, "quantized_mine.png", "quantized_9.png"):
        (tmp_path / one).write_text("mine")
    assert status(*words) == 2
    assert f"{name}' exists: give another path, or --overwrite." in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3 and (tmp_path / name).read_text() == "mine"
    assert status(*words, "--overwrite") == 0
    assert (tmp_path / name).read_bytes() != b"mine"
    assert (tmp_path / "quantized_mine.png").read_text() == (tmp_path / "quantized_9.png").read_text() == "mine"
