"""Where the bytes of each weight of a program come from: which format, and who makes them when.

A weight is read, quantised, packed and written a few rows at a time, while the file is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from penlight.checkpoints.source import LazyTensor
from penlight.edge.packed import PackedFormat
from penlight.errors import ExportError
from penlight.program.write import DataSource
from penlight.quantize.pack import PackedSource, in_blocks, pack

__all__ = ["SCHEMES", "FloatSource", "KeptSource", "choose_formats", "weight_source"]

Scheme = Literal["keep", "q4", "q6", "q8", "bf16", "f32"]
SCHEMES: dict[str, str] = {
    "keep": "as the checkpoint has them: its own quantised values exactly, or its floats",
    "q4": "4 bits in groups of 32, scales and centres by least squared error",
    "q6": "6 bits in groups of 16, scales by least squared error",
    "q8": "8 bits in groups of 32",
    "bf16": "bfloat16",
    "f32": "float32",
}
_FORMATS = {"q4": "q4g32c", "q6": "q6g16", "q8": "q8g32", "bf16": "bf16", "f32": "f32"}

# What carries a GGML kind over exactly. Kinds of 5 bits take 6, those of 2 and 3 take 4.
# Activations of 16 bits, so that what is kept is the answers too.
_KEPT = {
    "q4_0": "q4g32.a16",
    "q4_1": "q4g32m.a16",
    "q5_0": "q6g32.a16",
    "q5_1": "q6g32m.a16",
    "q8_0": "q8g32.a16",
    "q2_k": "q4g16m.k.a16",
    "q3_k": "q4g16.k.a16",
    "q4_k": "q4g32m.k.a16",
    "q5_k": "q6g32m.k.a16",
    "q6_k": "q6g16.k.a16",
    "float64": "f32",
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
}


def choose_formats(
    tensors: Mapping[str, LazyTensor],
    matrices: Mapping[str, bool],
    scheme: str,
    embedding: str | None,
) -> dict[str, str]:
    """The packed format of every matrix.

    matrices: names of the weights to pack, and whether each is an embedding or output head. Those
    are 8 bit under "q4", as they are under "keep", and what `embedding` (a scheme) says otherwise.
    Raises ExportError on an unknown scheme.
    """
    for given in (scheme, embedding):
        if given is not None and given not in SCHEMES:
            raise ExportError(
                f"[quant] expected one of {', '.join(SCHEMES)} but got {given!r}; choose one"
            )
    chosen = {}
    for name, is_embedding in matrices.items():
        wanted = (embedding or ("q8" if scheme == "q4" else scheme)) if is_embedding else scheme
        chosen[name] = _KEPT[tensors[name].dtype] if wanted == "keep" else _FORMATS[wanted]
    return chosen


def weight_source(tensor: LazyTensor, format: str) -> DataSource:
    """The packed bytes of a matrix [rows, inputs]."""
    rows, inputs = tensor.shape
    if tensor.quantised and _KEPT[tensor.dtype] == format:
        return KeptSource(tensor, format)
    return PackedSource(rows, inputs, format, tensor.read_rows)


@dataclass(frozen=True)
class FloatSource:
    """The elements of a tensor as float32, in row-major order."""

    tensor: LazyTensor

    @property
    def nbytes(self) -> int:
        """Four for each element."""
        return 4 * int(np.prod(self.tensor.shape, dtype=np.int64))

    def chunks(self) -> Iterator[memoryview]:
        """All at once: these are vectors."""
        yield np.ascontiguousarray(self.tensor.read(), np.float32).data.cast("B")


@dataclass(frozen=True)
class KeptSource:
    """A quantised matrix of a checkpoint in the packed layout, value for value."""

    tensor: LazyTensor
    format: str

    @property
    def nbytes(self) -> int:
        """Of the packed layout."""
        return PackedFormat.parse(self.format).nbytes(*self.tensor.shape)

    def chunks(self) -> Iterator[memoryview]:
        """A few blocks of rows at a time."""
        rows, inputs = self.tensor.shape
        zero = PackedFormat.parse(self.format).zero

        def make(first: int, end: int) -> memoryview:
            part = self.tensor.raw_quantised(first, end)
            codes = part.codes.view(np.uint8) + np.uint8(zero)  # modulo 256, and back in range
            if part.factors is None:
                (block,) = pack(codes, part.scales, part.minimums, self.format)
            else:
                units, scales, minimums = part.factors
                (block,) = pack(codes, scales, minimums, self.format, units)
            return block

        yield from in_blocks(make, rows, inputs)
