"""Llama 2, 3, 3.1, 3.2 and SmolLM2.

Touvron et al., 2023; Llama 3.1's rope scaling is in the configuration (`RopeConfig`).
"""

from __future__ import annotations

from torch import nn

from penlight.models._layers import Attention, Cache, CausalLM, GatedMLP, PreNormLayer


class Model(CausalLM):
    """Pre-norm layers of grouped-query attention and a SiLU-gated MLP."""

    def layer(self, index: int, cache: Cache) -> nn.Module:
        attention = Attention(self.config, index, cache)
        return PreNormLayer(self.config, attention, GatedMLP(self.config))
