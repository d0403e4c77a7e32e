"""`python evaluate.py eval=colorization`: evaluations of colorizers."""

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from dequant.cli.hydra import plain, process
from dequant.color.luminance import grayscale
from dequant.colorization.pictures import decoded
from dequant.colorization.pipeline import ColorizePipeline
from dequant.colorization.priors import Describer
from dequant.errors import InputError
from dequant.evaluation import colorization, runner
from dequant.evaluation import tables as reports
from dequant.evaluation.colorization import Summary
from dequant.io import figures
from dequant.io.images import write_image
from dequant.metrics.coloring import read_boxes
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models.recognition import recognized
from dequant.provenance import provenance

log = logging.getLogger(__name__)


class Bench:
    """A colorizer and the photos that it is measured on.

    Args:
        cfg: of evaluate.py.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg, self.name = cfg, str(HydraConfig.get().runtime.choices["model"])
        if self.name != "diffusing_colors":
            raise InputError(f"model={self.name} is no colorizer: give model=diffusing_colors.")
        self.device = process(cfg.device)[0]
        self.pipe = ColorizePipeline.load(cfg.ckpt_path or self.name).to(self.device)
        self.pipe.set_progress_bar_config(disable=True)
        self.data = instantiate(cfg.data.module)
        self.photos = runner.choose(self.data.photos(cfg.data.eval_split, cfg.eval.size), cfg.eval.max_photos)
        self.folder = Path(cfg.run_dir)
        self.kept: dict[str, dict[str, Tensor]] = {}

    def paint(self, rgb: Tensor, prompt: str, scale: float | str) -> Tensor:
        """`colorization.Paint`, with the steps and the guidance of the options."""
        own = self.cfg.eval
        steps: dict[str, Any] = {"num_inference_steps": own.num_inference_steps, "guidance_scale": own.guidance_scale}
        return self.pipe.color(rgb, prompt, scale=scale, **steps).apply(rgb, 0, rgb.shape[1])

    def keep(self, way: str, photo: runner.Photo, picture: Tensor) -> None:
        """Keep the pictures of the first photos."""
        if photo.key in self.kept or len(self.kept) < self.cfg.eval.gallery.photos:
            self.kept.setdefault(photo.key, {})[way] = picture

    def compare(self) -> Summary:
        """`eval=colorization`."""
        describer, seen = Describer(), instantiate(self.cfg.eval.seen)
        known = [rgb for _, rgb in seen.photos("train", 128)]
        parts: dict[str, Any] = {"features": describer.classifier, "describe": describer.caption, "keep": self.keep}
        parts["likeness"] = self.likeness()
        parts["see"] = partial(_seen, describer.classifier)
        parts["boxes"] = None if self.cfg.eval.kinds is None else read_boxes(self.cfg.eval.kinds)
        return colorization.compare(self.photos, self.paint, self.name, known, **parts)

    @torch.inference_mode()
    def likeness(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """The perceptual measures that `perceptual` asks for: LPIPS, and cosines of features."""
        chosen = instantiate(self.cfg.perceptual, folder=self.folder, device=str(self.device))
        found = {} if chosen.lpips is None else {"lpips": chosen.lpips}
        return found | {f"{name}_cosine": _cosine(network) for name, network in chosen.features.items()}

    def by_scale(self) -> Summary:
        """`eval=color_scale`."""
        base = self.pipe.base

        def own(rgb: Tensor, scale: float) -> Tensor:
            gray = grayscale(rgb[None])
            z, z_gray = base.encode(torch.cat([rgb[None], gray])).chunk(2)
            return decoded(base, z_gray, scale * (z - z_gray), gray)[0]

        ways = {"colour of the photo": own, self.name: lambda rgb, scale: self.paint(rgb, "", scale)}
        return colorization.by_scale(self.photos, ways, plain(self.cfg.eval.scales))

    def by_prompt(self) -> Summary:
        """`eval=text_control`."""
        describer = Describer()
        options = {"scenes": self.cfg.eval.scenes, "size": self.pipe.base.side, "seed": self.cfg.seed}
        asked = (self.photos, self.paint, self.name, describer.caption, describer.where)
        return colorization.by_prompt(*asked, **options, keep=self.keep)


def evaluate(cfg: DictConfig) -> float | None:
    """Measure a colorizer, then write tables, CSV and pictures; returns the optimized metric."""
    bench = Bench(cfg)
    summary = getattr(bench, cfg.eval.measure)()
    choices = plain(HydraConfig.get().runtime.choices)
    place = choices["data"] if choices["data"] == "bundled" else Path(bench.data.source.path).name
    listed = hashlib.sha256(" ".join(photo.digest for photo in bench.photos).encode()).hexdigest()[:8]
    square = "whole photos" if cfg.eval.size is None else "centre squares"
    about = {"protocol": cfg.eval.name, "size": cfg.eval.size or "native"}
    about |= {"dataset": f"{place}/{cfg.data.eval_split} ({listed}, {square}, grey of equal L*)"}
    steps = cfg.eval.num_inference_steps or bench.pipe.config["num_inference_steps"]
    about |= {"sampler": f"euler{steps}, guidance {cfg.eval.guidance_scale:g}"}
    about |= {"weights": str(cfg.ckpt_path or bench.name)} | provenance(bench.device)
    cells = [row for one in summary for row in reports.cells([one], _drawn(one["variant"], bench.name), about)]
    reports.show(cells, bench.folder, cfg.results, plain(cfg.eval.tables), cfg.eval.same, curves=plain(cfg.eval.curves))
    for key, pictures in bench.kept.items():
        own = bench.folder / "pictures" / key.replace("/", "_")
        own.mkdir(parents=True, exist_ok=True)
        for way, picture in pictures.items():
            write_image(picture, own / f"{way}.png")
    if bench.kept and cfg.eval.measure == "compare":
        names = list(next(iter(bench.kept.values())))
        columns = {way: [pictures[way] for pictures in bench.kept.values()] for way in names}
        figures.save(figures.ragged_grid(columns, [""] * len(bench.kept)), bench.folder / "grid.png")
    log.info("%s: %d photos; tables, CSV and pictures in %s", cfg.eval.name, len(bench.photos), bench.folder)
    return reports.means(cells, bench.name).get(cfg.optimized_metric)


def _seen(classifier: EfficientNetLite0, gray: Tensor) -> Tensor:
    """What `Ridge` knows of a grey photo (3, H, W): the features that colorizers are told, (C, h, w)."""
    found = recognized(classifier, gray[None], min(gray.shape[1:]))
    return torch.cat([F.interpolate(one, found[1].shape[2:], mode="bilinear") for one in found], dim=1)[0]


def _cosine(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda picture, photo: F.cosine_similarity(network(picture), network(photo))


def _drawn(variant: str, name: str) -> str:
    """The variant where the colorizer drew it, whose rows name sampler and weights."""
    return variant if variant.startswith(name) else ""
