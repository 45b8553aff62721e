"""Fold a batch norm into the convolution before it.

y = (conv(x, w) + b - mean) * s + beta,  s = gamma / sqrt(var + eps)
  = conv(x, w * s) + (b - mean) * s + beta
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node

from penlight.edge.graph import EdgeGraph

aten = torch.ops.aten


def fold_batch_norm(graph: EdgeGraph) -> None:
    """Rewrite convolution + batch norm (inference) where all weights are known and used once."""
    for node in graph.calls(aten._native_batch_norm_legit_no_training.default):
        convolution: Any = node.args[0]
        if convolution.target is not aten.convolution.default or len(convolution.users) > 1:
            continue
        if any(user.target is operator.getitem and user.args[1] != 0 for user in node.users):
            continue
        _fold(graph, node, convolution)


def _fold(graph: EdgeGraph, norm: Node, convolution: Node) -> None:
    norm_args: Any = norm.args
    _, gamma, beta, mean, var, _, eps = norm_args
    _, weight, bias, _, _, _, transposed, _, groups = convolution.args
    given = [value for value in (gamma, beta, mean, var, weight, bias) if value is not None]
    if any(graph.constant(value) is None for value in given) or (transposed and groups != 1):
        return

    def wide(value: Any, default: float) -> torch.Tensor:
        tensor = graph.constant(value)
        if tensor is None:
            return torch.full((norm_channels,), default, dtype=torch.float64)
        return tensor.detach().double()

    with torch.no_grad(), torch.utils._python_dispatch._disable_current_modes():
        old: Any = graph.constant(weight)
        norm_channels = old.shape[1 if transposed else 0]
        scale = wide(gamma, 1.0) / torch.sqrt(wide(var, 1.0) + eps)  # [channels]
        shape = [1] * old.dim()
        shape[1 if transposed else 0] = norm_channels
        new_weight = (old.detach().double() * scale.reshape(shape)).to(old.dtype)
        shift = (wide(bias, 0.0) - wide(mean, 0.0)) * scale + wide(beta, 0.0)
    convolution.update_arg(1, graph.add_constant(new_weight, "folded"))
    convolution.update_arg(2, graph.add_constant(shift.to(old.dtype), "folded"))
    for user in list(norm.users):
        graph.replace(user, convolution)
    graph.fx.erase_node(norm)
