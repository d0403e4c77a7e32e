"""What every command does alike: errors of the user's making become one sentence and a non-zero exit."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from dequant import InputError


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn bad input, bad options and file system errors into `error: ...` on stderr and exit status 1.

    Anything else is a defect of the program and keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except Exception as error:
        cause = _cause(error)
        if cause is None:
            raise
        sys.exit(f"error: {cause}")


def run(main: Callable[[], object]) -> None:
    """Run a Hydra main under `one_sentence`, its composition errors included."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    with one_sentence():
        main()


def _cause(error: BaseException | None) -> str | None:
    """The sentence for the user, from the error or what it was raised from; None if the program is at fault."""
    while error is not None:
        if isinstance(error, InputError):
            return str(error)
        if isinstance(error, HydraException | OmegaConfBaseException) and not isinstance(error, InstantiationException):
            return " ".join(str(error).split("Config search path")[0].split())
        if isinstance(error, OSError):
            return f"{error.strerror or error}: {error.filename}." if error.filename else f"{error}."
        error = error.__cause__ or error.__context__
    return None
