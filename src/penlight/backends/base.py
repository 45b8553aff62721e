"""The classes a backend is made of. Names and meanings are ExecuTorch's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch._ops import HigherOrderOperator
from torch.export import ExportedProgram
from torch.fx import Node

from penlight.errors import BackendError


@dataclass
class CompileSpec:
    """One option for a backend; it is kept in the program and given to the delegate."""

    key: str
    value: bytes


class DelegationSpec(NamedTuple):
    """Who runs a partition, and how it is compiled."""

    backend_id: str
    compile_specs: list[CompileSpec]


@dataclass
class PartitionResult:
    """The given program with ``meta["delegation_tag"]`` on nodes, and what each tag means."""

    tagged_exported_program: ExportedProgram
    partition_tags: dict[str, DelegationSpec]


class Partitioner(ABC):
    """Chooses the parts of an edge program that a backend runs."""

    def __init__(self, spec: Mapping[Any, object] = MappingProxyType({})) -> None:
        self._spec = spec

    def __call__(self, exported_program: ExportedProgram) -> PartitionResult:
        return self.partition(exported_program)

    @property
    def spec(self) -> Mapping[Any, object]:
        """The options that it was made with."""
        return self._spec

    @abstractmethod
    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        """Tag nodes; the graph itself must not be changed."""

    def ops_to_not_decompose(
        self, ep: ExportedProgram
    ) -> tuple[list[Any], Callable[[Node], bool] | None]:
        """Operators to keep whole in `to_edge_transform_and_lower`, and a filter or None."""
        return [], None

    def transform_for_pre_decomposition(self, exported_program: ExportedProgram) -> ExportedProgram:
        """Rewrite a captured program before it is decomposed."""
        return exported_program


@dataclass
class PreprocessResult:
    """What a backend made of a partition."""

    processed_bytes: bytes = b""
    debug_handle_map: dict[Any, Any] | None = None
    data_store_output: Any = None


class BackendDetails(ABC):
    """Turns a partition into bytes. A backend's id is its `backend_id`, or its class name."""

    backend_id: str = ""

    @staticmethod
    @abstractmethod
    def preprocess(
        edge_program: ExportedProgram, compile_specs: list[CompileSpec]
    ) -> PreprocessResult:
        """The bytes for the delegate. `edge_program` is the backend's own copy."""


class LoweredBackendModule(torch.nn.Module):
    """A partition after lowering. Called, it runs the original operators in eager PyTorch."""

    def __init__(
        self,
        edge_program: ExportedProgram,
        backend_id: str,
        processed_bytes: bytes,
        compile_specs: list[CompileSpec],
    ) -> None:
        super().__init__()
        self.original_module = edge_program
        self.backend_id = backend_id
        self.processed_bytes = processed_bytes
        self.compile_specs = compile_specs
        self.meta: dict[str, Any] = {}

    def forward(self, *args: Any) -> tuple[Any, ...]:
        """The partition's outputs, computed in eager PyTorch."""
        results = self.original_module.module()(*args)
        return tuple(results) if isinstance(results, list | tuple) else (results,)


class _CallDelegate(HigherOrderOperator):
    """The graph node of a delegate: ``(lowered, *inputs)`` to a tuple of outputs."""

    is_penlight_delegate = True

    def __init__(self) -> None:
        super().__init__("penlight_call_delegate")  # type: ignore[no-untyped-call]

    def __call__(self, lowered: LoweredBackendModule, /, *args: Any) -> tuple[Any, ...]:
        return lowered(*args)  # type: ignore[no-any-return]


executorch_call_delegate = _CallDelegate()

_program_writer: Callable[[ExportedProgram], bytes] | None = None


def set_program_writer(writer: Callable[[ExportedProgram], bytes]) -> None:
    """Say how a backend can write a partition as a program of its own (see `write_program`)."""
    global _program_writer
    _program_writer = writer


def write_program(program: ExportedProgram) -> bytes:
    """A complete ``.pte`` whose method "forward" runs an edge program."""
    if _program_writer is None:
        raise BackendError(
            "[backend] expected penlight.to_edge to be imported but it is not; import it first"
        )
    return _program_writer(program)


def find_backend(backend_id: str) -> type[BackendDetails]:
    """The backend with an id. Raises BackendError if no class with it was defined."""
    known = {cls.backend_id or cls.__name__: cls for cls in BackendDetails.__subclasses__()}
    if backend_id not in known:
        raise BackendError(
            f"[backend] expected one of {', '.join(sorted(known))} but got {backend_id!r}; "
            "import the module that defines it"
        )
    return known[backend_id]
