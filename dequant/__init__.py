"""Control the colours of a photograph with a diffusion model."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dequant")
except PackageNotFoundError:  # used from a checkout that is not installed
    __version__ = "0.0.0"


class InputError(ValueError):
    """Bad input from the user: the message is one sentence saying what is wrong and what would be right."""
