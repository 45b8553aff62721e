"""A small sound program that uses every table of the format and every kind of instruction."""

from __future__ import annotations

import copy
import struct
from typing import Any

import numpy as np

from penlight.program import schema
from penlight.program.schema import (
    AllocationDetails,
    BackendDelegate,
    Chain,
    DelegateCall,
    EValue,
    ExecutionPlan,
    Instruction,
    JumpFalseCall,
    KernelCall,
    MoveCall,
    Operator,
    Tensor,
    TensorShapeDynamism,
)
from penlight.program.write import Blob, ProgramBuilder

# Values of the sound program, by what they are.
X, WEIGHT, Y, STATE, ONE, FLAG, INTS, TENSORS, OPTIONALS, TEXT, DIM, REALS, BOOLS = range(13)


def sound_program() -> bytes:
    """forward(x[2, 2]) = (x + weight) + state, with a jump and a move on the way.

    "delegated" does the same and then runs a delegate; "busy" is busy_plan.
    """
    builder = ProgramBuilder()
    weight = builder.add_constant(Blob(np.ones((2, 2), np.float32)))
    state = builder.add_mutable_initial(Blob(np.ones((2, 2), np.float32)))
    processed = builder.add_delegate_data(Blob(struct.pack("<I", 1)))  # one output
    builder.add_named_data("penlight.a", Blob(b"first"))
    builder.add_named_data("penlight.b", Blob(b"second"))

    def tensor(offset: int | None, **more: Any) -> EValue:
        place = None if offset is None else AllocationDetails.at(1, offset)
        return EValue(Tensor(sizes=[2, 2], dim_order=[0, 1], allocation_info=place, **more))

    values = [
        tensor(0),
        tensor(None, data_buffer_idx=weight),
        tensor(64),
        tensor(128, data_buffer_idx=state),
        EValue(schema.Int(1)),
        EValue(schema.Bool(True)),
        EValue(schema.IntList([4, 4])),
        EValue(schema.TensorList([0, 2])),
        EValue(schema.OptionalTensorList([0, -1])),
        EValue(schema.String("none")),
        EValue(schema.Int(0)),
        EValue(schema.DoubleList([0.5])),
        EValue(schema.BoolList([True])),
    ]
    steps = [
        KernelCall(0, [X, WEIGHT, ONE, Y, Y]),
        JumpFalseCall(FLAG, 3),
        KernelCall(0, [Y, STATE, ONE, Y, Y]),
        MoveCall(ONE, DIM),
    ]
    plan = ExecutionPlan(
        name="forward",
        values=values,
        inputs=[X],
        outputs=[Y],
        chains=[Chain(instructions=[Instruction(step) for step in steps])],
        operators=[Operator("aten::add", "out"), Operator("aten::cat", "out")],
        non_const_buffer_sizes=[0, 192],
    )
    builder.add_plan(plan)
    second = copy.deepcopy(plan)
    second.name = "delegated"
    second.chains[0].instructions.append(Instruction(DelegateCall(0, [X, Y])))
    second.delegates = [BackendDelegate("null", processed, [schema.CompileSpec("key", b"value")])]
    builder.add_plan(second)
    builder.add_plan(busy_plan())
    return builder.to_bytes()


def busy_plan() -> ExecutionPlan:
    """busy(x[up to 4, 2]): computed sizes, a view, a list of tensors, a condition, state."""
    x, doubled, view, rows, zero, two, sizes, parts, joined, many, moved, calls, one = range(13)

    def tensor(rows: int, offset: int | None) -> EValue:
        made = Tensor(
            sizes=[rows, 2],
            dim_order=[0, 1],
            allocation_info=None if offset is None else AllocationDetails.at(1, offset),
            shape_dynamism=TensorShapeDynamism.DYNAMIC_BOUND,
        )
        return EValue(made)

    values = {
        x: tensor(4, 0),
        doubled: tensor(4, 64),
        view: tensor(4, None),
        rows: EValue(schema.Int(0)),
        zero: EValue(schema.Int(0)),
        two: EValue(schema.Int(2)),
        sizes: EValue(schema.IntList([rows, two])),
        parts: EValue(schema.TensorList([doubled, view])),
        joined: tensor(8, 128),
        many: EValue(schema.Bool(False)),
        moved: tensor(8, 192),
        calls: tensor(1, 256),
        one: EValue(schema.Int(1)),
    }
    add, cat, size, view_of, greater = range(5)
    steps = [
        KernelCall(size, [x, zero, rows]),
        KernelCall(view_of, [x, sizes, view]),
        KernelCall(add, [view, x, one, doubled, doubled]),
        KernelCall(cat, [parts, zero, joined, joined]),
        KernelCall(greater, [rows, two, many]),
        JumpFalseCall(many, 7),
        MoveCall(joined, moved),
        KernelCall(add, [calls, calls, one, calls, calls]),
    ]
    names = ("aten::add.out", "aten::cat.out", "aten::sym_size.int")
    names += ("executorch_prim::et_view.default", "executorch_prim::gt.Scalar")
    return ExecutionPlan(
        name="busy",
        values=[values[index] for index in range(len(values))],
        inputs=[x],
        outputs=[joined, moved, calls, rows],
        chains=[Chain(instructions=[Instruction(step) for step in steps])],
        operators=[Operator(*name.split(".")) for name in names],
        non_const_buffer_sizes=[0, 320],
    )
