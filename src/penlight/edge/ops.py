"""The language-model operators ``torch.ops.penlight.*``: schema, shapes and definition in torch.

Importing this module registers them. Each has a kernel of the same name in the runtime; the
definition here is what that kernel computes, so an exported graph still runs in eager PyTorch and
is its own oracle. Shapes: T tokens, H heads, D head width, S cache length, K inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from penlight.edge.packed import PackedFormat, unpack

ALIASING = {"penlight::update_cache": 0}
"""Operators whose result may share the memory of one argument, and which argument that is."""


def _unpacked(weight: Tensor, format: str, rows: int, inputs: int) -> Tensor:
    data = weight.detach().cpu().contiguous().numpy()
    return torch.from_numpy(np.array(unpack(data.data, format, rows, inputs)))


def quantised_activations(x: Tensor, spec: PackedFormat) -> Tensor:
    """``x`` float32 [..., K] as `linear` sees it: integers with a scale by groups, as float."""
    inputs = x.shape[-1]
    padded = torch.nn.functional.pad(x, (0, -inputs % spec.activation_group))
    padded = padded.reshape(*x.shape[:-1], -1, spec.activation_group)
    largest = padded.abs().amax(-1, keepdim=True).clamp(min=2.0**-100)
    if spec.exact_activations:
        scale, inverse = largest * (1 / 127), 127 / largest
    else:
        # 129 / 128 keeps what rounds to more than 127 (127 * 128) out of the range.
        exponent = torch.frexp(largest * (129 / 128)).exponent - spec.activation_bits
        scale, inverse = (torch.ldexp(torch.ones_like(largest), e) for e in (exponent, -exponent))
    rounded: Tensor = torch.round(padded * inverse) * scale
    return rounded.flatten(-2)[..., :inputs]


@torch.library.custom_op("penlight::linear", mutates_args=())
def linear(
    x: Tensor, weight: Tensor, format: str, out_features: int, bias: Tensor | None = None
) -> Tensor:
    """``x @ W.T + bias`` with packed W: x float32 [..., K] to float32 [..., out_features].

    ``weight`` is uint8 [nbytes] in a format of `penlight.edge.packed`. For a quantised format
    the activations are rounded, by groups of the format's size, to ``q * s`` with integer q. With
    weights of 8 bits s makes the largest ``|q|`` 127; with 4 bits it is the least power of two that
    keeps ``|q| <= 127``, as in MXINT8 of the OCP Microscaling formats, but with ``q4g32c``, where
    two groups share the s that makes their largest ``|q|`` 127. With ``.a16`` it keeps
    ``|q| <= 16256`` (127 * 128), and q is carried as two int8 numbers, ``q = 128 * high + low``:
    15 bits and twice the dot products, which costs little where memory is the limit, as it is when
    one token is decoded at a time.

    With ``q4g32c`` the kernel may compute 64 tokens or more, of one call, with weights that are
    rounded once more, to bytes with a scale for 256 inputs of a row (packed.h).
    """
    matrix = _unpacked(weight, format, out_features, x.shape[-1])
    spec = PackedFormat.parse(format)
    if spec.quantized:
        x = quantised_activations(x, spec)
    return torch.nn.functional.linear(x, matrix, bias)


@linear.register_fake
def _(
    x: Tensor, weight: Tensor, format: str, out_features: int, bias: Tensor | None = None
) -> Tensor:
    return x.new_empty((*x.shape[:-1], out_features))


@torch.library.custom_op("penlight::linears", mutates_args=())
def linears(
    x: Tensor,
    weights: Sequence[Tensor],
    format: str,
    out_features: Sequence[int],
    biases: Sequence[Tensor | None],
    norm: Tensor | None = None,
    eps: float = 0.0,
    offset: float = 0.0,
) -> list[Tensor]:
    """`linear` of one x with 1 to 8 weights of one format, after an `rms_norm` if one is given.

    x float32 [..., K]; result i is float32 [..., out_features[i]]. The activations are normed and
    rounded once.
    """
    x = _normed(x, norm, eps, offset)
    each = zip(weights, out_features, biases, strict=True)
    return [linear(x, weight, format, rows, bias) for weight, rows, bias in each]


@linears.register_fake
def _(
    x: Tensor,
    weights: Sequence[Tensor],
    format: str,
    out_features: Sequence[int],
    biases: Sequence[Tensor | None],
    norm: Tensor | None = None,
    eps: float = 0.0,
    offset: float = 0.0,
) -> list[Tensor]:
    return [x.new_empty((*x.shape[:-1], rows)) for rows in out_features]


@torch.library.custom_op("penlight::gated_linear", mutates_args=())
def gated_linear(
    x: Tensor,
    gate: Tensor,
    up: Tensor,
    format: str,
    out_features: int,
    activation: str,
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
    norm: Tensor | None = None,
    eps: float = 0.0,
    offset: float = 0.0,
) -> Tensor:
    """``act(linear(x, gate)) * linear(x, up)``, after an `rms_norm` of x if one is given.

    activation: "silu", or "gelu" for its tanh form. Shapes are those of `linear`.
    """
    x = _normed(x, norm, eps, offset)
    multiply = {"silu": silu_mul, "gelu": gelu_mul}[activation]
    product: Tensor = multiply(
        linear(x, gate, format, out_features, gate_bias),
        linear(x, up, format, out_features, up_bias),
    )
    return product


@gated_linear.register_fake
def _(
    x: Tensor,
    gate: Tensor,
    up: Tensor,
    format: str,
    out_features: int,
    activation: str,
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
    norm: Tensor | None = None,
    eps: float = 0.0,
    offset: float = 0.0,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], out_features))


@torch.library.custom_op("penlight::linear_add", mutates_args=())
def linear_add(
    residual: Tensor,
    x: Tensor,
    weight: Tensor,
    format: str,
    out_features: int,
    bias: Tensor | None = None,
) -> Tensor:
    """``residual + linear(x, weight)``; residual float32 [..., out_features]."""
    product: Tensor = linear(x, weight, format, out_features, bias)
    return residual + product


@linear_add.register_fake
def _(
    residual: Tensor,
    x: Tensor,
    weight: Tensor,
    format: str,
    out_features: int,
    bias: Tensor | None = None,
) -> Tensor:
    return torch.empty_like(residual, memory_format=torch.contiguous_format)


def _normed(x: Tensor, norm: Tensor | None, eps: float, offset: float) -> Tensor:
    if norm is None:
        return x
    y: Tensor = rms_norm(x, norm, eps, offset)
    return y


@torch.library.custom_op("penlight::embedding", mutates_args=())
def embedding(tokens: Tensor, weight: Tensor, format: str, dim: int) -> Tensor:
    """Rows of packed ``weight``: tokens int64 [...] to float32 [..., dim].

    The layout is that of `linear`, so a tied output head is the same bytes.
    """
    spec = PackedFormat.parse(format)
    rows = weight.numel() // spec.block_nbytes(dim) * 32
    return torch.nn.functional.embedding(tokens, _unpacked(weight, format, rows, dim))


@embedding.register_fake
def _(tokens: Tensor, weight: Tensor, format: str, dim: int) -> Tensor:
    return weight.new_empty((*tokens.shape, dim), dtype=torch.float32)


@torch.library.custom_op("penlight::rms_norm", mutates_args=())
def rms_norm(x: Tensor, weight: Tensor, eps: float, offset: float) -> Tensor:
    """``x / sqrt(mean(x^2) + eps) * (weight + offset)`` over the last dimension, in float32."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * (weight + offset)


@rms_norm.register_fake
def _(x: Tensor, weight: Tensor, eps: float, offset: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("penlight::rope", mutates_args=())
def rope(x: Tensor, input_pos: Tensor, inv_freq: Tensor, scaling: float) -> Tensor:
    """Rotary position embedding of x [1, T, H, D] at positions ``input_pos[0] + t``.

    Rotates pairs (i, i + R/2) of the first R = 2 * len(inv_freq) of D by the angle
    position * inv_freq[i]; cosine and sine are multiplied by ``scaling``.
    """
    half = inv_freq.numel()
    positions = input_pos[0] + torch.arange(x.shape[1])
    angles = positions[:, None].to(torch.float32) * inv_freq
    cos, sin = (f[None, :, None] * scaling for f in (angles.cos(), angles.sin()))
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], -1)


@rope.register_fake
def _(x: Tensor, input_pos: Tensor, inv_freq: Tensor, scaling: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _to_rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x [..., D] as rows of a cache: of a floating dtype, or int8 [..., D + 4]."""
    if dtype != torch.int8:
        return x.to(dtype)
    scale = x.abs().amax(-1, keepdim=True) / 127
    scale = torch.where(scale < torch.finfo(torch.float32).tiny, 0, scale)
    scale = torch.where(x.isfinite().all(-1, keepdim=True), scale, math.nan)
    numbers = torch.where(scale > 0, (x / scale).round(), 0).to(torch.int8)
    return torch.cat([numbers, scale.view(torch.int8)], -1)


def _of_rows(rows: Tensor) -> Tensor:
    """The inverse: float32 [..., D]."""
    if rows.dtype != torch.int8:
        return rows.to(torch.float32)
    split = rows.shape[-1] - torch.float32.itemsize
    scale = rows[..., split:].contiguous().view(torch.float32)
    return rows[..., :split] * scale


@torch.library.custom_op("penlight::update_cache", mutates_args=())
def update_cache(cache: Tensor, value: Tensor, input_pos: Tensor) -> Tensor:
    """``cache`` [1, G, S, D] with ``value`` [1, T, G, D] written at positions input_pos[0] + t.

    A head's positions lie behind each other, because they are read in that order.
    A cache of int8 is [1, G, S, D + 4]: a row is D numbers q in -127..127 and the bytes of a
    float32 scale s, little-endian, and stands for q * s. s is the row's largest magnitude over 127;
    0 if that is no normal number, NaN if a number of the row is not finite, and all q are 0 then.
    In a program the result is the cache's own memory. Raises IndexError past the cache's end.
    """
    start = int(input_pos[0])
    end = start + value.shape[1]
    if start < 0 or end > cache.shape[2]:
        raise IndexError(f"positions {start}..{end - 1} of {cache.shape[2]}")
    result = cache.clone()
    result[:, :, start:end] = _to_rows(value, cache.dtype).transpose(1, 2)
    return result


@update_cache.register_fake
def _(cache: Tensor, value: Tensor, input_pos: Tensor) -> Tensor:
    return torch.empty_like(cache)


@torch.library.custom_op("penlight::attention", mutates_args=())
def attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    input_pos: Tensor,
    scale: float,
    window: int,
    softcap: float,
) -> Tensor:
    """Causal attention of q [1, T, H, D] over caches [1, G, S, D], to [1, T, H, D].

    Caches of int8 are [1, G, S, D + 4], as `update_cache` fills them.
    Query t sits at position p = input_pos[0] + t and sees positions 0..p, or only the last
    ``window`` of them if that is positive. H is a multiple of G: query head h reads cache head
    h // (H / G). If ``softcap`` is positive, scores s become softcap * tanh(s / softcap).
    """
    tokens, heads = q.shape[1], q.shape[2]
    start = int(input_pos[0])
    end = start + tokens
    if start < 0 or end > k_cache.shape[2]:
        raise IndexError(f"positions {start}..{end - 1} of {k_cache.shape[2]}")
    repeat = heads // k_cache.shape[1]
    keys, values = (
        _of_rows(c[0, :, :end]).repeat_interleave(repeat, dim=0) for c in (k_cache, v_cache)
    )
    scores = torch.einsum("thd,hsd->hts", q[0].to(torch.float32), keys) * scale
    if softcap > 0:
        scores = softcap * torch.tanh(scores / softcap)
    distance = torch.arange(start, end)[:, None] - torch.arange(end)
    hidden = distance < 0
    if window > 0:
        hidden |= distance >= window
    weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
    return torch.einsum("hts,hsd->thd", weights, values)[None].to(q.dtype).contiguous()


@attention.register_fake
def _like_queries(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    input_pos: Tensor,
    scale: float,
    window: int,
    softcap: float,
) -> Tensor:
    return torch.empty_like(q, memory_format=torch.contiguous_format)


@torch.library.custom_op("penlight::attention_bf16", mutates_args=())
def attention_bf16(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    input_pos: Tensor,
    scale: float,
    window: int,
    softcap: float,
) -> Tensor:
    """`attention` whose products may be made of operands rounded to bfloat16.

    For models that round more elsewhere. The definition here is that of float32; a kernel may round
    queries, keys, values and softmax weights to nearest even, and sums in float32. Ours does for
    more than 16 tokens at once, on processors that multiply bfloat16.
    """
    result: Tensor = attention(q, k_cache, v_cache, input_pos, scale, window, softcap)
    return result


attention_bf16.register_fake(_like_queries)


@torch.library.custom_op("penlight::silu_mul", mutates_args=())
def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """``gate * sigmoid(gate) * up``."""
    return torch.nn.functional.silu(gate) * up


@silu_mul.register_fake
def _(gate: Tensor, up: Tensor) -> Tensor:
    return torch.empty_like(gate, memory_format=torch.contiguous_format)


@torch.library.custom_op("penlight::gelu_mul", mutates_args=())
def gelu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """``gelu(gate) * up`` with the tanh form of GELU."""
    return torch.nn.functional.gelu(gate, approximate="tanh") * up


@gelu_mul.register_fake
def _(gate: Tensor, up: Tensor) -> Tensor:
    return torch.empty_like(gate, memory_format=torch.contiguous_format)
