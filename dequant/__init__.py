"""Control the colours of a photograph with a diffusion model.

What is exported is imported when it is first used: `import dequant` itself takes no time.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dequant.color.palette import quantize
    from dequant.diffusion.sampler import Sampler
    from dequant.errors import InputError
    from dequant.pipelines.loading import load

    __version__: str

__all__ = ["InputError", "Sampler", "__version__", "load", "quantize"]

_MODULES = {
    "InputError": "errors",
    "Sampler": "diffusion.sampler",
    "load": "pipelines.loading",
    "quantize": "color.palette",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name in _MODULES:
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("dequant")
    except PackageNotFoundError:  # used from a checkout that is not installed
        return "0.0.0"
