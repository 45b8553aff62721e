"""`to_edge` and the managers: one or more methods on their way to a program file.

    edge = to_edge(torch.export.export(model, args))
    program = edge.to_executorch()
    program.save("model.pte")

Names and meanings are ExecuTorch's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, TextIO, TypeVar

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from penlight.backends.base import Partitioner, set_program_writer
from penlight.backends.lower import lower_partitions
from penlight.edge.config import EdgeCompileConfig
from penlight.edge.graph import EdgeGraph, copy_program
from penlight.edge.lift import lift_constants
from penlight.edge.linear import LinearMethod
from penlight.edge.verify import verify
from penlight.errors import ExportError
from penlight.passes.pipeline import lower, to_edge_program
from penlight.plan.best_fit import plan_memory
from penlight.program.config import ExecutorchBackendConfig
from penlight.program.emit import Emitter
from penlight.program.schema import Program
from penlight.program.write import DataSource, ProgramBuilder, Progress

T = TypeVar("T")
Pass = Callable[[GraphModule], Any]
Partitioners = Partitioner | Sequence[Partitioner] | Mapping[str, Any]


def to_edge(
    programs: ExportedProgram | Mapping[str, ExportedProgram],
    constant_methods: Mapping[str, Any] | None = None,
    compile_config: EdgeCompileConfig | None = None,
) -> EdgeProgramManager:
    """Convert captured methods to edge programs.

    Args:
        programs: one ``torch.export.export`` result (the method is named "forward"), or several by
            method name.
        constant_methods: further methods by name, each returning the given value: numbers, texts,
            tensors, or lists, tuples and dictionaries of them.
        compile_config: options.

    Raises:
        ExportError: wrong arguments, or a graph that cannot be converted.
    """
    methods = _methods(programs)
    config = _config(compile_config, EdgeCompileConfig, "to_edge")
    edge = {name: to_edge_program(program, config) for name, program in methods.items()}
    return EdgeProgramManager(edge, constant_methods, config)


def to_edge_transform_and_lower(
    programs: ExportedProgram | Mapping[str, ExportedProgram],
    transform_passes: Any = None,
    partitioner: Partitioners | None = None,
    constant_methods: Mapping[str, Any] | None = None,
    compile_config: EdgeCompileConfig | None = None,
) -> EdgeProgramManager:
    """`to_edge`, then transformations, then lowering to backends, in one call.

    Unlike the three calls one by one it keeps the operators whole that a partitioner names in
    `ops_to_not_decompose`.

    Args:
        programs, constant_methods, compile_config: as for `to_edge`.
        transform_passes: as for `EdgeProgramManager.transform`.
        partitioner: a partitioner, several in order, or either by method name.

    Raises:
        ExportError: as `to_edge`, or an operator was kept whole for a backend that left it.
        BackendError: a backend refused.
    """
    methods = _methods(programs)
    config = _config(compile_config, EdgeCompileConfig, "to_edge_transform_and_lower")
    chosen = _partitioners(partitioner, methods)
    edge: dict[str, ExportedProgram] = {}
    kept: dict[str, set[Any]] = {}
    for name, program in methods.items():
        for item in chosen[name]:
            program = item.transform_for_pre_decomposition(program)
        kept[name] = {op for item in chosen[name] for op in item.ops_to_not_decompose(program)[0]}
        edge[name] = to_edge_program(program, config, kept[name])
    manager = EdgeProgramManager(edge, constant_methods, config)
    if transform_passes is not None:
        manager = manager.transform(transform_passes)
    for index in range(max(map(len, chosen.values()), default=0)):
        round_ = {name: items[index] for name, items in chosen.items() if index < len(items)}
        manager = manager.to_backend(round_)
    for name in methods:
        left = {node.target for node in EdgeGraph(manager.exported_program(name)).calls()}
        for op in left & (kept[name] - set(config.preserve_ops)):
            raise ExportError(
                f"[method {name}] expected {op} to be delegated, because a partitioner keeps it "
                "whole, but it was left in the graph; tag it or remove it from ops_to_not_decompose"
            )
    return manager


class EdgeProgramManager:
    """Edge programs by method name, to be transformed, lowered and turned into a program."""

    def __init__(
        self,
        edge_programs: ExportedProgram | Mapping[str, ExportedProgram],
        constant_methods: Mapping[str, Any] | None = None,
        compile_config: EdgeCompileConfig | None = None,
    ) -> None:
        self._programs = _methods(edge_programs)
        self._constant_methods = dict(constant_methods or {})
        self.compile_config = compile_config or EdgeCompileConfig()
        for name in self._constant_methods:
            if name in self._programs:
                raise ExportError(
                    f"[constant_methods] expected names other than the methods' but got {name!r}; "
                    "rename it"
                )

    @property
    def methods(self) -> set[str]:
        """The names of the methods."""
        return set(self._programs)

    @property
    def config_methods(self) -> set[str]:
        """The names of the constant methods."""
        return set(self._constant_methods)

    def exported_program(self, method_name: str = "forward") -> ExportedProgram:
        """The edge program of a method. Raises ExportError if there is no such method."""
        return _lookup(self._programs, method_name)

    def transform(
        self,
        passes: Pass | Sequence[Pass] | Mapping[str, Sequence[Pass]],
        compile_config: EdgeCompileConfig | None = None,
    ) -> EdgeProgramManager:
        """A manager whose graphs were rewritten.

        Args:
            passes: functions (or objects with a ``call``) from a ``GraphModule`` to a
                ``PassResult``, a ``GraphModule`` or None (changed in place): one, several in
                order, or several by method name.
            compile_config: replaces the manager's.
        """
        by_method = _by_method(passes, self._programs, "transform")
        programs = {
            name: _transformed(program, by_method.get(name, ()))
            for name, program in self._programs.items()
        }
        config = compile_config or self.compile_config
        return EdgeProgramManager(programs, self._constant_methods, config)

    def to_backend(self, partitioner: Partitioners) -> EdgeProgramManager:
        """A manager in which the parts that partitioners choose are delegated.

        Args:
            partitioner: one for all methods, or by method name.

        Raises:
            BackendError: a partition cannot be cut out, or its backend is unknown or refused.
        """
        chosen = _partitioners(partitioner, self._programs)
        programs = dict(self._programs)
        for name, items in chosen.items():
            for item in items:
                programs[name] = lower_partitions(programs[name], item)
        return EdgeProgramManager(programs, self._constant_methods, self.compile_config)

    def to_executorch(
        self,
        config: ExecutorchBackendConfig | None = None,
        *,
        constants: Mapping[str, DataSource] | None = None,
    ) -> ExecutorchProgramManager:
        """Optimise, plan and emit all methods. This manager is not changed.

        Args:
            config: options.
            constants: data of parameters and buffers by fully qualified name, in row-major order of
                the captured dtype and shape. It is read when the program is written, and replaces
                what the model holds, so a model captured with fake tensors can be written.

        Raises:
            MissingKernelError: operators that the runtime has no kernel for.
            ExportError, UnsupportedError: what a program cannot express.
        """
        options = _config(config, ExecutorchBackendConfig, "to_executorch")
        lowered = {
            name: lower(
                program,
                name,
                plan_memory,
                passes=options.passes,
                reuse_views=options.remove_view_copy,
                plan_inputs=options.memory_planning_pass.alloc_graph_input,
                extra_kernels=options.extra_kernels,
            )
            for name, program in sorted(self._programs.items())
        }
        return ExecutorchProgramManager(lowered, self._constant_methods, options, constants)


class ExecutorchProgramManager:
    """A finished program: write it with `save` or `write_to_file`, or take its `buffer`."""

    def __init__(
        self,
        lowered: Mapping[str, tuple[ExportedProgram, LinearMethod]],
        constant_methods: Mapping[str, Any],
        config: ExecutorchBackendConfig,
        constants: Mapping[str, DataSource] | None = None,
    ) -> None:
        self._programs = {name: program for name, (program, _) in lowered.items()}
        self._config_methods = set(constant_methods)
        self._linear = {name: method for name, (_, method) in lowered.items()}
        self.builder = ProgramBuilder()
        programs = self._programs.values()
        known = {name for p in programs for name in (*p.state_dict, *p.constants)}
        emitter = Emitter(self.builder, constants, known, config.constant_tensor_alignment)
        for _, method in lowered.values():
            emitter.add(method)
        for name, value in constant_methods.items():
            emitter.add_constant_method(name, value)
        emitter.finish()
        self._plans = emitter.plans
        self._buffer: bytes | None = None

    @property
    def methods(self) -> set[str]:
        """The names of the methods."""
        return set(self._programs)

    @property
    def config_methods(self) -> set[str]:
        """The names of the constant methods."""
        return self._config_methods

    def exported_program(self, method_name: str = "forward") -> ExportedProgram:
        """The optimised graph of a method. Raises ExportError if there is no such method."""
        return _lookup(self._programs, method_name)

    def linear_method(self, method_name: str = "forward") -> LinearMethod:
        """The instructions and planned storages of a method."""
        _lookup(self._programs, method_name)
        return self._linear[method_name]

    @property
    def executorch_program(self) -> Program:
        """The program's tables, before data gets its place in segments."""
        return Program(execution_plan=self._plans)

    @property
    def buffer(self) -> bytes:
        """The file's bytes. For large models prefer `save`, which never holds them at once."""
        if self._buffer is None:
            self._buffer = self.builder.to_bytes()
        return self._buffer

    def write_to_file(self, open_file: BinaryIO) -> None:
        """Stream the program to a file opened for binary writing."""
        self.builder.write(open_file)

    def save(self, path: str | os.PathLike[str], progress: Progress | None = None) -> None:
        """Write the program so that `path` is either complete or untouched.

        Args:
            path: a name that ends in ``.pte``.
            progress: called with (bytes written, bytes in all).

        Raises:
            ExportError: another ending.
            OSError: the file cannot be written.
        """
        if not os.fspath(path).endswith(".pte"):
            raise ExportError(
                f"[save] expected a path that ends in .pte but got {os.fspath(path)!r}; rename it"
            )
        self.builder.save(path, progress)

    def dump_executorch_program(self, verbose: bool = False, out: TextIO | None = None) -> None:
        """Print the program: its instructions, or with `verbose` every value as well."""
        file = out or sys.stdout
        for plan in self._plans:
            print(f"method {plan.name}: inputs {plan.inputs} outputs {plan.outputs}", file=file)
            print(f"  memory {plan.non_const_buffer_sizes}", file=file)
            if verbose:
                for index, value in enumerate(plan.values):
                    print(f"  value {index}: {value.val}", file=file)
            for index, instruction in enumerate(plan.chains[0].instructions):
                print(f"  {index}: {_describe(instruction.instr_args, plan)}", file=file)


def _describe(call: Any, plan: Any) -> str:
    kind = type(call).__name__
    if kind == "KernelCall":
        operator = plan.operators[call.op_index]
        return f"{operator.name}.{operator.overload}{tuple(call.args)}"
    if kind == "DelegateCall":
        return f"delegate {plan.delegates[call.delegate_index].id}{tuple(call.args)}"
    return str(call)


# ---- arguments ----


def _methods(
    programs: ExportedProgram | Mapping[str, ExportedProgram],
) -> dict[str, ExportedProgram]:
    methods = dict(programs) if isinstance(programs, Mapping) else {"forward": programs}
    for name, program in methods.items():
        if not isinstance(program, ExportedProgram) or not isinstance(name, str) or not name:
            raise ExportError(
                "[to_edge] expected an ExportedProgram, or a dictionary of them by method name, "
                f"but got {type(program).__name__} for {name!r}; capture the model with "
                "torch.export.export(model, args) first"
            )
    if not methods:
        raise ExportError("[to_edge] expected at least one method but got none; pass a program")
    return methods


def _config(given: T | None, type_: type[T], where: str) -> T:
    if given is not None and not isinstance(given, type_):
        raise ExportError(
            f"[{where}] expected penlight's {type_.__name__} but got {type(given).__module__}."
            f"{type(given).__name__}; import it from penlight"
        )
    return given if given is not None else type_()


def _lookup(programs: Mapping[str, ExportedProgram], name: str) -> ExportedProgram:
    if name not in programs:
        raise ExportError(
            f"[method] expected one of {', '.join(sorted(programs))} but got {name!r}; "
            "see the manager's methods"
        )
    return programs[name]


def _by_method(given: Any, methods: Mapping[str, object], where: str) -> dict[str, tuple[Any, ...]]:
    """One item, several, or either by method name, as tuples by method name."""
    if isinstance(given, Mapping):
        for name in given:
            if name not in methods:
                raise ExportError(
                    f"[{where}] expected method names among {', '.join(sorted(methods))} but got "
                    f"{name!r}; rename it"
                )
        by_name = dict(given)
    else:
        by_name = dict.fromkeys(methods, given)
    return {
        name: tuple(items) if isinstance(items, list | tuple) else (items,)
        for name, items in by_name.items()
    }


def _partitioners(
    given: Partitioners | None, methods: Mapping[str, object]
) -> dict[str, tuple[Partitioner, ...]]:
    chosen = _by_method(() if given is None else given, methods, "partitioner")
    for items in chosen.values():
        for item in items:
            if not isinstance(item, Partitioner):
                raise ExportError(
                    "[partitioner] expected instances of penlight.backends.Partitioner but got "
                    f"{item!r}; derive it from that class and make an instance"
                )
    return {name: chosen.get(name, ()) for name in methods}


def _transformed(program: ExportedProgram, passes: Sequence[Any]) -> ExportedProgram:
    result = copy_program(program)
    for rewrite in passes:
        for step in getattr(rewrite, "passes", None) or [rewrite]:
            outcome = step(result.graph_module)
            module = getattr(outcome, "graph_module", outcome)
            if isinstance(module, GraphModule) and module is not result.graph_module:
                result = copy_program(result, module)
    graph = EdgeGraph(result)
    lift_constants(graph)
    verify(graph, "transform")
    graph.finish()
    return result


def _write_nested(program: ExportedProgram) -> bytes:
    """A complete program whose only method runs `program`; for backends that nest one."""
    with torch.no_grad():
        return EdgeProgramManager(program).to_executorch().buffer


set_program_writer(_write_nested)
