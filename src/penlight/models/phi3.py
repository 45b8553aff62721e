"""Phi-3 and Phi-4-mini.

Abdin et al., 2024: Llama with LongRoPE and, in Phi-4-mini, a rotation of only the first part of
each head; both are in the configuration. Checkpoints store queries, keys and values in one matrix,
and gate and up in another; the readers present their rows as the separate matrices they are.
"""

from __future__ import annotations

from penlight.models import llama


class Model(llama.Model):
    """Llama's layers; past `RopeConfig.original_context` tokens, other frequencies apply.

    Keys cached before that were rotated by the earlier ones: a caller who wants the result of a
    single pass runs the whole text again when a conversation crosses that length.
    """
