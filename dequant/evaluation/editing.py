"""Whether an edit by words changes the thing that it names, and leaves the rest (arXiv:2308.01655)."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from rich.progress import track
from torch import Tensor

from dequant.color.spaces import rgb_to_lab
from dequant.condition.scenes import HUES, random_scene
from dequant.evaluation.colorization import Summary, rows
from dequant.metrics.coloring import winner

Edit = Callable[[str | None, float], Tensor]
"""An edit, None for the picture as the prompt had it, and its strength -> the picture (3, H, W) in [0, 1]."""

Tune = Callable[[Tensor, str], Edit]
"""A photo (3, H, W) and a prompt -> edits of it."""

QUARTER = 0.25
"""Of the thing's move that the ground may move."""


def by_edit(tune: Tune, name: str, scenes: int, size: int, seed: int, strengths: Sequence[float]) -> Summary:
    """Edits of drawn scenes, whose lightness tells nothing: the prompt names both colours, the edit another thing's.

    Args:
        tune: the colorizer.
        name: of it.
        scenes: number of scenes.
        size: of a scene in pixels.
        seed: of the scenes and the words.
        strengths: of the edits.

    Returns:
        Of the picture that the prompt led to, `obeyed` by thing and ground. For each strength `obeyed`, whether the
        thing has the hue of its new word; `toward`, whether its hue came nearer to that word's; `moved`, by how much
        its mean chroma and that of the ground moved; and `kept`, whether the ground moved less than a quarter as much
        as the thing.
    """
    rng, first = np.random.default_rng(seed), dict[str, list[float]]()
    found: dict[tuple[float, str, str], list[float]] = {}
    for _ in track(range(scenes), "edits of scenes", transient=True):
        scene = random_scene(size, rng)
        inside, words = scene.inside.float(), scene.caption.split()
        new = str(rng.choice([one for one in HUES if one not in (scene.word, scene.ground)]))
        edit = f"{'an' if new[0] in 'aeiou' else 'a'} {new} {' '.join(words[2:])}"
        made = tune(scene.rgb, scene.caption)
        before = made(None, 0.0)
        first.setdefault("thing", []).append(float(winner(before, inside) == scene.word))
        first.setdefault("ground", []).append(float(winner(before, 1 - inside) == scene.ground))
        for strength in strengths:
            after = made(edit, strength)
            thing, ground = (moved(before, after, part) for part in (inside, 1 - inside))
            nearer = off(after, inside, new) < off(before, inside, new)
            values = {("obeyed", "thing"): float(winner(after, inside) == new), ("toward", "thing"): float(nearer)}
            values |= {("moved", "thing"): thing}
            values |= {("moved", "ground"): ground, ("kept", "ground"): float(ground < QUARTER * thing)}
            for (metric, part), value in values.items():
                found.setdefault((strength, metric, part), []).append(value)
    summary = [
        row for part, values in first.items() for row in rows(f"{name} prompt", {"obeyed": values}, {}, method=part)
    ]
    return summary + [
        row
        for (strength, metric, part), values in found.items()
        for row in rows(name, {metric: values}, {}, method=part, strength=strength)
    ]


def off(picture: Tensor, part: Tensor, word: str) -> float:
    """Degrees between the hue of the mean chroma of a part (H, W) of a picture (3, H, W) and that of a word."""
    a, b = ((rgb_to_lab(picture)[1:] * part).sum((1, 2)) / part.sum()).tolist()
    return abs((math.degrees(math.atan2(b, a)) - HUES[word] + 180) % 360 - 180)


def moved(before: Tensor, after: Tensor, part: Tensor) -> float:
    """Distance in a*b* between the mean chroma of a part (H, W) of two pictures (3, H, W)."""
    change = (rgb_to_lab(after) - rgb_to_lab(before))[1:]
    return float(((change * part).sum((1, 2)) / part.sum()).norm())
