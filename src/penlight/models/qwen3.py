"""Qwen 3 (dense).

Yang et al., 2025: Llama with each head's queries and keys normed before they are rotated.
"""

from __future__ import annotations

from torch import nn

from penlight.models._layers import Attention, Cache, CausalLM, GatedMLP, PreNormLayer


class Model(CausalLM):
    """Pre-norm layers; a norm per head on queries and keys."""

    def layer(self, index: int, cache: Cache) -> nn.Module:
        attention = Attention(self.config, index, cache, qk_norm="head")
        return PreNormLayer(self.config, attention, GatedMLP(self.config))
