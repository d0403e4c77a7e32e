"""Pictures of a few cases, kept while an evaluation runs and then shown in grids."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from dequant.condition.channels import Condition
from dequant.errors import InputError
from dequant.evaluation.cases import LABELS, Case
from dequant.evaluation.methods import IDENTITY
from dequant.evaluation.runner import Work
from dequant.evaluation.words import order, wording
from dequant.io import figures
from dequant.io.images import read_image, write_image


class Gallery:
    """Pictures in a folder, so that a grid also shows those of earlier runs and of other variants.

    Args:
        folder: one sub-folder per case, one PNG per name in it.
        work: the evaluation.
        photos: number of photos shown.
        where: the cases shown, {label: values}. Labels that are not named may have any value. If no case fits, all
            are shown.
        across: label whose values are the columns, with one output per picture; None for a row per case:
            (photo | reference |) quantized | texture | outputs (| target).
    """

    def __init__(
        self,
        folder: Path,
        work: Work,
        photos: int = 2,
        where: Mapping[str, Sequence[object]] | None = None,
        across: str | None = None,
    ) -> None:
        for name, values in (where or {}).items():
            if not isinstance(values, (list, tuple)):
                raise InputError(f"Expected a list of values in eval.gallery.where.{name}, got {values!r}.")
        if photos < 0 or across not in (None, *LABELS):
            raise InputError(
                f"Expected photos of at least 0, and across of {', '.join(LABELS)} or null in eval.gallery."
            )
        cases = [case for photo in work.photos[:photos] for case in work.cases(photo)]
        self.folder, self.across = folder, across
        chosen = [case for case in cases if all(case.labels.get(name) in v for name, v in (where or {}).items())]
        self.cases = chosen or cases
        self._digests = {case.digest for case in self.cases}

    def keep(self, name: str, case: Case, picture: Tensor) -> None:
        """Keep a picture (3, H, W) if its case is shown. The quantized image needs no copy."""
        if case.digest in self._digests and name != IDENTITY:
            path = self._path(name, case)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(picture, path)

    def save(self, name: str, folder: Path) -> None:
        """Write grid.png, or one grid_METHOD.png per way of recolouring; with `across`, grid_NAME.png.

        Args:
            name: of the method evaluated last, whose texture is shown; with `across` only its outputs are.
            folder: of the files.
        """
        if self.across is not None and self.cases:
            figures.save(self._matrix(name, self.across), folder / f"grid_{name}.png")
            return
        for method in dict.fromkeys(case.labels.get("method", "") for case in self.cases):
            cases = [case for case in self.cases if case.labels.get("method", "") == method]
            figures.save(self._rows(name, cases), folder / (f"grid_{method}.png" if method else "grid.png"))

    def _rows(self, name: str, cases: Sequence[Case]) -> Image.Image:
        found = {path.stem for case in cases for path in self._path("", case).parent.glob("*.png")}
        columns: dict[str, list[Tensor | None]] = {
            "photo": [case.source if case.target is None else None for case in cases],
            "reference": [case.reference for case in cases],
            "quantized": [case.asked for case in cases],
            f"texture {name}": [Condition.of(case.condition).texture.mean(0).expand(3, -1, -1) for case in cases],
        }
        for output in sorted(found, key=lambda output: order("variant", output)):
            columns[wording("variant", output)] = [self._picture(output, case) for case in cases]
        columns["truth"] = [case.target for case in cases]
        return figures.ragged_grid(columns, [_label(case, LABELS) for case in cases])

    def _matrix(self, name: str, across: str) -> Image.Image:
        down = [label for label in LABELS if label != across]
        rows = list(dict.fromkeys(_label(case, down) for case in self.cases))
        columns: dict[str, list[Tensor | None]] = {"photo": [self.cases[0].source] * len(rows)}
        for case in self.cases:
            column = columns.setdefault(wording(across, str(case.labels[across])), [None] * len(rows))
            place = rows.index(_label(case, down))
            column[place] = self._picture(name, case) if column[place] is None else column[place]
        return figures.ragged_grid(columns, rows)

    def _path(self, name: str, case: Case) -> Path:
        return self.folder / case.digest / f"{name}.png"

    def _picture(self, name: str, case: Case) -> Tensor | None:
        path = self._path(name, case)
        return read_image(path) if path.is_file() else None


def _label(case: Case, names: Sequence[str]) -> str:
    return ", ".join(wording(name, str(case.labels[name])) for name in names if name in case.labels)
