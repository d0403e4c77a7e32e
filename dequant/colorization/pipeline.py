"""Colorization as a diffusers pipeline: grey photos in, coloured photos of the same size out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from dequant.color import spaces
from dequant.color.luminance import grayscale
from dequant.colorization import diffusing_colors, semantic
from dequant.colorization.checks import check_amount, check_words
from dequant.colorization.drawn import Colored, Drawn
from dequant.colorization.ranker import choose, features_of
from dequant.condition.captions import Labelled
from dequant.diffusion import bridge
from dequant.errors import InputError
from dequant.models.folders import AUTOENCODERS, is_folder, read_json
from dequant.models.hub import Source
from dequant.models.latent import LatentBase, bundled
from dequant.models.luma_skips import LumaSkips
from dequant.models.mixing import GrayMix
from dequant.models.ranker import ScaleRanker
from dequant.models.recognition import Recognizer
from dequant.pipelines import inputs
from dequant.pipelines.outputs import Images, check_output, convert
from dequant.pipelines.saving import INDEX, SavedPipeline, is_hub_id

Number = int | float

COLORIZER = "colorizer.json"
"""What a training leaves beside its weights: the method and its options."""

METHODS = ("diffusing_colors", "semantic")
"""Which come with weights, each under its name."""


@dataclass
class ColorizeOutput(ImagePipelineOutput):
    """Coloured photos.

    Attributes:
        images: as asked for: PIL images, (B, H, W, 3) or (B, 3, H, W) in [0, 1], or a list of these where sizes differ.
        scales: of the colour of each.
        colorfulness: of each, 0 for grey and 60 for vivid ones (Hasler and Suesstrunk, 2003).
        notes: what was done to the photos on reading.
    """

    scales: list[float] = field(default_factory=list)
    colorfulness: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ColorizePipeline(SavedPipeline):
    """Colours photos of any size; what colour they have is not looked at.

    Args:
        vae: the autoencoder.
        unet: trained by train.py with `method`.
        text_encoder: of the prompts.
        tokenizer: of the text encoder.
        ranker: chooses the scale for `scale="auto"`.
        recognizer: of the UNet, where it was trained with one.
        skips: of the autoencoder's decoder, where it is luminance-aware.
        mix: of noisy and grey latents, for "semantic".
        method: one of `METHODS`.
        target: what the UNet predicts: for "diffusing_colors" one of `bridge.TARGETS`, for "semantic" one of
            `semantic.TARGETS`; None takes the first.
        num_inference_steps: how many steps a call takes unless it says otherwise.
        guidance_scale: likewise, how far it exaggerates prompts.

    Raises:
        InputError: the parts do not fit each other.
    """

    kinds: ClassVar[dict[str, tuple[type, ...]]] = {
        "vae": AUTOENCODERS,
        "unet": (UNet2DConditionModel,),
        "text_encoder": (CLIPTextModel,),
        "tokenizer": (CLIPTokenizer,),
        "ranker": (ScaleRanker, type(None)),
        "recognizer": (Recognizer, type(None)),
        "skips": (LumaSkips, type(None)),
        "mix": (GrayMix, type(None)),
    }
    mark: ClassVar[str] = "ColorizePipeline"
    model_cpu_offload_seq = "text_encoder->unet->vae"
    _optional_components = ["ranker", "recognizer", "skips", "mix"]

    def __init__(
        self,
        vae: AutoencoderKL | AutoencoderTiny | AutoencoderDC,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        ranker: ScaleRanker | None = None,
        recognizer: Recognizer | None = None,
        skips: LumaSkips | None = None,
        mix: GrayMix | None = None,
        method: str = "diffusing_colors",
        target: str | None = None,
        num_inference_steps: int = 10,
        guidance_scale: Number = 1.0,
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise InputError(f"There is no colorizer {method!r}: choose {' or '.join(METHODS)}.")
        if (method == "semantic") != (mix is not None):
            raise InputError(f"A mix of noisy and grey latents belongs to semantic, and method is {method}.")
        targets = bridge if method == "diffusing_colors" else semantic
        target = targets.TARGETS[0] if target is None else target
        targets.check_target(target)
        parts: dict[str, Any] = {"vae": vae, "unet": unet, "text_encoder": text_encoder, "tokenizer": tokenizer}
        self.register_modules(**parts, ranker=ranker, recognizer=recognizer, skips=skips, mix=mix)
        usual = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        self.register_to_config(method=method, target=target, **usual)
        self.base, self._features = LatentBase(**parts, recognizer=recognizer, skips=skips), list[nn.Module]()

    @classmethod
    def of(cls, base: LatentBase, ranker: ScaleRanker | None = None, **options: Any) -> Self:
        """A base, shared, with the other arguments."""
        parts = (base.vae, base.unet, base.text_encoder, base.tokenizer)
        return cls(*parts, ranker, base.recognizer, base.skips, **options)

    @classmethod
    def load(cls, source: str | Path = "diffusing_colors", decoder: str | None = None) -> Self:
        """A pipeline from the bundled weights, a training run, a saved pipeline or the hub.

        Args:
            source: one of `METHODS`, its bundled weights; the folder of a finished run of train.py, or its weights/; a
                folder that `save_pretrained` wrote, or the hub id "OWNER/NAME" of one. A run has the bundled ranker.
            decoder: "luma_aware", the bundled luminance-aware decoder; "autoencoder", that of the autoencoder; or the
                weights of another. None takes the first for the bundled semantic colorizer, otherwise the second.

        Raises:
            InputError: `source` is none of these.
        """
        folder = weights_of(str(source)) if str(source) in METHODS else Path(source)
        if is_folder(folder) and (folder / "weights" / COLORIZER).is_file():
            folder = folder / "weights"
        if is_folder(folder) and (folder / COLORIZER).is_file():
            ranker = Source(Path(bundled()).with_name("ranker")).model(None, ScaleRanker)
            shares = not (folder / "vae").is_dir()
            chosen = decoder or ("luma_aware" if shares else "autoencoder")
            aware = {"luma_aware": f"{bundled()}/luma_aware", "autoencoder": None}.get(chosen, chosen)
            base = LatentBase.from_pretrained(folder, vae=f"{bundled()}/vae" if shares else None, decoder=aware)
            described = _described(folder / COLORIZER)
            if (folder / "mix").is_dir():
                described["mix"] = Source(folder).model("mix", GrayMix)
            return cls.of(base, ranker, **described)
        if not (folder / INDEX).is_file() and not is_hub_id(str(source)):
            raise InputError(
                f"Expected {' or '.join(METHODS)} (the bundled weights), the folder of a finished run of a colorizer, "
                f"or a saved ColorizePipeline, but '{source}' is none of these."
            )
        if decoder is not None:
            raise InputError("A saved pipeline has its decoder: leave decoder out.")
        return cls.from_pretrained(source)

    def __call__(
        self,
        image: inputs.Photo | Sequence[inputs.Photo],
        prompt: str | Sequence[str] = "",
        *,
        scale: Number | str = 1.0,
        colorfulness: Number | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: Number | None = None,
        seed: int = 0,
        output_type: str = "pil",
        profile: str = "srgb",
        return_dict: bool = True,
    ) -> ColorizeOutput | tuple[Images]:
        """Colour photos of any sizes; the same call makes the same pictures.

        Args:
            image: photos, in the forms that `DequantPipeline` takes.
            prompt: what they show and in which colours, one for all or one for each: "a red car on green". "" leaves it
                to the network.
            scale: of the colour; 0 is grey, and "auto" lets the ranker choose.
            colorfulness: chooses the scale that makes pictures as colourful as this number, 0 to 150, instead.
            num_inference_steps: 1 to 1000; None takes the pipeline's own. One step of Diffusing Colors is the mean of
                what is likely, more are more vivid.
            guidance_scale: how far the prompt is exaggerated, 0 to 20; None takes the pipeline's own.
            seed: of the noise that "semantic" begins with; "diffusing_colors" draws nothing at random.
            output_type: "pil", "np" or "pt".
            profile: of PIL images, "srgb" or "source", that of the photo.
            return_dict: False returns a tuple.

        Raises:
            InputError: an argument is wrong.
        """
        photos = inputs.photos(image)
        check_output(output_type, profile, has_latents=False)
        prompts = inputs.one_each(prompt, len(photos), "prompt")
        options: dict[str, Any] = {"scale": scale, "colorfulness": colorfulness, "guidance_scale": guidance_scale}
        options |= {"num_inference_steps": num_inference_steps, "seed": seed}
        pictures, scales = [], []
        for photo, text in zip(self.progress_bar(photos), prompts, strict=True):
            colored = self.color(photo.rgb, text, **options)
            pictures.append(colored.apply(photo.rgb, 0, photo.rgb.shape[1]))
            scales.append(colored.scale)
        images = convert(pictures, output_type, photos, profile)
        if not return_dict:
            return (images,)
        found = [float(spaces.colorfulness(picture)) for picture in pictures]
        return ColorizeOutput(images, scales, found, [note for photo in photos for note in photo.notes])

    def color(
        self,
        rgb: Tensor,
        prompt: str = "",
        *,
        scale: Number | str = 1.0,
        colorfulness: Number | None = None,
        **how: Any,
    ) -> Colored:
        """A coloured copy of a photo, at the size that the network was trained on.

        Args:
            rgb: the photo, or a copy of it, (3, H, W) in [0, 1].
            prompt: as in `__call__`, as the next.
            scale: of the colour.
            colorfulness: instead of a scale.
            how: the other arguments of `draw`.
        """
        check_amount(scale, colorfulness)
        return self.scaled(self.draw(rgb, prompt, **how), rgb, scale, colorfulness)

    def scaled(self, drawn: Drawn, rgb: Tensor, scale: Number | str, colorfulness: Number | None) -> Colored:
        """The picture of what was drawn for a photo (3, H, W), at a scale, or as colourful as asked for."""
        return drawn.at(self._scale(scale, drawn)) if colorfulness is None else drawn.reaching(colorfulness, rgb)

    @torch.no_grad()
    def draw(
        self,
        rgb: Tensor,
        prompt: str = "",
        *,
        num_inference_steps: int | None = None,
        guidance_scale: Number | None = None,
        seed: int = 0,
        regions: Sequence[Labelled] = (),
        strength: float = 0.3,
        apart: bool = False,
    ) -> Drawn:
        """The colour of a photo, as latents.

        Args:
            rgb: the photo, or a copy of it, (3, H, W) in [0, 1].
            prompt: as in `__call__`, as the others.
            regions: with texts of their own, for "semantic"; masks of any size that cover the photo.
            strength: share of the steps that follow the regions.
            apart: see `semantic.Sampling`.
        """
        own = self.config
        steps = own["num_inference_steps"] if num_inference_steps is None else num_inference_steps
        guidance = own["guidance_scale"] if guidance_scale is None else guidance_scale
        check_words(prompt, guidance)
        if regions and own["method"] != "semantic":
            raise InputError(f"{own['method']} takes no regions: use semantic.")
        base, gray = self.base, self.gray(rgb)
        z_gray = base.encode(gray)
        if own["method"] == "semantic":
            sampling = semantic.Sampling(steps, float(guidance), seed, strength, own["target"], apart)
            delta = semantic.draw(base, self.mix, gray, z_gray, [prompt], sampling, regions)
        else:
            delta = diffusing_colors.draw(base, gray, z_gray, [prompt], steps, float(guidance), own["target"])
        return Drawn(base, z_gray, delta, gray)

    def gray(self, rgb: Tensor) -> Tensor:
        """What the network sees of a photo (3, H, W): a grey copy of its working size, (1, 3, h, w)."""
        size = working_size(rgb.shape[1], rgb.shape[2], self.base.side, self.base.multiple)
        return grayscale(_resized(rgb, size))[None].to(self.base.device)

    def _scale(self, scale: Number | str, drawn: "Drawn") -> float:
        if scale != "auto":
            return float(scale)
        if self.ranker is None:
            raise InputError("This pipeline has no ranker for scale='auto': give a number, such as 1.")
        if not self._features:
            self._features.append(features_of(self.ranker).to(self.base.device).eval())
        return choose(self.ranker, self._features[0], *drawn[:4])


def weights_of(method: str) -> Path:
    """Folder of the bundled weights of one of `METHODS`."""
    return Path(bundled()) if method == "diffusing_colors" else Path(bundled()).with_name(method)


def _described(path: Path) -> dict[str, Any]:
    """The method and its options, which a training left beside its weights."""
    found, known = read_json(path), ("method", "target", "num_inference_steps", "guidance_scale")
    if unknown := found.keys() - set(known):
        raise InputError(f"Expected {', '.join(known)} in {path}, got {min(unknown)!r} too.")
    return found


def working_size(height: int, width: int, side: int, multiple: int) -> tuple[int, int]:
    """Of the copy of a photo that is coloured: a shorter side of about `side`, the other at most 4 times as long."""
    scale = side / min(height, width)
    sizes = (min(4 * side, size * scale) for size in (height, width))
    rows, columns = (max(1, round(size / multiple)) * multiple for size in sizes)
    return rows, columns


def _resized(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(rgb[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
