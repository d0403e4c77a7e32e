"""Errors of the user's making: one sentence each."""


class InputError(ValueError):
    """Bad input from the user: the message is one sentence saying what is wrong and what would be right."""
