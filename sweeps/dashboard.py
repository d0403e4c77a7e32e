"""The project's workspace and report in Weights & Biases: `python -m sweeps.dashboard --entity TEAM`.

`--dry-run FOLDER` needs no account: it writes what would be sent, workspace.json and report.json, and reads it back.
"""

if __name__ == "__main__":  # ahead of the imports
    from dequant.errors import need

    need("wandb_workspaces", "sweeps")

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from pydantic import BaseModel

from dequant.errors import InputError, one_sentence
from dequant.evaluation.logging import cell_key
from dequant.io.files import whole_file

STEP = "trainer/global_step"
N_COLORS = (4, 16, 64)
"""The numbers of colours in `data.val_n_colors`."""


def _lines(title: str, y: Sequence[str], x: str = STEP, **look: Any) -> wr.LinePlot:
    return wr.LinePlot(title=title, x=x, y=list(y), **look)


def training() -> list[Any]:
    """Loss, learning rate and gradients; PSNR and SSIM of output and quantized input, per number of colours."""
    return [
        _lines("Training loss", ["train/loss"], smoothing_factor=0.8),
        _lines("Norm of the gradients", ["train/grad_norm"], log_y=True),
        _lines("Learning rate", ["lr-AdamW"]),
        *(_lines(f"PSNR, N = {n}, and input", [f"val/psnr/n_{n}", f"val/psnr_input/n_{n}"]) for n in N_COLORS),
        *(_lines(f"SSIM, N = {n}, and input", [f"val/ssim/n_{n}", f"val/ssim_input/n_{n}"]) for n in N_COLORS),
    ]


def variants() -> list[Any]:
    """The variants side by side: gain, palette error and edges; mean over runs and one standard deviation."""
    look: dict[str, Any] = {"groupby": wr.Config("model.variant"), "groupby_aggfunc": "mean"}
    look["groupby_rangefunc"] = "stddev"
    return [
        _lines("Gain over the quantized input, dB", ["val/gain"], **look),
        _lines("Palette error, PSNR", ["val/palette_psnr"], **look),
        _lines("Edges of the photo, F1", ["val/gradient_f1"], **look),
        wr.BarPlot(title="Gain at the end", metrics=["val/gain"], **look),
        wr.WeavePanelSummaryTable(table_name="val/pictures"),
    ]


def _bars(title: str, **cell: str) -> wr.BarPlot:
    keys = [cell_key({"texture": texture, **cell}) for texture in ("on", "off")]
    return wr.BarPlot(title=title, metrics=keys, groupby=wr.Config("variant.label"))


def tables() -> list[Any]:
    """Tables 1 to 4 of the paper."""
    panels: list[Any] = []
    for method, item in (("color", "Table 1"), ("negative_color", "Table 2")):
        for n in ("8", "32"):
            for metric in ("palette_psnr", "palette_ssim"):
                labels = {"protocol": "palette_transfer", "metric": metric, "method": method, "n_colors": n}
                panels.append(_bars(f"{item}: {method}, N = {n}, {metric}", **labels))
    for metric in ("psnr", "ssim"):
        panels.append(_bars(f"Table 3: mean colour, {metric}", protocol="inpainting", metric=metric, method="mean"))
    for metric in ("palette_psnr", "palette_ssim"):
        panels.append(_bars(f"Table 4: random colour, {metric}", protocol="inpainting", metric=metric, method="random"))
    names = ("palette_transfer", "inpainting")
    return panels + [wr.WeavePanelSummaryTable(table_name=f"eval/{name}/cells") for name in names]


def curves() -> list[Any]:
    """Figures 3 to 6 and 9 of the paper: dequantization over N, and robustness over the shift."""
    panels, look = [], {"groupby": wr.Config("variant.label")}
    for texture in ("off", "on"):
        for metric in ("psnr_gain", "ssim"):
            cell = {"protocol": "dequantization", "metric": metric, "texture": texture}
            title = f"Dequantization, texture {texture}, {metric}"
            panels.append(_lines(title, [cell_key(cell)], x="eval/n_colors", log_x=True, **look))
        for n in ("4", "16", "64"):
            cell = {"protocol": "robustness", "metric": "ssim", "texture": texture, "n_colors": n}
            title = f"Robustness, N = {n}, texture {texture}, SSIM"
            panels.append(_lines(title, [cell_key(cell)], x="eval/strength", **look))
    return panels


SECTIONS = {"Training": training, "Variants": variants, "Tables 1 to 4": tables, "Curves": curves}


def workspace(entity: str, project: str) -> ws.Workspace:
    """The workspace, one section per subject."""
    sections = [ws.Section(name=name, panels=panels(), is_open=True) for name, panels in SECTIONS.items()]
    return ws.Workspace(entity=entity, project=project, name="Dequantization", sections=sections)


def report(entity: str, project: str) -> wr.Report:
    """The report: the same subjects, from the runs of train.py and of evaluate.py."""
    blocks: list[Any] = [wr.TableOfContents()]
    for name, panels in SECTIONS.items():
        job = "train" if name in ("Training", "Variants") else "evaluate"
        runs = wr.Runset(name=job, filters=f"JobType = '{job}'")
        text = " ".join((panels.__doc__ or "").split())
        blocks += [wr.H1(text=name), wr.P(text=text), wr.PanelGrid(runsets=[runs], panels=panels())]
    return wr.Report(entity=entity, project=project, title="Dequantization and color transfer", blocks=blocks)


def write(model: BaseModel, path: Path) -> None:
    """Write what would be sent, and check that it reads back as the same.

    Raises:
        InputError: it reads back as something else.
    """
    text = model.model_dump_json(by_alias=True, exclude_none=True, indent=1)
    read = type(model).model_validate_json(text).model_dump_json(by_alias=True)
    if _filled(json.loads(read)) != _filled(json.loads(text)):
        raise InputError(
            f"{path.name} does not read back as written: install the version of wandb-workspaces in constraints.txt."
        )
    with whole_file(path) as file:
        file.write(text)


def _filled(value: Any) -> Any:
    """A value without its empty parts, which the library may leave out or fill in."""
    if isinstance(value, dict):
        return {name: _filled(item) for name, item in value.items() if item not in (None, [], {})}
    return [_filled(item) for item in value] if isinstance(value, list) else value


@one_sentence()
def main(
    entity: Annotated[str, typer.Option(help="Team or user; needed to save.")] = "",
    project: str = "dequant",
    dry_run: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write here instead of sending.")] = None,
) -> None:
    """Save the project's workspace and report to Weights & Biases."""
    place = entity or "entity", project
    made = workspace(*place), report(*place)
    if dry_run is not None:
        for item, name in zip(made, ("workspace.json", "report.json"), strict=True):
            write(item._to_model(), dry_run / name)
        print(f"Valid; written to {dry_run}: {sum(len(p()) for p in SECTIONS.values())} panels.")
        return
    if not entity:
        raise InputError("There is no entity: give --entity TEAM, or --dry-run FOLDER to save nothing.")
    for item in made:
        item.save()


if __name__ == "__main__":
    typer.run(main)
