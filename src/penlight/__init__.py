"""Penlight: PyTorch models as one ``.pte`` file that runs on laptops, phones and in browsers.

    from penlight import to_edge                       # needs torch
    to_edge(torch.export.export(model, args)).to_executorch().save("model.pte")

    import penlight                                    # needs numpy and the C library alone
    penlight.load("model.pte").forward(array)

Importing this package imports neither torch nor the library: each name is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from penlight.edge import kernels as _kernels

if TYPE_CHECKING:
    from collections.abc import Mapping

__version__ = "0.1.0"

_HOMES = {
    "EdgeCompileConfig": "penlight.edge.config",
    "EdgeProgramManager": "penlight.program.manager",
    "ExecutorchBackendConfig": "penlight.program.config",
    "ExecutorchProgramManager": "penlight.program.manager",
    "LLM": "penlight.llm",
    "MemoryPlanningPass": "penlight.program.config",
    "PenlightError": "penlight.errors",
    "cmake_dir": "penlight.paths",
    "include_dir": "penlight.paths",
    "library_path": "penlight.paths",
    "load": "penlight.runtime",
    "to_edge": "penlight.program.manager",
    "to_edge_transform_and_lower": "penlight.program.manager",
}
_MODULES = ("backends", "errors", "llm", "runtime")

__all__ = [*_HOMES, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _runtime_kernels() -> Mapping[str, str]:
    from penlight.runtime import kernels

    return kernels()


_kernels.provide(_runtime_kernels)
