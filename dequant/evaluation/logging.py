"""An evaluation in a logger: cells as scalars or curves, and in Weights & Biases tables and pictures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import Logger, WandbLogger
from PIL import Image

from dequant.evaluation.cases import LABELS
from dequant.io.files import Row


def log_evaluation(
    logger: Logger, settings: Mapping[str, Any], cells: Sequence[Row], variant: str, x: str | None, folder: Path
) -> None:
    """Log an evaluation: the variant's cells as scalars, and in Weights & Biases all cells, tables and pictures.

    Args:
        logger: any.
        settings: the resolved configuration and the provenance.
        cells: rows of a results file.
        variant: whose cells become scalars, under `cell_key`.
        x: label along which they form a curve, such as n_colors; None for single values.
        folder: of tables.html and of the pictures, PNG files.
    """
    logger.log_hyperparams(dict(settings))
    points: dict[str, dict[str, float]] = defaultdict(dict)
    for cell in cells:
        if cell["variant"] == variant:
            points[cell[x] if x else ""][cell_key(cell, x)] = float(cell["mean"])
    for step, (place, values) in enumerate(points.items()):
        logger.log_metrics(values | ({f"eval/{x}": float(place)} if x else {}), step)
    if isinstance(logger, WandbLogger):
        protocol, columns = cells[0]["protocol"], list(cells[0])
        logger.log_table(f"eval/{protocol}/cells", columns, [list(cell.values()) for cell in cells])
        tables = wandb.Html((folder / "tables.html").read_text(encoding="utf-8"))
        logger.experiment.log({f"eval/{protocol}/tables": tables})
        for path in sorted(folder.glob("[!.]*.png")):
            logger.log_image(f"eval/{protocol}/{path.stem}", [Image.open(path)])


def cell_key(cell: Mapping[str, str], x: str | None = None) -> str:
    """`eval/<protocol>/<metric>/<labels>`, such as `eval/inpainting/psnr/texture_on/method_mean`.

    Args:
        cell: a row of a results file, or just its protocol, metric and labels.
        x: a label to leave out.
    """
    labels = [f"{name}_{cell[name]}" for name in LABELS if name != x and cell.get(name)]
    return "/".join(["eval", cell["protocol"], cell["metric"], *labels])
