import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dequant.cli.main import main
from dequant.io.images import read_image, write_image
from tests.support.paths import GOLDEN

CAPS, PLANE = GOLDEN / "caps.png", GOLDEN / "plane.png"


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


@pytest.mark.parametrize("reference", ["#ff0000,#00ff00", "colormap:viridis"])
def test_match_takes_named_palettes(reference: str, tmp_path: Path) -> None:
    main(["palette", "match", str(CAPS), reference, "-n", "4", "--method", "frequency", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "match.json").read_text())["method"] == "frequency"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inspect", "missing.png", "--out", "OUT"], "missing.png"),
        (["inspect", str(CAPS), "-n", "0", "--out", "OUT"], "0"),
        (["inspect", str(CAPS), "--quantizer", "magic", "--out", "OUT"], "magic"),
        (["inspect", str(CAPS), "--out", str(PLANE)], "folder"),
        (["palette", "match", str(CAPS), "#12", "--out", "OUT"], "#12"),
        (["palette", "match", str(CAPS), "colormap:nope", "--out", "OUT"], "nope"),
        (["palette", "match", str(CAPS), str(PLANE), "--method", "magic", "--out", "OUT"], "magic"),
        (["palette", "match", str(CAPS), str(PLANE), "--pin", "99=0", "--out", "OUT"], "99"),
        (["palette", "match", str(CAPS), str(PLANE), "--pin", "0=3", "--pin", "0=4", "--out", "OUT"], "pinned twice"),
        (["palette", "match", str(CAPS), str(PLANE), "--pin", "1-0", "--out", "OUT"], "got '1-0'"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "out") if a == "OUT" else a for a in arguments])
    assert str(stop.value.code).startswith("error: ")
    assert sentence in str(stop.value.code)
    assert not (tmp_path / "out").exists()


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
    with pytest.raises(SystemExit) as end:
        main(words)
    assert "--overwrite" in str(end.value.code) + capsys.readouterr().err and out.read_text() == "mine"
    with contextlib.suppress(SystemExit):
        main([*words, "--overwrite"])
    assert len(out.read_text().split()) == 2
