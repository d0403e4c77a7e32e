"""The pipeline as a block of modular diffusers. That API is experimental, so nothing here is imported unasked."""

import inspect
import json
import re
from inspect import Parameter
from pathlib import Path
from typing import Any

from diffusers.modular_pipelines.modular_pipeline import ModularPipeline, ModularPipelineBlocks, PipelineState
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, ConfigSpec, InputParam, OutputParam

from dequant.errors import InputError
from dequant.io.files import whole_file
from dequant.pipelines.components import KINDS
from dequant.pipelines.dequant import DequantPipeline
from dequant.pipelines.outputs import Images
from dequant.pipelines.saving import INDEX, check_parts, is_hub_id, reading

NOT_HERE = {"self", "return_dict", "callback_on_step_end", "callback_on_step_end_tensor_inputs"}
"""Arguments of a pipeline's call that a block has no use for."""


OTHERS = {"num_inference_steps", "timesteps"}
"""Arguments that a block of another model would mean for itself: here a `sampler` gives them."""


class DequantBlock(ModularPipelineBlocks):
    """Edits photos as `DequantPipeline` does, to the bit, between other blocks.

    Its components and settings are those of the pipeline. Its inputs are the arguments of a call, and may come from a
    block ahead of it, such as the `image`, or the `palette` that replaces the photo's. Steps are given by a `sampler`,
    since the state's may be those of another model.
    """

    @property
    def description(self) -> str:
        """What the block does."""
        return "Denoises photos under a palette, their own or another, or recolours a patch of them."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        """Those of the pipeline; `vae` and `text_embedding` are there for some bases only."""
        return [ComponentSpec(name, kinds[0]) for name, kinds in KINDS.items()]

    @property
    def expected_configs(self) -> list[ConfigSpec]:
        """The pipeline's settings."""
        return [ConfigSpec(name, one.default) for name, one in _settings().items()]

    @property
    def inputs(self) -> list[InputParam]:
        """The arguments of a pipeline's call, in its words."""
        text = inspect.cleandoc(DequantPipeline.__call__.__doc__ or "")
        words = dict(re.findall(r"^ {4}(\w+): (.+?)(?=\n {4}\w|\n\n)", text, re.MULTILINE | re.DOTALL))
        return [_input(one, words.get(name, "")) for name, one in _arguments().items()]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        """The pictures, and what each of them is."""
        return [
            OutputParam("images", Images, "The edited photos, in the form that `output_type` names."),
            OutputParam("labels", list[str], "Which photo, assignment, blend and draw each of them is."),
        ]

    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        """Edit the `image` of the state.

        Raises:
            InputError: a component is not loaded or of the wrong kind, an input is wrong, or two do not go together.
        """
        block = self.get_block_state(state)
        parts = {name: getattr(components, name) for name in KINDS}
        for name, kinds in KINDS.items():
            if parts[name] is None and type(None) not in kinds:
                raise InputError(f"There is no {name} yet: call load_components() first.")
        settings = {name: components.config[name] for name in _settings()}
        output: Any = DequantPipeline(**parts, **settings)(**{name: block[name] for name in _arguments()})
        block.images, block.labels = output.images, output.labels
        self.set_block_state(state, block)
        return components, state


def add_block(folder: str | Path, repo_id: str | None = None) -> None:
    """Make a saved pipeline one of modular diffusers too, by three small files in its folder.

    `ModularPipeline.from_pretrained(folder, trust_remote_code=True)` then makes a pipeline of a `DequantBlock`, and its
    `load_components()` loads the networks. The code in the folder is one line, which imports the installed block.

    Args:
        folder: that `DequantPipeline.save_pretrained` wrote.
        repo_id: "OWNER/NAME" of the folder on the hub, for one that is to be uploaded: diffusers loads components from
            where the index says, and finds those of a local folder without it.

    Raises:
        InputError: the folder holds no such pipeline, or the id is not one.
    """
    folder = Path(folder)
    if repo_id is not None and not is_hub_id(repo_id):
        raise InputError(f"Expected a hub id OWNER/NAME for repo_id, got {repo_id!r}.")
    with reading(folder, folder / INDEX):
        check_parts(folder, KINDS, given=set())
        saved = DequantPipeline.load_config(folder)
    name, index = DequantBlock.__name__, {name: saved[name] for name in _settings() if name in saved}
    for part in KINDS:
        library, kind = saved.get(part) or (None, None)
        if kind is not None:
            source = {"pretrained_model_name_or_path": repo_id, "subfolder": part, "variant": None, "revision": None}
            index[part] = [library, kind, {"type_hint": [library, kind], **source}]
    _write(folder / "block.py", f"from {DequantBlock.__module__} import {name}\n")
    _write_json(folder / "modular_config.json", {"auto_map": {"ModularPipelineBlocks": f"block.{name}"}}, name)
    _write_json(folder / "modular_model_index.json", {"_blocks_class_name": name, **index}, "ModularPipeline")


def _settings() -> dict[str, Parameter]:
    known = inspect.signature(DequantPipeline).parameters
    return {name: one for name, one in known.items() if name not in KINDS}


def _arguments() -> dict[str, Parameter]:
    known = inspect.signature(DequantPipeline.__call__).parameters
    return {name: one for name, one in known.items() if name not in NOT_HERE | OTHERS}


def _input(argument: Parameter, words: str) -> InputParam:
    required = argument.default is Parameter.empty
    default = None if required else argument.default
    return InputParam(argument.name, argument.annotation, default, required, " ".join(words.split()))


def _write_json(path: Path, content: dict[str, Any], class_name: str) -> None:
    _write(path, json.dumps({"_class_name": class_name, **content}, indent=2, sort_keys=True) + "\n")


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text)
