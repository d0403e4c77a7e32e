"""What train.py and evaluate.py show before their imports, which take seconds."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

SHOWN = {"--help", "-h", "--hydra-help"}


def show_help(name: str) -> None:
    """Print the help of a program and end, where its command line asks for it.

    Args:
        name: of the program and of its configuration, such as train.
    """
    if SHOWN & set(sys.argv[1:]):

        def program(cfg: DictConfig) -> None:
            """Never runs: Hydra shows its help in place of it."""

        program.__module__ = name  # which Hydra calls the program by
        hydra.main(version_base="1.3", config_path=str(Path(__file__).parents[2] / "conf"), config_name=name)(program)()
        sys.exit()
