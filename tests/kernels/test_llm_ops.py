"""The language-model kernels compute their definitions in torch, on every instruction set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from harness import refuse_op, run_op

import penlight.edge.ops  # noqa: F401  (registers torch.ops.penlight)
from penlight.quantize import PackedFormat, pack, pack_values

FORMATS = ["q4g32", "q4g32m", "q4g16.f32", "q4g16m.f32", "q8g32", "q8g32m", "q8g16m.f32", "q8g16",
           "q6g32", "q6g16", "q6g32m.a16", "q6g32m.f32", "q6g16.f32.a16",
           "q4g32.a16", "q4g32m.a16", "q8g32.a16", "q8g16m.f32.a16", "q4g16.a16",
           "q4g32m.k.a16", "q6g32m.k", "q6g16.k.a16", "q4g16.k.a16",
           "q4g32c", "bf16", "f16", "f32"]  # fmt: skip


def sample(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def packed(weight: torch.Tensor, format: str) -> torch.Tensor:
    if PackedFormat.parse(format).runs:
        return torch.from_numpy(kept(*weight.shape, format))
    return torch.from_numpy(np.array(pack_values(weight.numpy(), format)))


def kept(rows: int, inputs: int, format: str) -> np.ndarray:
    """Any weights of a format that floats are not rounded to, of about unit size."""
    spec, rng = PackedFormat.parse(format), np.random.default_rng(rows)
    width = spec.groups(inputs) * spec.group
    codes = rng.integers(0, 1 << spec.bits, (rows, width), dtype=np.uint8)
    scales, lows = rng.integers(-32, 64, (2, rows, spec.groups(inputs))).astype(np.float32)
    units = rng.uniform(0.5, 1, (rows, spec.units(width))).astype(np.float16) / 2**spec.bits / 16
    data = pack(codes, scales, lows if spec.minimum else None, format, units.astype(np.float32))
    return np.frombuffer(b"".join(data), np.uint8).copy()


# tokens, inputs, outputs: one block and parts of one, filled-up inputs, whole and partial tiles,
# tokens that are dealt out in parts
@pytest.mark.parametrize(
    "shape", [(1, 32, 32), (1, 64, 33), (2, 100, 70), (5, 96, 1), (7, 320, 64), (13, 64, 100),
              (61, 64, 33)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("format", FORMATS)
def test_linear(isa: str, format: str, shape: tuple[int, int, int]) -> None:
    t, k, n = shape
    weight, x, bias = packed(sample(n, k, seed=1), format), sample(1, t, k) * 3, sample(n, seed=2)
    x[0, 0] = 0
    (y,) = run_op("penlight::linear", x, weight, format, n, bias, rtol=2e-5, atol=3e-4)
    # A token's result is the same to the bit when it comes alone.
    alone = torch.ops.penlight.linear(x[:, -1:], weight, format, n, bias)
    (last,) = run_op(
        "penlight::linear", x[:, -1:].contiguous(), weight, format, n, bias, outputs=[alone],
        rtol=2e-5, atol=3e-4,
    )  # fmt: skip
    assert torch.equal(last[0, 0], y[0, -1])


def test_extreme_codes_and_activations_are_exact(isa: str) -> None:
    """Sums of the largest products of 8-bit numbers neither saturate nor overflow."""
    x = torch.where(sample(1, 3, 64) > 0, 127.0, -127.0)
    x[0, 0] = 127.0
    for format, code in (("q8g32", 127.0), ("q6g32", -32.0), ("q4g32", -8.0)):
        weight = packed(torch.full((32, 64), code), format)
        run_op("penlight::linear", x, weight, format, 32, rtol=1e-6, atol=0)
    codes = np.where(np.arange(32)[:, None] % 2, np.uint8(15), np.zeros((32, 64), np.uint8))
    centres = np.where(np.arange(32)[:, None] % 4 < 2, np.float32(-128), np.full((32, 2), 127.0))
    units, shifts = np.full(32, 1 / 64, np.float32), np.full(32, 7, np.int32)
    scales, centres = np.full((32, 2), 255, np.float32), centres.astype(np.float32)
    data = b"".join(pack(codes, scales, centres, "q4g32c", units, shifts))
    weight = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    run_op("penlight::linear", x, weight, "q4g32c", 32, rtol=1e-6, atol=0)


@pytest.mark.parametrize("format", FORMATS)
def test_embedding_is_exact(format: str) -> None:
    weight, tokens = packed(sample(70, 100), format), torch.tensor([[0, 69, 31, 32, 0]])
    run_op("penlight::embedding", tokens, weight, format, 100, rtol=0, atol=0)


@pytest.mark.parametrize("width", [1, 7, 16, 33, 576])
def test_rms_norm_and_gates(isa: str, width: int) -> None:
    x, other = sample(1, 5, width) * 3, sample(1, 5, width, seed=1)
    run_op("penlight::rms_norm", x, sample(width), 1e-5, 1.0, rtol=2e-6, atol=2e-6)
    x[0, 0, 0], x[0, 1, 0] = 200.0, -200.0
    run_op("penlight::silu_mul", x, other, rtol=2e-6, atol=1e-6)
    run_op("penlight::gelu_mul", x, other, rtol=2e-5, atol=1e-6)


# tokens, inputs, outputs: less than a block, parts of blocks, several strips, more tokens than fit
FUSED = [(1, 32, 5), (2, 100, 70), (7, 64, 1), (1, 96, 1100), (13, 64, 300), (300, 32, 100)]
NORMS = {"no norm": False, "norm": True}


def normed(x: torch.Tensor, norm: bool) -> tuple[torch.Tensor, tuple[Any, ...]]:
    """x as the kernel norms it, and the arguments of that norm.

    Eager results are of this x: its last bits decide which way an activation is rounded.
    """
    if not norm:
        return x, ()
    arguments = (sample(x.shape[-1], seed=4), 1e-5, 1.0)
    return run_op("penlight::rms_norm", x, *arguments, rtol=2e-6, atol=2e-6)[0], arguments


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("shape", FUSED, ids=str)
@pytest.mark.parametrize("format", ["q4g32", "q8g16m.f32.a16", "bf16"])
def test_gated_linear(isa: str, format: str, shape: tuple[int, int, int], norm: bool) -> None:
    t, k, n = shape
    gate, up = (packed(sample(n, k, seed=seed) / k**0.5, format) for seed in (1, 2))
    x, bias = sample(1, t, k), sample(n, seed=3)
    read, rest = normed(x, norm)
    for activation in ("silu", "gelu"):
        args = (gate, up, format, n, activation, None, bias)
        expected = torch.ops.penlight.gated_linear(read, *args)
        run_op("penlight::gated_linear", x, *args, *rest, outputs=[expected], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", FUSED, ids=str)
@pytest.mark.parametrize("format", ["q4g32m", "q8g32", "f32"])
def test_linear_add(isa: str, format: str, shape: tuple[int, int, int]) -> None:
    t, k, n = shape
    weight, x, residual = packed(sample(n, k, seed=1), format), sample(1, t, k), sample(1, t, n)
    args = (residual, x, weight, format, n, sample(n, seed=2))
    (y,) = run_op("penlight::linear_add", *args, rtol=2e-5, atol=3e-4)
    (product,) = run_op("penlight::linear", *args[1:], rtol=2e-5, atol=3e-4)
    assert torch.equal(y, residual + product)


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("shape", FUSED, ids=str)
@pytest.mark.parametrize("format", ["q4g32", "q4g16m.f32.a16", "f16"])
def test_linears(isa: str, format: str, shape: tuple[int, int, int], norm: bool) -> None:
    t, k, n = shape
    rows, x = [n, 32, 1], sample(1, t, k)
    weights = [packed(sample(r, k, seed=r) / k**0.5, format) for r in rows]
    biases = [sample(n, seed=3), None, None]
    read, rest = normed(x, norm)
    args = (weights, format, rows, biases)
    expected = torch.ops.penlight.linears(read, *args)
    results = run_op("penlight::linears", x, *args, *rest, outputs=expected, rtol=2e-5, atol=3e-4)
    # To the bit what the operators give one by one.
    for weight, r, b, y in zip(weights, rows, biases, results, strict=True):
        (alone,) = run_op("penlight::linear", read, weight, format, r, b, rtol=2e-5, atol=3e-4)
        assert torch.equal(alone, y)


def test_bad_fused_linears_are_refused() -> None:
    x, weight, y = sample(1, 2, 64), packed(sample(32, 64), "q4g32"), [sample(1, 2, 32)]
    gated = (x, weight, weight, "q4g32", 32)
    assert "activation" in refuse_op("penlight::gated_linear", *gated, "relu", out=y)
    short = sample(63)
    assert "norm" in refuse_op(
        "penlight::gated_linear", *gated, "silu", None, None, short, 1e-5, 0.0, out=y
    )
    assert "bias" in refuse_op("penlight::gated_linear", *gated, "silu", None, short, out=y)
    residual = sample(1, 1, 32)
    assert "residual" in refuse_op("penlight::linear_add", residual, x, weight, "q4g32", 32, out=y)
    for weights, rows, biases in (
        ([weight], [32, 32], [None]),
        ([weight], [32], []),
        ([], [], []),
        ([weight] * 9, [32] * 9, [None] * 9),
    ):
        message = refuse_op("penlight::linears", x, weights, "q4g32", rows, biases, out=y)
        assert "weights" in message


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (5, 3, 64, 64), (3, 2, 96, 72), (20, 2, 10, 6)])
@pytest.mark.parametrize("position", [0, 3, 8000, 100000])
def test_rope(isa: str, shape: tuple[int, int, int, int], position: int) -> None:
    t, h, d, r = shape
    inv_freq = 1e4 ** (-torch.arange(r // 2) / (r // 2))
    x = sample(1, t, h, d)
    run_op("penlight::rope", x, torch.tensor([position]), inv_freq, 1.2, rtol=1e-5, atol=2e-6)


# tokens, heads, cache heads, width, cache, position, window, softcap
ATTENTION = [(1, 1, 1, 8, 16, 0, 0, 0.0), (1, 9, 3, 64, 700, 650, 0, 0.0),
             (5, 8, 2, 64, 700, 250, 0, 0.0), (17, 9, 3, 64, 300, 0, 0, 0.0),
             (3, 5, 1, 33, 300, 255, 0, 5.0), (130, 2, 1, 16, 500, 300, 0, 0.0),
             (60, 4, 2, 128, 600, 400, 70, 0.0), (1, 4, 2, 128, 600, 400, 70, 30.0),
             (20, 2, 1, 300, 150, 125, 0, 0.0), (40, 3, 3, 70, 300, 130, 0, 20.0),
             (7, 7, 1, 80, 600, 120, 10, 0.0), (200, 6, 2, 64, 260, 10, 33, 0.0)]  # fmt: skip


def cached(rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A full cache [1, G, S, D] of rows [1, S, G, D]."""
    _, length, heads, dim = rows.shape
    width = dim + (4 if dtype == torch.int8 else 0)
    empty = torch.zeros((1, heads, length, width), dtype=dtype)
    return torch.ops.penlight.update_cache(empty, rows, torch.tensor([0]))


CACHES = [torch.float16, torch.float32, torch.int8]


@pytest.mark.parametrize("cache", CACHES, ids=str)
@pytest.mark.parametrize("case", ATTENTION, ids=str)
def test_attention(isa: str, case: tuple[int, ...], cache: torch.dtype) -> None:
    t, h, g, d, s, position, window, softcap = case
    # Rows of other sizes, so that each has a scale of its own.
    k, v = (sample(1, s, g, d, seed=i) * sample(1, s, g, 1, seed=i + 2).sigmoid() for i in (1, 2))
    q, args = sample(1, t, h, d), (cached(k, cache), cached(v, cache))
    close = dict(rtol=1e-4, atol=2e-6)
    rest = (d**-0.5, int(window), float(softcap))
    (y,) = run_op("penlight::attention", q, *args, torch.tensor([position]), *rest, **close)
    if t <= 16:  # as in speculation: the last token alone gives the same bits
        last = torch.tensor([position + t - 1])
        (alone,) = run_op(
            "penlight::attention", q[:, -1:].contiguous(), *args, last, *rest, **close
        )
        assert torch.equal(alone[0, 0], y[0, -1])


@pytest.mark.parametrize("tokens", [1, 30])
def test_an_int8_cache_that_is_empty_or_spoilt_attends_as_its_definition(
    isa: str, tokens: int
) -> None:
    k, v = sample(1, 150, 2, 40), sample(1, 150, 2, 40, seed=1)
    k[0, 5], v[0, 7], v[0, 100:] = 0, 0, 0
    v[0, 3, 1, 4] = math.nan
    args = (sample(1, tokens, 4, 40), cached(k, torch.int8), cached(v, torch.int8))
    (y,) = run_op(
        "penlight::attention", *args, torch.tensor([120]), 0.2, 0, 0.0, rtol=1e-4, atol=2e-6
    )
    assert y[0, :, :2].isfinite().all() and y[0, :, 2:].isnan().all()


# across chunks of keys, more rows than are held at once, widths and ratios that fill no vector
@pytest.mark.parametrize("case", [(16, 9, 3, 64, 120, 0), (16, 20, 4, 33, 250, 0),
                                  (6, 14, 2, 80, 380, 130)], ids=str)  # fmt: skip
@pytest.mark.parametrize("cache", [torch.float16, torch.int8], ids=str)
def test_attention_of_a_token_is_the_same_alone(
    isa: str, case: tuple[int, ...], cache: torch.dtype
) -> None:
    t, h, g, d, position, window = case
    caches = [cached(sample(1, 400, g, d, seed=seed), cache) for seed in (1, 2)]
    q, rest = sample(1, t, h, d), (d**-0.5, window, 0.0)

    def attention(first: int, last: int) -> torch.Tensor:
        at = torch.tensor([position + first])
        part = q[:, first:last].contiguous()
        (y,) = run_op("penlight::attention", part, *caches, at, *rest, rtol=1e-4, atol=2e-6)
        return y

    together = attention(0, t)
    assert torch.equal(torch.cat([attention(i, i + 1) for i in range(t)], 1), together)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_update_cache(isa: str, dtype: torch.dtype) -> None:
    cache, value = sample(1, 3, 20, 7).to(dtype), sample(1, 5, 3, 7, seed=1)
    value[0, 0, 0] = torch.tensor([1e6, -1e-6, 1e-8, 65519.9, 2049.0, -0.0, math.inf])
    for position in (0, 7, 15):
        run_op("penlight::update_cache", cache, value, torch.tensor([position]), rtol=0, atol=0)


@pytest.mark.parametrize("width", [1, 7, 16, 33, 64, 128])
def test_an_int8_cache_rounds_each_row_by_its_own_scale(isa: str, width: int) -> None:
    value = sample(1, 13, 3, width, seed=1) * sample(1, 13, 3, 1, seed=2).mul(20).exp()
    value[0, 0] = 0
    value[0, 1, 0], value[0, 1, 1] = 1e-44, 3e38
    for row, spoilt in enumerate((math.inf, -math.inf, math.nan)):
        value[0, 2, row, width // 2] = spoilt
    cache = torch.randint(-128, 128, (1, 3, 20, width + 4), dtype=torch.int8)
    for position in (0, 7):
        (rows,) = run_op("penlight::update_cache", cache, value, torch.tensor([position]))
        numbers = rows[0, :, position + 3 : position + 13, :width]
        assert numbers.abs().amax(-1).eq(127).all()


def test_an_int8_cache_of_another_width_or_of_other_values_is_refused() -> None:
    value, at = sample(1, 5, 3, 8), torch.tensor([0])
    for width in (7, 8, 11, 13):
        cache = torch.zeros(1, 3, 20, width, dtype=torch.int8)
        assert "D + 4" in refuse_op("penlight::update_cache", cache, value, at, out=[cache])
        assert "cache rows of 12" in refuse_op(
            "penlight::attention", value, cache, cache, at, 1.0, 0, 0.0, out=[value]
        )
    cache = torch.zeros(1, 3, 20, 12, dtype=torch.int8)
    assert "float32 values" in refuse_op(
        "penlight::update_cache", cache, value.half(), at, out=[cache]
    )


def test_positions_past_the_cache_are_refused() -> None:
    cache, value = sample(1, 3, 20, 8), sample(1, 5, 3, 8)
    for position in (16, -1, 2**62):
        at = torch.tensor([position])
        assert "cache" in refuse_op("penlight::update_cache", cache, value, at, out=[cache])
        assert "cache" in refuse_op(
            "penlight::attention", value, cache, cache, at, 1.0, 0, 0.0, out=[value]
        )


def test_bad_weights_and_tokens_are_refused() -> None:
    x, weight, y = sample(1, 2, 64), packed(sample(32, 64), "q4g32"), [sample(1, 2, 32)]
    assert "format" in refuse_op("penlight::linear", x, weight, "q5g32", 32, None, out=y)
    assert "packed bytes" in refuse_op("penlight::linear", x, weight[1:].clone(), "q4g32", 32, None,
                                       out=y)  # fmt: skip
    for token in (32, -1):
        message = refuse_op("penlight::embedding", torch.tensor([token]), weight, "q4g32", 64,
                            out=[sample(1, 64)])  # fmt: skip
        assert "token" in message
