"""Run protocols of the paper: `python evaluate.py eval=dequantization variant=T`, `python evaluate.py eval=all`."""

if __name__ == "__main__":  # ahead of imports that take seconds
    from dequant.cli.early import show_help
    from dequant.errors import obey_signals

    obey_signals(importing=True)
    show_help("evaluate")

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import NoneType

import hydra
import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from dequant.cli import coloring
from dequant.cli.hydra import computes_bfloat16, one_sentence, plain, process, resolved, run
from dequant.errors import InputError, obey_signals
from dequant.evaluation import methods, runner
from dequant.evaluation import tables as reports
from dequant.evaluation.cases import LABELS, Case
from dequant.evaluation.gallery import Gallery
from dequant.evaluation.logging import log_evaluation
from dequant.evaluation.measurements import Measurements
from dequant.evaluation.words import entrant, wording
from dequant.io.files import check_writable, whole_file
from dequant.models.control import bundled
from dequant.provenance import check_clean, provenance
from dequant.training.loggers import ended

log = logging.getLogger(__name__)


OPTIONS = (
    ("bf16", (bool, NoneType), "true, false or null"),
    ("ckpt_path", (str, NoneType), "a path or null"),
    ("results", (str, NoneType), "a path or null"),
    ("run_dir", str, "a path"),
    ("optimized_metric", (str, NoneType), "the name of a metric or null"),
    ("eval.max_photos", (int, NoneType), "a whole number or null"),
    ("eval.batch_size", int, "a whole number"),
    ("eval.gallery.photos", int, "a whole number"),
    ("eval.tables", list, "a list of tables"),
    ("eval.same", list, "a list of columns"),
)
"""Name, types and description of options that are used late."""


def entrants(cfg: DictConfig, device: torch.device) -> dict[str, methods.Method]:
    """The variant with its weights, the baselines of the protocol, and the quantized image itself."""
    model = instantiate(cfg.model, optimizer=None, lr_schedule=None)
    model.load_weights(cfg.ckpt_path or bundled(cfg.variant.name, cfg.weights))
    settings = {key: plain(cfg[key]) for key in ("variant", "sampler", "seed")}
    settings |= {"weights": methods.weights_hash(model.trained), "base": model.base.fingerprint}
    settings |= {"code": methods.code_hash("color/*.py", "condition/*.py", "diffusion/*.py", "models/*.py")}
    bf16 = computes_bfloat16(device) if cfg.bf16 is None else cfg.bf16
    options = {"device": device, "bf16": bf16, "finish": instantiate(cfg.variant.finish)}
    ours = methods.of_model(model.to(device).eval(), settings, **options)
    baselines = {**(instantiate(cfg.eval.baselines) or {}), **(instantiate(cfg.peers) or {})}
    measures = methods.code_hash("color/*.py", "condition/*.py", "metrics/*.py", "evaluation/measure.py")
    contest: dict[str, methods.Method] = {_label(cfg): ours, **baselines, methods.IDENTITY: methods.identity()}
    return {
        name: methods.Method(
            one.restore, methods.settings_hash({"of": one.settings, "by": measures}), one.texture, one.alone
        )
        for name, one in contest.items()
    }


def _label(cfg: DictConfig) -> str:
    """Name of the variant in tables."""
    edits = cfg.weights == "edit" and cfg.ckpt_path is None
    return f"{cfg.variant.label}_edit" if edits else str(cfg.variant.label)


def _weights(cfg: DictConfig) -> str:
    """The weights as results name them: a bundled name such as small_T, or a path with a /."""
    if cfg.ckpt_path is None:
        return f"{cfg.weights}_{cfg.variant.name}"
    return str(cfg.ckpt_path) if "/" in str(cfg.ckpt_path) else f"./{cfg.ckpt_path}"


def _keep(gallery: Gallery, names: Mapping[str, str], name: str, case: Case, picture: Tensor) -> None:
    """`Gallery.keep` under the names that pictures of weights of one's own have beside the bundled ones'."""
    gallery.keep(names.get(name, name), case, picture)


def check(cfg: DictConfig) -> None:
    """Refuse, ahead of the work, options that cannot be, and what could not be written at its end."""
    for name, kinds, expected in OPTIONS:
        value = OmegaConf.select(cfg, name)
        if not isinstance(plain(value), kinds) or (isinstance(value, bool) and name != "bf16"):
            raise InputError(f"Expected {name} to be {expected}, got {value!r}.")
    if unknown := [column for column in cfg.eval.same if column not in reports.COLUMNS]:
        raise InputError(f"There is no column {unknown[0]!r} for eval.same: choose of {', '.join(reports.COLUMNS)}.")
    check_clean(cfg.results, cfg.allow_dirty)
    reports.check(cfg.results)
    check_writable(Path(cfg.run_dir) / "cells.csv", "choose another folder with run_dir=PATH")


def evaluate(cfg: DictConfig) -> float | None:
    """Make and measure the pictures of one protocol with one variant, then the tables, grids and curves.

    Returns the optimized metric, which a search leaves in metrics.json with the others.
    """
    check(cfg)
    (device, rank, world_size), folder = process(cfg.device), Path(cfg.run_dir)
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # `runner.run` has a thread for each core
    perceptual = instantiate(cfg.perceptual, folder=folder / "measurements", device=str(device))
    contest, data = entrants(cfg, device), instantiate(cfg.data.module)
    photos = runner.choose(data.photos(cfg.data.eval_split, cfg.eval.size), cfg.eval.max_photos)
    work = runner.Work(photos, instantiate(cfg.eval.protocol), cfg.seed, cfg.eval.with_reference)
    _check_metric(cfg, [f"{cfg.eval.name}/{metric}" for metric in (*runner.metrics(work), *perceptual.metrics)])
    label, weights = _label(cfg), _weights(cfg)
    name = entrant(label, weights)
    gallery = Gallery(folder / "pictures", work, **plain(cfg.eval.gallery))
    measurements = Measurements(perceptual.folder, (*runner.COLUMNS, *perceptual.columns), rank, perceptual.has)
    options = {"batch_size": cfg.eval.batch_size, "rank": rank, "world_size": world_size, "more": perceptual.measure}
    keep = partial(_keep, gallery, {label: name})
    rows = runner.run(work, contest, measurements, **options, keep=keep)
    if rows is None:
        return None
    choices = plain(HydraConfig.get().runtime.choices)
    place = choices["data"] if choices["data"] == "bundled" else Path(data.source.path).name
    about = {"protocol": cfg.eval.name, "dataset": f"{place}/{cfg.data.eval_split}", "size": cfg.eval.size or "native"}
    about |= {"sampler": instantiate(cfg.sampler).name, "weights": weights} | provenance(device)
    summary, tables = runner.summarize(rows, perceptual.of_cell), plain(cfg.eval.tables)
    tables += [tables[0] | {"title": wording("metric", m), "metrics": [m]} for m in perceptual.metrics]
    cells = reports.cells(summary, label, about)
    plots = {name: plain(cfg.eval[name]) for name in ("curves", "front")}
    reports.show(cells, folder, cfg.results, tables, cfg.eval.same, **plots)
    gallery.save(name, folder)
    means = reports.means(cells, label)
    if cfg.optimized_metric is not None:
        _check_metric(cfg, means)
        with whole_file(folder / "metrics.json") as file:
            json.dump(means, file, indent=1)
    if cfg.get("logger") is not None:
        loggers, shown = list(instantiate(cfg.logger).values()), [str(name) for name in cfg if name != "model"]
        logged = resolved(OmegaConf.masked_copy(cfg, shown)) | about
        with ended(loggers):
            x = cfg.eval.curves.data.x if cfg.eval.curves and cfg.eval.curves.data.x in LABELS else None
            for logger in loggers:
                logger.log_metrics(means)
                log_evaluation(logger, logged, cells, label, x, folder)
    log.info("%s, %s: %d photos; tables, CSV and pictures in %s", cfg.eval.name, cfg.variant.label, len(photos), folder)
    return means.get(cfg.optimized_metric)


def _check_metric(cfg: DictConfig, known: Iterable[str]) -> None:
    if cfg.optimized_metric is not None and cfg.optimized_metric not in known:
        raise InputError(f"There is no metric {cfg.optimized_metric}: choose one of {', '.join(known)}.")


def jobs(cfg: DictConfig) -> list[DictConfig]:
    """One configuration per protocol and variant: this one, or for eval=all those of variants that have weights."""
    if cfg.eval.name != "all":
        return [cfg]
    if not cfg.eval.protocols or not cfg.eval.variants:
        raise InputError("There is nothing to evaluate: expected eval.protocols and eval.variants with a name or more.")
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


@contextmanager
def claimed(cfgs: Sequence[DictConfig]) -> Iterator[None]:
    """Keep other processes from the same evaluations in the same folders; the system frees them when this one ends.

    Raises:
        InputError: another process runs one of them.
    """
    with ExitStack() as stack:
        for cfg in cfgs:
            options = methods.settings_hash(plain(cfg))
            path = Path(cfg.run_dir) / f".evaluating.{options}.rank{process(cfg.device)[1]}.lock"
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(path).acquire(blocking=False))
            except Timeout:
                raise InputError(
                    f"Another process runs this evaluation in '{cfg.run_dir}': wait for it, or choose another folder "
                    "with run_dir=PATH."
                ) from None
            stack.callback(path.unlink, missing_ok=True)
        yield


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> float | None:
    """Hydra's entry."""
    obey_signals("the measurements so far are kept, and the same command resumes")
    with one_sentence():
        todo, start, result = jobs(cfg), time.monotonic(), None
        for job in todo:
            check(job)
        with claimed(todo):
            for number, job in enumerate(todo):
                if len(todo) > 1:
                    left = (time.monotonic() - start) / number * (len(todo) - number) if number else None
                    rest = "" if left is None else f", about {timedelta(seconds=round(left))} left"
                    log.info("evaluation %d of %d: %s, %s%s", number + 1, len(todo), job.eval.name, _label(job), rest)
                result = coloring.evaluate(job) if "measure" in job.eval else evaluate(job)
        return result


if __name__ == "__main__":
    run(main)
