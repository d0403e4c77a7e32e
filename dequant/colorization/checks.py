"""What may be asked of a colorizer."""

from typing import Any

from dequant.errors import InputError

MOST_SCALE, MOST_GUIDANCE, MOST_COLORFULNESS = 4.0, 20.0, 150.0
"""Of a call."""


def check_amount(scale: Any, colorfulness: Any) -> None:
    """Refuse a scale or a colourfulness that cannot be drawn with an `InputError`."""
    if scale != "auto" and not _within(scale, MOST_SCALE):
        raise InputError(f"Expected a number from 0 to {MOST_SCALE:g} or 'auto' for scale, got {scale!r}.")
    if colorfulness is not None and not _within(colorfulness, MOST_COLORFULNESS):
        raise InputError(f"Expected a number from 0 to {MOST_COLORFULNESS:g} for colorfulness, got {colorfulness!r}.")


def check_words(prompt: Any, guidance_scale: Any) -> None:
    """Refuse a prompt that is no text, and an impossible guidance, with an `InputError`."""
    if not isinstance(prompt, str):
        raise InputError(f"Expected a text for prompt, got {prompt!r}.")
    if any(0xD800 <= ord(letter) < 0xE000 for letter in prompt):
        raise InputError(f"Expected text in UTF-8 for prompt, got {prompt!r}.")
    if not _within(guidance_scale, MOST_GUIDANCE):
        raise InputError(f"Expected a number from 0 to {MOST_GUIDANCE:g} for guidance_scale, got {guidance_scale!r}.")


def check_number(name: str, value: Any, least: float, most: float) -> None:
    """Refuse what is no number of a range with an `InputError`."""
    if not _within(value, most) or value < least:
        raise InputError(f"Expected a number from {least:g} to {most:g} for {name}, got {value!r}.")


def _within(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
