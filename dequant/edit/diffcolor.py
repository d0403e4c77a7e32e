"""DiffColor as an edit: a network is tuned to a photo, which is then coloured and edited by words."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dequant.colorization.aligning import WAYS, alignment
from dequant.colorization.checks import check_amount, check_number, check_words
from dequant.colorization.diffcolor import DiffColor, Subject
from dequant.colorization.drawn import Colored
from dequant.colorization.pipeline import ColorizePipeline
from dequant.colorization.semantic import Sampling
from dequant.colorization.sessions import Watch, key, tuned
from dequant.colorization.tuning import Tuning
from dequant.edit import recipe as recipes
from dequant.edit import report as reports
from dequant.edit.colorizing import carried, colorfulness_of, colorizer, nowhere
from dequant.edit.edited import Edited, Photo
from dequant.edit.painting import small_copy
from dequant.edit.recipe import Recipe
from dequant.edit.telling import Asked, reading
from dequant.errors import InputError, whole_number
from dequant.io.originals import Original, read_original, write_original
from dequant.models import image_text
from dequant.models.digest import weights_sha256
from dequant.models.hub import Source
from dequant.models.image_text import ImageText
from dequant.models.latent import STEPS

MOST_STRENGTH = 3.0
"""Of an edit."""

OWN = "judged by the package's own small image-text model, not by CLIP"


@dataclass(frozen=True)
class TuneSettings:
    """How a photo is coloured by a network that is tuned to it.

    Attributes:
        weights: of a semantic colorizer, what `ColorizePipeline.load` takes.
        likeness: folder or hub id of a CLIP for the contrastive loss; None takes the package's own small one.
        align: one of `aligning.WAYS`.
        preview: folder or hub id of a smaller autoencoder of the same latents for the contrastive loss, such as
            madebyollin/taesd; None takes the network's own.
        num_inference_steps: None for the weights' own.
        guidance_scale: how far prompts are exaggerated; None for the weights' own.
        seed: of all noise.
        tuning: steps and learning rates.

    Raises:
        InputError: there is no such alignment, or a number is out of its range.
    """

    weights: str = "semantic"
    likeness: str | None = None
    align: str = "luma"
    preview: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        """Refuse what does not exist with an `InputError`."""
        if self.align not in WAYS:
            raise InputError(f"There is no alignment {self.align!r}: choose {', '.join(WAYS)}.")
        whole_number("seed", self.seed, 0)
        if self.num_inference_steps is not None:
            whole_number("num_inference_steps", self.num_inference_steps, 1, STEPS)
        check_words("", 1 if self.guidance_scale is None else self.guidance_scale)


@dataclass(frozen=True)
class Session:
    """A photo with the network that is tuned to it; edits tune nothing any more.

    Attributes:
        original: the photo.
        pipe: that its network is from.
        made: the network.
        settings: how it was tuned.
        about: what decided about the tuning, as plain values.
        read: whether the prompt was read in the photo.
        seconds: that tuning took in this process, 0 where it was done before.
    """

    original: Original
    pipe: ColorizePipeline
    made: DiffColor
    settings: TuneSettings
    about: Mapping[str, Any]
    read: bool
    seconds: float

    def picture(
        self,
        edit: str | None = None,
        strength: float = 1.0,
        *,
        scale: float | str = 1.0,
        colorfulness: float | None = None,
    ) -> Colored:
        """The small coloured copy: as the prompt had it, or edited.

        Args:
            edit: what the photo shall show instead, such as "a brown dog on a black bench"; None changes nothing.
            strength: how far the picture goes: 0 is the prompt's, 1 the edit's, more goes beyond.
            scale: as in `colorizing.colorize`, as the next.
            colorfulness: instead of a scale.

        Raises:
            InputError: an argument is wrong.
        """
        check_edit(edit, strength, scale=scale, colorfulness=colorfulness)
        drawn = self.made.colors(self.made.towards(edit, strength))._replace(relit=self.settings.align != "none")
        return self.pipe.scaled(drawn, small_copy(self.original.levels), scale, colorfulness)

    def edited(self, edit: str | None = None, strength: float = 1.0, **amount: Any) -> Edited:
        """The photo as in `picture`, at its own size."""
        original, colored = self.original, self.picture(edit, strength, **amount)
        levels = carried(original.levels, colored)
        notes = [*original.notes, f"tuned to the photo in {self.seconds:.0f} s" if self.seconds else "tuned before"]
        notes += self._notes(edit)
        report = reports.measure(original.levels, levels, [], nowhere, 0, notes)
        asked = {"prompt": self.about["prompt"], "edit": edit, "strength": strength, **amount}
        (height, width), settings = original.levels.shape[:2], asdict(self.settings)
        source = {"sha256": self.about["photo"], "width": width, "height": height}
        weights = {"name": recipes.weights_name(self.settings.weights), "sha256": self.about["weights"]}
        weights |= {"helpers": self.about["helpers"]}
        result = {"scale": colored.scale, "colorfulness": round(colorfulness_of(levels), 2)}
        recipe = Recipe("diffcolor", asked, settings, source, weights, recipes.versions(), result)
        return Edited(levels, original, report, recipe)

    def _notes(self, edit: str | None) -> list[str]:
        """What people should know of the words."""
        base, prompt = self.made.base, self.about["prompt"]
        notes = []
        if self.read:
            found = f"read in the photo: {prompt}" if prompt else "nothing was recognized in the photo: give a prompt"
            notes.append(found)
        long = [text for text in (prompt, edit) if text and not base.reads(text)]
        notes += [f"only the beginning of a long text is read: {text[:40]}..." for text in long]
        return notes + ([OWN] if self.settings.likeness is None else [])


def check_edit(
    edit: str | None = None, strength: float = 1.0, *, scale: float | str = 1.0, colorfulness: float | None = None
) -> None:
    """Refuse arguments of `Session.picture` that cannot be, which is best done ahead of a tuning.

    Raises:
        InputError: one is wrong.
    """
    check_words("" if edit is None else edit, 1)
    if edit is not None and not edit.strip():
        raise InputError("Expected words for the edit, got none: leave it out for the picture of the prompt.")
    check_amount(scale, colorfulness)
    check_number("strength", strength, 0, MOST_STRENGTH)


def tune(
    photo: Photo,
    prompt: str | None = None,
    *,
    settings: TuneSettings | None = None,
    folder: Path | None = None,
    watch: Watch = lambda made, losses: None,
) -> Session:
    """Tune a network to a photo, or resume what an earlier run left in a folder; half a minute for the small network.

    Args:
        photo: the photo; what colour it has is not looked at.
        prompt: what it shows, without colours, such as "a dog on a bench"; None reads it in the photo.
        settings: how; None for the usual ones.
        folder: for sessions, of which each has a folder of its own in it; None keeps nothing.
        watch: sees the progress.

    Raises:
        InputError: the photo or an argument is wrong.
    """
    settings = TuneSettings() if settings is None else settings
    original = photo if isinstance(photo, Original) else read_original(photo)
    pipe, copy = colorizer(settings.weights), small_copy(original.levels)
    if pipe.config["method"] != "semantic":
        raise InputError(f"{settings.weights} draws nothing out of noise: give weights of a semantic colorizer.")
    digest = recipes.digest(original.levels, original.alpha)
    read = prompt is None
    if prompt is None:
        prompt = reading(copy, digest, Asked(), (None, None)).caption
    check_words(prompt, 1)
    subject = _subject(pipe, pipe.gray(copy), prompt, settings)
    about: dict[str, Any] = {"photo": digest, "prompt": prompt, "weights": recipes.weights_digest(pipe)}
    about |= {"helpers": _helpers(subject), "sampling": subject.sampling._asdict(), "settings": asdict(settings)}
    own = None if folder is None else folder / key(about)
    first, last = time.monotonic(), 0.0

    def seeing(made: DiffColor, losses: Mapping[str, float]) -> None:
        nonlocal last
        last = time.monotonic() - first
        watch(made, losses)

    made = tuned(subject, settings.tuning, own, about, seeing)
    return Session(original, pipe, made, settings, about, read, last)


def _subject(pipe: ColorizePipeline, gray: Tensor, prompt: str, settings: TuneSettings) -> Subject:
    """A grey photo (1, 3, h, w) with the networks that colour it."""
    steps, guidance = settings.num_inference_steps, settings.guidance_scale
    sampling = Sampling(
        pipe.config["num_inference_steps"] if steps is None else steps,
        float(pipe.config["guidance_scale"] if guidance is None else guidance),
        settings.seed,
        target=pipe.config["target"],
    )
    judge = _judge(settings.likeness or image_text.bundled()).to(gray.device)
    preview = None
    if settings.preview is not None:
        preview = Source(settings.preview).autoencoder(None).to(gray.device).requires_grad_(False)
    return Subject(pipe.base, pipe.mix, judge, gray, prompt, sampling, alignment(settings.align), preview)


def _helpers(subject: Subject) -> str:
    """Sha256 of the networks that judge, preview and align."""
    aligner = subject.align.args[0] if isinstance(subject.align, partial) else None
    return weights_sha256(likeness=subject.likeness, preview=subject.preview, aligner=aligner)


def save_strip(edits: Sequence[Edited], path: Path) -> list[str]:
    """Write edits of one photo side by side, with what the photo carries and without a recipe.

    Returns:
        What the format could not keep.

    Raises:
        InputError: the picture cannot be written there.
    """

    def wide(pixels: Any) -> Any:
        return None if pixels is None else np.concatenate([pixels] * len(edits), axis=1)

    first = edits[0].original
    original = first._replace(levels=wide(first.levels), alpha=wide(first.alpha), own=wide(first.own))
    return list(write_original(np.concatenate([one.levels for one in edits], axis=1), original, path))


@lru_cache(1)
def _judge(path: str) -> ImageText:
    return ImageText.from_pretrained(path).requires_grad_(False)
