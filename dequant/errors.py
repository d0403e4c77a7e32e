"""Errors of the user's making: one sentence each."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Bad input from the user: the message is one sentence saying what is wrong and what would be right."""


@contextmanager
def one_sentence(explain: Callable[[BaseException], str | None] | None = None) -> Iterator[None]:
    """Turn bad input and file system errors into `error: ...` on stderr and exit status 1.

    Anything else is a defect of the program and keeps its traceback.

    Args:
        explain: the sentence for an error of a library that is the user's to mend, or None.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if sentence := (explain(cause) if explain else None) or _sentence(cause):
                sys.exit(f"error: {sentence}")
            cause = cause.__cause__ or cause.__context__
        raise


def _sentence(error: BaseException) -> str | None:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}." if error.filename else f"{error}."
    return None
