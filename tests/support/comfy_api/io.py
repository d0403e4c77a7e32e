"""The stub's `comfy_api.latest.io`: types, schemas, nodes and what they return."""

import inspect
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch


class Input:
    """An input with a socket."""

    io_type = ""

    def __init__(
        self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None
    ) -> None:
        assert id.isidentifier(), f"{id!r} is no parameter of execute"
        self.id, self.display_name, self.optional, self.tooltip = id, display_name, optional, tooltip
        self.default: Any = None

    def check(self, value: Any) -> None:
        """Refuse a value that ComfyUI would not hand over."""


class Output:
    """An output."""

    io_type = ""

    def __init__(self, id: str | None = None, display_name: str | None = None, tooltip: str | None = None) -> None:
        self.id, self.display_name, self.tooltip = id, display_name, tooltip

    def check(self, value: Any) -> None:
        """Refuse a value that other nodes would not understand."""


class _Number(Input):
    kinds: tuple[type, ...] = ()

    def _bounded(self, default: Any, min: Any, max: Any, step: Any) -> None:
        assert min is None or max is None or min <= default <= max
        assert all(isinstance(one, self.kinds) for one in (default, min, max, step) if one is not None)
        self.default, self.min, self.max, self.step = default, min, max, step

    def check(self, value: Any) -> None:
        assert isinstance(value, self.kinds) and not isinstance(value, bool), f"{self.id} is {value!r}"
        assert self.min is None or value >= self.min, f"Value {value} smaller than min of {self.min}"
        assert self.max is None or value <= self.max, f"Value {value} bigger than max of {self.max}"


class Int:
    class Input(_Number):
        io_type, kinds = "INT", (int,)

        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            *,
            default: int | None = None,
            min: int | None = None,
            max: int | None = None,
            step: int | None = None,
            control_after_generate: bool | None = None,
        ) -> None:
            super().__init__(id, display_name, optional, tooltip)
            self._bounded(default, min, max, step)


class Float:
    class Input(_Number):
        io_type, kinds = "FLOAT", (int, float)

        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            *,
            default: float | None = None,
            min: float | None = None,
            max: float | None = None,
            step: float | None = None,
            round: float | None = None,
        ) -> None:
            super().__init__(id, display_name, optional, tooltip)
            self._bounded(default, min, max, step)


class String:
    class Input(Input):
        io_type = "STRING"

        def __init__(
            self,
            id: str,
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            *,
            multiline: bool = False,
            placeholder: str | None = None,
            default: str | None = None,
        ) -> None:
            super().__init__(id, display_name, optional, tooltip)
            self.default = "" if default is None else default

        def check(self, value: Any) -> None:
            assert isinstance(value, str)

    class Output(Output):
        io_type = "STRING"

        def check(self, value: Any) -> None:
            assert isinstance(value, str)


class Combo:
    class Input(Input):
        io_type = "COMBO"

        def __init__(
            self,
            id: str,
            options: list[str],
            display_name: str | None = None,
            optional: bool = False,
            tooltip: str | None = None,
            *,
            default: str | None = None,
        ) -> None:
            super().__init__(id, display_name, optional, tooltip)
            assert isinstance(options, list) and (default is None or default in options)
            self.options, self.default = options, options[0] if default is None else default

        def check(self, value: Any) -> None:
            assert value in self.options, f"{self.id}: {value!r} not in {self.options}"


def _check_image(value: Any) -> None:
    assert isinstance(value, torch.Tensor) and value.ndim == 4 and value.dtype == torch.float32


def _check_mask(value: Any) -> None:
    assert isinstance(value, torch.Tensor) and value.ndim in (2, 3) and value.dtype == torch.float32


class Image:
    class Input(Input):
        io_type = "IMAGE"

        def check(self, value: Any) -> None:
            _check_image(value)

    class Output(Output):
        io_type = "IMAGE"

        def check(self, value: Any) -> None:
            _check_image(value)
            assert value.shape[-1] in (3, 4) and 0 <= value.min() <= value.max() <= 1


class Mask:
    class Input(Input):
        io_type = "MASK"

        def check(self, value: Any) -> None:
            _check_mask(value)

    class Output(Output):
        io_type = "MASK"

        def check(self, value: Any) -> None:
            _check_mask(value)
            assert value.ndim == 3


def Custom(name: str) -> Any:
    """A type with a name of its own."""
    members = {
        "Input": type("Input", (Input,), {"io_type": name}),
        "Output": type("Output", (Output,), {"io_type": name}),
    }
    return type("CustomComfyType", (), members)


@dataclass
class Schema:
    """What a node says of itself."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Any] = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    not_idempotent: bool = False


class NodeOutput:
    """What a node returns."""

    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.args, self.ui = args, ui

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class ComfyNode:
    """A node; all is in its class."""

    execute: ClassVar[Any]
    validate_inputs: ClassVar[Any]

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        """The schema, checked against itself and the parameters of the functions."""
        schema = cls.define_schema()
        assert isinstance(schema, Schema)
        for number, output in enumerate(schema.outputs):
            output.id = output.id or f"_{number}_{output.io_type}_"
        ids = [*(one.id for one in schema.inputs), *(one.id for one in schema.outputs)]
        assert len(set(ids)) == len(ids), "ids must be unique within inputs and outputs and between them"
        found = inspect.signature(cls.execute).parameters
        assert set(found) == {one.id for one in schema.inputs}, "execute takes the inputs by their ids"
        may_miss = {name for name, one in found.items() if one.default is not inspect.Parameter.empty}
        assert may_miss == {one.id for one in schema.inputs if one.optional}, "optional inputs have defaults, no others"
        if "validate_inputs" in vars(cls):
            wanted = inspect.signature(cls.validate_inputs).parameters
            assert set(wanted) <= set(found)
        return schema
