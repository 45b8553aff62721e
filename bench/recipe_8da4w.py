"""ExecuTorch's recipe 8da4w in eager PyTorch, for quality.py to measure."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def executorch_recipe(model: Any) -> Any:
    """What ExecuTorch's exporter does to a model for qmode=8da4w, group_size=32 and
    embedding_quantize=8,0: weights and activations of every linear layer, and the embedding.

    torchao chooses the weights, which are then floats again; see `round_activations`."""
    from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup
    from torchao.quantization.quant_api import IntxWeightOnlyConfig

    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())  # it unties them
    quantize_(
        model,
        Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int4,
            weight_granularity=PerGroup(32),
            intx_choose_qparams_algorithm="hqq_scale_only",
        ),
    )
    quantize_(
        model,
        IntxWeightOnlyConfig(
            weight_dtype=torch.int8,
            granularity=PerAxis(0),
            intx_choose_qparams_algorithm="hqq_scale_only",
        ),
        lambda module, _: isinstance(module, nn.Embedding),
    )
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight = nn.Parameter(module.weight.dequantize(), requires_grad=False)
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: (round_activations(inputs[0]),))
    return model


def round_activations(x: torch.Tensor) -> torch.Tensor:
    """Activations [..., inputs] as 8da4w rounds them: to 256 levels of each token's range."""
    low, high = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
    scale = ((high - low) / 255).clamp(min=torch.finfo(torch.float32).eps)
    zero = (-128 - torch.round(low / scale)).clamp(-128, 127)
    return ((torch.round(x / scale) + zero).clamp(-128, 127) - zero) * scale
