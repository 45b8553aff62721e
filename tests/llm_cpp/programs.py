"""The toy language model, and malformed relatives of it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import torch
from torch import nn

from penlight import to_edge
from penlight.llm.tokenizer import vocabulary_table
from penlight.program.write import Blob
from tests.llm.conftest import CHUNK, CONTEXT, Toy, Verify, tokenizer_json, words

VOCABULARY = len(words())
TABLE = bytes(vocabulary_table(tokenizer_json(), VOCABULARY))
CONSTANTS: dict[str, Any] = {
    "get_max_seq_len": CHUNK,
    "get_max_context_len": CONTEXT,
    "get_vocab_size": VOCABULARY,
    "get_bos_id": 1,
    "get_eos_ids": [2],
}
# What differs from the toy: the table of token bytes, or constants.
TABLES = {
    "vocabulary_short": TABLE[:7],
    "vocabulary_offsets": TABLE[:100],
    "vocabulary_count": struct.pack("<I", 2**32 - 1) + TABLE[4:],
    "vocabulary_backwards": TABLE[:8] + struct.pack("<I", 2**31) + TABLE[12:],
    "vocabulary_bytes": TABLE[:-1],
    "vocabulary_empty": struct.pack("<II", 0, 0),
}
NUMBERS = {
    "context_negative": {"get_max_context_len": -5},
    "context_giant": {"get_max_context_len": 2**62},
    "context_beyond": {"get_max_context_len": CONTEXT * 2},
    "vocabulary_giant": {"get_vocab_size": 2**40},
    "bos_giant": {"get_bos_id": 2**40},
}


class Wrong(nn.Module):
    """A forward that is not a language model's."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.table = nn.Parameter(torch.ones(VOCABULARY, VOCABULARY))

    def forward(self, tokens: torch.Tensor, input_pos: torch.Tensor, *more: Any) -> torch.Tensor:
        if self.kind == "logits_shrinking":
            return tokens.float() + input_pos
        logits = nn.functional.embedding(tokens[:, -1], self.table) + input_pos
        if self.kind == "logits_flat":
            return logits[0]
        return logits.to(torch.int64) if self.kind == "logits_integers" else logits


class WrongVerify(Verify):
    """A verify that is not what drafts need."""

    def __init__(self, kind: str) -> None:
        super().__init__(VOCABULARY)
        self.kind = kind
        if kind == "of_another_state":
            self.register_buffer("more", torch.zeros(1))

    def forward(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
        logits = self.every(tokens, input_pos)
        if self.kind == "of_another_state":
            self.more.add_(1)
            return logits + self.more
        if self.kind == "shrinking":  # the bounds of its sizes are right, and the sizes are not
            return torch.zeros(1, CHUNK + 2 - tokens.shape[1], VOCABULARY) + logits.sum()
        return logits[:, -1] if self.kind == "last_only" else logits[:, :, :-1]


def write_all(folder: Path) -> None:
    """A file <name>.pte for each."""
    toy = _capture(Toy(VOCABULARY).eval())
    both = {"forward": toy, "verify": _capture(Verify(VOCABULARY).eval())}
    _save(folder / "toy.pte", both, CONSTANTS, TABLE)
    _save(folder / "alone.pte", toy, CONSTANTS, TABLE)
    for kind in ("of_another_state", "last_only", "narrow", "shrinking"):
        least = 2 if kind == "shrinking" else 1
        wrong = {"forward": toy, "verify": _capture(WrongVerify(kind).eval(), least=least)}
        _save(folder / f"verify_{kind}.pte", wrong, CONSTANTS, TABLE)
    for name, table in TABLES.items():
        _save(folder / f"{name}.pte", toy, CONSTANTS, table)
    for name, numbers in NUMBERS.items():
        _save(folder / f"{name}.pte", toy, CONSTANTS | numbers, TABLE)
    for name in ("logits_flat", "logits_integers", "logits_shrinking"):
        _save(folder / f"{name}.pte", _capture(Wrong(name)), {}, TABLE)
    three = _capture(Wrong("inputs_three"), torch.zeros(1))
    _save(folder / "inputs_three.pte", three, {}, TABLE)


def _capture(module: nn.Module, *more: torch.Tensor, least: int = 1) -> Any:
    length = torch.export.Dim("length", min=least, max=CHUNK)
    shapes: list[Any] = [{1: length}, {}]
    if more:
        shapes.append(tuple({} for _ in more))
    return torch.export.export(
        module,
        (torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), *more),
        dynamic_shapes=tuple(shapes),
    )


def _save(path: Path, captured: Any, constants: dict[str, Any], table: bytes) -> None:
    program = to_edge(captured, constant_methods=constants).to_executorch()
    program.builder.add_named_data("penlight.vocabulary", Blob(table))
    program.save(path)
