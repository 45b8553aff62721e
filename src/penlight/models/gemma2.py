"""Gemma 2.

Gemma Team, 2024: windows in every other layer, soft caps on scores and logits (in the
configuration), norms around both parts of a layer, a tanh-GELU gate, embeddings scaled by the root
of the hidden size.
"""

from __future__ import annotations

import torch
from torch import nn

from penlight.models._layers import Attention, Cache, CausalLM, GatedMLP, SandwichNormLayer
from penlight.models.config import ModelConfig


class Model(CausalLM):
    """Sandwich-normed layers; all norm weights are relative to one."""

    norm_offset = 1.0

    def __init__(self, config: ModelConfig, context: int | None, cache_dtype: torch.dtype) -> None:
        super().__init__(config, context, cache_dtype)
        self.embedding_scale = config.hidden_size**0.5

    def layer(self, index: int, cache: Cache) -> nn.Module:
        attention = Attention(self.config, index, cache)
        return SandwichNormLayer(self.config, attention, GatedMLP(self.config, "gelu"))
