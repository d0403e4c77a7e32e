from pathlib import Path

import pytest

from sweeps import dashboard


def test_dashboard_reads_back_and_shows_what_is_logged(tmp_path: Path) -> None:
    text = ""
    for item, name in ((dashboard.workspace("team", "p"), "workspace"), (dashboard.report("team", "p"), "report")):
        dashboard.write(item._to_model(), tmp_path / f"{name}.json")
        text = (tmp_path / f"{name}.json").read_text()
        for key in ("train/loss", "val/psnr/n_16", "eval/inpainting/psnr/texture_on/method_mean", "eval/strength"):
            assert key in text, (name, key)
    assert "eval/palette_transfer/palette_psnr/n_colors_8/texture_off/method_negative_color" in text


def test_saving_needs_an_entity() -> None:
    with pytest.raises(SystemExit, match="^error: There is no entity: give --entity TEAM"):
        dashboard.main()
