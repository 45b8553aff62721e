"""The registry of partitioners, and the grouping that most of them need."""

from __future__ import annotations

import operator
from collections.abc import Callable

from torch.export import ExportedProgram
from torch.fx import Node

from penlight.backends.base import CompileSpec, DelegationSpec, Partitioner, PartitionResult
from penlight.errors import BackendError

_registry: dict[str, type[Partitioner]] = {}


def register_partitioner(name: str, partitioner: type[Partitioner]) -> None:
    """Make a partitioner known by a short name. Raises BackendError if another has it."""
    if _registry.setdefault(name, partitioner) is not partitioner:
        raise BackendError(
            f"[partitioner {name}] expected a new name but {_registry[name].__name__} has it; "
            "choose another"
        )


def partitioners() -> dict[str, type[Partitioner]]:
    """All registered partitioners by name."""
    return dict(_registry)


def tag_supported(
    program: ExportedProgram,
    supported: Callable[[Node], bool],
    backend_id: str,
    compile_specs: list[CompileSpec],
) -> PartitionResult:
    """Tag all supported nodes in as few groups as dependencies allow.

    A node's level is the number of times that a path to it leaves the supported nodes and comes
    back. Nodes of a level form a group: no path between two of them runs outside of it.
    """
    level: dict[Node, int] = {}
    inside: set[Node] = set()
    for node in program.graph.nodes:
        before = [level[u] + (u not in inside) for u in node.all_input_nodes if level[u] >= 0]
        is_call = node.op == "call_function"
        if is_call and (
            node.args[0] in inside if node.target is operator.getitem else supported(node)
        ):
            level[node] = max(before, default=0)
            inside.add(node)
        else:
            level[node] = max((level[u] for u in node.all_input_nodes), default=-1)
    tags: dict[str, DelegationSpec] = {}
    for node in program.graph.nodes:
        if node in inside:
            tag = f"{backend_id}_{level[node]}"
            node.meta["delegation_tag"] = tag
            tags[tag] = DelegationSpec(backend_id, compile_specs)
    return PartitionResult(program, tags)
