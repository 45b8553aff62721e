"""A linear layer and the stream that it adds to, in one call.

add(residual, linear(x, w))  =  linear_add(residual, x, w)

where nobody else reads the product, and the addition neither broadcasts nor scales.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.edge.sizes import same_shape
from penlight.passes.fusion import LinearCall, arguments, insert, is_float32, linear_call, operator


def fuse_linear_add(graph: EdgeGraph) -> None:
    """Rewrite additions of a linear layer's result."""
    fused = operator("linear_add")
    if fused is None:
        return
    for node in graph.calls(torch.ops.aten.add.Tensor):
        given = arguments(node)
        if given.get("alpha", 1) != 1:
            continue
        pair = _residual_and_product(given["self"], given["other"])
        if pair is None:
            continue
        residual, product = pair
        call = insert(
            graph, node, fused, residual, product.x, product.weight, product.format,
            product.out_features, product.bias, like=node, value=node.meta["val"],
        )  # fmt: skip
        graph.replace(node, call)
        graph.fx.erase_node(product.node)


def _residual_and_product(first: Any, second: Any) -> tuple[Node, LinearCall] | None:
    for residual, value in ((first, second), (second, first)):
        product = linear_call(value, used_once=True)
        if product is None or not is_float32(residual):
            continue
        if same_shape(residual.meta["val"].shape, product.node.meta["val"].shape):
            return residual, product
    return None
