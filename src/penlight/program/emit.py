"""Emission: planned instructions become the tables of a program file.

Weights are not copied: the builder gets a `TensorSource`, which makes bytes when the file is
written. A tensor without data (fake) needs its bytes in `constants`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch

from penlight.edge.containers import encode
from penlight.edge.linear import (
    Call,
    DelegateCall,
    Instruction,
    JumpFalse,
    LinearMethod,
    ListValue,
    Literal,
    Place,
    Symbol,
    TensorValue,
    Value,
)
from penlight.errors import ExportError, UnsupportedError
from penlight.passes.arguments import scalar_type
from penlight.program import schema
from penlight.program.write import Blob, DataSource, ProgramBuilder

PARAMETER_NAMES = "penlight.parameter_names"
_CHUNK = 16 << 20  # bytes of a tensor that are made contiguous at a time
_HASH_LIMIT = 64 << 20  # bytes up to which equal tensors are found by content


class TensorSource:
    """A `DataSource` over a tensor: its elements in row-major order, little-endian."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor.detach()

    @property
    def nbytes(self) -> int:
        """The size of the elements in bytes."""
        return self._tensor.numel() * self._tensor.element_size()

    def chunks(self) -> Iterator[memoryview]:
        """Row by row as far as needed to stay small; nothing is copied if already dense."""
        yield from _chunks(self._tensor)


def _chunks(tensor: torch.Tensor) -> Iterator[memoryview]:
    nbytes = tensor.numel() * tensor.element_size()
    if nbytes == 0:
        return
    if nbytes > _CHUNK and not tensor.is_contiguous() and tensor.dim() > 1:
        for row in tensor:
            yield from _chunks(row)
        return
    data = tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    for start in range(0, nbytes, _CHUNK):
        yield data[start : start + _CHUNK]


class Emitter:
    """Adds methods to a `ProgramBuilder`.

    Args:
        builder: where plans and data go.
        constants: bytes of parameters and buffers by fully qualified name; they take the place of
            what the captured model holds.
        known: the names of all the methods' parameters and buffers, used or not.
        alignment: of constants, in bytes.

    Raises:
        ExportError: `constants` has names that are not known.
    """

    def __init__(
        self,
        builder: ProgramBuilder,
        constants: Mapping[str, DataSource] | None = None,
        known: Collection[str] = (),
        alignment: int = 64,
    ) -> None:
        unknown = sorted(set(constants or ()).difference(known))
        if unknown:
            raise ExportError(
                "[constants] expected names of the model's parameters and buffers but got "
                f"{', '.join(unknown[:5])}{' ...' if len(unknown) > 5 else ''}; remove them"
            )
        self.builder = builder
        self.plans: list[schema.ExecutionPlan] = []
        self._constants = dict(constants or {})
        self._alignment = alignment
        self._names: dict[str, dict[str, list[str]]] = {}
        self._delegate_data: dict[bytes, schema.BackendDelegateDataReference] = {}
        self._initial: dict[str, int] = {}

    def add(self, method: LinearMethod) -> None:
        """Emit one method."""
        plan = _Method(self, method).plan()
        self.builder.add_plan(plan)
        self.plans.append(plan)
        self._names[method.name] = {
            "inputs": method.input_names,
            "outputs": method.output_names,
        }

    def add_constant_method(self, name: str, value: Any) -> None:
        """Emit a method without inputs that returns `value`: numbers, texts, tensors, containers.

        Raises UnsupportedError for any other value.
        """
        leaves, spec = torch.utils._pytree.tree_flatten(value)
        values = [schema.EValue(self._constant_leaf(name, leaf)) for leaf in leaves]
        plan = schema.ExecutionPlan(
            name=name,
            container_meta_type=schema.ContainerMetadata("", encode(spec)),
            values=values,
            inputs=[],
            outputs=list(range(len(values))),
            chains=[schema.Chain()],
            operators=[],
            delegates=[],
            non_const_buffer_sizes=[0],
        )
        self.builder.add_plan(plan)
        self.plans.append(plan)

    def finish(self) -> None:
        """Add what describes the methods; call once, after all of them."""
        if self._names:
            names = json.dumps(self._names, ensure_ascii=False).encode()
            self.builder.add_named_data(PARAMETER_NAMES, Blob(names))

    def _constant_leaf(self, name: str, leaf: Any) -> schema.KernelTypes:
        if isinstance(leaf, torch.dtype):
            return schema.Int(scalar_type(leaf, name))
        if isinstance(leaf, torch.Tensor):
            tensor = leaf.detach()
            index = self.builder.add_constant(
                TensorSource(tensor), alignment=self._alignment, key=_key(tensor)
            )
            return _tensor_table(tensor.dtype, tuple(tensor.shape), data_buffer_idx=index)
        if isinstance(leaf, str):
            return schema.String(leaf)
        if isinstance(leaf, bool | int | float):
            table: schema.KernelTypes = _NUMBERS[type(leaf)](leaf)
            return table
        raise UnsupportedError(
            f"[constant method {name}] expected numbers, texts, dtypes or tensors but got "
            f"{type(leaf).__name__}; return one of those"
        )

    def constant_index(self, value: TensorValue) -> int:
        """The data index of a constant; equal data is stored once."""
        storage = value.storage
        assert storage.name is not None
        source = self._constants.get(storage.name)
        if source is not None:
            self._check_size(storage.name, source, storage.nbytes)
            key = f"name:{storage.name}"
        else:
            tensor = storage.data
            if tensor is None or _is_fake(tensor):
                raise ExportError(
                    f"[constant {storage.name}] expected its data but the model was captured "
                    "without; pass it in to_executorch(constants={...})"
                )
            source, key = TensorSource(tensor), _key(tensor)
        return self.builder.add_constant(source, alignment=self._alignment, key=key)

    def initial_index(self, value: TensorValue) -> int:
        """The data index of a state's initial value; 0 if it starts as zeros.

        State that was captured without data and is not in `constants` starts as zeros.
        """
        storage = value.storage
        assert storage.name is not None
        source = self._constants.get(storage.name)
        if source is None:
            tensor = storage.data
            if tensor is None or _is_fake(tensor) or not _any_byte(tensor):
                return 0
            source = TensorSource(tensor)
        else:
            self._check_size(storage.name, source, storage.nbytes)
        if storage.name not in self._initial:
            self._initial[storage.name] = self.builder.add_mutable_initial(
                source, alignment=self._alignment
            )
        return self._initial[storage.name]

    def delegate_data(self, processed: bytes) -> schema.BackendDelegateDataReference:
        """Where a delegate's bytes go; equal bytes are stored once."""
        key = hashlib.sha256(processed).digest()
        if key not in self._delegate_data:
            self._delegate_data[key] = self.builder.add_delegate_data(Blob(processed))
        return self._delegate_data[key]

    @staticmethod
    def _check_size(name: str, source: DataSource, nbytes: int) -> None:
        if source.nbytes != nbytes:
            raise ExportError(
                f"[constant {name}] expected {nbytes} bytes but got {source.nbytes}; "
                "give the data in the captured dtype and shape"
            )


class _Method:
    """The value table and instructions of one method."""

    def __init__(self, emitter: Emitter, method: LinearMethod) -> None:
        self._emitter = emitter
        self._method = method
        self._values: list[schema.EValue] = []
        self._index: dict[Any, int] = {}
        self._operators: dict[tuple[str, str], int] = {}
        self._delegates: list[schema.BackendDelegate] = []

    def plan(self) -> schema.ExecutionPlan:
        method = self._method
        inputs = [self._slot(value, fresh=True) for value in method.inputs]
        for state in method.states:
            self._slot(state)
        chain = schema.Chain(instructions=[self._instruction(i) for i in method.instructions])
        outputs = [self._slot(value, fresh=isinstance(value, Literal)) for value in method.outputs]
        return schema.ExecutionPlan(
            name=method.name,
            container_meta_type=schema.ContainerMetadata(
                method.encoded_inputs, method.encoded_outputs
            ),
            values=self._values,
            inputs=inputs,
            outputs=outputs,
            chains=[chain],
            operators=[schema.Operator(*key) for key in self._operators],
            delegates=self._delegates,
            non_const_buffer_sizes=method.arena_sizes,
        )

    def _instruction(self, instruction: Instruction) -> schema.Instruction:
        if isinstance(instruction, Call):
            key = (instruction.name, instruction.overload)
            operator = self._operators.setdefault(key, len(self._operators))
            args = [self._slot(value) for value in instruction.args]
            return schema.Instruction(schema.KernelCall(operator, args))
        if isinstance(instruction, JumpFalse):
            condition = self._slot(instruction.condition)
            return schema.Instruction(schema.JumpFalseCall(condition, instruction.target))
        assert isinstance(instruction, DelegateCall)
        lowered = instruction.lowered
        specs = [schema.CompileSpec(spec.key, spec.value) for spec in lowered.compile_specs]
        data = self._emitter.delegate_data(lowered.processed_bytes)
        self._delegates.append(schema.BackendDelegate(lowered.backend_id, data, specs))
        args = [self._slot(value) for value in instruction.args]
        return schema.Instruction(schema.DelegateCall(len(self._delegates) - 1, args))

    def _slot(self, value: Value, *, fresh: bool = False) -> int:
        """The index of a value; equal literals and lists share one unless `fresh`."""
        key: Any = repr(value) if isinstance(value, Literal) else value
        if isinstance(value, ListValue):
            key = (value.kind, tuple(self._item(value.kind, item) for item in value.items))
        if not fresh and key in self._index:
            return self._index[key]
        table: schema.KernelTypes
        if isinstance(value, TensorValue):
            table = self._tensor(value)
        elif isinstance(value, Symbol):
            table = _NUMBERS[type(value.initial)](value.initial)
        elif isinstance(value, Literal):
            table = _literal_table(value)
        else:
            table = _LISTS[value.kind](list(key[1]))
        self._values.append(schema.EValue(table))
        index = len(self._values) - 1
        if not (fresh and isinstance(value, Literal)):
            self._index[key] = index
        return index

    def _item(self, kind: str, item: Any) -> Any:
        if kind in ("float", "bool"):
            return item
        return -1 if item is None else self._slot(item)

    def _tensor(self, value: TensorValue) -> schema.Tensor:
        storage = value.storage
        allocation, data, name = None, 0, None
        if storage.place == Place.CONSTANT:
            data = self._emitter.constant_index(value)
        elif storage.place != Place.CALLER:
            assert storage.offset is not None, f"{storage.label} is not planned"
            arena = 2 if storage.place == Place.STATE else 1
            allocation = schema.AllocationDetails.at(arena, storage.offset)
            if storage.place == Place.STATE and value in self._method.states:
                data, name = self._emitter.initial_index(value), storage.name
        return _tensor_table(
            value.dtype,
            value.sizes,
            dim_order=value.dim_order,
            dynamic=value.dynamic,
            data_buffer_idx=data,
            allocation=allocation,
            name=name,
        )


_NUMBERS: dict[type, Any] = {int: schema.Int, bool: schema.Bool, float: schema.Double}
_LISTS: dict[str, Any] = {
    "int": schema.IntList,
    "float": schema.DoubleList,
    "bool": schema.BoolList,
    "tensor": schema.TensorList,
    "optional_tensor": schema.OptionalTensorList,
}


def _literal_table(value: Literal) -> schema.KernelTypes:
    if value.kind == "none":
        return schema.Null()
    if value.kind == "string":
        return schema.String(value.value)
    table: schema.KernelTypes = _NUMBERS[type(value.value)](value.value)
    return table


def _tensor_table(
    dtype: torch.dtype,
    sizes: tuple[int, ...],
    *,
    dim_order: tuple[int, ...] | None = None,
    dynamic: bool = False,
    data_buffer_idx: int = 0,
    allocation: schema.AllocationDetails | None = None,
    name: str | None = None,
) -> schema.Tensor:
    """name: of state, by which the runtime tells it from activations."""
    dynamism = schema.TensorShapeDynamism
    return schema.Tensor(
        scalar_type=schema.ScalarType(scalar_type(dtype, "tensor")),
        sizes=list(sizes),
        dim_order=list(dim_order if dim_order is not None else range(len(sizes))),
        data_buffer_idx=data_buffer_idx,
        allocation_info=allocation,
        shape_dynamism=dynamism.DYNAMIC_BOUND if dynamic else dynamism.STATIC,
        extra_tensor_info=schema.ExtraTensorInfo(fully_qualified_name=name) if name else None,
    )


def _is_fake(tensor: torch.Tensor) -> bool:
    return tensor.is_meta or isinstance(tensor, torch._subclasses.FakeTensor)


def _any_byte(tensor: torch.Tensor) -> bool:
    return any(bool(memoryview(chunk).tobytes().strip(b"\0")) for chunk in _chunks(tensor))


def _key(tensor: torch.Tensor) -> str:
    """Equal keys mean equal data: by content if small, else by place in memory."""
    if tensor.numel() * tensor.element_size() > _HASH_LIMIT:
        return f"memory:{tensor.data_ptr()}:{tensor.dtype}:{tensor.shape}:{tensor.stride()}"
    digest = hashlib.sha256()
    for chunk in _chunks(tensor):
        digest.update(chunk)
    return f"data:{digest.hexdigest()}"
