"""Loading and running programs::

    program = penlight.load("model.pte")
    print(program.methods, program.method("forward").inputs)
    y = program.forward(x)

A program holds its file; each method loaded from it holds the memory it runs in, and its state.
Both are freed when they are closed or no longer referred to, in any order.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penlight.closing import Closing
from penlight.errors import RuntimeFailure
from penlight.runtime import abi, names, profile
from penlight.runtime.values import Input, ValueInfo, is_torch, output, tensor_view, value_info

if TYPE_CHECKING:
    from penlight.runtime.values import Array


@dataclass(frozen=True)
class MemoryInfo:
    """What a loaded method needs, in bytes."""

    planned: int  # activations and state, as the file plans them
    scratch: int  # the largest working memory of any kernel
    structures: int  # values, instructions and tables

    @property
    def total(self) -> int:
        """All of it."""
        return self.planned + self.scratch + self.structures


@dataclass(frozen=True)
class MethodInfo:
    """A method as the file describes it; asking allocates nothing."""

    name: str
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]


class Handle:
    """A pointer that the runtime gave, and how it is freed: once, by `close` or with its owner."""

    def __init__(self, owner: object, what: str, pointer: ctypes.c_void_p, free: str) -> None:
        self._what = what
        self._pointer = pointer
        self._finalizer = weakref.finalize(owner, abi.ask, free, pointer)

    def get(self) -> ctypes.c_void_p:
        """The pointer. Raises RuntimeFailure once it is closed."""
        if not self._finalizer.alive:
            raise RuntimeFailure(
                f"[{self._what}] expected it to be open but it was closed; load it again"
            )
        return self._pointer

    def close(self) -> None:
        """Free it, if that was not done."""
        self._finalizer()


class Engine:
    """A runtime: a thread pool and the table of kernels."""

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and not 1 <= threads <= 1024:
            raise RuntimeFailure(
                f"[threads] expected a number from 1 to 1024 but got {threads}; "
                "leave it out for one per performance core"
            )
        pointer = ctypes.c_void_p()
        options = abi.Options(threads=threads or 0)
        abi.call("runtime_create", ctypes.byref(options), ctypes.byref(pointer))
        self.handle = Handle(self, "runtime", pointer, "runtime_free")

    def names(self, what: str) -> list[str]:
        """The "kernel_name", "kernel_signature" or "delegate_id" of every entry, in order."""
        pointer = self.handle.get()
        count = abi.ask(f"runtime_{what.split('_')[0]}_count", pointer)
        return [abi.text(f"runtime_{what}", pointer, index) for index in range(count)]


class NamedData(Mapping[str, memoryview]):
    """A program's named data: read-only views of the mapped file, which they keep open."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def __getitem__(self, key: str) -> memoryview:
        if key not in list(self):
            raise KeyError(key)
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        pointer = self._program._handle.get()
        abi.call(
            "program_named_data", pointer, key.encode(), ctypes.byref(data), ctypes.byref(size)
        )
        if not size.value or data.value is None:
            return memoryview(b"")
        memory = (ctypes.c_ubyte * size.value).from_address(data.value)
        memory.owner = self._program  # type: ignore[attr-defined]
        return memoryview(memory).cast("B").toreadonly()

    def __iter__(self) -> Iterator[str]:
        pointer = self._program._handle.get()
        for index in range(len(self)):
            yield abi.text("program_named_data_key", pointer, index)

    def __len__(self) -> int:
        return int(abi.ask("program_named_data_count", self._program._handle.get()))


class Program(Closing):
    """An open program file. Made by `load`; usable from any thread; a context manager."""

    def __init__(self, engine: Engine, source: str | os.PathLike[str] | bytes) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._methods: dict[str, Method] = {}
        self._names: names.Names | None = None  # read when first asked for
        self._keep = source if isinstance(source, bytes) else None
        pointer, runtime = ctypes.c_void_p(), engine.handle.get()
        if isinstance(source, bytes):
            abi.call("program_open_memory", runtime, source, len(source), ctypes.byref(pointer))
        else:
            path = os.fsencode(source)
            if b"\0" in path:
                raise RuntimeFailure(f"[load] expected a path but got {source!r}; correct it")
            abi.call("program_open", runtime, path, ctypes.byref(pointer))
        self._handle = Handle(self, "program", pointer, "program_close")

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the methods, in the order of the file."""
        pointer = self._handle.get()
        count = abi.ask("program_method_count", pointer)
        return tuple(abi.text("program_method_name", pointer, index) for index in range(count))

    def info(self, name: str = "forward") -> MethodInfo:
        """A method's inputs and outputs. Raises RuntimeFailure if there is no such method."""
        pointer, key = self._handle.get(), self._known(name)
        counts = ctypes.c_size_t(), ctypes.c_size_t()
        abi.call("program_method_counts", pointer, key, *map(ctypes.byref, counts))
        return MethodInfo(
            name=name,
            inputs=self._infos(name, "input", counts[0].value),
            outputs=self._infos(name, "output", counts[1].value),
        )

    def memory(self, name: str = "forward") -> MemoryInfo:
        """What a method would need. Raises as `method` does, but for memory."""
        record = abi.MemoryRecord()
        pointer, key = self._handle.get(), self._known(name)
        abi.call("program_method_memory", pointer, key, ctypes.byref(record))
        return MemoryInfo(record.planned, record.scratch, record.structures)

    def _infos(self, method: str, what: str, count: int) -> tuple[ValueInfo, ...]:
        if self._names is None:
            stored = self.named_data.get(names.KEY)
            self._names = names.parameter_names(bytes(stored)) if stored else {}
        known = self._names.get(method, {}).get(f"{what}s", [])
        infos = []
        for index in range(count):
            record = abi.ValueInfoRecord()
            pointer = self._handle.get()
            found = method.encode(), index, ctypes.byref(record)
            abi.call(f"program_{what}_info", pointer, *found)
            name = known[index] if index < len(known) and known[index] else f"{what} {index}"
            infos.append(value_info(record, name))
        return tuple(infos)

    def _known(self, name: str) -> bytes:
        if name not in self.methods:
            known = ", ".join(self.methods) or "none"
            raise RuntimeFailure(
                f"[method] expected one of {known} but got {name!r}; correct the name"
            )
        return name.encode()

    def method(self, name: str = "forward") -> Method:
        """The method, loaded on first use and kept: every call gives the same one.

        Raises RuntimeFailure if there is no such method or no memory for it, UnsupportedError if
        it needs a kernel or delegate that the runtime lacks.
        """
        with self._lock:
            found = self._methods.get(name)
            if found is None or found.closed:
                found = self._methods[name] = self.load_method(name)
            return found

    def load_method(self, name: str = "forward") -> Method:
        """A method with memory and state of its own, to run beside others. Raises as `method`."""
        return Method(self, self.info(name), self._known(name))

    def forward(self, *inputs: Any) -> Any:
        """Run the method "forward"; see `Method.__call__`."""
        return self.method("forward")(*inputs)

    @property
    def named_data(self) -> Mapping[str, memoryview]:
        """What the file holds beside the model: tokenizer, model card, ... by key."""
        return NamedData(self)

    @property
    def threads(self) -> int:
        """How many threads its methods use. May be set."""
        return int(abi.ask("runtime_threads", self._engine.handle.get()))

    @threads.setter
    def threads(self, count: int) -> None:
        if not 1 <= count <= 1024:
            raise RuntimeFailure(
                f"[threads] expected a number from 1 to 1024 but got {count}; "
                "one per performance core is best"
            )
        abi.call("runtime_set_threads", self._engine.handle.get(), count)

    def probe(self, buffer_bytes: int | None = None) -> profile.Probe:
        """Measure what this machine reads and multiplies with the program's threads.

        buffer_bytes: what to read, several times the last cache; 256 MiB if it is left out.
        Raises RuntimeFailure if it is less than 1 MiB, or more than there is.
        """
        return profile.probe(self._engine.handle.get(), buffer_bytes)

    @property
    def isa(self) -> str:
        """The instruction set in use: "avx512bf16", "avx2", "neon", "scalar", ..."""
        return abi.text("runtime_isa", self._engine.handle.get())

    def close(self) -> None:
        """Free the program and the methods that `method` gave. Views keep what they need."""
        with self._lock:
            for method in self._methods.values():
                method.close()
            self._methods.clear()
        self._handle.close()

    def __repr__(self) -> str:
        return f"<penlight.Program {', '.join(self.methods)}>"


class Method(Closing):
    """A loaded method. One call runs at a time; a second thread waits for the first."""

    def __init__(self, program: Program, info: MethodInfo, key: bytes) -> None:
        self._program = program  # keeps the file's bytes
        self._info = info
        self._lock = threading.Lock()
        pointer = ctypes.c_void_p()
        abi.call("method_load", program._handle.get(), key, None, ctypes.byref(pointer))
        self._handle = Handle(self, f"method {info.name}", pointer, "method_free")

    @property
    def name(self) -> str:
        """The method's name."""
        return self._info.name

    @property
    def info(self) -> MethodInfo:
        """Everything that the file says about it."""
        return self._info

    @property
    def inputs(self) -> tuple[ValueInfo, ...]:
        """What it takes."""
        return self._info.inputs

    @property
    def outputs(self) -> tuple[ValueInfo, ...]:
        """What it gives."""
        return self._info.outputs

    @property
    def memory(self) -> MemoryInfo:
        """What it needs."""
        return self._program.memory(self.name)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return not self._handle._finalizer.alive

    def __call__(self, *inputs: Any) -> Any:
        """Run it and give what the model gives: the output itself if there is one, else a tuple.

        Inputs and outputs as in `execute`.
        """
        results = self.execute(inputs)
        return results[0] if len(results) == 1 else tuple(results)

    forward = __call__

    def execute(self, inputs: Sequence[Any], *, copy: bool = True) -> list[Any]:
        """Run it on `inputs` and give the outputs as a list.

        Tensors are numpy arrays, or CPU torch tensors; if any input is a torch tensor, so are the
        outputs. An input is read in place if it is writeable, aligned and laid out as declared,
        else copied first. Outputs are fresh arrays that belong to the caller; with `copy` false
        they are views of the method's memory, whose contents hold until its next run.

        Raises RuntimeFailure, naming the input, if one does not fit, and if a kernel fails.
        """
        if len(inputs) != len(self.inputs):
            wanted = "; ".join(f"{i.name}: {i.describe()}" for i in self.inputs)
            raise RuntimeFailure(
                f"[{self.name}] expected {len(self.inputs)} inputs but got {len(inputs)}; "
                f"pass {wanted or 'none'}"
            )
        given = [Input(info, value) for info, value in zip(self.inputs, inputs, strict=True)]
        as_torch = any(is_torch(value) for value in inputs)
        with self._lock:
            pointer = self._handle.get()
            for index, each in enumerate(given):
                abi.call("method_set_input", pointer, index, ctypes.byref(each.value))
            abi.call("method_execute", pointer)
            return [
                output(self._output(pointer, i), copy=copy, as_torch=as_torch, owner=(self, given))
                for i in range(len(self.outputs))
            ]

    @staticmethod
    def _output(pointer: ctypes.c_void_p, index: int) -> abi.Value:
        value = ctypes.POINTER(abi.Value)()
        abi.call("method_output", pointer, index, ctypes.byref(value))
        return value.contents

    def reset(self) -> None:
        """Put state (caches, counters) back to what the file says."""
        with self._lock:
            abi.call("method_reset", self._handle.get())

    def profile(self) -> profile.Profile:
        """A context manager: while its block runs, what each instruction costs is counted.

        One at a time: the latest to begin counts from zero.
        """
        return profile.Profile(lambda: [self._handle.get()], self._lock)

    @property
    def state(self) -> list[Array]:
        """The tensors kept between runs, as writeable views of the method's memory.

        Read and write them between runs only, for instance to save a conversation.
        """
        with self._lock:
            pointer = self._handle.get()
            views = []
            for index in range(abi.ask("method_state_count", pointer)):
                tensor = ctypes.POINTER(abi.TensorView)()
                abi.call("method_state", pointer, index, ctypes.byref(tensor))
                views.append(tensor_view(tensor.contents, self))
            return views

    def close(self) -> None:
        """Free its memory."""
        with self._lock:
            self._handle.close()

    def __repr__(self) -> str:
        takes = ", ".join(f"{i.name}: {i.describe()}" for i in self.inputs)
        return f"<penlight.Method {self.name}({takes})>"


def load(
    path_or_bytes: str | os.PathLike[str] | bytes | bytearray | memoryview,
    *,
    threads: int | None = None,
) -> Program:
    """Open a program: a path, which is mapped, or the file's bytes.

    `threads` is how many its methods use; by default, one per performance core.
    Raises ProgramError if the file is malformed, RuntimeFailure if it cannot be opened.
    """
    source = path_or_bytes
    if isinstance(source, (bytearray, memoryview)):
        source = bytes(source)  # verified once, so it must not change afterwards
    if not isinstance(source, (str, os.PathLike, bytes)):
        raise RuntimeFailure(
            f"[load] expected a path or bytes but got {type(source).__name__}; pass one of them"
        )
    return Program(Engine(threads), source)
