"""`dequant.load`: a pipeline from whatever holds its weights."""

from pathlib import Path

from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.models.base import DiffusionBase, bundled
from dequant.models.control import ControlEncoder
from dequant.models.folders import is_folder
from dequant.pipelines.dequant import DequantPipeline
from dequant.pipelines.saving import INDEX, fetch, is_hub_id, reading

BUNDLED = ("edit_G", "edit_L", "edit_T", "T", "L", "G")
"""Weights that come with the package: for edits, and of the paper's recipe."""


def load(source: str | Path = "edit_G", base: str | Path | None = None) -> DequantPipeline:
    """A pipeline from bundled weights, a training run, a saved pipeline or the hub; on the CPU, in float32.

    Args:
        source: one of

            - "edit_G", "edit_L" or "edit_T", weights for edits that come with the package, of this variant;
            - "T", "L" or "G", those of the paper's recipe;
            - the folder of a finished run of train.py, or the weights/ in it;
            - a folder that `DequantPipeline.save_pretrained` wrote;
            - a hub id "OWNER/NAME" of such a pipeline or such weights. Only JSON and safetensors files are fetched.
        base: folder or hub id of the base that a trained encoder belongs to, None for the bundled one.

    Returns:
        The pipeline. With a trained encoder, its default is one DDIM step on a base that predicts the clean image, and
        25 on any other.

    Raises:
        InputError: `source` is none of these, or its encoder belongs to another base.
    """
    name = str(source) if str(source) in BUNDLED else None
    encoder = None if name else _encoder_in(source)
    if encoder is not None:
        return _around(encoder, base)
    if base is not None:
        raise InputError(f"'{source}' has its own base: give one only with the encoder of a training run.")
    if name is None:
        return DequantPipeline.from_pretrained(source)
    return DequantPipeline.bundled(name.removeprefix("edit_"), "edit" if name.startswith("edit_") else "small")


def check_source(source: str | Path) -> None:
    """Check that `load` may find weights here, without a look into them.

    Raises:
        InputError: it is no name of bundled weights, no folder and no hub id.
    """
    if str(source) in BUNDLED or is_folder(source):
        return
    if not is_hub_id(str(source)) or Path(source).exists():
        raise _unknown(source)


def _encoder_in(source: str | Path) -> Path | None:
    """The folder of a trained encoder's weights, None where `source` is a saved pipeline."""
    check_source(source)
    folder = fetch(source)
    if (folder / INDEX).is_file():
        return None
    weights = folder / "weights" if (folder / "weights").is_dir() else folder
    if (weights / "unet").is_dir():
        raise InputError(
            f"'{source}' is a base without a control encoder: train one with train.py base.path={weights}, or give "
            "its folder, with this one as base."
        )
    if (config := weights / "config.json").is_file():
        with reading(source, config):
            kind = ControlEncoder.load_config(weights).get("_class_name")
        if kind == ControlEncoder.__name__:
            return weights
    if (folder / "checkpoints").is_dir():
        raise InputError(f"The run '{source}' has no weights yet: let train.py finish it, which writes them.")
    raise _unknown(source)


def _around(folder: Path, base: str | Path | None) -> DequantPipeline:
    """A pipeline of a trained encoder and its base."""
    encoder = ControlEncoder.read(folder)
    model = DiffusionBase.from_pretrained(bundled() if base is None else base)
    if encoder.config["base"] != model.fingerprint:
        raise InputError(
            f"'{folder}' was trained for base {encoder.config['base']!r}, but {base or 'the bundled base'} is "
            f"{model.fingerprint!r}: give the folder or hub id of its own as base."
        )
    predicts_clean = model.scheduler.config.prediction_type == "sample"
    texture = "guided" if encoder.config["guided"] else "off"
    sampler = Sampler(num_inference_steps=1 if predicts_clean else 25, keep_texture=texture)
    return DequantPipeline.of(model, encoder, sampler)


def _unknown(source: str | Path) -> InputError:
    given = "a checkpoint to resume training from" if Path(source).suffix == ".ckpt" else "none of these"
    return InputError(
        f"Expected {', '.join(BUNDLED)} (bundled weights), the folder of a finished run of train.py or its weights/, a "
        f"folder written by save_pretrained, or a hub id OWNER/NAME, but '{source}' is {given}."
    )
