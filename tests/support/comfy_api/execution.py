"""How the stub runs nodes: each by itself, or a workflow in the format of ComfyUI's API."""

from collections.abc import Mapping
from typing import Any

import torch

from tests.support.comfy_api.io import ComfyNode, NodeOutput, Schema

shown: list[tuple[float, float]] = []
"""Progress, as values and their largest."""


class ProgressBar:
    """`comfy.utils.ProgressBar`."""

    def __init__(self, total: float, node_id: str | None = None) -> None:
        self.current, self.total = 0.0, total

    def update(self, value: float) -> None:
        self.current += value
        assert self.current <= self.total
        shown.append((self.current, self.total))


class ValidationError(Exception):
    """What ComfyUI shows before anything runs."""


class _Locked(type):
    """A class that holds no state between runs."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(f"Cannot modify class attribute {name!r}")


def run(node: type[ComfyNode], **given: Any) -> NodeOutput:
    """Run a node as ComfyUI does: checked, in inference mode, with defaults for widgets that were not touched."""
    schema = node.GET_SCHEMA()
    inputs = {one.id: one.default for one in schema.inputs if one.default is not None} | given
    assert set(inputs) <= {one.id for one in schema.inputs}, "an input is unknown"
    for one in schema.inputs:
        assert one.optional or one.id in inputs, f"Required input is missing: {one.id}"
        if one.id in inputs:
            one.check(inputs[one.id])
    validate(node, inputs)
    locked: Any = _Locked(node.__name__, (node,), {})
    shown.clear()
    with torch.inference_mode():
        found = locked.execute(**inputs)
    return _checked(found, schema)


def validate(node: type[ComfyNode], inputs: Mapping[str, Any]) -> None:
    """Ask a node whether its widgets are right; a linked input is None, as it is not known yet."""
    check = vars(node).get("validate_inputs")
    if check is None:
        return
    wanted = check.__func__.__code__.co_varnames[1 : check.__func__.__code__.co_argcount]
    said = node.validate_inputs(**{name: inputs.get(name) for name in wanted})
    if said is not True:
        raise ValidationError(said)


def run_workflow(nodes: Mapping[str, type[ComfyNode]], prompt: Mapping[str, Any]) -> dict[str, NodeOutput]:
    """Run a workflow, `{id: {"class_type": ..., "inputs": {name: value or [id, number of an output]}}}`."""
    done: dict[str, NodeOutput] = {}

    def result(number: str) -> NodeOutput:
        if number not in done:
            node, given = nodes[prompt[number]["class_type"]], prompt[number]["inputs"]
            kinds = {one.id: one.io_type for one in node.GET_SCHEMA().inputs}
            links = {name: value for name, value in given.items() if isinstance(value, list)}
            for name, (source, slot) in links.items():
                sent = nodes[prompt[source]["class_type"]].GET_SCHEMA().outputs[slot].io_type
                assert sent == kinds[name], f"{name}, received_type({sent}) mismatch input_type({kinds[name]})"
            validate(node, {name: None if name in links else value for name, value in given.items()})
            values = {name: result(value[0])[value[1]] if name in links else value for name, value in given.items()}
            done[number] = run(node, **values)
        return done[number]

    for number in prompt:
        result(number)
    return done


def _checked(found: Any, schema: Schema) -> NodeOutput:
    assert isinstance(found, NodeOutput), f"Invalid return type from node: {type(found)}"
    assert len(found.args) == len(schema.outputs), "as many values as outputs"
    for output, value in zip(schema.outputs, found.args, strict=True):
        output.check(value)
    return found
