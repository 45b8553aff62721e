"""Exporting a module that a user's Python file defines."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import io
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from penlight.cli._terminal import check_writable, progress, quiet, spell_bytes
from penlight.errors import ExportError, PenlightError

MODULE_NAME = "penlight_exported_file"


@dataclass
class ModuleExport:
    """One run of ``penlight export FILE.py:NAME``; the fields are its arguments."""

    file: Path
    name: str
    output: Path
    shapes: list[str]
    dtype: str
    dynamic: list[str]
    backends: list[str]

    def run(self) -> None:
        """Write the program and say so. Raises ExportError, in one line, if that cannot be."""
        check_writable(self.output)
        started = time.perf_counter()
        with progress("loading the model") as report, quiet():
            module = load_file(self.file, self.name)
            model = self._model(module)
            inputs = self._inputs(module)
            report("capturing the graph", 0, 0)
            # torch prints the graph when it fails, besides raising.
            with blame(self.file, f"capturing {self.name}"), redirect_stderr(io.StringIO()):
                captured = torch.export.export(
                    model, inputs, dynamic_shapes=self._dynamic_shapes(model, inputs), strict=False
                )
            report("optimising", 0, 0)
            program = self._lower(captured)
            step = f"writing {self.output.name}"
            program.save(self.output, lambda done, total: report(step, done, total))
        size = spell_bytes(self.output.stat().st_size)
        print(f"wrote {self.output}  {size} in {time.perf_counter() - started:.1f} s")

    def _lower(self, captured: torch.export.ExportedProgram) -> Any:
        import penlight

        if not self.backends:
            return penlight.to_edge(captured).to_executorch()
        from penlight.backends import partitioners

        known = partitioners()
        for name in self.backends:
            if name not in known:
                raise ExportError(
                    f"[export] expected a backend among {', '.join(sorted(known))} but got "
                    f"{name!r}; correct --backend"
                )
        chosen = [known[name]() for name in self.backends]
        return penlight.to_edge_transform_and_lower(captured, partitioner=chosen).to_executorch()

    def _model(self, module: ModuleType) -> torch.nn.Module:
        found = getattr(module, self.name)
        if not isinstance(found, torch.nn.Module) and callable(found):
            with blame(self.file, f"calling {self.name}()"):
                found = found()
        if not isinstance(found, torch.nn.Module):
            raise ExportError(
                f"[export] expected {self.name} in {self.file} to be or to return a "
                f"torch.nn.Module but got {type(found).__name__}; name another one"
            )
        return found.eval()

    def _inputs(self, module: ModuleType) -> tuple[Any, ...]:
        if self.shapes:
            return tuple(example(text, self.dtype) for text in self.shapes)
        make = getattr(module, "example_inputs", None)
        if not callable(make):
            raise ExportError(
                f"[export] expected --input-shape, or a function example_inputs() in {self.file}, "
                "but got neither; add for example --input-shape 1x3x224x224"
            )
        with blame(self.file, "calling example_inputs()"):
            inputs = make()
        return tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)

    def _dynamic_shapes(
        self, model: torch.nn.Module, inputs: tuple[Any, ...]
    ) -> tuple[dict[int, Any] | None, ...] | None:
        """What torch.export wants: for each input, its dynamic dimensions."""
        if not self.dynamic:
            return None
        names = list(inspect.signature(model.forward).parameters)
        shapes: list[dict[int, Any]] = [{} for _ in inputs]
        for text in self.dynamic:
            index, dim, low, high = parse_dynamic(text, names, inputs)
            shapes[index][dim] = torch.export.Dim(f"dim_{index}_{dim}", min=low, max=high)
        return tuple(shape or None for shape in shapes)


def load_file(file: Path, name: str) -> ModuleType:
    """Import `file` as a module, with its folder importable. Raises ExportError."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except UnicodeDecodeError:
        raise ExportError(f"[export] expected {file} to be UTF-8 text; check the path") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ExportError(f"[export] expected Python in {file} but line {line}: {error}") from None
    spec = importlib.util.spec_from_file_location(MODULE_NAME, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    sys.path.insert(0, str(file.parent.resolve()))
    with blame(file, "importing it"):
        spec.loader.exec_module(module)
    if not hasattr(module, name) or not name:
        classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        raise ExportError(
            f"[export] expected the name of a model in {file} but got {name!r}; "
            f"write {file}:NAME, where NAME is one of {', '.join(classes) or '(no class found)'}"
        )
    return module


def example(text: str, default: str) -> torch.Tensor:
    """A tensor to capture with, from "1x3x224x224" or "1x128:int64": all zeros."""
    shape, _, named = text.partition(":")
    dtype = getattr(torch, named or default, None)
    if not isinstance(dtype, torch.dtype):
        raise ExportError(
            f"[export] expected a dtype such as float32 or int64 but got {named or default!r}; "
            "correct --dtype or --input-shape"
        )
    try:
        sizes = [] if shape == "scalar" else [int(size) for size in shape.split("x")]
        if any(size < 0 for size in sizes):
            raise ValueError(shape)
    except ValueError:
        raise ExportError(
            f"[export] expected a shape such as 1x3x224x224 but got {shape!r}; "
            "correct --input-shape"
        ) from None
    try:
        return torch.zeros(sizes, dtype=dtype)
    except (RuntimeError, TypeError) as error:
        raise ExportError(
            f"[export] expected a shape that fits in memory but got {shape}: {first_line(error)}; "
            "use a smaller one"
        ) from None


def parse_dynamic(
    text: str, names: list[str], inputs: tuple[Any, ...]
) -> tuple[int, int, int, int]:
    """Input, dimension, least and largest size from "x.0=1..8". Raises ExportError."""
    try:
        place, _, bounds = text.partition("=")
        key, _, dim = place.rpartition(".")
        low, _, high = bounds.partition("..")
        index = names.index(key) if key in names else int(key)
        parsed = index, int(dim), int(low), int(high)
        rank = inputs[index].dim()
        if not (index >= 0 and 0 <= parsed[1] < rank and 0 <= parsed[2] < parsed[3]):
            raise ValueError(text)
    except (ValueError, IndexError, AttributeError):
        known = ", ".join(names[: len(inputs)])
        raise ExportError(
            f"[export] expected --dynamic INPUT.DIM=MIN..MAX, with INPUT one of {known}, but got "
            f"{text!r}; write for example {names[0] if names else 0}.0=1..8"
        ) from None
    return parsed


@contextmanager
def blame(file: Path, doing: str) -> Iterator[None]:
    """Turn whatever the user's code raises into one line that names the line at fault."""
    try:
        yield
    except (PenlightError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        here = [f for f in frames if Path(f.filename).resolve() == file.resolve()]
        where = f"{file}:{here[-1].lineno}" if here else str(file)
        raise ExportError(
            f"[export] {doing} failed at {where}: {type(error).__name__}: {first_line(error)}"
        ) from error


def first_line(error: BaseException) -> str:
    """The start of an error's message; torch's go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"
