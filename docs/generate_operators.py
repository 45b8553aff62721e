"""Write docs/operators.md from the kernel table: `make docs`. A test holds it up to date."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from penlight.edge.decompose import decomposition_table
from penlight.edge.kernels import available
from penlight.edge.meanings import MEANINGS

PAGE = Path(__file__).parent / "operators.md"
WIDTH = 100

# Operators that people look for, by name; the page lists those that are not there.
LOOKED_FOR = """
_fft_c2c _fft_c2r _fft_r2c _linalg_det _linalg_svd _ctc_loss _unique2
angle bincount bucketize complex cummax cummin cumprod cumsum digamma embedding_bag equal erfinv
fractional_max_pool2d gather gcd histc hypot i0 igamma index_put kthvalue lcm lgamma linalg_inv_ex
logcumsumexp median mode multinomial nanmedian nextafter nonzero roll scatter_reduce searchsorted
sort topk tril unique_consecutive unique_dim view_as_complex view_as_real
""".split()

HEAD = """# Operators

Made from the kernel table by `make docs`; do not edit.

A model exports if each of its operators has a kernel, or is opened up into operators that have
one: by PyTorch's own decompositions to core ATen, of which there are some {opened}, or by the
further meanings listed below. Any other operator ends in a `MissingKernelError`, which names it and
the line of the model that used it.
"""


def wrapped(names: Iterable[str]) -> str:
    """Names in code marks, as a paragraph."""
    lines, line = [], ""
    for name in names:
        item = f"`{name}`"
        if line and len(line) + 1 + len(item) > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {item}".strip()
    return "\n".join([*lines, line]) + "\n"


def base(kernel: str) -> str:
    """The operator of a kernel: "aten::add.out" is of "add"."""
    return kernel.split("::")[1].split(".")[0]


def operators_page() -> str:
    """The whole page."""
    kernels: dict[str, set[str]] = defaultdict(set)
    for kernel in available():
        kernels[kernel.split("::")[0]].add(base(kernel))
    table = decomposition_table(available())
    opened = {str(op).split(".")[1] for op in table}
    meant = sorted({str(op).split(".")[1] for op in MEANINGS})
    missing = [name for name in LOOKED_FOR if name not in opened | kernels["aten"]]
    parts = [HEAD.format(opened=len(table) // 100 * 100), f"## Kernels ({len(available())})\n"]
    for namespace in sorted(kernels):
        parts.append(f"`{namespace}::`\n\n{wrapped(sorted(kernels[namespace]))}")
    parts.append(
        "Their dtypes are PyTorch's, of bool, int8 to int64, uint8, float16, bfloat16, float32 "
        "and float64;\nwhat a kernel does not take, it refuses with an error that says so. "
        "`penlight.runtime.kernels()` gives\ntheir full names and signatures.\n"
    )
    parts.append(f"## Opened up by Penlight\n\n{wrapped(meant)}")
    parts.append(
        "## Not there\n\nOf the operators that people look for, these have neither a kernel nor a "
        f"meaning:\n\n{wrapped(missing)}\n"
        "[CONTRIBUTING.md](../CONTRIBUTING.md) says how to add one.\n"
    )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(operators_page())
