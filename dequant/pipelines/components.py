"""What a pipeline is made of, checked: parts of the right kinds that belong together."""

from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from dequant.condition.texture import TEXTURES
from dequant.errors import InputError
from dequant.models.base import ARCHITECTURE, DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.folders import check_loaded
from dequant.models.prompt import TextEmbedding, prompt_width

KINDS: dict[str, tuple[type, ...]] = {
    "unet": (UNet2DConditionModel,),
    "scheduler": (SchedulerMixin,),
    "control": (ControlEncoder,),
    "vae": (AutoencoderKL, AutoencoderTiny, type(None)),
    "text_embedding": (TextEmbedding, type(None)),
}
"""Classes that each component may have."""


def check_kinds(**components: Any) -> None:
    """Raise `InputError` for a component that is not of its kind, or whose weights are not finite.

    Compiled networks are of the kind that they were.
    """
    for name, value in components.items():
        kinds = KINDS[name]
        if not isinstance(getattr(value, "_orig_mod", value), kinds):
            wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            raise InputError(f"Expected {wanted} for {name}, got {type(value).__name__}.")
        check_loaded(value, name)


def check_pair(base: DiffusionBase, control: ControlEncoder) -> None:
    """Raise `InputError` for an encoder without a texture, or one that was trained for another base.

    Weights rounded to bfloat16 have lost their fingerprint: of these only the architecture is compared. A network that
    attends to a prompt needs the embedding of the empty one.
    """
    if control.texture is None:
        raise InputError(
            f"The control encoder's variant {control.config['variant']!r} has no texture map: "
            f"use weights of variant {', '.join(TEXTURES)}."
        )
    width, text = prompt_width(base.unet.config), base.text_embedding
    if width is not None and (text is None or text.shape[-1] != width):
        found = "none" if text is None else f"one of width {text.shape[-1]}"
        raise InputError(f"Expected a text_embedding of width {width}, which this unet attends to, got {found}.")
    if control.config["patch_size"] != base.patch_size:
        raise InputError(
            f"The control encoder has patch_size {control.config['patch_size']}, but the base {base.patch_size}: leave "
            "patch_size out, which takes the encoder's."
        )
    weight, wanted, unet = base.unet.conv_in.weight, control.config["base"], base.unet.config
    rounded = bool((weight.bfloat16().to(weight.dtype) == weight).all())
    apart = [key for key in ARCHITECTURE if _plain(control.config["unet_config"].get(key)) != _plain(unet[key])]
    if apart or (not rounded and wanted and wanted != base.fingerprint):
        detail = f"whose {apart[0]} is {unet[apart[0]]}" if apart else f"{base.fingerprint!r}"
        raise InputError(
            f"The control encoder was trained for base {wanted!r}, but the network here is base {detail}: "
            "choose weights that agree."
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
