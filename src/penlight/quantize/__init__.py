"""Weight schemes: from float or already quantised weights to packed bytes."""

from penlight.edge.packed import PackedFormat, unpack
from penlight.quantize.pack import PackedSource, pack, pack_values
from penlight.quantize.scheme import quantize_rows

__all__ = [
    "PackedFormat",
    "PackedSource",
    "pack",
    "pack_values",
    "quantize_rows",
    "unpack",
]
