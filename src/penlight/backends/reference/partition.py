"""Partitioning for the delegate "reference"."""

from __future__ import annotations

from collections.abc import Callable

from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Node

from penlight.backends.base import Partitioner, PartitionResult
from penlight.backends.partition import tag_supported
from penlight.edge.operators import SYMBOLIC


class ReferencePartitioner(Partitioner):
    """Takes every tensor operator, or those that `supported` accepts."""

    def __init__(self, supported: Callable[[Node], bool] = lambda node: True) -> None:
        super().__init__()
        self._supported = supported

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        """Tag operators; arithmetic on sizes stays outside."""

        def supported(node: Node) -> bool:
            is_operator = isinstance(node.target, OpOverload) and node.target not in SYMBOLIC
            return is_operator and self._supported(node)

        return tag_supported(exported_program, supported, "reference", [])
