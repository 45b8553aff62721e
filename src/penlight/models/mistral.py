"""Mistral 7B, NeMo and the models of their shape.

Jiang et al., 2023: Llama with a sliding window in every layer (in the first release) and a head
size of its own (in NeMo); both are in the configuration.
"""

from __future__ import annotations

from penlight.models import llama


class Model(llama.Model):
    """Llama's layers, with windows as configured."""
