"""What operators without a kernel of their own mean, in operators that have one.

Each function takes its operator's arguments and gives what eager PyTorch gives; where PyTorch
leaves a choice open (which of equal values a median comes from), either may be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

MEANINGS: dict[Any, Callable[..., Any]] = {}


def _means(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for overload in overloads:
            MEANINGS[overload] = function
        return function

    return register


@_means(aten.adaptive_avg_pool1d.default)
def _adaptive_avg_pool1d(x: Tensor, size: list[int]) -> Tensor:
    return aten._adaptive_avg_pool2d(x.unsqueeze(-2), [1, *size]).squeeze(-2)  # type: ignore[no-any-return]


@_means(aten.avg_pool1d.default)
def _avg_pool1d(
    x: Tensor,
    kernel: list[int],
    stride: list[int] | None = None,
    padding: Iterable[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    pooled = aten.avg_pool2d(
        x.unsqueeze(-2),
        [1, *kernel],
        [1, *(stride or kernel)],
        [0, *padding],
        ceil_mode,
        count_include_pad,
    )
    return pooled.squeeze(-2)  # type: ignore[no-any-return]


@_means(aten.unbind.int)
def _unbind(x: Tensor, dim: int = 0) -> list[Tensor]:
    return [x.select(dim, index) for index in range(x.shape[dim])]


@_means(aten.square.default)
def _square(x: Tensor) -> Tensor:
    return x * x


@_means(aten.rsub.Scalar)
def _rsub(x: Tensor, other: Any, alpha: Any = 1) -> Tensor:
    return aten.add.Scalar(aten.mul.Scalar(x, -alpha), other)  # type: ignore[no-any-return]


@_means(aten.fill.Scalar)
def _fill(x: Tensor, value: Any) -> Tensor:
    return aten.full_like(x, value)  # type: ignore[no-any-return]


@_means(aten.scalar_tensor.default)
def _scalar_tensor(value: Any, **options: Any) -> Tensor:
    return aten.full([], value, **options)  # type: ignore[no-any-return]


@_means(aten.linalg_vector_norm.default)
def _vector_norm(
    x: Tensor,
    order: float = 2,
    dim: list[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    result = dtype or x.dtype
    wide = torch.float32 if result in (torch.float16, torch.bfloat16) else result
    size = x.to(wide).abs()
    axes = list(range(x.dim())) if dim is None else dim
    if order in (float("inf"), float("-inf")):
        norm = size.amax(axes, keepdim) if order > 0 else size.amin(axes, keepdim)
    elif order == 0:
        norm = (size != 0).to(wide).sum(axes, keepdim)
    elif order == 1:
        norm = size.sum(axes, keepdim)
    elif order == 2:
        norm = (size * size).sum(axes, keepdim).sqrt()
    else:
        norm = size.pow(order).sum(axes, keepdim).pow(1 / order)
    return norm.to(result)


@_means(aten.bucketize.Tensor)
def _bucketize(
    x: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    column = x.unsqueeze(-1)
    above = boundaries > column if right else boundaries >= column
    below = above.logical_not()  # NaN lies above all boundaries
    return below.sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


@_means(aten.searchsorted.Tensor)
def _searchsorted(
    sequence: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    if sorter is not None:
        sequence = sequence.gather(-1, sorter)
    column, row = x.unsqueeze(-1), sequence.unsqueeze(-2) if sequence.dim() > 1 else sequence
    above = row > column if right or side == "right" else row >= column
    below = above.logical_not()  # NaN lies above everything
    return below.sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


@_means(aten.angle.default)
def _angle(x: Tensor) -> Tensor:
    if x.is_complex():
        return NotImplemented  # type: ignore[no-any-return]
    real = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    turned = torch.where(real < 0, torch.pi, 0.0).to(real.dtype)
    return torch.where(real.isnan(), real, turned)


@_means(aten.fmax.default)
def _fmax(x: Tensor, y: Tensor) -> Tensor:
    largest = torch.maximum(x, y)
    return torch.where(x.isnan(), y, torch.where(y.isnan(), x, largest))


@_means(aten.fmin.default)
def _fmin(x: Tensor, y: Tensor) -> Tensor:
    smallest = torch.minimum(x, y)
    return torch.where(x.isnan(), y, torch.where(y.isnan(), x, smallest))


@_means(aten.ldexp.Tensor)
def _ldexp(x: Tensor, exponent: Tensor) -> Tensor:
    return x * torch.pow(2.0, exponent)


@_means(aten.rrelu_with_noise_functional.default)
def _rrelu(
    x: Tensor,
    noise: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> tuple[Tensor, Tensor]:
    if training:
        return NotImplemented  # type: ignore[no-any-return]
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2), noise.clone()


@_means(aten.dist.default)
def _dist(x: Tensor, y: Tensor, p: float = 2) -> Tensor:
    return _vector_norm((x - y).flatten(), p)  # type: ignore[no-any-return]


@_means(aten.addmv.default)
def _addmv(x: Tensor, matrix: Tensor, vector: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    product: Tensor = torch.mv(matrix, vector) * alpha
    return product + x * beta if beta else product  # NaN times 0 is not added


@_means(aten.round.decimals)
def _round_decimals(x: Tensor, *, decimals: int) -> Tensor:
    scale = 10.0 ** abs(decimals)
    return (x * scale).round() / scale if decimals >= 0 else (x / scale).round() * scale


@_means(aten._trilinear.default)
def _trilinear(
    x: Tensor,
    y: Tensor,
    z: Tensor,
    expand_x: list[int],
    expand_y: list[int],
    expand_z: list[int],
    sum_dims: list[int],
    unroll_dim: int = 1,
) -> Tensor:
    for dim in expand_x:
        x = x.unsqueeze(dim)
    for dim in expand_y:
        y = y.unsqueeze(dim)
    for dim in expand_z:
        z = z.unsqueeze(dim)
    return (x * y * z).sum(sum_dims)


@_means(aten.median.default)
def _median(x: Tensor) -> Tensor:
    flat = x.flatten()
    middle = flat.sort()[0][(flat.shape[0] - 1) // 2]
    if not x.is_floating_point():
        return middle
    return torch.where(flat.isnan().any(), torch.full_like(middle, torch.nan), middle)


@_means(aten.median.dim)
def _median_dim(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    values, places = _kthvalue(x, (x.shape[dim] + 1) // 2, dim, True)
    if x.is_floating_point():
        missing = x.isnan()
        found = missing.any(dim, keepdim=True)
        values = torch.where(found, torch.full_like(values, torch.nan), values)
        places = torch.where(found, missing.to(torch.int64).argmax(dim, keepdim=True), places)
    return (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))


@_means(aten.kthvalue.default)
def _kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    values, places = x.sort(dim)
    chosen = values.narrow(dim, k - 1, 1), places.narrow(dim, k - 1, 1)
    if keepdim:
        return chosen[0].clone(), chosen[1].clone()
    return chosen[0].squeeze(dim), chosen[1].squeeze(dim)


@_means(aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
def _embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    bags, width = offsets.shape[0] - include_last_offset, weight.shape[1]
    place = torch.arange(indices.shape[0], device=indices.device)
    bag = (offsets[:bags] <= place.unsqueeze(1)).sum(1) - 1  # [indices]
    kept = indices != padding_idx
    target = torch.where(kept, bag, bags)  # padding goes to a bag that is dropped
    rows = weight[indices]  # [indices, width]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    empty = torch.zeros(bags + 1, width, dtype=rows.dtype, device=rows.device)
    size = torch.zeros(bags + 1, dtype=torch.int64, device=rows.device)
    size = size.index_add(0, target, torch.ones_like(target))[:bags]
    if mode == 2:
        column = target.unsqueeze(1).expand(-1, width)
        result = empty.scatter_reduce(0, column, rows, "amax", include_self=False)[:bags]
    else:
        result = empty.index_add(0, target, rows)[:bags]
    if mode == 1:
        result = result / size.clamp(min=1).unsqueeze(1).to(result.dtype)
    # The last result is for the gradient alone.
    return result, bag, size, torch.zeros_like(size)


def _renamed(old: Any, new: Any) -> None:
    """`old` is another spelling of `new`, with the same arguments."""
    MEANINGS[old] = lambda *args, **kwargs: new(*args, **kwargs)


for _kind, _tensor in (("Scalar", "Tensor_Scalar"), ("Tensor", "Tensor")):
    _renamed(getattr(aten.__lshift__, _kind), getattr(aten.bitwise_left_shift, _tensor))
    _renamed(getattr(aten.__rshift__, _kind), getattr(aten.bitwise_right_shift, _tensor))
    _renamed(getattr(aten.__and__, _kind), getattr(aten.bitwise_and, _kind))
    _renamed(getattr(aten.__or__, _kind), getattr(aten.bitwise_or, _kind))
    _renamed(getattr(aten.__xor__, _kind), getattr(aten.bitwise_xor, _kind))
