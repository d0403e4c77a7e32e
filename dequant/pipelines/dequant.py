"""The model as a diffusers pipeline: photos in, edited photos out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from dequant.diffusion.fidelity import Fidelity
from dequant.diffusion.sampler import Sampler
from dequant.diffusion.schedule import Generator
from dequant.diffusion.solver import Seen, StepCallback, check_generators
from dequant.errors import InputError, whole_number
from dequant.models.base import DiffusionBase
from dequant.models.base import bundled as bundled_base
from dequant.models.control import ControlEncoder
from dequant.models.control import bundled as bundled_control
from dequant.models.controlled import Controlled
from dequant.models.finite import is_finite
from dequant.models.order import align
from dequant.models.prompt import TextEmbedding
from dequant.pipelines import inputs
from dequant.pipelines.arguments import MOST, StepEnd, check_seeds, counted, step_end
from dequant.pipelines.components import check_kinds, check_pair
from dequant.pipelines.conditions import PaletteEdit, palette_conditions, patch_conditions
from dequant.pipelines.outputs import DequantOutput, Images, check_output, convert
from dequant.pipelines.saving import SavedPipeline


class DequantPipeline(SavedPipeline):
    """Dequantizes a photo, gives it another palette, or recolours a patch of it.

    Args:
        unet: the base's network.
        scheduler: the base's noise schedule and, unless a call names another solver, what takes the steps: any
            diffusers scheduler that starts from standard normal noise, such as DDIM, DDPM or DPMSolverMultistep.
        control: the encoder of a condition; its `variant` says which texture it reads.
        vae: the base's autoencoder, None for one of pixels.
        text_embedding: of the empty prompt, for a base that attends to a prompt.
        patch_size: the base's; None takes the encoder's, which is the same.
        augmentation: the base's.
        num_inference_steps: how many steps a call takes unless it says otherwise; or else
        timesteps: which ones.
        keep_texture: what predictions are held to unless a call says otherwise; None is "guided" for an encoder that
            was trained so, and "off" for others.

    Raises:
        InputError: a component is of the wrong kind, the encoder belongs to another base, or its variant has no
            texture map.
    """

    model_cpu_offload_seq = "unet->vae"  # the encoder runs in each step, so it stays on the device
    _optional_components = ["vae", "text_embedding"]
    _exclude_from_cpu_offload = ["text_embedding"]
    _callback_tensor_inputs = ["latents"]
    _interrupt = False

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        control: ControlEncoder,
        vae: AutoencoderKL | AutoencoderTiny | None = None,
        text_embedding: TextEmbedding | None = None,
        patch_size: int | None = None,
        augmentation: float = 0.0,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        keep_texture: str | None = None,
    ) -> None:
        super().__init__()
        check_kinds(unet=unet, scheduler=scheduler, control=control, vae=vae, text_embedding=text_embedding)
        keep_texture = keep_texture or ("guided" if control.config["guided"] else "off")
        steps = Sampler(num_inference_steps=num_inference_steps, timesteps=timesteps, keep_texture=keep_texture)
        self.register_modules(unet=unet, scheduler=scheduler, control=control, vae=vae, text_embedding=text_embedding)
        self.register_to_config(
            patch_size=control.config["patch_size"] if patch_size is None else patch_size,
            augmentation=augmentation,
            num_inference_steps=None if num_inference_steps is None else steps.num_inference_steps,
            timesteps=steps.timesteps,
            keep_texture=keep_texture,
        )
        check_pair(self._base(), control)

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
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
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
                list where sizes differ. Of a latent base also "latent": (B, C, h, w), of padded sizes.
            profile: of PIL images, "srgb" or "source", that of the photo.
            return_dict: False returns a tuple.
            callback_on_step_end: called with the pipeline, the number of the step, the timestep and {"latents": x_t},
                whose sizes are padded; it may return other latents likewise. Where it sets `pipe._interrupt = True`,
                the steps that are left are left out, and the images are what is there.
            callback_on_step_end_tensor_inputs: names of the tensors that it is given; there are only the latents.

        `palette`, `assignment`, `mask` and `color` are one for all photos, or a list with one for each.

        Returns:
            `images`, the edited photos: for each photo its assignments, blends and draws in this order. `labels` says
            what each is, `grid()` shows them.

        Raises:
            InputError: an argument is wrong, or two do not go together.
        """
        # 1. Inputs
        latent = check_output(output_type, profile, has_latents=self.vae is not None)
        if not isinstance(texture, bool | None):
            raise InputError(f"Expected True, False or None for texture, got {texture!r}.")
        k, num_images = whole_number("k", k, 1, MOST), whole_number("num_images", num_images, 1, MOST)
        seeds = None if seeds is None else check_seeds(seeds)
        on_step = step_end(self, callback_on_step_end, callback_on_step_end_tensor_inputs)
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
        conditions, n = [one.condition for one in asked], len(draws)
        drawn = self.draw(conditions, generator, sampler, num_images=n, callback=on_step, latent=latent)
        # 4. Outputs
        edits, labels = [one for one in asked for _ in draws], [one.label for one in asked]
        pictures = drawn if latent else [one.finish(picture) for one, picture in zip(edits, drawn, strict=True)]
        images = convert(pictures, output_type, [one.photo for one in edits], profile)
        notes = [", ".join(photo.notes) for photo in photos]
        return DequantOutput(images, labels, draws, pictures, notes) if return_dict else (images,)

    def draw(
        self,
        conditions: Sequence[Tensor],
        generator: Generator = None,
        sampler: Sampler | None = None,
        *,
        num_images: int = 1,
        callback: StepCallback | None = None,
        latent: bool = False,
        seen: Seen | None = None,
    ) -> list[Tensor]:
        """Draw photographs under conditions made by `dequant.condition.channels`, those of one size together.

        Args:
            conditions: (7, H, W) in [0, 1] each.
            generator: as in `__call__`.
            sampler: in place of the pipeline's.
            num_images: as in `__call__`.
            callback: see `Sampler.draw`.
            latent: leave out the autoencoder.
            seen: see `Sampler.draw`.

        Returns:
            rgb (3, H, W) in [0, 1], `num_images` for each, on the device of the networks.

        Raises:
            InputError: the steps, the solver or the generators are wrong.
        """
        self._interrupt = False
        check_generators(generator, len(conditions) * num_images)
        sampler = self._sampler(sampler, {})
        groups: dict[torch.Size, list[int]] = {}
        for i, one in enumerate(conditions):
            groups.setdefault(one.shape, []).append(i)
        found: dict[int, Tensor] = {}
        model = self._model()
        with self.progress_bar(total=len(groups) * sampler.total_steps) as bar:
            on_step = counted(bar, callback)
            for members in groups.values():
                places = [i * num_images + j for i in members for j in range(num_images)]
                own = [generator[i] for i in places] if isinstance(generator, list) else generator
                batch = torch.stack([conditions[i] for i in members]).to(self._execution_device)
                drawn = sampler.draw(model, batch, own, num_images, on_step, lambda: self._interrupt, latent, seen)
                if not is_finite([drawn]):
                    raise InputError(
                        "The networks' pictures are not finite: run them in float32, or use other weights."
                    )
                found |= zip(places, drawn, strict=True)
        self.maybe_free_model_hooks()
        return [found[i] for i in range(len(found))]

    @property
    def interrupt(self) -> bool:
        """Whether the steps that are left of a call are left out."""
        return self._interrupt

    def _sampler(self, sampler: Sampler | None, by_name: dict[str, Any]) -> Sampler:
        """The sampler given, or else the pipeline's own, with the settings given by name."""
        if {"num_inference_steps", "timesteps"} & by_name.keys():
            by_name = {"num_inference_steps": None, "timesteps": None} | by_name
        if sampler is None:
            settings = ("num_inference_steps", "timesteps", "keep_texture")
            by_name = {name: self.config[name] for name in settings} | by_name
            if by_name["num_inference_steps"] is None and by_name["timesteps"] is None:
                raise InputError("There is no number of steps: give num_inference_steps or timesteps.")
            sampler = Sampler(type(self.scheduler), {})
        if not isinstance(sampler, Sampler):
            raise InputError(f"A {type(sampler).__name__} is not a sampler: give a dequant.Sampler.")
        sampler = replace(sampler, **by_name)
        sampler.check(self.scheduler)
        return sampler

    def _model(self) -> Controlled:
        """The components as they are now (a user may exchange them), in the layout in which kernels round alike."""
        base = self._base()
        for module in filter(None, (self.unet, self.control, self.vae)):
            align(module, base.memory_format)
        return Controlled(base, self.control)

    def _base(self) -> DiffusionBase:
        text = None if self.text_embedding is None else self.text_embedding.weight.data
        options = {name: self.config[name] for name in ("patch_size", "augmentation")}
        return DiffusionBase(self.unet, self.scheduler, vae=self.vae, text_embedding=text, **options)
