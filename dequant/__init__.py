"""Control the colours of a photograph with a diffusion model."""

from importlib.metadata import PackageNotFoundError, version

from dequant.errors import InputError as InputError

try:
    __version__ = version("dequant")
except PackageNotFoundError:  # used from a checkout that is not installed
    __version__ = "0.0.0"
