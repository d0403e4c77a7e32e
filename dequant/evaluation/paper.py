"""The numbers that the paper publishes, shown beside ours; its figures have curves but no numbers."""

from collections.abc import Mapping

Columns = list[dict[str, str]]


_PALETTE_TRANSFER: Columns = [
    {"texture": texture, "n_colors": str(n), "metric": metric}
    for texture in ("on", "off")
    for n in (8, 32)
    for metric in ("palette_psnr", "palette_ssim")
]


_RECONSTRUCTION, _PALETTE_ERROR = (
    [{"texture": texture, "metric": prefix + metric} for texture in ("on", "off") for metric in ("psnr", "ssim")]
    for prefix in ("", "palette_")
)


TABLES: dict[str, tuple[Columns, dict[str, tuple[float, ...]]]] = {
    "Table 1": (
        _PALETTE_TRANSFER,
        {
            "T": (23.0, 0.774, 27.4, 0.874, 25.2, 0.842, 28.8, 0.901),
            "G": (17.8, 0.516, 19.1, 0.538, 25.6, 0.834, 28.5, 0.893),
            "L": (16.3, 0.526, 15.8, 0.490, 25.7, 0.839, 29.1, 0.905),
            "L_post": (13.2, 0.481, 12.8, 0.444, 12.8, 0.468, 12.6, 0.457),
        },
    ),
    "Table 2": (
        _PALETTE_TRANSFER,
        {
            "T": (24.4, 0.784, 27.7, 0.851, 25.8, 0.824, 28.7, 0.873),
            "G": (13.8, 0.107, 16.0, 0.107, 25.7, 0.807, 28.4, 0.864),
            "L": (10.4, 0.0991, 10.2, 0.0410, 25.9, 0.814, 29.0, 0.880),
            "L_post": (7.64, 0.0177, 7.37, -0.0362, 6.99, -0.0588, 6.81, -0.0853),
        },
    ),
    "Table 3": (
        _RECONSTRUCTION,
        {
            "T": (30.68, 0.9336, 29.3, 0.921),
            "G": (38.77, 0.9823, 30.95, 0.9315),
            "L": (40.12, 0.9845, 29.68, 0.9202),
            "L_post": (39.82, 0.9867, 38.27, 0.9834),
        },
    ),
    "Table 4": (
        _PALETTE_ERROR,
        {
            "T": (23.56, 0.8241, 23.87, 0.8285),
            "G": (22.37, 0.7964, 23.58, 0.8208),
            "L": (21.76, 0.7895, 24.07, 0.8347),
            "L_post": (20.57, 0.7739, 20.53, 0.7731),
        },
    ),
    "ColorDiff, Table 2": (
        [{"method": "as decoded", "metric": metric} for metric in ("fd", "colorfulness")],
        {"decoder": (10.05, 33.73), "guidance": (9.917, 42.55), "both": (9.799, 41.54)},
    ),
}
"""Table -> (the cells of its columns, variant -> values of its row); tables 2 to 4 are in the supplement.

The last is of another paper (arXiv:2404.16678), whose Frechet distances have the features of Inception.
"""


def published(cell: Mapping[str, object]) -> float | None:
    """The paper's value of a cell, or None if it has none.

    Args:
        cell: with paper_item, variant, n_colors, texture and metric, as from `runner.summarize`.
    """
    columns, rows = TABLES.get(str(cell["paper_item"]), ([], {}))
    values = rows.get(str(cell["variant"]), ())
    for column, value in zip(columns, values, strict=False):
        if all(str(cell[name]) == wanted for name, wanted in column.items()):
            return value
    return None
