"""Backends: parts of a graph that something other than our kernels runs.

A backend is a `Partitioner`, which tags the nodes it wants, and a `BackendDetails`, whose
`preprocess` turns such a part into bytes for the delegate of the same id in the runtime::

    class MyPartitioner(Partitioner):
        def partition(self, exported_program):
            for node in exported_program.graph.nodes:
                if wanted(node):
                    node.meta["delegation_tag"] = "tag0"
            return PartitionResult(exported_program, {"tag0": DelegationSpec("MyBackend", [])})

    @final
    class MyBackend(BackendDetails):
        @staticmethod
        def preprocess(edge_program, compile_specs):
            return PreprocessResult(processed_bytes=compile(edge_program))

    register_partitioner("my", MyPartitioner)

Class names and meanings are ExecuTorch's.
"""

from penlight.backends.base import (
    BackendDetails,
    CompileSpec,
    DelegationSpec,
    LoweredBackendModule,
    Partitioner,
    PartitionResult,
    PreprocessResult,
)
from penlight.backends.null.lower import NullBackend
from penlight.backends.null.partition import NullPartitioner
from penlight.backends.partition import partitioners, register_partitioner
from penlight.backends.reference.lower import ReferenceBackend
from penlight.backends.reference.partition import ReferencePartitioner

register_partitioner("null", NullPartitioner)
register_partitioner("reference", ReferencePartitioner)

__all__ = [
    "BackendDetails",
    "CompileSpec",
    "DelegationSpec",
    "LoweredBackendModule",
    "NullBackend",
    "NullPartitioner",
    "PartitionResult",
    "Partitioner",
    "PreprocessResult",
    "ReferenceBackend",
    "ReferencePartitioner",
    "partitioners",
    "register_partitioner",
]
