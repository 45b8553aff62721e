"""The instruction sets that the kernels were compiled for and this machine can run."""

from __future__ import annotations

import platform

_CANDIDATES = {
    "x86_64": ("avx2", "avx2vnni", "avx512vnni", "avx512bf16"),
    "AMD64": ("avx2", "avx2vnni", "avx512vnni", "avx512bf16"),
    "aarch64": ("neon", "dotprod", "i8mm"),
    "arm64": ("neon", "dotprod", "i8mm"),
}
_FLAGS = {
    "avx2": ("avx2", "fma", "f16c"),
    "avx2vnni": ("avx_vnni",),
    "avx512vnni": ("avx512f", "avx512vl", "avx512_vnni"),
    "avx512bf16": ("avx512f", "avx512vl", "avx512_vnni", "avx512_bf16"),
    "neon": ("asimd",),
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
}


def _processor_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            lines = [line for line in info if line.lower().startswith(("flags", "features"))]
    except OSError:
        return set()
    return set(lines[0].split()) if lines else set()


def available() -> list[str]:
    """ "scalar", and every faster set that this processor has, by what the system says of it."""
    flags = _processor_flags()
    sets = _CANDIDATES.get(platform.machine(), ())
    return ["scalar", *(s for s in sets if flags.issuperset(_FLAGS[s]))]
