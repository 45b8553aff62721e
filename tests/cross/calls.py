"""Calls whose results are known, and the files that carry them to another processor and back.

    cases = record(folder)                        # the kernel tests' calls, and small models
    write_pack(path, cases)                       # ... driver.cpp runs it ...
    isa, results = read_results(path)

The format of the files is described in driver.cpp.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))
from models_zoo import ZOO
from torch.utils._pytree import tree_leaves

import penlight
from penlight import to_edge
from penlight.passes.arguments import SCALAR_TYPES

ROOT = Path(__file__).parents[2]
DTYPES = {code: dtype for dtype, code in SCALAR_TYPES.items()}
KERNEL_TESTS = ("test_llm_ops", "test_packed_prompts", "test_attention_bf16", "test_matrix",
                "test_convolution", "test_normalisation")  # fmt: skip
MODELS = {"add", "mlp_activations", "lenet", "resnet_block", "lstm", "transformer", "mixed_ops",
          "integer_and_bool", "half_types", "channels_last", "dynamic_transformer", "cache",
          "branches"}  # fmt: skip
NONE, INT, BOOLEAN, REAL, TENSOR = range(5)  # penlight_tag


@dataclass
class Case:
    """A program, the calls made of it in order, and what each gives on the host's plain C++."""

    name: str
    program: bytes
    calls: list[tuple[str, list[Any]]]
    expected: list[list[Any]]
    rtol: float
    atol: float


def record(folder: Path) -> list[Case]:
    """All cases. The kernel tests run in a process of their own, on the reference kernels."""
    recorded = folder / "recorded"
    environment = os.environ | {
        "PENLIGHT_ISA": "scalar",
        "PENLIGHT_RECORD": str(recorded),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    files = [ROOT / f"tests/kernels/{name}.py" for name in KERNEL_TESTS]
    command = [sys.executable, "-m", "pytest", "-p", "recorder", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    kernels: list[Case] = [Case(*fields) for fields in pickle.loads(recorded.read_bytes())]
    return kernels + models()


def models() -> list[Case]:
    """Small models of the zoo."""
    cases = []
    for model in (m for m in ZOO if m.name in MODELS):
        data = to_edge(model.programs(), model.constant_methods).to_executorch().buffer
        calls = [(name, tree_leaves(arguments)) for name, arguments in model.inputs()]
        with penlight.load(data, threads=1) as program:
            loaded = {name: program.method(name) for name, _ in calls}
            results = [[_copy(v) for v in loaded[name].execute(given)] for name, given in calls]
        cases.append(Case(model.name, data, calls, results, model.tolerance, model.tolerance))
    return cases


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def write_pack(path: Path, cases: Sequence[Case]) -> None:
    """The file that the driver reads."""
    with path.open("wb") as file:
        for case in cases:
            file.write(_bytes(case.program) + _word(len(case.calls)))
            for method, inputs in case.calls:
                file.write(_bytes(method.encode()) + _word(len(inputs)))
                file.writelines(_value(v) for v in inputs)


def read_results(path: Path) -> tuple[str, list[tuple[str, list[Any]]]]:
    """The instruction set, and of each call the error message (or nothing) and the outputs."""
    reader = _Reader(path.read_bytes())
    isa = reader.bytes().decode()
    results = []
    while not reader.done:
        status, message = reader.word(), reader.bytes().decode()
        outputs = [reader.value() for _ in range(reader.word())]
        results.append((message or f"status {status}" if status else "", outputs))
    return isa, results


def _word(value: int) -> bytes:
    return struct.pack("<Q", value & (1 << 64) - 1)


def _bytes(data: bytes) -> bytes:
    return _word(len(data)) + data + bytes(-len(data) % 8)


def _value(value: Any) -> bytes:
    if value is None:
        return _word(NONE)
    if isinstance(value, bool):
        return _word(BOOLEAN) + _word(value)
    if isinstance(value, int):
        return _word(INT) + _word(value)
    if isinstance(value, float):
        return _word(REAL) + struct.pack("<d", value)
    order = list(value.dim_order())
    dense = value.permute(order).contiguous()
    words = [TENSOR, SCALAR_TYPES[value.dtype], value.dim(), *value.shape, *order]
    data = dense.reshape(-1).view(torch.uint8).numpy().tobytes()
    return b"".join(map(_word, words)) + _bytes(data)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def done(self) -> bool:
        return self._at == len(self._data)

    def word(self) -> int:
        (value,) = struct.unpack_from("<q", self._data, self._at)
        self._at += 8
        return int(value)

    def bytes(self) -> bytes:
        size = self.word()
        data = self._data[self._at : self._at + size]
        self._at += (size + 7) // 8 * 8
        return data

    def value(self) -> Any:
        tag = self.word()
        if tag == NONE:
            return None
        if tag == REAL:
            self._at += 8
            return struct.unpack_from("<d", self._data, self._at - 8)[0]
        if tag != TENSOR:
            return bool(self.word()) if tag == BOOLEAN else self.word()
        dtype, rank = DTYPES[self.word()], self.word()
        sizes = [self.word() for _ in range(rank)]
        order = [self.word() for _ in range(rank)]
        data = self.bytes()
        flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0).to(dtype)
        places = [order.index(d) for d in range(rank)]
        return flat.reshape([sizes[d] for d in order]).permute(places)
