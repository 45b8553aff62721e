"""The tokenizer of a program, and the table of token bytes from which the runtime makes text."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer as Backend

from penlight.errors import ProgramError, RuntimeFailure

__all__ = ["Tokenizer", "token_bytes", "vocabulary_table"]


class Tokenizer:
    """Text to tokens and back.

    json_text: in the format of the `tokenizers` library. bos_id is put in front where add_bos says
    so. Raises ProgramError if the text is no tokenizer.
    """

    def __init__(
        self, json_text: str | bytes, *, bos_id: int | None = None, add_bos: bool = False
    ) -> None:
        try:
            text = json_text.decode() if isinstance(json_text, bytes) else json_text
            self._backend = Backend.from_str(text)
        # The library raises plain Exception; a panic in it is a BaseException of its own.
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise ProgramError(
                f"[tokenizer] expected a tokenizer.json but got: {error}; export the model again"
            ) from None
        self._backend.no_truncation()
        self._backend.no_padding()
        self.bos_id, self.add_bos = bos_id, add_bos and bos_id is not None

    @property
    def size(self) -> int:
        """How many tokens there are, added ones included."""
        return int(self._backend.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, *, bos: bool | None = None) -> list[int]:
        """Token ids. bos: whether to begin with the model's bos token; by default as it wants.

        Special tokens that are spelled out in the text are recognised, as chat templates need.
        Raises RuntimeFailure if the text is no valid Unicode.
        """
        try:
            ids = list(self._backend.encode(text, add_special_tokens=False).ids)
        except (TypeError, UnicodeEncodeError):
            raise RuntimeFailure(
                "[tokenize] expected valid Unicode text but got a lone surrogate; decode the input "
                "with errors='replace'"
            ) from None
        if self.bos_id is not None and (self.add_bos if bos is None else bos):
            ids.insert(0, self.bos_id)
        return ids

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Text of the tokens; special: also those that are not text, such as an end of turn."""
        return str(self._backend.decode(list(ids), skip_special_tokens=not special))

    def id_of(self, token: str) -> int | None:
        """The id of a token by its own spelling."""
        found = self._backend.token_to_id(token)
        return None if found is None else int(found)


def vocabulary_table(json_text: str | bytes, size: int) -> bytes:
    """The named data ``penlight.vocabulary`` for a model with `size` logits.

    Layout, little-endian: uint32 size, uint32 offsets[size + 1], bytes. Special tokens and ids that
    the tokenizer does not know have no bytes.
    """
    pieces = token_bytes(json.loads(json_text))
    parts = [pieces.get(index, b"") for index in range(size)]
    offsets, total = [0], 0
    for part in parts:
        total += len(part)
        offsets.append(total)
    return struct.pack(f"<I{size + 1}I", size, *offsets) + b"".join(parts)


def token_bytes(document: Mapping[str, Any]) -> dict[int, bytes]:
    """The bytes that each token of a tokenizer.json stands for, by id.

    Two conventions exist: byte-level BPE writes every byte as one printable character (Radford et
    al., 2019), sentencepiece writes a space as U+2581 and bytes it lacks as <0xNN>.
    """
    vocabulary = document["model"]["vocab"]
    if isinstance(vocabulary, list):  # unigram: [piece, score]
        vocabulary = {piece: index for index, (piece, _) in enumerate(vocabulary)}
    convert = _byte_level if _uses_byte_level(document) else _sentencepiece
    pieces = {int(index): convert(piece) for piece, index in vocabulary.items()}
    for added in document.get("added_tokens", []):
        special = added.get("special", False)
        pieces[int(added["id"])] = b"" if special else added["content"].encode()
    return pieces


def _uses_byte_level(document: Mapping[str, Any]) -> bool:
    decoder = document.get("decoder") or {}
    steps = decoder.get("decoders", [decoder])
    return any(step.get("type") == "ByteLevel" for step in steps)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for every byte, reversed."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    alphabet.update({chr(256 + n): byte for n, byte in enumerate(others)})
    return alphabet


_ALPHABET = _byte_alphabet()
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_level(piece: str) -> bytes:
    if all(character in _ALPHABET for character in piece):
        return bytes(_ALPHABET[character] for character in piece)
    return piece.encode()


def _sentencepiece(piece: str) -> bytes:
    match = _BYTE_TOKEN.fullmatch(piece)
    if match:
        return bytes([int(match[1], 16)])
    return piece.replace("\u2581", " ").encode()
