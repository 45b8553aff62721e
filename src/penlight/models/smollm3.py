"""SmolLM3: Llama in which every fourth layer has no positions at all (NoPE).

Which layers rotate is in the configuration (`ModelConfig.rope_layers`).
"""

from __future__ import annotations

from penlight.models import llama


class Model(llama.Model):
    """Llama's layers, some of them without rotation."""
