"""The shared graph: names survive, and a broken graph is named with the pass that broke it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import export

from penlight import to_edge
from penlight.edge.containers import encode
from penlight.edge.graph import EdgeGraph
from penlight.edge.operators import out_variant
from penlight.edge.verify import verify
from penlight.errors import ExportError

aten = torch.ops.aten


class Builtin(nn.Module):
    """Its argument is called as a Python builtin."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.exp(input) + 1


def test_an_input_may_be_called_like_a_builtin() -> None:
    program = to_edge(export(Builtin(), (torch.ones(2),))).to_executorch()
    assert program.linear_method().input_names == ["input"]


def test_the_verifier_names_the_pass_and_the_operator_that_writes() -> None:
    graph = EdgeGraph(to_edge(export(Builtin(), (torch.ones(2),))).exported_program())
    node = graph.calls(aten.exp.default)[0]
    node.target = aten.exp_.default
    with pytest.raises(ExportError, match=r"\[my_pass\].*aten.exp_.default at exp, which writes"):
        verify(graph, "my_pass")


def test_the_verifier_finds_a_use_before_the_definition() -> None:
    graph = EdgeGraph(to_edge(export(Builtin(), (torch.ones(2),))).exported_program())
    exp, add = graph.calls()
    exp.prepend(add)
    with pytest.raises(ExportError, match="exp before its use in add"):
        verify(graph, "my_pass")


@pytest.mark.parametrize(
    ("functional", "kernel"),
    [
        (aten.add.Tensor, "aten::add.out"),
        (aten.max.dim, "aten::max.dim_max"),
        (aten.any.dim, "aten::any.out"),
        (aten.full.default, "aten::full.out"),
        (aten._to_copy.default, "aten::_to_copy.out"),
        (aten.split_with_sizes_copy.default, "aten::split_with_sizes_copy.out"),
        (aten.native_layer_norm.default, "aten::native_layer_norm.out"),
    ],
)
def test_every_operator_has_the_out_variant_of_its_schema(functional: object, kernel: str) -> None:
    variant = out_variant(functional)  # type: ignore[arg-type]
    assert variant is not None
    assert f"{variant.name}.{variant.overload}" == kernel
    assert variant.parameters[-1].is_out


def test_containers_are_encoded_as_the_format_says() -> None:
    _, spec = torch.utils._pytree.tree_flatten((1, {"a": 2, "b": [3]}))
    assert encode(spec) == "T2#1#2($,D2#1#1('a':$,'b':L1#1($)))"
