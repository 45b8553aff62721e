"""A small program that uses every part of the file."""

import numpy as np
import pytest

from penlight.program.schema import (
    AllocationDetails,
    Bool,
    BoolList,
    Chain,
    Double,
    DoubleList,
    EValue,
    ExecutionPlan,
    Frame,
    FrameList,
    Instruction,
    Int,
    IntList,
    KernelCall,
    Null,
    Operator,
    OptionalTensorList,
    String,
    Tensor,
    TensorList,
    TensorShapeDynamism,
)
from penlight.program.write import Blob, ProgramBuilder


def _planned(offset: int, **more: object) -> EValue:
    place = AllocationDetails.at(1, offset)
    return EValue(Tensor(sizes=[4], dim_order=[0], allocation_info=place, **more))


@pytest.fixture
def builder() -> ProgramBuilder:
    """forward(x) = x + [0, 1, 2, 3] + state, where state starts as [2, 2, 2, 2]."""
    builder = ProgramBuilder()
    weight = builder.add_constant(Blob(np.arange(4, dtype=np.float32)), key="weight")
    state = builder.add_mutable_initial(Blob(np.full(4, 2, np.float32)))
    builder.add_named_data("penlight.model", Blob(b'{"name": "tiny"}'))
    values = [
        _planned(0),
        EValue(Tensor(sizes=[4], dim_order=[0], data_buffer_idx=weight)),
        _planned(64),
        _planned(128, data_buffer_idx=state),
        EValue(Int(1)),
        EValue(Int(-(2**63))),
        EValue(Double(float("inf"))),
        EValue(Bool(True)),
        EValue(String("zürich")),
        EValue(Null()),
        EValue(IntList([4, 5])),
        EValue(DoubleList([0.5, -0.0])),
        EValue(BoolList([True, False])),
        EValue(TensorList([0, 2])),
        EValue(OptionalTensorList([0, -1, 9])),
        EValue(
            Tensor(
                sizes=[2, 3],
                dim_order=[1, 0],
                allocation_info=AllocationDetails.at(2, 2**33),
                shape_dynamism=TensorShapeDynamism.DYNAMIC_BOUND,
            )
        ),
    ]
    chain = Chain(
        instructions=[
            Instruction(KernelCall(0, [0, 1, 4, 2, 2])),
            Instruction(KernelCall(0, [2, 3, 4, 2, 2])),
        ],
        stacktrace=[FrameList([Frame("model.py", 3, "forward", "x + w")]), FrameList()],
    )
    plan = ExecutionPlan(
        name="forward",
        values=values,
        inputs=[0],
        outputs=[2],
        chains=[chain],
        operators=[Operator("aten::add", "out")],
        non_const_buffer_sizes=[0, 192, 2**33 + 24],
    )
    builder.add_plan(plan)
    # The same without the large second buffer, so that it can be run.
    runnable = ExecutionPlan(
        name="run",
        values=values[:-1],
        inputs=[0],
        outputs=[2],
        chains=[chain],
        operators=plan.operators,
        non_const_buffer_sizes=[0, 192],
    )
    builder.add_plan(runnable)
    return builder
