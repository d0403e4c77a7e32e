"""Pictures of a few cases, kept while an evaluation runs and then shown in grids."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from torch import Tensor

from dequant.condition.channels import Condition
from dequant.errors import InputError
from dequant.evaluation.cases import LABELS, Case
from dequant.evaluation.methods import IDENTITY
from dequant.evaluation.runner import Work
from dequant.evaluation.words import order, wording
from dequant.io import figures
from dequant.io.files import whole_file
from dequant.io.images import read_image, write_image

ACROSS = 10
"""More columns than these are continued below."""


class Gallery:
    """Pictures in a folder with an index, so that a grid also shows those of earlier runs and of other variants.

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
        made = {photo: work.cases(photo) for photo in work.photos[:photos]}
        cases = [case for several in made.values() for case in several]
        self.folder, self.across = folder, across
        chosen = [case for case in cases if all(case.labels.get(name) in v for name, v in (where or {}).items())]
        self.cases = chosen or cases
        self._digests = {case.digest for case in self.cases}
        shown = ((photo, [case for case in several if case.digest in self._digests]) for photo, several in made.items())
        self._photos = [(photo, several) for photo, several in shown if several]

    def keep(self, name: str, case: Case, picture: Tensor) -> None:
        """Keep a picture (3, H, W) if its case is shown. The quantized image needs no copy."""
        if case.digest in self._digests and name != IDENTITY:
            path = self._path(name, case)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(picture, path)

    def save(self, name: str, folder: Path) -> None:
        """Write grid.png, or one grid_METHOD.png per way of recolouring; with `across`, grid_NAME.png; and the index.

        Args:
            name: of the method evaluated last, whose texture is shown; with `across` only its outputs are.
            folder: of the files.
        """
        with whole_file(self.folder / "index.html") as file:
            file.write(self._index())
        if self.across is not None and self.cases:
            figures.save(self._matrix(name, self.across), folder / f"grid_{name}.png")
            return
        for method in dict.fromkeys(case.labels.get("method", "") for case in self.cases):
            cases = [case for case in self.cases if case.labels.get("method", "") == method]
            figures.save(self._rows(name, cases), folder / (f"grid_{method}.png" if method else "grid.png"))

    def _outputs(self, cases: Sequence[Case]) -> list[str]:
        found = {path.stem for case in cases for path in self._path("", case).parent.glob("[!.]*.png")}
        return sorted(found, key=lambda output: order("variant", output))

    def _rows(self, name: str, cases: Sequence[Case]) -> Image.Image:
        """A grid for each group of cases with outputs of the same methods and photos of the same size."""
        groups: dict[tuple[object, ...], list[Case]] = {}
        for case in cases:
            groups.setdefault((*self._outputs([case]), case.source.shape), []).append(case)
        return figures.stacked([self._block(name, group) for group in groups.values()])

    def _block(self, name: str, cases: Sequence[Case]) -> Image.Image:
        textures = [Condition.of(case.condition).texture.mean(0).expand(3, -1, -1) for case in cases]
        columns: dict[str, list[Tensor | None]] = {
            "photo": [case.source if case.target is None else None for case in cases],
            "reference": [case.reference for case in cases],
            "quantized": [case.asked for case in cases],
            f"texture {name.partition('@')[0]}": [texture if texture.any() else None for texture in textures],
        }
        for output in self._outputs(cases):
            columns[wording("variant", output)] = [self._picture(output, case) for case in cases]
        columns["truth"] = [case.target for case in cases]
        present = [(label, column) for label, column in columns.items() if any(one is not None for one in column)]
        across = -(-len(present) // -(-len(present) // ACROSS))
        parts = [dict(present[start : start + across]) for start in range(0, len(present), across)]
        return figures.stacked([figures.ragged_grid(part, [_label(case, LABELS) for case in cases]) for part in parts])

    def _index(self) -> str:
        """A page of all pictures: a section per photo, a row per case, a column per method."""
        outputs = self._outputs(self.cases)
        names = ["photo", "quantized", *(wording("variant", output) for output in outputs)]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *names))
        body = ""
        for photo, cases in self._photos:
            source = self._input(photo.digest, photo.rgb)
            body += f'<tr><th colspan="{len(names) + 1}" class="photo">{html.escape(photo.key)}</th></tr>'
            for case in cases:
                paths = [source, self._input(case.digest, case.asked), *(self._path(name, case) for name in outputs)]
                body += f"<tr><th>{html.escape(_label(case, LABELS))}</th>{''.join(map(self._cell, paths))}</tr>"
        style = (
            "body { font: 14px system-ui, sans-serif } th { font-weight: normal; text-align: left; padding: 0 .5em } "
            "thead th { position: sticky; top: 0; background: white } .photo { font-weight: bold; padding-top: 1em } "
            "img { width: 160px; display: block }"
        )
        top = f'<!doctype html><html lang=en><head><meta charset="utf-8"><title>Pictures</title><style>{style}</style>'
        return f"{top}</head><body><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></body></html>\n"

    def _input(self, digest: str, picture: Tensor) -> Path:
        """The file of a photo or of a quantized image, which is written if it is not there."""
        path = self.folder / "inputs" / f"{digest}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(picture, path)
        return path

    def _cell(self, path: Path) -> str:
        if not path.is_file():
            return "<td></td>"
        link = quote(path.relative_to(self.folder).as_posix())
        return f'<td><a href="{link}"><img src="{link}" loading="lazy" alt=""></a></td>'

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
