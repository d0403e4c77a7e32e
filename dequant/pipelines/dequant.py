"""The model as a diffusers pipeline: photos in, edited photos out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from dequant.condition.texture import TEXTURES
from dequant.diffusion.fidelity import Fidelity
from dequant.diffusion.sampler import Sampler
from dequant.diffusion.schedule import Generator
from dequant.diffusion.solver import StepCallback, check_generators, check_steps
from dequant.errors import InputError
from dequant.models.base import DiffusionBase
from dequant.models.base import bundled as bundled_base
from dequant.models.control import ControlEncoder
from dequant.models.control import bundled as bundled_control
from dequant.models.controlled import Controlled, align
from dequant.models.prompt import TextEmbedding
from dequant.pipelines import inputs
from dequant.pipelines.conditions import PaletteEdit, palette_conditions, patch_conditions
from dequant.pipelines.outputs import OUTPUT_TYPES, PROFILES, DequantOutput, Images, convert
from dequant.pipelines.saving import SavedPipeline

StepEnd = Callable[["DequantPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]


class DequantPipeline(SavedPipeline):
    """Dequantizes a photo, gives it another palette, or recolours a patch of it.

    Args:
        unet: the base's network.
        scheduler: the base's noise schedule and, unless a call names another solver, what takes the steps: any
            diffusers scheduler that starts from standard normal noise, such as DDIM, DDPM or DPMSolverMultistep.
        control: the encoder of a condition; its `variant` says which texture it reads.
        vae: the base's autoencoder, None for one of pixels.
        text_embedding: of the empty prompt, for a base that attends to a prompt.
        patch_size: the base's.
        augmentation: the base's.
        num_inference_steps: how many steps a call takes unless it says otherwise; or else
        timesteps: which ones.
        keep_texture: what predictions are held to unless a call says otherwise.

    Raises:
        InputError: the control encoder belongs to another base, or its variant has no texture map.
    """

    model_cpu_offload_seq = (
        "unet->vae"  # the encoder runs in each step, so it is not in the chain and stays on the device
    )
    _optional_components = ["vae", "text_embedding"]
    _exclude_from_cpu_offload = ["text_embedding"]
    _callback_tensor_inputs = ["latents"]

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        control: ControlEncoder,
        vae: AutoencoderKL | AutoencoderTiny | None = None,
        text_embedding: TextEmbedding | None = None,
        patch_size: int = 1,
        augmentation: float = 0.0,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        keep_texture: str = "off",
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler, control=control, vae=vae, text_embedding=text_embedding)
        self.register_to_config(
            patch_size=patch_size,
            augmentation=augmentation,
            num_inference_steps=num_inference_steps,
            timesteps=timesteps and list(timesteps),
            keep_texture=keep_texture,
        )
        if control.texture is None:
            raise InputError(
                f"The control encoder's variant {control.config['variant']!r} has no texture map: "
                f"use weights of variant {', '.join(TEXTURES)}."
            )
        self._check_pair()

    @classmethod
    def bundled(cls, variant: str = "G", weights: str = "edit") -> Self:
        """The weights that come with the package, with one DDIM step, the estimate of the mean photo.

        Args:
            variant: L, G or T.
            weights: "edit", whose pictures follow the photo (`keep_texture="guided"`), or "small", the paper's recipe.

        Raises:
            InputError: none of this variant come with it.
        """
        base, encoder = (
            DiffusionBase.from_pretrained(bundled_base()),
            ControlEncoder.read(bundled_control(variant, weights)),
        )
        return cls.of(base, encoder, Sampler(keep_texture="guided" if weights == "edit" else "off"))

    @classmethod
    def of(cls, base: DiffusionBase, control: ControlEncoder, sampler: Sampler) -> Self:
        """A base and an encoder on it, shared, with the solver and the steps of a sampler and the texture it keeps."""
        text = base.text_embedding
        return cls(
            base.unet,
            sampler.solver.from_config(base.scheduler.config, **sampler.options),
            control,
            base.vae,
            None if text is None else TextEmbedding.of(text),
            patch_size=base.patch_size,
            augmentation=base.augmentation,
            num_inference_steps=sampler.num_inference_steps,
            timesteps=sampler.timesteps,
            keep_texture=sampler.keep_texture,
        )

    def __call__(
        self,
        image: inputs.Photo | Sequence[inputs.Photo],
        n_colors: int | None = None,
        *,
        palette: Any = None,
        method: str | None = None,
        assignment: Any = None,
        k: int = 1,
        blend: float | Sequence[float] = 1.0,
        mask: Any = None,
        color: Any = None,
        texture: bool | None = None,
        sampler: Sampler | None = None,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        keep_palette: str | Fidelity | None = None,
        keep_texture: str | None = None,
        orientations: int | None = None,
        tile: int | None = None,
        generator: Generator = None,
        num_images: int = 1,
        seeds: Sequence[int] | None = None,
        output_type: str = "pil",
        profile: str = "srgb",
        return_dict: bool = True,
        callback_on_step_end: StepEnd | None = None,
    ) -> DequantOutput | tuple[Images]:
        """Edit photos of any sizes.

        Args:
            image: a PIL image, a tensor (3, H, W) or (B, 3, H, W) in [0, 1], an array (H, W, 3) or (B, H, W, 3), the
                path of a file, or a list of any of these.
            n_colors: size of the palette that is taken from each photo, 1 to 256. None takes 16 colours, or those that
                an indexed image has, such as a GIF.
            palette: replaces that palette: (K, 3) in [0, 1], colours such as "#ff8000, navy", a photo whose palette is
                taken, the path of a photo or a palette file, or "colormap:NAME" of matplotlib.
            method: which colour replaces which, as in `matching.match`: color, negative_color, frequency, intensity,
                rank; None takes rank for a colour map and color for anything else.
            assignment: says it instead: colour i of the photo becomes colour `assignment[i]`; `range(n_colors)` for an
                edited copy of the photo's own palette.
            k: how many of the best assignments to answer with, fewer where fewer exist.
            blend: 0 keeps the photo's colours, 1 takes those of `palette`; several numbers are several answers.
            mask: recolours a patch instead: (H, W), 1 inside, fractions where it is soft, an image of it, or its path.
                Outside, the picture is the photo.
            color: of the patch: a colour such as "#ff8000", or three numbers in [0, 1].
            texture: condition the network on the photo's texture; False leaves it to the network, for a patch only
                inside. None does so for photos, not for indexed images, which show that of their palette only.
            sampler: solver, steps and what predictions are held to, in place of the pipeline's. Its most frequent
                settings may be given by name instead, and take precedence:
            num_inference_steps: see `Sampler`, as all below.
            timesteps: the steps themselves, descending, of a solver that takes them, such as DDPMScheduler.
            keep_palette: "exact", "strict", "soft" or "off".
            keep_texture: "guided", "exact" or "off". A default of "guided" is "exact" where the palette stays.
            orientations: 1, 2 or 8.
            tile: side in pixels of the tiles of large images.
            generator: CPU generator, or a list with one per image, which makes it independent of its neighbours.
            num_images: how many images to draw of each edit; those of one edit follow each other.
            seeds: of the images of each edit, one for each, instead of `num_images` and `generator`.
            output_type: "pil", with the photo's transparency, "np" (B, H, W, 3) or "pt" (B, 3, H, W), both in [0, 1]; a
                list where sizes differ.
            profile: of PIL images, "srgb" or "source", that of the photo.
            return_dict: False returns a tuple.
            callback_on_step_end: called with the pipeline, the number of the step, the timestep and {"latents": x_t},
                whose sizes are padded; it may return other latents likewise.

        `palette`, `assignment`, `mask` and `color` are one for all photos, or a list with one for each.

        Returns:
            `images`, the edited photos: for each photo its assignments, blends and draws in this order. `labels` says
            what each is, `grid()` shows them.

        Raises:
            InputError: an argument is wrong, or two do not go together.
        """
        # 1. Inputs
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"There is no output type {output_type!r}: choose pil, np or pt.")
        if profile not in PROFILES:
            raise InputError(f"There is no profile {profile!r}: choose srgb or source.")
        for name, value in (("k", k), ("num_images", num_images)):
            if not isinstance(value, int):
                raise InputError(f"{name} is {value!r}: give a whole number.")
        draws = inputs.draws(num_images, seeds, generator)
        by_name = {"num_inference_steps": num_inference_steps, "timesteps": timesteps, "keep_palette": keep_palette}
        by_name |= {"keep_texture": keep_texture, "orientations": orientations, "tile": tile}
        given = {name: value for name, value in by_name.items() if value is not None}
        is_edit = palette is not None or mask is not None or color is not None
        if not is_edit and sampler is None and self.config["keep_texture"] == "guided":
            given = {"keep_texture": "exact"} | given  # the photo's own colours do not contradict its texture
        sampler = self._sampler(sampler, given)
        photos, texture_map = inputs.photos(image), self.control.texture.map
        # 2. Conditions
        if mask is None and color is None:
            edit = PaletteEdit(n_colors, palette, method, assignment, k, blend, texture)
            asked = palette_conditions(photos, texture_map, edit)
        elif palette is None and assignment is None and k == blend == 1:
            asked = patch_conditions(photos, texture_map, mask, color, texture is not False)
        else:
            raise InputError("A palette and a patch cannot be edited at once: give a palette or a mask with a color.")
        # 3. Pictures
        if seeds is not None:
            generator = [torch.Generator().manual_seed(seed) for _ in asked for seed in seeds]
        on_step = self._on_step(callback_on_step_end)
        conditions = [one.condition for one in asked]
        drawn = self.draw(conditions, generator, sampler, num_images=len(draws), callback=on_step)
        # 4. Outputs
        edits = [one for one in asked for _ in draws]
        pictures = [one.finish(picture) for one, picture in zip(edits, drawn, strict=True)]
        images = convert(pictures, output_type, [one.photo for one in edits], profile)
        labels, notes = [one.label for one in asked], [", ".join(photo.notes) for photo in photos]
        return DequantOutput(images, labels, draws, pictures, notes) if return_dict else (images,)

    def draw(
        self,
        conditions: Sequence[Tensor],
        generator: Generator = None,
        sampler: Sampler | None = None,
        *,
        num_images: int = 1,
        callback: StepCallback | None = None,
    ) -> list[Tensor]:
        """Draw photographs under conditions made by `dequant.condition.channels`, those of one size together.

        Args:
            conditions: (7, H, W) in [0, 1] each.
            generator: as in `__call__`.
            sampler: in place of the pipeline's.
            num_images: as in `__call__`.
            callback: see `Sampler.draw`.

        Returns:
            rgb (3, H, W) in [0, 1], `num_images` for each, on the device of the networks.

        Raises:
            InputError: the steps, the solver or the generators are wrong.
        """
        check_generators(generator, len(conditions) * num_images)
        sampler = self._sampler(sampler, {})
        groups: dict[torch.Size, list[int]] = {}
        for i, one in enumerate(conditions):
            groups.setdefault(one.shape, []).append(i)
        found: dict[int, Tensor] = {}
        model = self._model()
        with self.progress_bar(total=len(groups) * sampler.total_steps) as bar:

            def on_step(i: int, t: Tensor, x: Tensor) -> Tensor:
                bar.update()
                return x if callback is None else callback(i, t, x)

            for members in groups.values():
                places = [i * num_images + j for i in members for j in range(num_images)]
                own = [generator[i] for i in places] if isinstance(generator, list) else generator
                batch = torch.stack([conditions[i] for i in members]).to(self._execution_device)
                found |= zip(places, sampler.draw(model, batch, own, num_images, on_step), strict=True)
        self.maybe_free_model_hooks()
        return [found[i] for i in range(len(found))]

    def _sampler(self, sampler: Sampler | None, by_name: dict[str, Any]) -> Sampler:
        """The sampler given, or else the pipeline's own, with the settings given by name."""
        if {"num_inference_steps", "timesteps"} & by_name.keys():
            by_name = {"num_inference_steps": None, "timesteps": None} | by_name
        if sampler is None:
            settings = ("num_inference_steps", "timesteps", "keep_texture")
            own = {name: self.config[name] for name in settings}
            by_name = own | by_name
            steps = by_name["num_inference_steps"], by_name["timesteps"]
            check_steps(*steps, self.scheduler.config.num_train_timesteps)
            sampler = Sampler(type(self.scheduler), {})
        if not isinstance(sampler, Sampler):
            raise InputError(f"A {type(sampler).__name__} is not a sampler: give a dequant.Sampler.")
        sampler = replace(sampler, **by_name)
        sampler.check(self.scheduler)
        return sampler

    def _on_step(self, callback: StepEnd | None) -> StepCallback:
        """`callback_on_step_end` as samplers take it."""

        def on_step(i: int, t: Tensor, x: Tensor) -> Tensor:
            changed = callback(self, i, t, {"latents": x}) if callback else None
            return (changed or {}).get("latents", x)

        return on_step

    def _model(self) -> Controlled:
        """The components as they are now (a user may exchange them), in the layout in which kernels round alike."""
        base = self._base()
        for module in (self.unet, self.control, self.vae):
            if module is not None:
                align(module, base.memory_format)
        return Controlled(base, self.control)

    def _base(self) -> DiffusionBase:
        text = None if self.text_embedding is None else self.text_embedding.weight.data
        patch_size, augmentation = self.config["patch_size"], self.config["augmentation"]
        return DiffusionBase(self.unet, self.scheduler, patch_size, self.vae, text, augmentation)

    def _check_pair(self) -> None:
        """Refuse weights of two bases, except those rounded to bfloat16: they have lost their fingerprint."""
        weight, wanted = self.unet.conv_in.weight, self.control.config["base"]
        rounded = torch.equal(weight.bfloat16().to(weight.dtype), weight)
        if not rounded and wanted and wanted != (found := self._base().fingerprint):
            raise InputError(
                f"The control encoder was trained for base {wanted!r}, but the network here is base {found!r}: "
                "choose weights that agree."
            )
