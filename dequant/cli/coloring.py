"""`python evaluate.py eval=colorization`: evaluations of colorizers."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from dequant.cli.hydra import plain, process
from dequant.color.luminance import grayscale, with_lightness
from dequant.colorization.pictures import decoded
from dequant.colorization.pipeline import METHODS, ColorizePipeline
from dequant.colorization.priors import THINGS, Describer
from dequant.colorization.reading import Reader, Reading
from dequant.colorization.tuning import Tuning
from dequant.condition.captions import Labelled
from dequant.edit.colorizing import ColorSettings, colorizer
from dequant.edit.diffcolor import Session, TuneSettings, tune
from dequant.errors import InputError
from dequant.evaluation import colorization, editing, runner, semantics
from dequant.evaluation import tables as reports
from dequant.evaluation.colorization import Summary
from dequant.io import figures
from dequant.io.images import to_pil, write_image
from dequant.metrics.coloring import read_boxes
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models import image_text
from dequant.models.image_text import ImageText
from dequant.models.latent import LatentBase
from dequant.models.recognition import recognized
from dequant.provenance import provenance

log = logging.getLogger(__name__)

SEMANTIC = ("by_region", "ablate")
"""Measures of a colorizer that is told what a photo shows."""

TUNED, EDITING = "diffcolor", ("by_edit",)
"""The colorizer that is tuned to each photo, and what is measured of it alone."""

STOCK, AWARE = "decoder of the autoencoder", "luminance-aware decoder"


class Bench:
    """A colorizer and the photos that it is measured on.

    Args:
        cfg: of evaluate.py.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg, self.name = cfg, str(HydraConfig.get().runtime.choices["model"])
        if self.name not in (*METHODS, TUNED):
            raise InputError(f"model={self.name} is no colorizer: give model={' or model='.join((*METHODS, TUNED))}.")
        self.device, self.reader = process(cfg.device)[0], cache(Reader)
        self.settings: TuneSettings | None = instantiate(cfg.model) if self.name == TUNED else None
        if self.settings is not None and cfg.ckpt_path is not None:
            self.settings = replace(self.settings, weights=str(cfg.ckpt_path))
        if self.settings is not None:
            given = {name: value for name, value in self.how.items() if value is not None}
            self.settings = replace(self.settings, **given)
        source = self.name if self.settings is None else self.settings.weights
        self.pipe = colorizer(str(cfg.ckpt_path or source)).to(self.device)
        if cfg.eval.measure in SEMANTIC and (self.settings or self.pipe.config["method"] != "semantic"):
            raise InputError(f"{self.name} takes no priors to measure in eval={cfg.eval.name}: give model=semantic.")
        if (cfg.eval.measure in EDITING) != (self.settings is not None) and cfg.eval.measure != "compare":
            raise InputError(f"eval={cfg.eval.name} is not for model={self.name}: see docs/evaluate.md.")
        self.pipe.set_progress_bar_config(disable=True)
        self.data = instantiate(cfg.data.module)
        self.photos = runner.choose(self.data.photos(cfg.data.eval_split, cfg.eval.size), cfg.eval.max_photos)
        self.folder = Path(cfg.run_dir)
        self.kept: dict[str, dict[str, Tensor]] = {}
        self._session: tuple[object, Session] | None = None

    def paint(self, rgb: Tensor, prompt: str, scale: float | str) -> Tensor:
        """`colorization.Paint`; where the colorizer is told what a photo shows and no prompt says it, it is read.

        A network that is tuned to the photo is tuned by what is read, and edited to a prompt that is given.
        """
        if self.settings is not None:
            return self.session(rgb, None).picture(prompt or None, scale=scale).apply(rgb, 0, rgb.shape[1])
        told = self.reader()(grayscale(rgb)) if self.reads and not prompt else Reading(prompt)
        how = self.how | ({"regions": told.regions} if self.reads else {})
        return self.pipe.color(rgb, told.prompt, scale=scale, **how).apply(rgb, 0, rgb.shape[1])

    @property
    def reads(self) -> bool:
        """Whether the colorizer is told what a photo shows."""
        return bool(self.pipe.config["method"] == "semantic")

    @property
    def how(self) -> dict[str, Any]:
        """Steps and guidance of the options."""
        return {name: self.cfg.eval[name] for name in ("num_inference_steps", "guidance_scale")}

    @property
    def sampler(self) -> str:
        """Solver, steps and guidance."""
        own = self.settings or ColorSettings(**self.how)
        steps = own.num_inference_steps or self.pipe.config["num_inference_steps"]
        guidance = self.pipe.config["guidance_scale"] if own.guidance_scale is None else own.guidance_scale
        return f"{'ddim' if self.reads else 'euler'}{steps}, guidance {guidance:g}"

    @property
    def weights(self) -> str:
        """The name of bundled ones, or where others lie."""
        own = self.settings is not None and self.settings.weights != TuneSettings().weights
        return str(self.settings.weights if self.settings and own else self.cfg.ckpt_path or self.name)

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

    def likeness(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """Cosines of pictures and the photos' captions, and what `perceptual` asks for: LPIPS, cosines of features."""
        chosen = instantiate(self.cfg.perceptual, folder=self.folder, device=str(self.device))
        judge, describer = ImageText.from_pretrained(self.cfg.eval.likeness or image_text.bundled()), Describer()

        def caption_cosine(picture: Tensor, photo: Tensor) -> Tensor:
            texts = [describer.caption(one) for one in photo]
            return F.cosine_similarity(judge.of_images(picture), judge.of_texts(texts))

        found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"caption_cosine": caption_cosine}
        found |= {} if chosen.lpips is None else {"lpips": chosen.lpips}
        return found | {f"{name}_cosine": _cosine(network) for name, network in chosen.features.items()}

    def session(self, rgb: Tensor, prompt: str | None, settings: TuneSettings | None = None) -> Session:
        """A network tuned to a photo: kept in the run's folder, where a run that was cut off goes on."""
        asked = prompt, settings, rgb.numpy().tobytes()
        if self._session is None or self._session[0] != asked:
            settings = settings or self.settings
            self._session = asked, tune(to_pil(rgb), prompt, settings=settings, folder=self.folder / "sessions")
        return self._session[1]

    def editor(self, rgb: Tensor, prompt: str, settings: TuneSettings | None = None) -> editing.Edit:
        """`editing.Tune`."""
        session = self.session(rgb, prompt, settings)
        return lambda edit, strength: session.picture(edit, strength).apply(rgb, 0, rgb.shape[1])

    def by_edit(self) -> Summary:
        """`eval=edit_control`, beside the same words and a network that is not tuned."""
        own = self.cfg.eval
        options = (own.scenes, self.pipe.base.side, self.cfg.seed, plain(own.strengths))
        assert self.settings is not None
        untuned = replace(self.settings, tuning=Tuning(color_steps=0, embedding_steps=0, network_steps=0))
        found = editing.by_edit(partial(self.editor, settings=untuned), f"{self.name} untuned", *options)
        return found + editing.by_edit(self.editor, self.name, *options)

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

    def steer(
        self, rgb: Tensor, prompt: str, regions: Sequence[Labelled], strength: float, apart: bool = False
    ) -> Tensor:
        """`semantics.Steer`, with regions drawn together or apart."""
        colored = self.pipe.color(rgb, prompt, regions=regions, strength=strength, apart=apart, **self.how)
        return colored.apply(rgb, 0, rgb.shape[1])

    def by_region(self) -> Summary:
        """`eval=region_control`."""
        own = self.cfg.eval
        options = (own.scenes, self.pipe.base.side, self.cfg.seed, plain(own.strengths))
        found = semantics.by_region(self.steer, self.name, *options)
        found += semantics.by_region(partial(self.steer, apart=True), f"{self.name}, apart", *options)
        recognize = partial(Describer().thing, gray=True)
        return found + semantics.by_category(self.photos, self.steer, self.name, recognize, list(THINGS), self.cfg.seed)

    def ablate(self) -> Summary:
        """`eval=ablation`."""
        return semantics.ablate(self.photos, self.parts, Describer().classifier, self.keep)

    def parts(self, rgb: Tensor) -> dict[tuple[str, str], Tensor]:
        """Pictures with and without guidance by what a photo shows, and with both decoders."""
        found, told = {}, self.reader()(grayscale(rgb))
        for guided, reading in ((False, Reading()), (True, told)):
            drawn = self.pipe.draw(rgb, reading.prompt, regions=reading.regions, **self.how)
            for name, base in self.decoders.items():
                variant = {(False, False): "neither", (True, True): "both"}.get((guided, name == AWARE))
                variant = variant or ("guidance" if guided else "decoder")
                found[variant, "as decoded"] = base.decode(drawn.z_gray + drawn.delta, drawn.gray)[0].cpu()
                found[variant, "the photo's lightness"] = drawn._replace(base=base).at(1.0).rgb
        return found

    @cached_property
    def decoders(self) -> dict[str, LatentBase]:
        """Bases on the same latents, with the decoder that these had first and with a luminance-aware one."""
        source = self.cfg.ckpt_path or self.name
        names = {STOCK: "autoencoder", AWARE: self.cfg.eval.decoder}
        return {way: ColorizePipeline.load(source, decoder=name).to(self.device).base for way, name in names.items()}

    def decode(self) -> Summary:
        """`eval=decoders`."""
        return semantics.decoders(self.photos, self.decoded)

    @torch.no_grad()
    def decoded(self, rgb: Tensor) -> dict[tuple[str, str], Tensor]:
        """A photo from its own latents and from those that are drawn, by both decoders."""
        found, gray = {}, grayscale(rgb)
        drawn, z = self.pipe.draw(rgb, "", **self.how), self.pipe.base.encode(rgb[None].to(self.device))
        for name, base in self.decoders.items():
            own = base.decode(z, gray[None].to(self.device))[0].cpu()
            found[name, "the photo's latents"] = own
            found[f"{name}, the photo's lightness", "the photo's latents"] = with_lightness(own, gray)
            found[name, "drawn latents"] = base.decode(drawn.z_gray + drawn.delta, drawn.gray)[0].cpu()
        return found


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
    about |= {"sampler": bench.sampler, "weights": bench.weights} | provenance(bench.device)
    cells = [
        row
        for one in summary
        for row in reports.cells([one], _drawn(one["variant"], bench.name, cfg.eval.measure), about)
    ]
    reports.show(cells, bench.folder, cfg.results, plain(cfg.eval.tables), cfg.eval.same, curves=plain(cfg.eval.curves))
    for key, pictures in bench.kept.items():
        own = bench.folder / "pictures" / key.replace("/", "_")
        own.mkdir(parents=True, exist_ok=True)
        for way, picture in pictures.items():
            write_image(picture, own / f"{way}.png")
    if bench.kept and cfg.eval.measure in ("compare", "ablate"):
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


def _drawn(variant: str, name: str, measure: str) -> str:
    """The variant where the colorizer drew it, whose rows name sampler and weights."""
    return variant if variant.startswith(name) or measure in ("ablate", "decode") else ""
