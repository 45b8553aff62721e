"""ExecuTorch's way to run a program: its scripts work with the import changed::

    from penlight.runtime import Runtime

    program = Runtime.get().load_program("add.pte")
    method = program.load_method("forward")
    print(method.metadata.input_tensor_meta(0).sizes())
    outputs = method.execute([torch.ones(1), torch.ones(1)])

Names and meanings are those of ``executorch.runtime``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

from penlight.runtime import program as native
from penlight.runtime.values import ValueInfo


class TensorInfo:
    """What a method says about one tensor."""

    def __init__(self, info: ValueInfo) -> None:
        self._info = info

    def sizes(self) -> tuple[int, ...]:
        """Its shape; upper bounds if it is dynamic."""
        return self._info.shape

    def dtype(self) -> int:
        """Its element type, as PyTorch's ScalarType code."""
        return self._info.code

    def nbytes(self) -> int:
        """Its size in bytes."""
        return self._info.nbytes

    def __repr__(self) -> str:
        return f"TensorInfo(sizes={list(self.sizes())}, dtype={self._info.dtype})"


class MethodMeta:
    """What a method takes and gives, known without loading it."""

    def __init__(self, info: native.MethodInfo) -> None:
        self._info = info

    def name(self) -> str:
        """The method's name."""
        return self._info.name

    def num_inputs(self) -> int:
        """How many inputs it takes."""
        return len(self._info.inputs)

    def num_outputs(self) -> int:
        """How many outputs it gives."""
        return len(self._info.outputs)

    def input_tensor_meta(self, index: int) -> TensorInfo:
        """About input `index`. Raises IndexError if there is none."""
        return _tensor_info(self._info.inputs, index)

    def output_tensor_meta(self, index: int) -> TensorInfo:
        """About output `index`. Raises IndexError if there is none."""
        return _tensor_info(self._info.outputs, index)

    def __repr__(self) -> str:
        return f"MethodMeta({self._info})"


def _tensor_info(infos: Sequence[ValueInfo], index: int) -> TensorInfo:
    if not 0 <= index < len(infos):
        raise IndexError(f"expected an index below {len(infos)} but got {index}")
    return TensorInfo(infos[index])


class Method:
    """A loaded method."""

    def __init__(self, method: native.Method) -> None:
        self._method = method

    def execute(self, inputs: Sequence[Any]) -> list[Any]:
        """Run it; gives the outputs. See `penlight.runtime.Method.execute`."""
        return self._method.execute(inputs)

    @property
    def metadata(self) -> MethodMeta:
        """What it takes and gives."""
        return MethodMeta(self._method.info)


class Program:
    """An open program."""

    def __init__(self, program: native.Program) -> None:
        self._program = program
        self._methods: dict[str, Method] = {}

    @property
    def method_names(self) -> set[str]:
        """The names of its methods."""
        return set(self._program.methods)

    def load_method(self, name: str) -> Method:
        """The method, loaded on first use. Raises RuntimeFailure if there is none."""
        return self._methods.setdefault(name, Method(self._program.method(name)))

    def metadata(self, method_name: str) -> MethodMeta:
        """What a method takes and gives, without loading it."""
        return MethodMeta(self._program.info(method_name))


class BackendRegistry:
    """The delegates that the runtime has."""

    @property
    def registered_backend_names(self) -> list[str]:
        """Their ids."""
        return delegates()

    def is_available(self, backend_name: str) -> bool:
        """Whether there is such a delegate."""
        return backend_name in delegates()


class OperatorRegistry:
    """The kernels that the runtime has."""

    @property
    def operator_names(self) -> set[str]:
        """Their names, such as "aten::add.out"."""
        return set(kernels())


class Runtime:
    """The runtime."""

    def __init__(self) -> None:
        self.backend_registry = BackendRegistry()
        self.operator_registry = OperatorRegistry()

    @staticmethod
    @functools.cache
    def get() -> Runtime:
        """The one runtime of the process."""
        return Runtime()

    def load_program(
        self, data: str | os.PathLike[str] | bytes | bytearray | BinaryIO, **ignored: object
    ) -> Program:
        """Open a program from a path, bytes, or a file that is open for reading.

        ExecuTorch's further options (verification, debug output) are accepted and have no effect:
        everything in a file is always verified.
        """
        readable = data.read() if hasattr(data, "read") else data
        return Program(native.load(readable))


@functools.cache
def kernels() -> dict[str, str]:
    """Every kernel of the runtime: its name ("aten::add.out") and its signature.

    The signature lists the argument types in order, comma separated, as in "Tensor, Tensor,
    Scalar, Tensor!"; ``!`` marks an output and ``?`` an optional argument.
    """
    engine = native.Engine(threads=1)
    return dict(zip(engine.names("kernel_name"), engine.names("kernel_signature"), strict=True))


@functools.cache
def delegates() -> list[str]:
    """The ids of the delegates of the runtime."""
    return native.Engine(threads=1).names("delegate_id")
