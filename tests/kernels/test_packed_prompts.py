"""64 tokens or more of a q4g32c product meet weights rounded to bytes, where bytes are fast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import run_op
from numpy.typing import NDArray

import penlight.edge.ops
from penlight.edge.packed import PackedFormat
from penlight.quantize import pack
from penlight.quantize.scheme import Quantized, quantize_rows

SPEC = PackedFormat.parse("q4g32c")
FEW, MANY, RUN = 63, 64, 256
CLOSE = {"rtol": 2e-5, "atol": 3e-4}


def sample(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def quantized(rows: int, inputs: int, seed: int = 0) -> Quantized:
    """Rows of random sizes, some with a weight far beyond the others."""
    values = sample(rows, inputs, seed=seed) * sample(rows, 1, seed=seed + 9).exp()
    values[::3, inputs // 2] *= 20
    padded = torch.nn.functional.pad(values, (0, -inputs % SPEC.group))
    return quantize_rows(padded.numpy(), SPEC)


def packed(weights: Quantized) -> torch.Tensor:
    codes, scales, centres, units, shifts = weights
    data = b"".join(pack(codes, scales, centres, "q4g32c", units, shifts))
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def whole(weights: Quantized) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [rows, inputs] in units of their rows, and the largest possible of each run."""
    codes, scales, centres, _, shifts = weights
    assert centres is not None and shifts is not None
    middle = centres * np.ldexp(np.float32(1), shifts)[:, None]
    values = np.repeat(scales, 32, 1) * (codes.astype(np.float32) - 8) + np.repeat(middle, 32, 1)
    limits = np.maximum(np.abs(middle - 8 * scales), np.abs(middle + 7 * scales))
    runs = range(0, limits.shape[1], RUN // 32)
    most = np.stack([limits[:, i : i + RUN // 32].max(1) for i in runs], 1)
    return values, np.repeat(np.maximum(most, 1), RUN, 1)[:, : values.shape[1]]


def as_bytes(weights: Quantized) -> torch.Tensor:
    """The weights [rows, inputs] that many tokens meet: 127 steps up to the largest of a run."""
    codes, scales, centres, units, shifts = weights
    assert centres is not None and units is not None and shifts is not None
    _, most = whole(weights)
    step = np.float32(127 * 256) / most
    middle = centres * np.ldexp(np.float32(1), shifts)[:, None]
    times = np.rint(np.repeat(scales, 32, 1) * step).astype(np.int64)
    least = np.rint(np.repeat(middle - 8 * scales, 32, 1) * step).astype(np.int64)
    steps = ((codes * times + least + 128 * 256 + 128) >> 8) - 128
    assert np.abs(steps).max() <= 127
    return torch.from_numpy(steps * (units[:, None] * (most / 127)).astype(np.float32)).float()


def expected(x: torch.Tensor, weights: Quantized, isa: str) -> torch.Tensor:
    inputs = x.shape[-1]
    if isa == "avx2" or x.shape[1] < MANY:
        data = packed(weights)
        return torch.ops.penlight.linear(x, data, "q4g32c", len(weights.codes))
    rounded = penlight.edge.ops.quantised_activations(x, SPEC).double()
    return (rounded @ as_bytes(weights)[:, :inputs].double().T).float()


# part of a group, of a pair of groups, of a run; whole runs; parts of blocks and of tiles
@pytest.mark.parametrize("inputs", [20, 32, 96, 256, 300, 800])
@pytest.mark.parametrize("tokens", [FEW, MANY, 131])
@pytest.mark.parametrize("rows", [1, 70])
def test_many_tokens_meet_bytes(isa: str, tokens: int, inputs: int, rows: int) -> None:
    weights, x = quantized(rows, inputs), sample(1, tokens, inputs) / inputs**0.5
    x[0, 0] = 0
    run_op("penlight::linear", x, packed(weights), "q4g32c", rows,
           outputs=[expected(x, weights, isa)], **CLOSE)  # fmt: skip


def test_bytes_are_within_half_a_step_of_the_weights() -> None:
    weights = quantized(50, 800)
    values, most = whole(weights)
    assert weights.units is not None
    steps = (as_bytes(weights).numpy() / weights.units[:, None] - values) / (most / 127)
    assert 0.45 < np.abs(steps).max() < 0.54  # and what 1/256 of a step rounds off scales


def test_the_largest_products_of_bytes_are_exact(isa: str) -> None:
    x = torch.where(sample(1, MANY, 64) > 0, 127.0, -127.0)
    x[0, 0] = 127.0
    codes = np.where(np.arange(32)[:, None] % 2, np.uint8(15), np.zeros((32, 64), np.uint8))
    centres = np.where(np.arange(32)[:, None] % 4 < 2, np.float32(-128), np.full((32, 2), 127.0))
    units, shifts = np.full(32, 1 / 64, np.float32), np.full(32, 7, np.int32)
    weights = Quantized(codes, np.full((32, 2), 255, np.float32), centres.astype(np.float32),
                        units, shifts)  # fmt: skip
    run_op("penlight::linear", x, packed(weights), "q4g32c", 32,
           outputs=[expected(x, weights, isa)], rtol=1e-6, atol=0)  # fmt: skip


@pytest.mark.parametrize("tokens", [MANY, 300])
def test_joined_products_of_many_tokens_give_the_bits_of_single_ones(isa: str, tokens: int) -> None:
    weights, rows = [quantized(r, 320, r) for r in (100, 33)], [100, 33]
    x, data = sample(1, tokens, 320), [packed(w) for w in weights]
    close = {"rtol": 2e-5, "atol": 2e-3}
    alone = [
        run_op("penlight::linear", x, d, "q4g32c", r, outputs=[expected(x, w, isa)], **close)[0]
        for d, r, w in zip(data, rows, weights, strict=True)
    ]
    joined = run_op(
        "penlight::linears", x, data, "q4g32c", rows, [None, None], outputs=alone, **close
    )
    assert all(torch.equal(a, b) for a, b in zip(joined, alone, strict=True))
    residual = sample(1, tokens, 100, seed=5)
    args, added = (residual, x, data[0], "q4g32c", 100), residual + alone[0]
    (y,) = run_op("penlight::linear_add", *args, outputs=[added], **close)
    assert torch.equal(y, added)
    gated = torch.ops.penlight.silu_mul(alone[0], alone[0])
    args = (x, data[0], data[0], "q4g32c", 100, "silu")
    run_op("penlight::gated_linear", *args, outputs=[gated], rtol=1e-4, atol=1e-3)
