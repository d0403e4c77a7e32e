from pathlib import Path

import pytest
import torch

from dequant.errors import InputError
from dequant.io.palette_writers import WRITERS, save_palette
from dequant.io.palettes import load_palette

COLORS = torch.tensor([[200, 30, 30], [0, 0, 0], [17, 34, 51], [255, 254, 253]]) / 255


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    save_palette(COLORS, tmp_path / f"four{suffix}")
    found = load_palette(tmp_path / f"four{suffix}")
    assert ((found * 255).round() == (COLORS * 255).round()).all()


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use one of .gpl"):
        save_palette(COLORS, tmp_path / "four.xyz")
    with pytest.raises(InputError, match="does not exist"):
        save_palette(COLORS, tmp_path / "none" / "four.gpl")
