"""All metrics of one picture."""

from functools import cached_property
from weakref import WeakKeyDictionary

from torch import Tensor

from dequant.color.cells import cells_of, kept
from dequant.color.palette import Quantized
from dequant.color.spaces import colorfulness
from dequant.evaluation.cases import Case
from dequant.metrics.image import Target, mean_ciede2000, psnr_and_ssim
from dequant.metrics.palette import requantized
from dequant.metrics.texture import (
    Detail,
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


class _Known:
    """What all pictures of a case are compared with, computed once."""

    def __init__(self, case: Case) -> None:
        self.source = Detail(case.source[None])
        self.target = None if case.target is None else Target(case.target[None])
        self._asked, self._n_colors = case.asked, case.palette_colors

    @cached_property
    def requantized(self) -> Target:
        """The colours asked for, as in `palette_error`."""
        return Target(requantized(self._asked[None], [self._n_colors]))

    @cached_property
    def cells(self) -> Quantized:
        """Their cells, as in `index_agreement`."""
        return cells_of(self.requantized.rgb[0])


_KNOWN: WeakKeyDictionary[Case, _Known] = WeakKeyDictionary()


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
    known = _KNOWN.setdefault(case, _Known(case))
    batch, patch = output[None], case.patch
    pair, values = (Detail(batch), known.source), {}
    if known.target is not None:
        values["psnr"], values["ssim"] = psnr_and_ssim(batch, known.target)
        values["ciede2000"] = mean_ciede2000(batch, known.target)
    again = requantized(batch, [case.palette_colors])
    values["palette_psnr"], values["palette_ssim"] = psnr_and_ssim(again, known.requantized)
    values["index_agreement"] = kept(output, known.cells, ties=True).float().mean()
    values["texture_correlation"] = texture_correlation(*pair)
    values["gradient_f1"] = gradient_agreement(*pair, patch)
    values["false_edges"] = false_edges(*pair, patch)
    values["missed_edges"] = missed_edges(*pair, patch)
    values["fine_correlation"] = fine_correlation(*pair, patch)
    values["bands"] = bands(*pair, patch)
    values["haar_distance"] = haar_distance(*pair)
    values["colorfulness"] = colorfulness(batch)
    return {name: value.item() for name, value in values.items()}
