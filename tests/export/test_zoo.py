"""Every model of the zoo by way of a delegate; without one, see tests/interop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

import penlight
from penlight import to_edge, to_edge_transform_and_lower
from penlight.backends import ReferencePartitioner

sys.path.insert(0, str(Path(__file__).parent.parent))

from models_zoo import ZOO, ZooModel

EVERY_MODEL = pytest.mark.parametrize("model", ZOO, ids=[model.name for model in ZOO])


def compare(model: ZooModel, call: Any) -> list[str]:
    """All differences from eager over the model's calls; ``call(method, leaves)`` gives leaves."""
    eager = model.modules()
    return [
        difference
        for method, arguments in model.inputs()
        for difference in model.differences(
            call(method, tree_leaves(arguments)), eager[method](*arguments)
        )
    ]


def in_our_runtime(data: bytes) -> Any:
    program = penlight.load(data)
    methods: dict[str, Any] = {}

    def call(method: str, leaves: list[Any]) -> Any:
        methods.setdefault(method, program.method(method))
        return methods[method].execute(leaves)

    return call


@EVERY_MODEL
def test_agrees_with_eager_when_delegated_to_the_reference_backend(model: ZooModel) -> None:
    edge = to_edge_transform_and_lower(model.programs(), partitioner=[ReferencePartitioner()])
    program = edge.to_executorch()
    assert all(plan.delegates for plan in program.executorch_program.execution_plan)
    assert compare(model, in_our_runtime(program.buffer)) == []


def test_constant_methods_return_their_values() -> None:
    class Identity(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    values: dict[str, Any] = {
        "integer": 7, "real": 0.5, "truth": True, "text": "hi", "items": [1, 2.5, "three", False],
        "table": torch.arange(6, dtype=torch.int32).reshape(2, 3),
    }  # fmt: skip
    captured = torch.export.export(Identity(), (torch.ones(1),))
    manager = to_edge(captured, constant_methods=values).to_executorch()
    assert manager.config_methods == set(values)
    program = penlight.load(manager.buffer)
    for name, value in values.items():
        got = program.method(name).execute([])
        if isinstance(value, torch.Tensor):
            assert torch.equal(torch.as_tensor(got[0]), value)
        else:
            assert list(got) == tree_leaves(value)
