"""DiffColor: a network tuned to one grey photo, then edited by words (Lin et al., arXiv:2308.01655).

Three loops over the parts of another colorizer. The first lets the network paint what the prompt names, not what
anti-colour texts say. The second finds the embedding that draws this picture, the third tunes the network to draw it
exactly. Then another prompt draws another picture of the same photo, and nothing is tuned any more.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from torch.nn import functional as F

from dequant.colorization.drawn import Drawn
from dequant.colorization.pictures import Align
from dequant.colorization.semantic import SCHEDULE, TARGETS, Sampling, draw, scheduler_of, shifted, start_code
from dequant.colorization.tuning import DONE, MOST_STEPS, STAGES, Tuning
from dequant.condition.captions import rewritten
from dequant.condition.dull import DULL
from dequant.errors import InputError
from dequant.models import autoencoder
from dequant.models.finite import check_finite
from dequant.models.image_text import ImageText
from dequant.models.latent import STEPS, LatentBase
from dequant.models.mixing import GrayMix

ALPHAS = DDIMScheduler(**SCHEDULE).alphas_cumprod
"""Share of the signal's variance at each timestep."""


class Subject(NamedTuple):
    """A grey photo, and what it is coloured with.

    Attributes:
        base: trained, left as it is.
        mix: of noisy and grey latents, of the same training.
        likeness: says which text describes a picture.
        gray: the photo (1, 3, H, W) in [0, 1].
        prompt: what it shows.
        sampling: steps, guidance, seed and target of the network.
        align: puts what was drawn onto the photo.
        preview: a smaller autoencoder of the same latents, such as `AutoencoderTiny`, for the pictures that the
            contrastive loss looks at; None takes the base's own.
    """

    base: LatentBase
    mix: GrayMix
    likeness: ImageText
    gray: Tensor
    prompt: str
    sampling: Sampling
    align: Align
    preview: ModelMixin | None = None


class State(NamedTuple):
    """Where a tuning stands; tensors are on the CPU, but for those of the optimizer.

    Attributes:
        stage: one of `STAGES`, or "done".
        step: of the stage, the next.
        weights: the tuned tensors of the UNet by name.
        embedding: (1, T, D), of the prompt.
        picture: what the first loop led to, (1, 3, H, W), from the second one on.
        optimizer: its state within a stage.
    """

    stage: str
    step: int
    weights: dict[str, Tensor]
    embedding: Tensor
    picture: Tensor | None = None
    optimizer: dict[str, Any] | None = None


class DiffColor:
    """A network that is tuned to one photo. The base and its weights are never changed: a copy is.

    Args:
        subject: the photo and the networks.
        tuning: how.
        state: where an earlier tuning stopped.

    Raises:
        InputError: peft is missing for "lora", or the state is of another network.
    """

    def __init__(self, subject: Subject, tuning: Tuning, state: State | None = None) -> None:
        self.subject, self.tuning = subject, tuning
        self.base, self.learned = _copied(subject.base, tuning, subject.sampling.seed)
        with torch.no_grad():
            self.z_gray = self.base.encode(subject.gray)
            self.seen = self.base.recognize(subject.gray, self.z_gray.shape[2:])
            self.context = self.base.embed([subject.prompt])
            first = rewritten(subject.prompt) if tuning.placeholders else subject.prompt
            self.embedding = self.base.embed([first]).requires_grad_()
        self.picture: Tensor | None = None
        self.stage, self.step = STAGES[0], 0
        self._kept: dict[str, Any] | None = None
        if state is not None:
            self.resume(state)

    @property
    def state(self) -> State:
        """Where it stands."""
        weights = {name: value.detach().cpu().clone() for name, value in self.learned.items()}
        picture = None if self.picture is None else self.picture.cpu()
        kept = copy.deepcopy(self._kept)
        return State(self.stage, self.step, weights, self.embedding.detach().cpu().clone(), picture, kept)

    def resume(self, state: State) -> None:
        """Go on from where another run stopped.

        Raises:
            InputError: the state is of another network, or not finite.
        """
        sizes = {name: value.shape for name, value in self.learned.items()}
        same = {name: value.shape for name, value in state.weights.items()} == sizes
        if not same or state.stage not in (*STAGES, DONE) or state.embedding.shape != self.embedding.shape:
            raise InputError("it is of another network")
        check_finite([*state.weights.values(), state.embedding], "it")
        with torch.no_grad():
            for name, value in self.learned.items():
                value.copy_(state.weights[name])
            self.embedding.copy_(state.embedding)
        self.picture = None if state.picture is None else state.picture.to(self.base.device)
        self.stage, self.step, self._kept = state.stage, state.step, copy.deepcopy(state.optimizer)
        if self._kept is not None:
            torch.optim.Adam(self._tuned).load_state_dict(self._kept)

    @property
    def progress(self) -> tuple[int, int]:
        """Steps that are done, and of all loops together."""
        counts = [self.tuning.steps(stage) for stage in STAGES]
        done = len(STAGES) if self.stage == DONE else STAGES.index(self.stage)
        return sum(counts[:done]) + self.step, sum(counts)

    def tune(self) -> Iterator[dict[str, float]]:
        """Run what is left of the three loops, a step at a time; yields the parts of each step's loss."""
        while self.stage != DONE:
            if not self.tuning.steps(self.stage):
                self._next()
                continue
            if self.stage != STAGES[0] and self.picture is None:
                self.picture = self.drawn(self.context)
            loss, tuned = self._objective(), self._tuned
            optimizer = torch.optim.Adam(tuned, lr=self.tuning.lr(self.stage))
            if self._kept is not None:
                optimizer.load_state_dict(self._kept)
            for step in range(self.step, self.tuning.steps(self.stage)):
                value, parts = loss(step)
                if not value.isfinite():
                    raise InputError(f"The tuning has no finite loss any more: give a smaller {self.stage}_lr.")
                for tensor, gradient in zip(tuned, torch.autograd.grad(value, tuned), strict=True):
                    tensor.grad = gradient
                optimizer.step()
                self.step, self._kept = step + 1, optimizer.state_dict()
                yield parts
            self._next()

    def _next(self) -> None:
        self.stage, self.step, self._kept = [*STAGES, DONE][STAGES.index(self.stage) + 1], 0, None

    @property
    def _tuned(self) -> list[Tensor]:
        """What lowers the loss of a stage."""
        return [self.embedding] if self.stage == "embedding" else list(self.learned.values())

    def _objective(self) -> Callable[[int], tuple[Tensor, dict[str, float]]]:
        """The loss of a stage."""
        if self.stage == "color":
            return partial(self._loss, self._anchor(), self.context)
        assert self.picture is not None
        with torch.no_grad():
            z = self.base.encode(self.picture)
        return partial(self._loss, z, self.embedding if self.stage == "embedding" else self.embedding.detach())

    @torch.no_grad()
    def _anchor(self) -> Tensor:
        """Latents of the photo without colour, or with that which the network drew before it was tuned."""
        own = self.subject
        if self.tuning.anchor == "gray":
            return self.z_gray
        return self.z_gray + draw(own.base, own.mix, own.gray, self.z_gray, self.context, own.sampling)

    def _loss(self, z: Tensor, text: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        """What a step lowers, for latents (1, C, h, w) and an embedded text, and its parts."""
        own, of_noise = self.subject, self.subject.sampling.target == TARGETS[0]
        clean, one_step = own.mix.of_photo(z, self.z_gray), own.sampling.steps == 1
        t, noise = self._noise(z, step)
        signal, rest = ALPHAS[t.cpu()].sqrt().to(z), (1 - ALPHAS[t.cpu()]).sqrt().to(z)
        noisy = noise if one_step else signal * clean + rest * noise
        found = self.base.predict(own.mix(noisy, self.z_gray), t, text, self.seen)
        guess = (noisy - rest * found) / signal if of_noise else signal * noisy - rest * found
        wanted = noise if of_noise else signal * noise - rest * clean
        value = (guess - clean if one_step else found - wanted).square().mean()
        parts = {"noise": value.item()}
        if self.stage == "color" and self.tuning.contrast_weight and (one_step or t < self.tuning.latest * STEPS):
            picture = self._seen_by_judge(self.z_gray + own.mix.color(guess, self.z_gray))
            against = contrast(own.likeness, picture, own.prompt, list(DULL))
            parts["contrast"] = against.item()
            value = value + self.tuning.contrast_weight * against
        return value, parts

    def _noise(self, z: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """A timestep and noise: random ones, or those that a drawing in one step begins with."""
        sampling = self.subject.sampling
        if sampling.steps == 1:
            return scheduler_of(sampling).timesteps[:1].to(z.device), start_code(sampling.seed, z)
        seed = (sampling.seed * len(STAGES) + STAGES.index(self.stage)) * MOST_STEPS + step
        generator = torch.Generator().manual_seed(seed)
        drawn = shifted(int(torch.randint(STEPS, (1,), generator=generator)), self.tuning.timestep_shift)
        return torch.tensor([drawn], device=z.device), torch.randn(z.shape, generator=generator).to(z)

    def _seen_by_judge(self, z: Tensor) -> Tensor:
        if self.subject.preview is None:
            return self.base.decode(z, self.subject.gray)
        return (autoencoder.decode(self.subject.preview, z) / 2 + 0.5).clamp(0, 1)

    def drawn(self, text: Tensor) -> Tensor:
        """The picture (1, 3, H, W) that the tuned network draws by an embedded text (1, T, D), put onto the photo."""
        return self.subject.align(*self.colors(text)[:4])

    @torch.no_grad()
    def colors(self, text: Tensor) -> Drawn:
        """What is drawn, before it is put onto the photo."""
        own = self.subject
        delta = draw(self.base, own.mix, own.gray, self.z_gray, text, own.sampling)
        return Drawn(self.base, self.z_gray, delta, own.gray, own.align)

    def towards(self, prompt: str | None, strength: float) -> Tensor:
        """An embedding between the tuned one (0) and that of another prompt (1), or beyond: (1, T, D)."""
        if prompt is None or strength == 0:
            return self.embedding.detach()
        with torch.no_grad():
            return torch.lerp(self.embedding.detach(), self.base.embed([prompt]), strength)


def contrast(likeness: ImageText, picture: Tensor, prompt: str, against: Sequence[str]) -> Tensor:
    """How far a picture (1, 3, H, W) is from its prompt and near to other texts: 1 where it is as near to all.

    Cosines are sharpened as the model has learned it, which comes to the paper's features of other lengths than 1.
    """
    scores = likeness.sharpness.detach() * likeness.of_images(picture) @ likeness.of_texts([prompt, *against]).T
    chance = torch.tensor(1.0 + len(against)).log()
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long, device=scores.device)) / chance


def _copied(base: LatentBase, tuning: Tuning, seed: int) -> tuple[LatentBase, dict[str, Tensor]]:
    """A base with a UNet of its own, and what is tuned of this by name; other weights share their memory."""
    names = {"full": "", "attention": ".attn", "lora": ".lora_"}[tuning.mode]
    shared = {
        id(value): torch.nn.Parameter(value.detach(), requires_grad=False)
        for name, value in base.unet.named_parameters()
        if names not in name
    }
    other = base.with_unet(copy.deepcopy(base.unet, shared))
    if tuning.mode == "lora":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            other.add_lora(tuning.lora_rank)
    if tuning.gradient_checkpointing:
        other.unet.enable_gradient_checkpointing()
    learned = {name: value for name, value in other.unet.named_parameters() if names in name}
    return other, {name: value.requires_grad_() for name, value in learned.items()}
