"""What every checkpoint reader returns: a lazy source of tensors, and all else that a model needs.

    with open_checkpoint("SmolLM2-135M-Instruct.Q4_1.gguf") as checkpoint:
        checkpoint.config                                  # ModelConfig
        tensor = checkpoint.tensors["layers.0.self_attn.q_proj.weight"]
        tensor.read_rows(0, 64)                            # float32 [64, K]; only these are read
        tensor.raw_quantised(0, 64)                        # integer codes, scales, minimums

Nothing is read before it is asked for and nothing is kept, so memory is what the caller holds.
Tensors are read and not memory-mapped: mapped pages would count as the process's memory, and a file
cut short while it is read would end the process instead of raising an error.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from penlight.checkpoints._ggml import BLOCKS, Quantised, unpack
from penlight.closing import Closing
from penlight.errors import CheckpointError
from penlight.models.config import ModelConfig

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
_HASH_CHUNK = 1 << 22


class SourceFile:
    """A file of a checkpoint, read at offsets. Thread-safe; opened at the first read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise CheckpointError(
                f"[{path}] expected a readable file but got: {error.strerror}; check the path"
            ) from None
        self._lock = threading.Lock()
        self._descriptor = -1

    def read(self, offset: int, nbytes: int) -> ByteArray:
        """uint8 [nbytes] from offset; raises CheckpointError where the file is shorter."""
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            raise self.short(offset, nbytes)
        out = np.empty(nbytes, np.uint8)
        view, done = out.data, 0
        with self._lock:
            try:
                if self._descriptor < 0:
                    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
                    self._descriptor = os.open(self.path, flags)
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                while done < nbytes:
                    part = os.read(self._descriptor, min(nbytes - done, 1 << 26))
                    if not part:
                        raise self.short(offset, nbytes)
                    view[done : done + len(part)] = part
                    done += len(part)
            except OSError as error:
                raise CheckpointError(
                    f"[{self.path}] expected {nbytes} readable bytes at {offset} but got: "
                    f"{error.strerror}; check the disk"
                ) from None
        return out

    def short(self, offset: int, nbytes: int) -> CheckpointError:
        return CheckpointError(
            f"[{self.path}] expected {nbytes} bytes at {offset} but got a file of {self.size} "
            "bytes; the file is truncated or corrupt: download it again"
        )

    def sha256(self, progress: Callable[[int], None] | None = None) -> str:
        """The file's digest in hex. progress is called with the bytes of each chunk."""
        digest = hashlib.sha256()
        for offset in range(0, self.size, _HASH_CHUNK):
            chunk = self.read(offset, min(_HASH_CHUNK, self.size - offset))
            digest.update(chunk.data)
            if progress:
                progress(chunk.nbytes)
        return digest.hexdigest()

    def close(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


class LazyTensor(ABC):
    """A tensor whose values are read when asked for.

    shape: [rows, columns] or [n]. dtype: "float32", "float16", "bfloat16", "float64" or a GGML kind
    in lower case ("q4_1"). A vector's rows are its elements.
    """

    def __init__(self, name: str, shape: Sequence[int], dtype: str) -> None:
        self.name = name
        self.shape = tuple(shape)
        self.dtype = dtype

    @property
    def quantised(self) -> bool:
        return self.dtype in BLOCKS

    @property
    def rows(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def row_bytes(self) -> int:
        """Stored bytes of one row."""
        return row_bytes(self.dtype, math.prod(self.shape[1:]))

    @property
    def nbytes(self) -> int:
        """Stored bytes of the whole tensor."""
        return self.rows * self.row_bytes

    @abstractmethod
    def _read(self, first: int, last: int) -> ByteArray:
        """uint8 [last - first, row_bytes], the rows as stored; the range has been checked."""

    def raw_rows(self, first: int, last: int) -> ByteArray:
        """Rows first to last - 1 as stored, uint8 [last - first, row_bytes]."""
        if not 0 <= first <= last <= self.rows:
            raise CheckpointError(
                f"[{self.name}] expected rows within 0 to {self.rows} but got {first} to {last}; "
                "ask for rows that the tensor has"
            )
        return self._read(first, last)

    def read_rows(self, first: int, last: int) -> FloatArray:
        """Rows first to last - 1 as float32 [last - first, columns], or [last - first]."""
        raw = self.raw_rows(first, last)
        if self.quantised:
            return unpack(raw, self.dtype).dequantise()
        shape = (last - first, *self.shape[1:])
        return _to_float32(raw, self.dtype).reshape(shape)

    def read(self) -> FloatArray:
        """The whole tensor as float32."""
        return self.read_rows(0, self.rows).reshape(self.shape)

    def raw_quantised(self, first: int = 0, last: int | None = None) -> Quantised:
        """The integers, scales and minimums of rows of a quantised tensor, exactly as stored."""
        if not self.quantised:
            raise CheckpointError(
                f"[{self.name}] expected a quantised tensor but got {self.dtype}; use read_rows"
            )
        return unpack(self.raw_rows(first, self.rows if last is None else last), self.dtype)


class FileTensor(LazyTensor):
    """A tensor that lies in one piece in a file, rows one after another."""

    def __init__(
        self, name: str, shape: Sequence[int], dtype: str, file: SourceFile, offset: int
    ) -> None:
        super().__init__(name, shape, dtype)
        self.file, self.offset = file, offset
        if offset < 0 or offset + self.nbytes > file.size:
            raise CheckpointError(
                f"[{file.path}, {name}] expected {self.nbytes} bytes at {offset} but got a file of "
                f"{file.size} bytes; the file is truncated or corrupt: download it again"
            )

    def _read(self, first: int, last: int) -> ByteArray:
        size = self.row_bytes
        return self.file.read(self.offset + first * size, (last - first) * size).reshape(-1, size)


class RowsTensor(LazyTensor):
    """Some rows of another tensor, in any order: lossless for quantised rows too."""

    def __init__(self, name: str, base: LazyTensor, index: npt.NDArray[np.int64]) -> None:
        super().__init__(name, (len(index), *base.shape[1:]), base.dtype)
        self.base, self.index = base, index

    def _read(self, first: int, last: int) -> ByteArray:
        index = self.index[first:last]
        if not len(index):
            return self.base.raw_rows(0, 0)
        low, high = int(index.min()), int(index.max()) + 1
        return self.base.raw_rows(low, high)[index - low]


class ConcatTensor(LazyTensor):
    """Parts of a float matrix side by side, along rows (axis 0) or columns (axis 1)."""

    def __init__(self, name: str, parts: Sequence[LazyTensor], axis: int) -> None:
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        super().__init__(name, shape, parts[0].dtype)
        self.parts, self.axis = tuple(parts), axis

    def _read(self, first: int, last: int) -> ByteArray:
        if self.axis == 1:
            return np.concatenate([part.raw_rows(first, last) for part in self.parts], axis=1)
        pieces, start = [], 0
        for part in self.parts:
            low, high = max(first - start, 0), min(last - start, part.rows)
            if low < high:
                pieces.append(part.raw_rows(low, high))
            start += part.rows
        return np.concatenate(pieces) if pieces else self.parts[0].raw_rows(0, 0)


class ShiftedTensor(LazyTensor):
    """A float tensor with a constant added, such as norm weights stored relative to zero."""

    def __init__(self, name: str, base: LazyTensor, shift: float) -> None:
        super().__init__(name, base.shape, "float32")
        self.base, self.shift = base, np.float32(shift)

    def _read(self, first: int, last: int) -> ByteArray:
        values = self.base.read_rows(first, last) + self.shift
        return values.reshape(last - first, -1).view(np.uint8)


def row_bytes(dtype: str, columns: int) -> int:
    """Stored bytes of a row; raises CheckpointError where columns do not fill whole blocks."""
    if dtype in BLOCKS:
        elements, nbytes = BLOCKS[dtype]
        if columns % elements:
            raise CheckpointError(
                f"[{dtype}] expected rows of a multiple of {elements} columns but got {columns}; "
                "the file is corrupt"
            )
        return columns // elements * nbytes
    return columns * _ITEM_BYTES[dtype]


def interleaved_to_halves(rows: int, heads: int) -> npt.NDArray[np.int64]:
    """The row order that turns rotation of neighbours (Meta, GGUF) into rotation of halves.

    Row ``2i + j`` of a head becomes row ``j * D/2 + i``. Returns for each row where it comes from.
    """
    order = np.arange(rows, dtype=np.int64).reshape(heads, rows // heads // 2, 2)
    return order.swapaxes(1, 2).reshape(-1)


def split_rows(base: LazyTensor, names_and_rows: Sequence[tuple[str, int]]) -> list[LazyTensor]:
    """The consecutive parts of a fused matrix; raises CheckpointError if the rows do not add up."""
    total = sum(rows for _, rows in names_and_rows)
    if base.rows != total:
        raise CheckpointError(
            f"[{base.name}] expected {total} rows, for {', '.join(n for n, _ in names_and_rows)}, "
            f"but got {base.rows}; check that all files are of one model"
        )
    parts: list[LazyTensor] = []
    start = 0
    for name, rows in names_and_rows:
        parts.append(RowsTensor(name, base, np.arange(start, start + rows, dtype=np.int64)))
        start += rows
    return parts


def _to_float32(raw: ByteArray, dtype: str) -> FloatArray:
    raw = np.ascontiguousarray(raw).reshape(-1)
    if dtype == "bfloat16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    kinds = {"float32": "<f4", "float16": "<f2", "float64": "<f8"}
    return raw.view(kinds[dtype]).astype(np.float32, copy=False)


@dataclass(frozen=True)
class TokenizerSpec:
    """A tokenizer and how to use it.

    tokenizer_json: in the format of the `tokenizers` library. Encode without its special tokens,
    then put bos_id in front if add_bos and the text is not a rendered chat template.
    stop_ids: generation ends with any of them. special_tokens: the texts that templates use, by
    their names there ("bos_token", "eos_token").
    """

    tokenizer_json: bytes
    bos_id: int | None = None
    eos_id: int | None = None
    stop_ids: tuple[int, ...] = ()
    add_bos: bool = False
    chat_template: str | None = None
    special_tokens: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """Where a checkpoint comes from: its name, its files and its licence, if it states one."""

    name: str
    files: tuple[SourceFile, ...]
    licence: str | None = None

    @property
    def nbytes(self) -> int:
        return sum(file.size for file in self.files)

    def digests(self, progress: Callable[[int], None] | None = None) -> dict[str, str]:
        """SHA-256 of every file by its name, streamed."""
        return {file.path.name: file.sha256(progress) for file in self.files}


@dataclass(frozen=True)
class Checkpoint(Closing):
    """A model to be exported. tensors are under the names that `penlight.models` gives them."""

    config: ModelConfig
    tensors: Mapping[str, LazyTensor]
    provenance: Provenance
    tokenizer: TokenizerSpec | None = None
    generation: Mapping[str, float] = field(default_factory=dict)

    def close(self) -> None:
        """Closes the files; a later read opens them again."""
        for file in self.provenance.files:
            file.close()
