"""Attention over an int8 cache as AVX-512 computes it for a few tokens: in integers.

Queries, and weights times the scales of values, are rounded to 15 bits, by rows and by chunks of
128 positions. Everything else is the definition, in float64.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from harness import run_op
from torch import Tensor

CHUNK, BITS_15 = 128, 127 * 128


def in_integers(isa: str, tokens: int, width: int, cache: torch.dtype) -> bool:
    """Whether the kernel takes that way."""
    few = tokens <= 16 and width % 64 == 0 and width <= 256
    return few and cache == torch.int8 and isa.startswith("avx512")


def to_15_bits(x: Tensor) -> Tensor:
    """Rows of x [..., n], float32, rounded to 16256 steps up to the largest of each; float64."""
    largest = x.abs().amax(-1, keepdim=True).clamp(min=1e-30)
    return torch.round(x * (BITS_15 / largest)).double() * (largest.double() / BITS_15)


def of_rows(cache: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Numbers [S, H, D] as float64 and scales [S, H] as float32 of an int8 cache [S, G, D + 4]."""
    repeat = heads // cache.shape[1]
    scales = cache[..., -4:].contiguous().view(torch.float32)[..., 0]
    numbers = cache[..., :-4].double()
    return numbers.repeat_interleave(repeat, 1), scales.repeat_interleave(repeat, 1)


def integer_attention(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, start: int, scale: float, window: int,
    softcap: float,
) -> Tensor:  # fmt: skip
    """`penlight::attention` of q [1, T, H, D], T at most 16, over int8 caches; float32."""
    tokens, heads = q.shape[1], q.shape[2]
    end = start + tokens
    keys, key_scales = of_rows(k_cache[0, :end], heads)
    values, value_scales = of_rows(v_cache[0, :end], heads)
    scores = torch.einsum("thd,shd->hts", to_15_bits(q[0]), keys) * key_scales.T[:, None] * scale
    if softcap > 0:
        scores = softcap * torch.tanh(scores / softcap)
    distance = torch.arange(start, end)[:, None] - torch.arange(end)
    hidden = (distance < 0) | ((distance >= window) if window > 0 else torch.tensor(False))
    scores = scores.masked_fill(hidden, -math.inf)
    total, sums = (
        torch.zeros_like(q[0], dtype=torch.float64),
        torch.zeros(heads, tokens, 1).double(),
    )
    most = scores.amax(-1, keepdim=True)
    for at in range(0, end, CHUNK):
        part = slice(at, at + CHUNK)
        largest = scores[..., part].amax(-1, keepdim=True)
        weights = (scores[..., part] - largest).exp().nan_to_num(0)  # all hidden: none
        rounded = to_15_bits(weights.float() * value_scales[part].T[:, None])
        factor = (largest - most).exp()
        sums += factor * weights.sum(-1, keepdim=True)
        total += torch.einsum("hts,shd->thd", factor * rounded, values[part])
    return (total / sums.transpose(0, 1)).float()[None]


def attend(
    isa: str, q: Tensor, keys: Tensor, values: Tensor, start: int, *rest: Any,
    op: str = "penlight::attention",
) -> Tensor:  # fmt: skip
    """What the kernel gives, compared with its definition on this instruction set."""
    args = (q, keys, values, torch.tensor([start]), *rest)
    if not in_integers(isa, q.shape[1], q.shape[3], keys.dtype):
        return run_op(op, *args, rtol=1e-4, atol=2e-6)[0]
    # A number that is rounded the other way counts 1/16256 of the largest.
    outputs = [integer_attention(q, keys, values, start, *rest)]
    return run_op(op, *args, outputs=outputs, rtol=1e-4, atol=5e-5)[0]
