"""Gemma 3, text.

Gemma Team, 2025: Gemma 2 with five layers of a short window to one that sees all, a rotation of its
own for each kind (both in the configuration), and a norm per head on queries and keys instead of
soft caps.
"""

from __future__ import annotations

from torch import nn

from penlight.models import gemma2
from penlight.models._layers import Attention, Cache, GatedMLP, SandwichNormLayer


class Model(gemma2.Model):
    """Sandwich-normed layers; a norm per head on queries and keys."""

    def layer(self, index: int, cache: Cache) -> nn.Module:
        attention = Attention(self.config, index, cache, qk_norm="head", norm_offset=1.0)
        return SandwichNormLayer(self.config, attention, GatedMLP(self.config, "gelu"))
