"""Partitioning for the delegate "null"."""

from __future__ import annotations

from collections.abc import Callable

from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Node

from penlight.backends.base import Partitioner, PartitionResult
from penlight.backends.partition import tag_supported


class NullPartitioner(Partitioner):
    """Takes the operators that `supported` accepts; all by default."""

    def __init__(self, supported: Callable[[Node], bool] = lambda node: True) -> None:
        super().__init__()
        self._supported = supported

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        """Tag operators."""

        def supported(node: Node) -> bool:
            return isinstance(node.target, OpOverload) and self._supported(node)

        return tag_supported(exported_program, supported, "null", [])
