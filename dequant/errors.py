"""Errors of the user's making: one sentence each."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from numbers import Integral
from types import FrameType
from typing import Any

from dequant.masking import escape, mask

SIGNALS = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
"""Signals that ask a program to stop, as messages name them."""


class InputError(ValueError):
    """Bad input from the user: the message is one sentence saying what is wrong and what would be right."""


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A number that counts something, numpy's included, as an int.

    Args:
        name: of the number, for the error.
        value: what the user gave.
        least: the smallest that is possible.
        most: the largest, None for no limit.

    Raises:
        InputError: it is no whole number, or out of its range; True and 4.0 are none.
    """
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is not None and number >= least and (most is None or number <= most):
        return number
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise InputError(f"Expected a whole number {wanted} for {name}, got {value!r}.")


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
        said = sentence(error, explain)
        if said is None:
            raise
        sys.exit(f"error: {said}")


def sentence(error: BaseException, explain: Callable[[BaseException], str | None] | None = None) -> str | None:
    """What bad input or an error of the file system is, on one line and without secrets; None for a defect.

    Args:
        error: what was raised. Its causes count, too, and before them all an `InputError`.
        explain: as in `one_sentence`.
    """
    chain = list(_causes(error))
    sentences = [_input_error(one) for one in chain if isinstance(one, InputError)]
    sentences += [said for one in chain if (said := (explain(one) if explain else None) or _os_error(one))]
    return escape(mask(sentences[0])) if sentences else None


def is_full(error: BaseException) -> bool:
    """Whether the cause of an error is a full disk; safetensors says so in its text alone."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    said = tuple(f"(os error {number})" for number in numbers)
    return any(
        one.errno in numbers if isinstance(one, OSError) and one.errno else any(text in str(one) for text in said)
        for one in _causes(error)
    )


def need(module: str, extra: str) -> None:
    """End the program with what to install, where a package of an extra is missing. Call it ahead of its import."""
    if find_spec(module) is None:
        sys.exit(f"error: {missing(module, extra)}")


def missing(module: str, extra: str) -> str:
    """The sentence about a package that is not installed."""
    return f"This needs {module}: pip install 'dequant[{extra}]'."


def obey_signals(advice: str = "", importing: bool = False) -> None:
    """From now on SIGTERM and Ctrl-C end the program with a message, as any other exit does.

    Args:
        advice: what follows in the message.
        importing: there is nothing to clean up yet, and libraries that are being imported may catch the exit.
    """
    process = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        message = f"stopped by {SIGNALS[signal.Signals(signum)]}{advice and f': {advice}'}"
        if os.getpid() != process:  # loading processes leave with their parent
            return
        if importing:
            os.write(2, f"{message}\n".encode())
            os._exit(1)
        sys.exit(message)

    for signum in SIGNALS:
        signal.signal(signum, stop)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _input_error(error: InputError) -> str:
    return str(error).rpartition(f"{InputError.__name__}: ")[2].strip()  # a loading process puts its traceback before


def _os_error(error: BaseException) -> str | None:
    if not isinstance(error, OSError):
        return None
    what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{what}: free some space there, or choose another folder." if full else f"{what}."
