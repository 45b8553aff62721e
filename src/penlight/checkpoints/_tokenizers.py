"""Turns vocabularies of other formats into tokenizer.json, the format of the `tokenizers` library.

Three sources: a list of byte-level tokens with merges (GGUF), a sentencepiece model (GGUF, or a
``tokenizer.model`` file), and a tiktoken file of ranks. Writing one needs no tokenizer library.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penlight.errors import CheckpointError

# What a token is, numbered alike in sentencepiece and GGUF.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

SPACE = "\u2581"  # how sentencepiece spells a space
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_FIRST = r"[^\r\n\p{L}\p{N}]?"
_CASED = f"{_FIRST}{_UPPER}*{_LOWER}+", f"{_FIRST}{_UPPER}+{_LOWER}*"
_CASED_REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

LLAMA3 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_REST}"
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_CASED_REST}"
_O200K = "|".join(f"{word}{_CONTRACTION}?" for word in _CASED) + rf"|\p{{N}}{{1,3}}|{_CASED_REST}"

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
_GPT2 = [{**_BYTE_LEVEL, "use_regex": True}]
_DIGITS = [{"type": "Digits", "individual_digits": True}, *_GPT2]


def _split(pattern: str) -> list[dict[str, Any]]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    return [{**split, "invert": False}, {**_BYTE_LEVEL, "use_regex": False}]


# How text is cut into words before merging, by the name that GGUF gives it (tokenizer.ggml.pre).
# Names and patterns are those of llama.cpp and of the models' own tokenizer.json.
PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "default"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), _DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3"), _split(LLAMA3)),
    **dict.fromkeys(("smaug-bpe", "dbrx"), _split(LLAMA3)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"), _split(_QWEN2)),
    "tekken": _split(_TEKKEN),
    **dict.fromkeys(("gpt-4o", "o200k"), _split(_O200K)),
}
_WHOLE_WORDS_FIRST = ("llama-bpe", "llama3", "llama-v3", "falcon3", "tekken")


def read_text(path: Path) -> str:
    """A UTF-8 file; raises CheckpointError if it is missing or not UTF-8."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise CheckpointError(
            f"[{path}] expected a readable file but got: {error.strerror}; check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"[{path}] expected UTF-8 text but got: {error}; download it again"
        ) from None


def byte_alphabet() -> list[str]:
    """The character by which byte-level tokens spell each byte (GPT-2's table)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def byte_level_json(
    tokens: Sequence[str], kinds: Sequence[int], merges: Iterable[str], pre: str, where: str
) -> bytes:
    """tokenizer.json of a byte-level BPE vocabulary, as GGUF stores it.

    merges: pairs joined by a space, best first. pre: a key of PRE_TOKENIZERS.
    """
    if pre not in PRE_TOKENIZERS:
        raise CheckpointError(
            f"[{where}] expected one of the pre-tokenizers {', '.join(sorted(PRE_TOKENIZERS))} but "
            f"got {pre!r}; use a checkpoint in Hugging Face's form, which has its own"
        )
    pairs = []
    for merge in merges:
        cut = merge.find(" ", 1)
        if cut < 0:
            raise CheckpointError(
                f"[{where}] expected merges of two tokens but got {merge[:40]!r}; "
                "the file is corrupt"
            )
        pairs.append([merge[:cut], merge[cut + 1 :]])
    vocab = _unique(tokens)
    known = [p for p in pairs if p[0] in vocab and p[1] in vocab and p[0] + p[1] in vocab]
    return _json(
        added=_added(tokens, kinds),
        normalizer={"type": "NFC"} if PRE_TOKENIZERS[pre] == _split(_QWEN2) else None,
        pre_tokenizer={"type": "Sequence", "pretokenizers": PRE_TOKENIZERS[pre]},
        decoder={**_BYTE_LEVEL, "use_regex": True},
        model=_bpe(vocab, known, ignore_merges=pre in _WHOLE_WORDS_FIRST),
    )


@dataclass(frozen=True)
class SentencePiece:
    """A sentencepiece vocabulary: texts, scores and kinds by id, and how text is prepared."""

    pieces: Sequence[str]
    scores: Sequence[float]
    kinds: Sequence[int]
    unigram: bool = False
    add_space_prefix: bool = True
    collapse_spaces: bool = False
    charsmap: bytes = b""

    def to_json(self) -> bytes:
        """The same as tokenizer.json."""
        spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
        normalizers: list[dict[str, Any]] = []
        if self.charsmap:
            charsmap = base64.b64encode(self.charsmap).decode()
            normalizers.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
        if self.collapse_spaces:
            pattern = {"Regex": " {2,}"}
            normalizers.append({"type": "Replace", "pattern": pattern, "content": " "})
        if self.add_space_prefix:
            normalizers.append({"type": "Prepend", "prepend": SPACE})
        decoders: list[dict[str, Any]] = [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ]
        if self.add_space_prefix:
            decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
        # Tokens of several spaces may be spelt with real ones, which the normalizer never leaves.
        spelt = [SPACE * len(p) if p and not p.strip(" ") else p for p in self.pieces]
        return _json(
            added=_added(spelt, self.kinds),
            normalizer={"type": "Sequence", "normalizers": [*normalizers, spaces]},
            pre_tokenizer=None,
            decoder={"type": "Sequence", "decoders": decoders},
            model=self._unigram(spelt) if self.unigram else self._bpe(spelt),
        )

    def _unigram(self, spelt: Sequence[str]) -> dict[str, Any]:
        unknown = next((i for i, kind in enumerate(self.kinds) if kind == UNKNOWN), None)
        vocab = [[piece, score] for piece, score in zip(spelt, self.scores, strict=True)]
        fallback = BYTE in self.kinds
        return {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": fallback}

    def _bpe(self, spelt: Sequence[str]) -> dict[str, Any]:
        vocab = _unique(spelt)
        unknown = next((p for p, k in zip(spelt, self.kinds, strict=True) if k == UNKNOWN), None)
        merges = list(self._merges(spelt, vocab))
        return _bpe(vocab, merges, unknown=unknown, byte_fallback=BYTE in self.kinds)

    def _merges(self, spelt: Sequence[str], vocab: dict[str, int]) -> Iterator[list[str]]:
        """Every way to make a piece of two others, best piece first.

        Trained pieces are in order of score; others (several spaces, in Gemma) have no true score
        but their place says the same.
        """
        mergeable = [i for i, k in enumerate(self.kinds) if k in (NORMAL, USER_DEFINED)]
        trained = [self.scores[i] for i in mergeable if self.kinds[i] == NORMAL]
        if any(a < b for a, b in itertools.pairwise(trained)):
            mergeable.sort(key=lambda i: -self.scores[i])
        allowed = {spelt[i] for i in mergeable}
        for i in mergeable:
            piece = spelt[i]
            cuts = ((piece[:c], piece[c:]) for c in range(1, len(piece)))
            pairs = [[left, right] for left, right in cuts if left in allowed and right in allowed]
            yield from sorted(pairs, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))


def from_sentencepiece(model: bytes, where: str) -> bytes:
    """tokenizer.json of a sentencepiece model file; raises CheckpointError if it is malformed."""
    try:
        return _parse_sentencepiece(model).to_json()
    except (ValueError, struct.error, IndexError, TypeError) as error:
        raise CheckpointError(
            f"[{where}] expected a sentencepiece model but got: {error}; download it again"
        ) from None


def _parse_sentencepiece(model: bytes) -> SentencePiece:
    """Field numbers are those of sentencepiece_model.proto."""
    pieces: list[str] = []
    scores: list[float] = []
    kinds: list[int] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in _fields(model):
        if number == 1:
            piece = dict(_fields(value))
            pieces.append(bytes(piece[1]).decode() if 1 in piece else "")
            scores.append(struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0)
            kinds.append(piece.get(3, NORMAL))
        elif number == 2:
            trainer = dict(_fields(value))
        elif number == 3:
            normalizer = dict(_fields(value))
    model_type = trainer.get(3, 1)
    if not pieces or model_type not in (1, 2):
        raise ValueError(f"{len(pieces)} pieces of model type {model_type}")
    return SentencePiece(
        pieces,
        scores,
        kinds,
        unigram=model_type == 1,
        add_space_prefix=bool(normalizer.get(3, 1)),
        collapse_spaces=bool(normalizer.get(4, 1)),
        charsmap=bytes(normalizer.get(2, b"")),
    )


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protobuf message: int for varints, bytes for all other kinds."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"protobuf wire type {kind}")
        if at + length > len(message):
            raise ValueError("a truncated file")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if not byte & 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def from_tiktoken(ranks: bytes, special: Sequence[str], pattern: str, where: str) -> bytes:
    """tokenizer.json of a tiktoken file: lines of a base64 token and its rank.

    special: tokens that follow the ranked ones. pattern: how text is cut into words.
    """
    tokens: dict[bytes, int] = {}
    for number, line in enumerate(ranks.splitlines(), 1):
        try:
            token, rank = line.split()
            tokens[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise CheckpointError(
                f"[{where}, line {number}] expected a base64 token and its rank but got "
                f"{line[:40]!r}; download it again"
            ) from None
    if sorted(tokens.values()) != list(range(len(tokens))):
        raise CheckpointError(
            f"[{where}] expected ranks 0 to {len(tokens) - 1}, each once, but got others; "
            "download it again"
        )
    alphabet = byte_alphabet()
    spelt = {token: "".join(alphabet[b] for b in token) for token in tokens}
    merges = []
    for token in sorted(tokens, key=tokens.__getitem__):
        cuts = ((token[:c], token[c:]) for c in range(1, len(token)))
        pairs = [(tokens[a], tokens[b], a, b) for a, b in cuts if a in tokens and b in tokens]
        merges += [[spelt[a], spelt[b]] for _, _, a, b in sorted(pairs)]
    vocab = {spelt[token]: rank for token, rank in tokens.items()}
    ids = range(len(vocab), len(vocab) + len(special))
    return _json(
        added=[_added_token(i, text, special=True) for i, text in zip(ids, special, strict=True)],
        normalizer=None,
        pre_tokenizer={"type": "Sequence", "pretokenizers": _split(pattern)},
        decoder={**_BYTE_LEVEL, "use_regex": True},
        model=_bpe(vocab, merges, ignore_merges=True),
    )


def _unique(tokens: Sequence[str]) -> dict[str, int]:
    """Ids by text; a text that occurs again gets a name that no input spells."""
    vocab: dict[str, int] = {}
    for i, token in enumerate(tokens):
        vocab[token if token and token not in vocab else f"\0unused{i}"] = i
    return vocab


def _added(tokens: Sequence[str], kinds: Sequence[int]) -> list[dict[str, Any]]:
    """Tokens that are found in text as they are: control tokens and those of the model's author.

    Runs of sentencepiece's spaces are left to merging, which sees them after normalisation.
    """
    return [
        _added_token(i, token, special=kind != USER_DEFINED)
        for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (CONTROL, UNKNOWN, USER_DEFINED) and token.strip(SPACE)
    ]


def _added_token(token_id: int, text: str, *, special: bool) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": text, **plain, "special": special}


def _bpe(
    vocab: dict[str, int],
    merges: list[list[str]],
    *,
    unknown: str | None = None,
    byte_fallback: bool = False,
    ignore_merges: bool = False,
) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": unknown is not None,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": vocab,
        "merges": merges,
    }


def _json(
    *,
    added: list[dict[str, Any]],
    normalizer: dict[str, Any] | None,
    pre_tokenizer: dict[str, Any] | None,
    decoder: dict[str, Any],
    model: dict[str, Any],
) -> bytes:
    values = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
