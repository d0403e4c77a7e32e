"""Captions that name a thing and the colours of a photo: "a red apple on white and green", "blue, green and white"."""

import re
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.names import WORDS, named

SIDE = 64
"""Longer side of the copy that colours are counted on."""

LEAST = 0.12
"""Share of the pixels from which on a colour is named."""

PLACEHOLDER = "*"
"""Stands before each noun of the prompt whose embedding is tuned."""

NOUNS = re.compile(r"\b(an?|the|with|and|on|of)(?= (?!an?\b|the\b))", re.IGNORECASE)
"""Words that nouns, or their adjectives, come after."""


class Labelled(NamedTuple):
    """A region that a text describes.

    Attributes:
        mask: (H, W), bool or in [0, 1].
        text: such as "a red car".
    """

    mask: Tensor
    text: str


def caption(rgb: Tensor, thing: str = "", inside: Tensor | None = None) -> str:
    """Describe the colours of a photo.

    Args:
        rgb: (3, H, W) in [0, 1].
        thing: what it shows; "" names the colours alone.
        inside: how far each pixel belongs to the thing, (h, w) in [0, 1]; None lets the middle count most. Without a
            thing, colours are named where they are inside; None counts all alike.

    Returns:
        "a COLOUR THING on COLOUR and COLOUR" or "COLOUR, COLOUR and COLOUR", the most common colours first.
    """
    scale = min(1.0, SIDE / max(rgb.shape[1:]))
    size = [max(1, round(scale * side)) for side in rgb.shape[1:]]
    names = named(F.interpolate(rgb[None], size, mode="area")[0])
    if inside is None:
        weight = _middle(size) if thing else torch.ones(size)
    else:
        weight = F.interpolate(inside[None, None], size, mode="bilinear")[0, 0]
    if not thing:
        return _listed(_common(names, weight)[:3])
    own = _common(names, weight)[0]
    rest = 1 - weight
    others = [word for word in _common(names, rest) if word != own][:2] if rest.mean() > 0.01 else []
    article = "an" if own[0] in "aeiou" else "a"
    return f"{article} {own} {thing}" + (f" on {_listed(others)}" if others else "")


def thing_of(text: str) -> str:
    """The thing that a caption of `caption` names, "" where it names colours alone."""
    found = re.fullmatch(rf"an? (?:{'|'.join(WORDS)}) (.+?)(?: on (?:{'|'.join(WORDS)})(?: and .*)?)?", text)
    return found[1] if found else ""


def of_category(thing: str) -> str:
    """A caption that names no colour: "a photo of an apple", "" for no thing (arXiv:2404.16678, section 3.2)."""
    return f"a photo of {'an' if thing[0] in 'aeiou' else 'a'} {thing}" if thing else ""


def _common(names: Tensor, weight: Tensor) -> list[str]:
    """The words that are common enough, the most common one first; one at least."""
    shares = torch.bincount(names.flatten(), weight.flatten(), minlength=len(WORDS))
    shares = shares / shares.sum().clamp(min=1e-9)
    order = shares.argsort(descending=True, stable=True).tolist()
    return [WORDS[at] for place, at in enumerate(order) if place == 0 or shares[at] >= LEAST]


def _middle(size: list[int]) -> Tensor:
    rows, columns = (torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in size)
    return torch.exp(-3 * (rows[:, None] ** 2 + columns**2))


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def rewritten(prompt: str) -> str:
    """A prompt with a placeholder before each noun and its adjectives: "a * dog on a * wooden bench"."""
    return NOUNS.sub(lambda found: f"{found[1]} {PLACEHOLDER}", prompt)
