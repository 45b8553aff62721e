"""Programs for the binding to run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from penlight.program import schema
from penlight.program.schema import (
    AllocationDetails,
    Chain,
    EValue,
    ExecutionPlan,
    Instruction,
    KernelCall,
    Operator,
    ScalarType,
    Tensor,
    TensorShapeDynamism,
)
from penlight.program.write import Blob, ProgramBuilder

ONE = 3


def add_program(
    dtype: ScalarType = ScalarType.FLOAT,
    shape: tuple[int, ...] = (2, 3),
    *,
    order: tuple[int, ...] | None = None,
    dynamic: bool = False,
    planned: bool = True,
) -> bytes:
    """forward(x, y) = x + y, named "left" and "right"; count(x) = x + x counts its own calls."""
    nbytes = int(np.prod(shape)) * dtype.item_size
    step = (nbytes + 63) // 64 * 64

    def tensor(place: int | None, **more: Any) -> EValue:
        where = None if place is None else AllocationDetails.at(1, place * step)
        dynamism = TensorShapeDynamism.DYNAMIC_BOUND if dynamic else TensorShapeDynamism.STATIC
        made = Tensor(
            scalar_type=dtype,
            sizes=list(shape),
            dim_order=list(order or range(len(shape))),
            allocation_info=where,
            shape_dynamism=dynamism,
            **more,
        )
        return EValue(made)

    def inputs() -> list[EValue]:
        return [tensor(0 if planned else None), tensor(1 if planned else None)]

    builder = ProgramBuilder()
    builder.add_plan(
        ExecutionPlan(
            name="forward",
            values=[*inputs(), tensor(2), EValue(schema.Int(1))],
            inputs=[0, 1],
            outputs=[2],
            chains=[Chain(instructions=[Instruction(KernelCall(0, [0, 1, ONE, 2, 2]))])],
            operators=[Operator("aten::add", "out")],
            non_const_buffer_sizes=[0, 3 * step],
        )
    )
    initial = builder.add_mutable_initial(Blob(bytes(nbytes)))
    state = tensor(2, data_buffer_idx=initial)
    builder.add_plan(
        ExecutionPlan(
            name="accumulate",
            values=[tensor(0), tensor(1), state, EValue(schema.Int(1))],
            inputs=[0],
            outputs=[2],
            chains=[Chain(instructions=[Instruction(KernelCall(0, [2, 0, ONE, 2, 2]))])],
            operators=[Operator("aten::add", "out")],
            non_const_buffer_sizes=[0, 3 * step],
        )
    )
    names = b'{"forward": {"inputs": ["left", "right"], "outputs": ["sum"]}}'
    builder.add_named_data("penlight.parameter_names", Blob(names))
    builder.add_named_data("notes", Blob(b"made for tests"))
    return builder.to_bytes()


def echo_program(*values: object) -> bytes:
    """forward(*values) gives its inputs back, as values of the same kinds."""
    indices = list(range(len(values)))
    builder = ProgramBuilder()
    builder.add_plan(
        ExecutionPlan(
            name="forward",
            values=[EValue(value) for value in values],
            inputs=indices,
            outputs=indices,
            chains=[Chain()],
        )
    )
    return builder.to_bytes()


@pytest.fixture
def make_add() -> Callable[..., bytes]:
    return add_program


@pytest.fixture
def make_echo() -> Callable[..., bytes]:
    return echo_program
