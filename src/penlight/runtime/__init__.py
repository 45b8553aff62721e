"""Running programs: the Python face of the C runtime. Needs numpy, never torch."""

from penlight.runtime.executorch import Runtime, delegates, kernels
from penlight.runtime.profile import Cost, Probe, Profile
from penlight.runtime.program import MemoryInfo, Method, MethodInfo, Program, load
from penlight.runtime.values import ValueInfo

__all__ = [
    "Cost",
    "MemoryInfo",
    "Method",
    "MethodInfo",
    "Probe",
    "Profile",
    "Program",
    "Runtime",
    "ValueInfo",
    "delegates",
    "kernels",
    "load",
]
