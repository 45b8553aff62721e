"""Exchanging a model's linear and embedding layers for packed ones.

    formats = {"lm_head.weight": "q8g32", "layers.0.mlp.up_proj.weight": "q4g32", ...}
    pack_layers(model, formats)

Only shapes change hands: the packed weights are empty, on the device of the old ones, to be filled
with, or written as, what `penlight.quantize.pack` makes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from penlight.edge.packed import PackedFormat
from penlight.errors import ExportError
from penlight.models._layers import Attention

__all__ = ["PackedEmbedding", "PackedLinear", "pack_layers"]


class PackedLinear(nn.Module):
    """`torch.nn.Linear` over packed weights, uint8 [nbytes]: x float32 [..., K] to [..., N]."""

    def __init__(
        self, weight: nn.Parameter, format: str, outputs: int, bias: Tensor | None
    ) -> None:
        super().__init__()
        self.weight, self.format, self.outputs = weight, format, outputs
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.penlight.linear(
            x, self.weight, self.format, self.outputs, self.bias
        )
        return out


class PackedEmbedding(nn.Module):
    """`torch.nn.Embedding` over packed weights: tokens int64 [...] to float32 [..., dim]."""

    def __init__(self, weight: nn.Parameter, format: str, dim: int) -> None:
        super().__init__()
        self.weight, self.format, self.dim = weight, format, dim

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = torch.ops.penlight.embedding(tokens, self.weight, self.format, self.dim)
        return out


def pack_layers(model: nn.Module, formats: Mapping[str, str]) -> None:
    """Replace every `nn.Linear` and `nn.Embedding` whose weight's name is in formats, in place.

    Layers that shared a weight share the packed one. Attention whose layers all round activations
    to 8 bits may round to bfloat16, which changes far less. Raises ExportError for names that are
    no weights of such layers.
    """
    packed: dict[int, nn.Parameter] = {}
    left = set(formats)
    for path, module in list(model.named_modules()):
        name = f"{path}.weight"
        if name not in formats or not isinstance(module, nn.Linear | nn.Embedding):
            continue
        left.discard(name)
        old = module.weight
        rows, inputs = old.shape
        if id(old) not in packed:
            nbytes = PackedFormat.parse(formats[name]).nbytes(rows, inputs)
            data = torch.empty(nbytes, dtype=torch.uint8, device=old.device)
            packed[id(old)] = nn.Parameter(data, requires_grad=False)
        weight = packed[id(old)]
        new: nn.Module
        if isinstance(module, nn.Linear):
            new = PackedLinear(weight, formats[name], rows, module.bias)
        else:
            new = PackedEmbedding(weight, formats[name], inputs)
        model.set_submodule(path, new)
    for module in model.modules():
        if isinstance(module, Attention):
            layers = [
                layer for layer in module.children() if isinstance(layer, nn.Linear | PackedLinear)
            ]
            module.rounds = all(_rounds_to_bytes(layer) for layer in layers)
    if left:
        raise ExportError(
            f"[pack] expected names of weights of linear or embedding layers but got "
            f"{', '.join(sorted(left)[:5])}; name only these"
        )


def _rounds_to_bytes(layer: nn.Module) -> bool:
    if not isinstance(layer, PackedLinear):
        return False
    spec = PackedFormat.parse(layer.format)
    return spec.quantized and spec.activation_bits == 7
