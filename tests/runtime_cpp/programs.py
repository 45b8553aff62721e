"""The small programs that the claims in C++ are about."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

from penlight.program import schema
from penlight.program.write import Blob, ProgramBuilder

FLOAT = schema.ScalarType.FLOAT
ADD = schema.Operator("aten::add", "out")


def tensor(
    sizes: list[int], *, memory: tuple[int, int] | None = None, order: list[int] | None = None,
    data: int = 0, bound: bool = False, name: str | None = None,
) -> schema.EValue:  # fmt: skip
    """A float32 tensor, at (memory_id, offset) if planned."""
    dynamism = schema.TensorShapeDynamism
    return schema.EValue(
        schema.Tensor(
            scalar_type=FLOAT,
            sizes=sizes,
            dim_order=order or list(range(len(sizes))),
            data_buffer_idx=data,
            allocation_info=(
                schema.AllocationDetails(memory[0], memory[1] & 0xFFFFFFFF, memory[1] >> 32)
                if memory
                else None
            ),
            shape_dynamism=dynamism.DYNAMIC_BOUND if bound else dynamism.STATIC,
            extra_tensor_info=schema.ExtraTensorInfo(fully_qualified_name=name) if name else None,
        )
    )


def integer(value: int) -> schema.EValue:
    return schema.EValue(schema.Int(value))


def call(op: int, *args: int) -> schema.Instruction:
    return schema.Instruction(schema.KernelCall(op, list(args)))


def plan(
    values: list[schema.EValue], inputs: list[int], outputs: list[int],
    operators: list[schema.Operator], instructions: list[schema.Instruction],
    arenas: list[int] | None = None, delegates: list[schema.BackendDelegate] | None = None,
) -> schema.ExecutionPlan:  # fmt: skip
    return schema.ExecutionPlan(
        name="forward",
        container_meta_type=schema.ContainerMetadata(),
        values=values,
        inputs=inputs,
        outputs=outputs,
        chains=[schema.Chain(inputs=[], outputs=[], instructions=instructions)],
        operators=operators,
        delegates=delegates or [],
        non_const_buffer_sizes=arenas or [0],
    )


def add(bound: bool = False) -> bytes:
    """out = x + y for [2, 3] tensors; y is channels-last like, x is planned, out is not."""
    values = [
        tensor([2, 3], memory=(1, 0), bound=bound),
        tensor([2, 3], order=[1, 0], bound=bound),
        integer(1),
        tensor([2, 3], bound=bound),
    ]
    builder = ProgramBuilder()
    builder.add_plan(plan(values, [0, 1], [3], [ADD], [call(0, 0, 1, 2, 3, 3)], [0, 64]))
    return builder.to_bytes()


def counter() -> bytes:
    """Two states, one that starts as [1, 2] and one as zeros, each grown by x in every run."""
    builder = ProgramBuilder()
    start = builder.add_mutable_initial(Blob(struct.pack("<2f", 1, 2)))
    values = [
        tensor([2]),
        tensor([2], memory=(1, 0), data=start),
        tensor([2], memory=(1, 64), name="zeros"),
        integer(1),
    ]
    instructions = [call(0, 1, 0, 3, 1, 1), call(0, 2, 0, 3, 2, 2)]
    builder.add_plan(plan(values, [0], [1, 2], [ADD], instructions, [0, 128]))
    return builder.to_bytes()


def counters() -> bytes:
    """`forward`, `again` and methods that plan other state: each grows its state by x."""
    builder = ProgramBuilder()
    start = builder.add_mutable_initial(Blob(struct.pack("<2f", 1, 2)))

    def method(
        method_name: str, *, name: str | None = "kept", size: int = 2, states: int = 1,
        memory: tuple[int, int] = (2, 64), arenas: tuple[int, ...] = (0, 64, 128, 64),
    ) -> None:  # fmt: skip
        state = tensor([size], memory=memory, name=name, data=start if name else 0)
        values = [tensor([size]), integer(1), state, tensor([size], memory=(1, 0))]
        values += [tensor([1], memory=(2, 0), name="more")] * (states - 1)
        body = [call(0, 0, 2, 1, 2, 2), call(0, 2, 2, 1, 3, 3)]
        made = plan(values, [0], [3], [ADD], body, list(arenas))
        builder.add_plan(dataclasses.replace(made, name=method_name))

    method("forward")
    method("again")
    method("renamed", name="other")
    method("moved", memory=(2, 0))
    method("elsewhere", memory=(3, 0))
    method("resized", size=1)
    method("larger", arenas=(0, 64, 192, 64))
    method("more", states=2)
    method("none", name=None)
    return builder.to_bytes()


def view() -> bytes:
    """y = x.view(-1) + x.view(-1) for [2, up to 4] tensors, and how many elements that is."""
    builder = ProgramBuilder()
    values = [
        tensor([2, 4], bound=True),
        integer(-1),
        schema.EValue(schema.IntList([1])),
        tensor([8], bound=True),
        integer(1),
        tensor([8], memory=(1, 0), bound=True),
        integer(0),
        integer(0),
        integer(2),
        integer(0),
    ]
    operators = [
        schema.Operator("executorch_prim::et_view", "default"),
        ADD,
        schema.Operator("aten::sym_size", "int"),
        schema.Operator("executorch_prim::truediv", "Scalar"),
    ]
    instructions = [
        call(0, 0, 2, 3),
        call(1, 3, 3, 4, 5, 5),
        call(2, 5, 6, 7),
        call(3, 7, 8, 9),
    ]
    builder.add_plan(plan(values, [0], [5, 7, 9], operators, instructions, [0, 32]))
    return builder.to_bytes()


def huge() -> bytes:
    """out = x + x, where the result lies at the end of 16 GiB."""
    size = 1 << 34
    values = [tensor([2]), integer(1), tensor([2], memory=(1, size - 64))]
    builder = ProgramBuilder()
    builder.add_plan(plan(values, [0], [2], [ADD], [call(0, 0, 0, 1, 2, 2)], [0, size]))
    return builder.to_bytes()


def delegated(backend: str, processed: bytes) -> bytes:
    """out = delegate(x, y), all [2, 3]."""
    builder = ProgramBuilder()
    data = builder.add_delegate_data(Blob(processed))
    delegate = schema.BackendDelegate(backend, data, [schema.CompileSpec("depth", b"\1")])
    values = [tensor([2, 3]), tensor([2, 3]), tensor([2, 3])]
    run = schema.Instruction(schema.DelegateCall(0, [0, 1, 2]))
    builder.add_plan(plan(values, [0, 1], [2], [], [run], None, [delegate]))
    return builder.to_bytes()


def missing() -> bytes:
    """Two operators that no runtime has."""
    operators = [schema.Operator("my::first", "out"), schema.Operator("my::second", "")]
    values = [tensor([2]), tensor([2])]
    builder = ProgramBuilder()
    builder.add_plan(plan(values, [0], [1], operators, [call(0, 0, 1), call(1, 0, 1)]))
    return builder.to_bytes()


def nested(depth: int) -> bytes:
    program = add()
    for _ in range(depth):
        program = delegated("reference", program)
    return program


def write_all(folder: Path) -> None:
    """Every program as a file of its name."""
    programs = {
        "add": add(),
        "add_dynamic": add(bound=True),
        "counter": counter(),
        "counters": counters(),
        "view": view(),
        "huge": huge(),
        "missing": missing(),
        "null": delegated("null", struct.pack("<I", 1)),
        "callers_delegate": delegated("Scale", struct.pack("<f", 3)),
        "reference": nested(1),
        "too_deep": nested(8),
    }
    for name, data in programs.items():
        (folder / f"{name}.pte").write_bytes(data)
