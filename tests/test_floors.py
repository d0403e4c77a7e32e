"""Who may import whom: the house has floors, and data flows one way through them (CONTRIBUTING.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    0: {
        "color",
        "color_8bit",
        "palette",
        "matching",
        "median_cut",
        "palette_files",
        "texture",
        "segmentation",
        "patches",
        "diffusion",
        "metrics",
        "cells",
        "bounds",
        "color_transfer",
        "tiles",
        "orientations",
        "fsdp",
    },
    1: {
        "sampling",
        "fidelity",
        "consistency",
        "png",
        "segment_maps",
        "condition",
        "pretrained",
        "released",
        "base",
        "control",
        "images",
        "inputs",
        "sources",
        "samples",
        "remote",
        "streaming",
        "data",
        "shards",
    },
    2: {"dequantizer"},
    3: {
        "protocols",
        "methods",
        "measurements",
        "evaluation",
        "perceptual",
        "baselines",
        "paper",
        "provenance",
        "figures",
        "reports",
        "gallery",
        "callbacks",
        "checkpoints",
        "throughput",
        "loggers",
        "convert",
        "pipeline",
        "answers",
    },
    4: {"doors", "cli", "readme_table"},
}
WITHIN_FLOOR = {
    "color": {"color_8bit"},
    "matching": {"color"},
    "palette_files": {"color"},
    "texture": {"color"},
    "color_transfer": {"color"},
    "patches": {"color", "segmentation"},
    "images": {"png"},
    "palette": {"color", "matching", "median_cut", "palette_files"},
    "metrics": {"cells", "color", "palette", "texture"},
    "cells": {"color", "palette"},
    "bounds": {"color", "texture"},
    "sampling": {"fidelity"},
    "sources": {"images"},
    "inputs": {"condition", "images"},
    "base": {"pretrained"},
    "consistency": {"control"},
    "data": {"condition", "images", "samples", "sources", "streaming"},
    "segment_maps": {"images"},
    "remote": {"images", "sources"},
    "samples": {"condition", "segment_maps", "sources"},
    "streaming": {"images", "remote", "samples"},
    "shards": {"images", "segment_maps", "sources"},
    "methods": {"protocols"},
    "evaluation": {"measurements", "methods", "protocols"},
    "perceptual": {"measurements", "methods", "protocols"},
    "reports": {"figures", "measurements", "methods", "paper", "protocols"},
    "gallery": {"evaluation", "figures", "methods", "protocols", "reports"},
    "loggers": {"figures", "measurements", "protocols"},
    "answers": {"figures"},
    "pipeline": {"answers"},
    "readme_table": {"doors"},
    "cli": {"doors"},
}

EXPORTS = {("dequantizer", "pipeline")}
"""Imports inside a function that makes the upper one from the lower one."""


def modules() -> list[Path]:
    return [p for p in (ROOT / "dequant").rglob("*.py") if p.stem != "__init__"]


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports when it runs (imports for type checking do not count)."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    skipped = {
        node
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.unparse(guard.test)
        for node in ast.walk(guard)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "dequant"):
            parts = [] if node.level else (node.module or "").split(".")[1:]
            parts = (node.module or "").split(".") if node.level and node.module else parts
            names |= {parts[0]} if parts and parts[0] else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("dequant.")}
    return names & {module.stem for module in modules()}


def test_every_module_has_a_floor() -> None:
    known = set().union(*FLOORS.values())
    assert {path.stem for path in modules()} <= known


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_imports_go_down(path: Path) -> None:
    floor = {name: level for level, names in FLOORS.items() for name in names}
    for name in imported(path):
        if (path.stem, name) in EXPORTS:
            continue
        same = floor[name] == floor[path.stem]
        assert floor[name] < floor[path.stem] or (same and name in WITHIN_FLOOR.get(path.stem, set())), (
            f"{path.stem} (floor {floor[path.stem]}) may not import {name} (floor {floor[name]})"
        )


def test_systems_do_not_read_data() -> None:
    for name in FLOORS[2]:
        assert "data" not in imported(ROOT / "dequant" / f"{name}.py")


@pytest.mark.parametrize("library", ["hydra", "wandb"])
def test_frameworks_stay_at_the_doors(library: str) -> None:
    users = {
        path.stem
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and library in {(getattr(node, "module", "") or "").split(".")[0], *(a.name.split(".")[0] for a in node.names)}
    }
    assert users <= {"doors", "loggers"}
