"""Delegation: partitions are cut out, lowered by their backend, and run by their delegate."""

from __future__ import annotations

from typing import Any, ClassVar, final

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export

import penlight
from penlight import to_edge, to_edge_transform_and_lower
from penlight.backends import (
    BackendDetails,
    CompileSpec,
    DelegationSpec,
    NullPartitioner,
    Partitioner,
    PartitionResult,
    PreprocessResult,
    ReferencePartitioner,
    partitioners,
)
from penlight.errors import BackendError, ExportError

aten = torch.ops.aten


class Chain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.exp(x)
        z = torch.sin(y)
        return y + z


@pytest.fixture
def chain() -> ExportedProgram:
    return export(Chain(), (torch.ones(3),))


def run(manager: Any, *inputs: Tensor) -> Tensor:
    data = manager.to_executorch().buffer
    return torch.as_tensor(penlight.load(data).method("forward").execute(list(inputs))[0])


def test_the_registry_knows_the_built_in_partitioners() -> None:
    known = partitioners()
    assert (known["null"], known["reference"]) == (NullPartitioner, ReferencePartitioner)


def test_the_null_delegate_writes_zeros(chain: ExportedProgram) -> None:
    partitioner = NullPartitioner(lambda node: node.target is aten.sin.default)
    x = torch.randn(3)
    assert torch.allclose(run(to_edge(chain).to_backend(partitioner), x), torch.exp(x))


def test_the_reference_delegate_agrees_with_eager(chain: ExportedProgram) -> None:
    x = torch.randn(3)
    edge = to_edge(chain).to_backend({"forward": ReferencePartitioner()})
    assert torch.allclose(run(edge, x), Chain()(x))
    assert torch.allclose(edge.exported_program().module()(x), Chain()(x))


def test_operators_around_an_unsupported_one_become_two_partitions(chain: ExportedProgram) -> None:
    partitioner = ReferencePartitioner(lambda node: node.target is not aten.sin.default)
    program = to_edge(chain).to_backend(partitioner).to_executorch()
    assert len(program.executorch_program.execution_plan[0].delegates) == 2


@final
class SpyBackend(BackendDetails):
    seen: ClassVar[list[list[CompileSpec]]] = []

    @staticmethod
    def preprocess(edge_program: ExportedProgram, compile_specs: Any) -> PreprocessResult:
        SpyBackend.seen.append(compile_specs)
        return PreprocessResult(processed_bytes=b"spy")


class Tagger(Partitioner):
    """Tags by operator."""

    def __init__(self, tags: dict[Any, str], backend: str = "SpyBackend") -> None:
        super().__init__()
        self.tags, self.backend = tags, backend

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        for node in exported_program.graph.nodes:
            if node.target in self.tags:
                node.meta["delegation_tag"] = self.tags[node.target]
        spec = DelegationSpec(self.backend, [CompileSpec("level", b"2")])
        return PartitionResult(exported_program, dict.fromkeys(self.tags.values(), spec))


def test_a_backend_is_found_by_class_name_and_gets_its_options(chain: ExportedProgram) -> None:
    SpyBackend.seen.clear()
    program = to_edge(chain).to_backend(Tagger({aten.sin.default: "a"})).to_executorch()
    assert SpyBackend.seen == [[CompileSpec("level", b"2")]]
    delegate = program.executorch_program.execution_plan[0].delegates[0]
    assert delegate.id == "SpyBackend"
    assert [(spec.key, spec.value) for spec in delegate.compile_specs] == [("level", b"2")]


def test_a_partition_that_something_else_comes_between_is_refused(chain: ExportedProgram) -> None:
    with pytest.raises(BackendError, match="split the tag in two"):
        to_edge(chain).to_backend(Tagger({aten.exp.default: "a", aten.add.Tensor: "a"}))


def test_an_unknown_backend_is_refused(chain: ExportedProgram) -> None:
    with pytest.raises(BackendError, match="got 'Nowhere'"):
        to_edge(chain).to_backend(Tagger({aten.sin.default: "a"}, "Nowhere"))


class Vandal(Partitioner):
    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        for node in exported_program.graph.nodes:
            if node.target is aten.sin.default:
                node.target = aten.cos.default
        return PartitionResult(exported_program, {})


def test_a_partitioner_must_not_change_the_graph(chain: ExportedProgram) -> None:
    with pytest.raises(BackendError, match="expected tags only"):
        to_edge(chain).to_backend(Vandal())


class KeepsSilu(Tagger):
    def ops_to_not_decompose(self, ep: ExportedProgram) -> tuple[list[Any], None]:
        return [aten.silu.default], None


def test_operators_are_kept_whole_for_a_backend_that_takes_them() -> None:
    captured = export(nn.SiLU(), (torch.ones(3),))
    taken = KeepsSilu({aten.silu.default: "a"})
    edge = to_edge_transform_and_lower(captured, partitioner=[taken])
    assert len(edge.to_executorch().executorch_program.execution_plan[0].delegates) == 1
    with pytest.raises(ExportError, match="to be delegated"):
        to_edge_transform_and_lower(captured, partitioner=[KeepsSilu({})])


def test_a_partitioner_must_be_an_instance(chain: ExportedProgram) -> None:
    with pytest.raises(ExportError, match="expected instances of"):
        to_edge(chain).to_backend(ReferencePartitioner)  # type: ignore[arg-type]
