"""Running programs: the Python face of the C runtime. Needs numpy, never torch."""

from penlight.runtime.executorch import Runtime, delegates, kernels
from penlight.runtime.program import MemoryInfo, Method, MethodInfo, Program, load
from penlight.runtime.values import ValueInfo

__all__ = [
    "MemoryInfo",
    "Method",
    "MethodInfo",
    "Program",
    "Runtime",
    "ValueInfo",
    "delegates",
    "kernels",
    "load",
]
