"""Qwen 2 and 2.5.

Yang et al., 2024: Llama with biases on queries, keys and values, and windows in the upper layers
where a model uses them; both are in the configuration.
"""

from __future__ import annotations

from penlight.models import llama


class Model(llama.Model):
    """Llama's layers, with biases and windows as configured."""
