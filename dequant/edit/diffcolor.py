"""DiffColor as an edit: a network is tuned to a photo, which is then coloured and edited by words."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from dequant.colorization.aligning import WAYS, alignment
from dequant.colorization.checks import check_amount, check_words
from dequant.colorization.diffcolor import DiffColor, Subject, Tuning
from dequant.colorization.drawn import Colored
from dequant.colorization.pipeline import ColorizePipeline
from dequant.colorization.semantic import Sampling
from dequant.colorization.sessions import Watch, key, tuned
from dequant.edit import recipe as recipes
from dequant.edit import report as reports
from dequant.edit.colorizing import carried, colorfulness_of, colorizer, nowhere
from dequant.edit.edits import Edited, Photo
from dequant.edit.painting import small_copy
from dequant.edit.recipe import Recipe
from dequant.edit.telling import Asked, reading
from dequant.errors import InputError
from dequant.io.originals import Original, read_original
from dequant.models import image_text
from dequant.models.digest import weights_sha256
from dequant.models.hub import Source
from dequant.models.image_text import ImageText

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
        InputError: there is no such alignment.
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


@dataclass(frozen=True)
class Session:
    """A photo with the network that is tuned to it; edits tune nothing any more.

    Attributes:
        original: the photo.
        pipe: that its network is from.
        made: the network.
        settings: how it was tuned.
        about: what decided about the tuning, as plain values.
        seconds: that tuning took in this process, 0 where it was done before.
    """

    original: Original
    pipe: ColorizePipeline
    made: DiffColor
    settings: TuneSettings
    about: Mapping[str, Any]
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
        check_words("" if edit is None else edit, 1)
        check_amount(scale, colorfulness)
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= MOST_STRENGTH:
            raise InputError(f"Expected a number from 0 to {MOST_STRENGTH:g} for strength, got {strength!r}.")
        drawn = self.made.colors(self.made.towards(edit, strength))._replace(relit=self.settings.align != "none")
        return self.pipe.scaled(drawn, small_copy(self.original.levels), scale, colorfulness)

    def edited(self, edit: str | None = None, strength: float = 1.0, **amount: Any) -> Edited:
        """The photo as in `picture`, at its own size."""
        original, colored = self.original, self.picture(edit, strength, **amount)
        levels = carried(original.levels, colored)
        notes = [*original.notes, f"tuned to the photo in {self.seconds:.0f} s" if self.seconds else "tuned before"]
        notes += [OWN] if self.settings.likeness is None else []
        report = reports.measure(original.levels, levels, [], nowhere, False, notes)
        asked = {"prompt": self.about["prompt"], "edit": edit, "strength": strength, **amount}
        (height, width), settings = original.levels.shape[:2], asdict(self.settings)
        source = {"sha256": self.about["photo"], "width": width, "height": height}
        weights = {"name": recipes.weights_name(self.settings.weights), "sha256": self.about["weights"]}
        result = {"scale": colored.scale, "colorfulness": round(colorfulness_of(levels), 2)}
        recipe = Recipe("diffcolor", asked, settings, source, weights, recipes.versions(), result)
        return Edited(levels, original, report, recipe)


def tune(
    photo: Photo,
    prompt: str | None = None,
    *,
    settings: TuneSettings | None = None,
    folder: Path | None = None,
    watch: Watch = lambda made, losses: None,
) -> Session:
    """Tune a network to a photo, or take up what an earlier run left in a folder; minutes for the small network.

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
    if prompt is None:
        prompt = reading(copy, digest, Asked(), (None, None)).caption
    check_words(prompt, 1)
    subject = _subject(pipe, pipe.gray(copy), prompt, settings)
    about: dict[str, Any] = {"photo": digest, "prompt": prompt, "weights": recipes.weights_digest(pipe)}
    about |= {"likeness": weights_sha256(likeness=subject.likeness), "settings": asdict(settings)}
    own = None if folder is None else folder / key(about)
    first, last = time.monotonic(), 0.0

    def seen(made: DiffColor, losses: Mapping[str, float]) -> None:
        nonlocal last
        last = time.monotonic() - first
        watch(made, losses)

    made = tuned(subject, settings.tuning, own, about, seen)
    return Session(original, pipe, made, settings, about, last)


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
    preview = None if settings.preview is None else Source(settings.preview).autoencoder(None).to(gray.device)
    return Subject(pipe.base, pipe.mix, judge, gray, prompt, sampling, alignment(settings.align), preview)


def strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size, side by side."""
    width, height = pictures[0].size
    made = Image.new(pictures[0].mode, (width * len(pictures), height))
    for number, picture in enumerate(pictures):
        made.paste(picture, (number * width, 0))
    return made


@lru_cache(1)
def _judge(path: str) -> ImageText:
    return ImageText.from_pretrained(path)
