"""The model as a diffusers pipeline: photos in, edited photos out."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor, nn

from dequant.condition.texture import MAPS
from dequant.diffusion import solver as solver_module
from dequant.diffusion.fidelity import Fidelity, named
from dequant.diffusion.schedule import Generator
from dequant.diffusion.solver import check_generators, check_solver, check_steps
from dequant.errors import InputError
from dequant.models import base
from dequant.models import control as control_module
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.pipelines import inputs
from dequant.pipelines.outputs import OUTPUT_TYPES, Answers, Images, convert
from dequant.training.dequantizer import Dequantizer

ALIGNMENT = 64
"""Bytes, as PyTorch allocates."""


StepEnd = Callable[["DequantPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]


class TextEmbedding(ModelMixin, ConfigMixin):
    """The embedding of the empty prompt, as a component that is saved and moved like the others.

    Args:
        tokens: of the prompt.
        width: features of each.
    """

    @register_to_config
    def __init__(self, tokens: int = 77, width: int = 768) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, tokens, width), requires_grad=False)

    @classmethod
    def of(cls, embedding: Tensor) -> Self:
        """The component of an embedding (1, T, D)."""
        component = cls(*embedding.shape[1:])
        component.weight.data = embedding
        return component


class DequantPipeline(DiffusionPipeline):
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
        timesteps: list[int] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler, control=control, vae=vae, text_embedding=text_embedding)
        self.register_to_config(
            patch_size=patch_size,
            augmentation=augmentation,
            num_inference_steps=num_inference_steps,
            timesteps=timesteps and list(timesteps),
        )
        if control.config["variant"] not in MAPS:
            raise InputError(
                f"The control encoder's variant {control.config['variant']!r} has no texture map: "
                f"use weights of variant {', '.join(MAPS)}."
            )
        self._check_pair()
        for module in (unet, control, vae):
            if module is not None:
                _align(module)

    @classmethod
    def bundled(cls, variant: str = "T") -> Self:
        """The weights that come with the package, with one DDIM step, the estimate of the mean photo.

        Raises:
            InputError: none of this variant come with it.
        """
        encoder = ControlEncoder.from_pretrained(control_module.bundled(variant), torch_dtype=torch.float32)
        model = DiffusionBase.from_pretrained(base.bundled())
        scheduler = DDIMScheduler.from_config(model.scheduler.config, timestep_spacing="trailing")
        return cls(model.unet, scheduler, encoder, patch_size=model.patch_size, num_inference_steps=1)

    @classmethod
    def from_dequantizer(cls, model: Dequantizer) -> Self:
        """The networks and the sampler of a trained model, shared with it.

        Raises:
            InputError: it is a prior, or its sampler is not `diffusion.sample` with its settings bound.
        """
        if model.control is None:
            raise InputError("A prior has no control encoder: train one on it before making a pipeline.")
        settings = getattr(model.sampler, "keywords", {})
        if "solver" not in settings:
            raise InputError("The sampler has no solver: bind the settings of dequant.diffusion.sample with partial.")
        text = model.base.text_embedding
        return cls(
            model.base.unet,
            settings["solver"].from_config(model.base.scheduler.config, **(settings.get("options") or {})),
            model.control,
            model.base.vae,
            None if text is None else TextEmbedding.of(text),
            patch_size=model.base.patch_size,
            augmentation=model.base.augmentation,
            num_inference_steps=settings.get("num_inference_steps"),
            timesteps=settings.get("timesteps"),
        )

    def __call__(
        self,
        image: inputs.Photo | Sequence[inputs.Photo],
        n_colors: int = 16,
        *,
        palette: Any = None,
        method: str = "color",
        assignment: Any = None,
        k: int = 1,
        blend: float | Sequence[float] = 1.0,
        mask: Any = None,
        color: Any = None,
        texture: bool = True,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        solver: type[SchedulerMixin] | None = None,
        generator: Generator = None,
        num_images: int = 1,
        seeds: Sequence[int] | None = None,
        tile: int | None = None,
        palette_fidelity: str | Fidelity = "off",
        texture_fidelity: str = "off",
        orientations: int = 1,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepEnd | None = None,
    ) -> Answers | tuple[Images]:
        """Edit photos of any sizes.

        Args:
            image: a PIL image, a tensor (3, H, W) or (B, 3, H, W) in [0, 1], an array (H, W, 3) or (B, H, W, 3), the
                path of a file, or a list of any of these.
            n_colors: size of the palette that is taken from each photo, 1 to 256.
            palette: replaces that palette: (K, 3) in [0, 1], hex strings, or a photo whose palette is taken.
            method: which colour replaces which, as in `palette.match`: color, negative_color, frequency, intensity.
            assignment: says it instead: colour i of the photo becomes colour `assignment[i]`; `range(n_colors)` for an
                edited copy of the photo's own palette.
            k: how many of the best assignments to answer with, fewer where fewer exist.
            blend: 0 keeps the photo's colours, 1 takes those of `palette`; several numbers are several answers.
            mask: recolours a patch instead, (H, W), true inside; everything else keeps its true colours.
            color: of the patch: a hex string or three numbers in [0, 1].
            texture: show the network the photo's texture; False leaves it to the network, for a patch only inside.
            num_inference_steps: number of steps; or else
            timesteps: the steps themselves, descending, of a solver that takes them, such as DDPMScheduler.
            solver: class of the diffusers scheduler that takes the steps, instead of that of `scheduler`.
            generator: CPU generator, or a list with one per image, which makes it independent of its neighbours.
            num_images: how many images to draw of each edit; those of one edit follow each other.
            seeds: of the images of each edit, one for each, instead of `num_images` and `generator`.
            tile: side in pixels of the overlapping tiles in which larger images are denoised; None for all at once.
            palette_fidelity: "exact" moves every pixel to where the palette's nearest colour is the one asked for, also
                in 8 bits, and leaves the outside of a patch as it is; "strict" keeps closer to the colours
                themselves too, for an edited palette that the texture contradicts; "soft" goes half of the way to
                the palette's cells, with smoother gradients; "off" trusts the network. Or a `Fidelity`, whose
                `patch_radius` bounds how far the mean of a patch is from its colour.
            texture_fidelity: "exact" moves the image to the nearest one with the texture of the photo, that is its
                luminance (variant L), gradients (G) or thresholded gradients (T), as far as `palette_fidelity` lets it;
                "off" trusts the network, unless `palette_fidelity` is a `Fidelity` that says otherwise.
            orientations: over how many the network's predictions are averaged, which takes as many times as long and
                is nearer to the photo: 1, 2 (mirrored) or 8 (turned too).
            output_type: "pil", "np" (B, H, W, 3) or "pt" (B, 3, H, W), both in [0, 1]; a list where sizes differ.
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
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"There is no output type {output_type!r}: choose pil, np or pt.")
        for name, value in (("k", k), ("num_images", num_images), ("tile", 0 if tile is None else tile)):
            if not isinstance(value, int):
                raise InputError(f"{name} is {value!r}: give a whole number.")
        draws = _draws(num_images, seeds, generator)
        photos, texture_map = inputs.photos(image), MAPS[self._variant]
        if mask is None and color is None:
            asked = inputs.palette_conditions(
                photos, texture_map, n_colors, palette, method, assignment, texture, k, blend
            )
        elif palette is None and assignment is None and k == blend == 1:
            asked = inputs.patch_conditions(photos, texture_map, mask, color, texture)
        else:
            raise InputError("A palette and a patch cannot be edited at once: give a palette or a mask with a color.")
        rgbs = self.sample(
            [one.condition for one in asked],
            generator if seeds is None else [torch.Generator().manual_seed(seed) for _ in asked for seed in seeds],
            num_images=len(draws),
            tile=tile,
            palette_fidelity=palette_fidelity,
            texture_fidelity=texture_fidelity,
            orientations=orientations,
            num_inference_steps=num_inference_steps,
            timesteps=timesteps,
            solver=solver,
            callback_on_step_end=callback_on_step_end,
        )
        images = convert(rgbs, output_type)
        return Answers(images, [one.label for one in asked], draws) if return_dict else (images,)

    @torch.no_grad()
    def sample(
        self,
        conditions: Sequence[Tensor],
        generator: Generator = None,
        *,
        num_images: int = 1,
        tile: int | None = None,
        palette_fidelity: str | Fidelity = "off",
        texture_fidelity: str = "off",
        orientations: int = 1,
        num_inference_steps: int | None = None,
        timesteps: Sequence[int] | None = None,
        solver: type[SchedulerMixin] | None = None,
        callback_on_step_end: StepEnd | None = None,
    ) -> list[Tensor]:
        """Draw photographs under conditions made by `dequant.condition`, those of one size together.

        Args:
            conditions: (7, H, W) in [0, 1] each.
            generator: as all other arguments, see `__call__`.
            num_images: see `__call__`.
            tile: see `__call__`.
            palette_fidelity: see `__call__`.
            texture_fidelity: see `__call__`.
            orientations: see `__call__`.
            num_inference_steps: see `__call__`.
            timesteps: see `__call__`.
            solver: see `__call__`.
            callback_on_step_end: see `__call__`.

        Returns:
            rgb (3, H, W) in [0, 1], `num_images` for each, on the device of the networks.

        Raises:
            InputError: the steps, the solver, the generators or the fidelity are wrong.
        """
        check_generators(generator, len(conditions) * num_images)
        fidelity = named(palette_fidelity, texture_fidelity)
        device = self._execution_device
        steps = self._steps(num_inference_steps, timesteps, solver or type(self.scheduler))
        groups: dict[torch.Size, list[int]] = {}
        for i, one in enumerate(conditions):
            groups.setdefault(one.shape, []).append(i)
        found: dict[int, Tensor] = {}
        with self.progress_bar(total=len(groups) * (steps["num_inference_steps"] or len(steps["timesteps"]))) as bar:

            def callback(i: int, t: Tensor, x: Tensor) -> Tensor:
                bar.update()
                changed = callback_on_step_end(self, i, t, {"latents": x}) if callback_on_step_end else None
                return (changed or {}).get("latents", x)

            model = self._model(partial(solver_module.sample, **steps, callback=callback), fidelity, orientations)
            for members in groups.values():
                places = [i * num_images + j for i in members for j in range(num_images)]
                generators = [generator[i] for i in places] if isinstance(generator, list) else generator
                batch = torch.stack([conditions[i] for i in members]).to(device)
                found |= zip(places, model.sample(batch, generators, num_images, tile), strict=True)
        self.maybe_free_model_hooks()
        return [found[i] for i in range(len(found))]

    def _base(self) -> DiffusionBase:
        text = None if self.text_embedding is None else self.text_embedding.weight.data
        patch_size, augmentation = self.config["patch_size"], self.config["augmentation"]
        return DiffusionBase(self.unet, self.scheduler, patch_size, self.vae, text, augmentation)

    def _model(self, sampler: Callable[..., Tensor], fidelity: Fidelity | None, orientations: int) -> Dequantizer:
        """The components as they are now: a user may have exchanged one."""
        return Dequantizer(
            self._base(),
            lambda *_: self.control,
            sampler,
            variant=self._variant,
            fidelity=fidelity,
            orientations=orientations,
        ).eval()

    @property
    def _variant(self) -> str:
        return str(self.control.config["variant"])

    def _check_pair(self) -> None:
        """Refuse weights of two bases, except those rounded to bfloat16: they have lost their fingerprint."""
        weight, wanted = self.unet.conv_in.weight, self.control.config["base"]
        rounded = torch.equal(weight.bfloat16().to(weight.dtype), weight)
        if not rounded and wanted and wanted != (found := self._base().fingerprint):
            raise InputError(
                f"The control encoder was trained for base {wanted!r}, but the network here is base {found!r}: "
                "choose weights that agree."
            )

    def _steps(
        self, num_inference_steps: int | None, timesteps: Sequence[int] | None, solver: type[SchedulerMixin]
    ) -> dict[str, Any]:
        """Settings of `diffusion.sample`: those of the call, or else those of the pipeline."""
        if num_inference_steps is None and timesteps is None:
            num_inference_steps, timesteps = self.config["num_inference_steps"], self.config["timesteps"]
        timesteps = None if timesteps is None else [int(t) for t in timesteps]
        check_steps(num_inference_steps, timesteps, self.scheduler.config.num_train_timesteps)
        check_solver(solver, self.scheduler, timesteps is not None)
        return {"solver": solver, "num_inference_steps": num_inference_steps, "timesteps": timesteps}


def _align(module: nn.Module) -> None:
    """Move weights that a file was mapped to onto aligned memory: kernels round otherwise on the rest."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


def _draws(num_images: int, seeds: Sequence[int] | None, generator: Generator) -> list[str]:
    """What tells the images of one edit apart."""
    if seeds is None:
        if num_images < 1:
            raise InputError(f"{num_images} images of each photo cannot be drawn: ask for at least 1.")
        return [f"draw {i + 1}" if num_images > 1 else "" for i in range(num_images)]
    integers = isinstance(seeds, Sequence) and len(seeds) > 0 and all(isinstance(seed, int) for seed in seeds)
    if num_images != 1 or generator is not None or not integers:
        raise InputError("Seeds say what is drawn: give a list of integers, and neither num_images nor generator.")
    return [f"seed {seed}" for seed in seeds]
