"""Run protocols of the paper: `python evaluate.py eval=dequantization variant=T`, `python evaluate.py eval=all`."""

import json
import logging
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from dequant.cli.hydra import one_sentence, plain, process, resolved, run
from dequant.errors import InputError
from dequant.evaluation import methods, runner
from dequant.evaluation import tables as reports
from dequant.evaluation.cases import LABELS
from dequant.evaluation.gallery import Gallery
from dequant.evaluation.logging import log_evaluation
from dequant.evaluation.measurements import Measurements
from dequant.io.files import whole_file
from dequant.models.control import bundled
from dequant.provenance import check_clean, provenance
from dequant.training.loggers import ended

log = logging.getLogger(__name__)


def entrants(cfg: DictConfig, device: torch.device) -> dict[str, methods.Method]:
    """The variant with its weights, the baselines of the protocol, and the quantized image itself."""
    model = instantiate(cfg.model, optimizer=None, lr_schedule=None)
    model.load_weights(cfg.ckpt_path or bundled(cfg.variant.name, cfg.weights))
    settings = {key: plain(cfg[key]) for key in ("variant", "sampler", "seed")}
    settings |= {"weights": methods.weights_hash(model.trained), "base": model.base.fingerprint}
    options = {"device": device, "bf16": cfg.bf16, "finish": instantiate(cfg.variant.finish)}
    ours = methods.of_model(model.to(device).eval(), settings, **options)
    baselines = {**(instantiate(cfg.eval.baselines) or {}), **(instantiate(cfg.peers) or {})}
    return {_label(cfg): ours, **baselines, methods.IDENTITY: methods.identity()}


def _label(cfg: DictConfig) -> str:
    """Name of the variant in tables."""
    edits = cfg.weights == "edit" and cfg.ckpt_path is None
    return f"{cfg.variant.label}_edit" if edits else str(cfg.variant.label)


def evaluate(cfg: DictConfig) -> float | None:
    """Make and measure the pictures of one protocol with one variant, then the tables, grids and curves.

    Returns the optimized metric, which a search leaves in metrics.json with the others.
    """
    check_clean(cfg.results, cfg.allow_dirty)
    (device, rank, world_size), folder = process(cfg.device), Path(cfg.run_dir)
    perceptual = instantiate(cfg.perceptual, folder=folder / "measurements", device=str(device))
    contest, data = entrants(cfg, device), instantiate(cfg.data.module)
    reports.check(cfg.results)
    photos = runner.choose(data.photos(cfg.data.eval_split, cfg.eval.size), cfg.eval.max_photos)
    work = runner.Work(photos, instantiate(cfg.eval.protocol), cfg.seed, cfg.eval.with_reference)
    gallery = Gallery(folder / "pictures", work, **plain(cfg.eval.gallery))
    measurements = Measurements(perceptual.folder, (*runner.COLUMNS, *perceptual.columns), rank)
    options = {"batch_size": cfg.eval.batch_size, "rank": rank, "world_size": world_size, "keep": gallery.keep}
    rows = runner.run(work, contest, measurements, **options, more=perceptual.measure)
    if rows is None:
        return None
    choices = plain(HydraConfig.get().runtime.choices)
    place = choices["data"] if choices["data"] == "bundled" else Path(data.source.path).name
    about = {"protocol": cfg.eval.name, "dataset": f"{place}/{cfg.data.eval_split}", "size": cfg.eval.size or "native"}
    about |= {"sampler": instantiate(cfg.sampler).name, "weights": cfg.ckpt_path or f"{cfg.weights}_{cfg.variant.name}"}
    about |= provenance(device)
    summary, tables = runner.summarize(rows, perceptual.of_cell), plain(cfg.eval.tables)
    tables += [tables[0] | {"title": reports.wording("metric", m), "metrics": [m]} for m in perceptual.metrics]
    cells = reports.cells(summary, _label(cfg), about)
    plots = {name: plain(cfg.eval[name]) for name in ("curves", "front")}
    reports.show(cells, folder, cfg.results, tables, cfg.eval.same, **plots)
    gallery.save(_label(cfg), folder)
    means = reports.means(cells, _label(cfg))
    if cfg.optimized_metric is not None:
        if cfg.optimized_metric not in means:
            raise InputError(f"There is no metric {cfg.optimized_metric}: choose one of {', '.join(means)}.")
        with whole_file(folder / "metrics.json") as file:
            json.dump(means, file, indent=1)
    if cfg.get("logger") is not None:
        loggers, shown = list(instantiate(cfg.logger).values()), [str(name) for name in cfg if name != "model"]
        logged = resolved(OmegaConf.masked_copy(cfg, shown)) | about
        with ended(loggers):
            x = cfg.eval.curves.data.x if cfg.eval.curves and cfg.eval.curves.data.x in LABELS else None
            for logger in loggers:
                logger.log_metrics(means)
                log_evaluation(logger, logged, cells, _label(cfg), x, folder)
    log.info("%s, %s: %d photos; tables, CSV and pictures in %s", cfg.eval.name, cfg.variant.label, len(photos), folder)
    return means.get(cfg.optimized_metric)


def jobs(cfg: DictConfig) -> list[DictConfig]:
    """One configuration per protocol and variant: this one, or for eval=all those of variants that have weights."""
    if cfg.eval.name != "all":
        return [cfg]
    own = ("eval=", "variant=", "eval.variants=", "eval.protocols=")
    given = [option for option in plain(HydraConfig.get().overrides.task) if not option.startswith(own)]
    found = []
    for variant in cfg.eval.variants:
        chosen = [hydra.compose("evaluate", [*given, f"eval={e}", f"variant={variant}"]) for e in cfg.eval.protocols]
        try:
            Path(chosen[0].ckpt_path or bundled(chosen[0].variant.name, chosen[0].weights)).stat()
            found += chosen
        except (InputError, FileNotFoundError) as error:
            log.warning("%s is left out: %s", variant, error)
    if not found:
        raise InputError("No variant has weights: train one, such as with train.py variant=T.")
    return found


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> float | None:
    """Hydra's entry."""
    with one_sentence():
        return [evaluate(job) for job in jobs(cfg)][-1]


if __name__ == "__main__":
    run(main)
