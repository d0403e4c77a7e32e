"""All metrics of one picture."""

from torch import Tensor

from dequant.color.spaces import colorfulness
from dequant.evaluation.cases import Case
from dequant.metrics.image import mean_ciede2000, psnr, psnr_and_ssim, ssim
from dequant.metrics.palette import index_agreement, palette_error
from dequant.metrics.texture import (
    bands,
    false_edges,
    fine_correlation,
    gradient_agreement,
    haar_distance,
    missed_edges,
    texture_correlation,
)

METRICS = (
    "psnr",
    "ssim",
    "ciede2000",
    "palette_psnr",
    "palette_ssim",
    "index_agreement",
    "texture_correlation",
    "gradient_f1",
    "false_edges",
    "missed_edges",
    "fine_correlation",
    "bands",
    "haar_distance",
    "colorfulness",
)


def measure(case: Case, output: Tensor) -> dict[str, float]:
    """All metrics of one picture.

    Args:
        case: what was requested.
        output: (3, H, W) in [0, 1].

    Returns:
        `METRICS`. psnr, ssim and ciede2000 compare with the target, and are missing without one. palette_psnr and
        palette_ssim are the palette error, index_agreement is the share of pixels that keep their colour.
        The others compare with the source; gradient_f1, false_edges, missed_edges, fine_correlation and bands only
        inside the patch, if there is one.
    """
    batch, source = output[None], case.source[None]
    values = {}
    if case.target is not None:
        target = case.target[None]
        values["psnr"] = psnr(batch, target)
        values["ssim"] = ssim(batch, target)
        values["ciede2000"] = mean_ciede2000(batch, target)
    values["palette_psnr"], values["palette_ssim"] = palette_error(
        batch, case.asked[None], case.palette_colors, psnr_and_ssim
    )
    values["index_agreement"] = index_agreement(batch, case.asked[None], case.palette_colors)
    values["texture_correlation"] = texture_correlation(batch, source)
    values["gradient_f1"] = gradient_agreement(batch, source, case.patch)
    values["false_edges"] = false_edges(batch, source, case.patch)
    values["missed_edges"] = missed_edges(batch, source, case.patch)
    values["fine_correlation"] = fine_correlation(batch, source, case.patch)
    values["bands"] = bands(batch, source, case.patch)
    values["haar_distance"] = haar_distance(batch, source)
    values["colorfulness"] = colorfulness(batch)
    return {name: value.item() for name, value in values.items()}
