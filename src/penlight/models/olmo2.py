"""OLMo 2.

OLMo Team, 2024: norms after attention and MLP instead of before, and queries and keys normed over
all heads at once.
"""

from __future__ import annotations

from torch import Tensor, nn

from penlight.models._layers import Attention, Cache, CausalLM, GatedMLP, Position, RMSNorm
from penlight.models.config import ModelConfig


class PostNormLayer(nn.Module):
    """Each part reads the plain stream and adds its normed output to it."""

    def __init__(self, config: ModelConfig, attention: Attention) -> None:
        super().__init__()
        self.self_attn = attention
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = GatedMLP(config)
        self.post_feedforward_layernorm = RMSNorm(config.hidden_size, config.norm_eps)

    def forward(self, x: Tensor, position: Position) -> Tensor:
        x = x + self.post_attention_layernorm(self.self_attn(x, position))
        return x + self.post_feedforward_layernorm(self.mlp(x))  # type: ignore[no-any-return]


class Model(CausalLM):
    """Post-norm layers; a norm over all heads on queries and keys."""

    def layer(self, index: int, cache: Cache) -> nn.Module:
        attention = Attention(self.config, index, cache, qk_norm="all")
        return PostNormLayer(self.config, attention)
