"""Token bytes put together give the text that was tokenized, for each kind of tokenizer."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from penlight.errors import ProgramError, RuntimeFailure
from penlight.llm import Tokenizer
from penlight.llm.tokenizer import token_bytes, vocabulary_table


def byte_level() -> str:
    """A byte-level BPE tokenizer, as of GPT-2 and Llama 3, trained on a few words."""
    made = Backend(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken("<|end|>", special=True)],
        show_progress=False,
    )
    made.train_from_iterator(["hello world, hello there, こんにちは"] * 4, trainer)
    made.add_tokens([AddedToken("<tool>", special=False)])
    return str(made.to_str())


def sentencepiece() -> str:
    """A BPE tokenizer with U+2581 for spaces and byte fallback, as of Llama 2."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [chr(c) for c in range(97, 123)] + ["\u2581", "\u2581a"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    made = Backend(
        models.BPE(
            vocab=vocabulary,
            merges=[("\u2581", "a")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    made.normalizer = normalizers.Replace(" ", "\u2581")
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    made.add_special_tokens([AddedToken(text, special=True) for text in ("<s>", "</s>")])
    return str(made.to_str())


KINDS = {"byte level": byte_level(), "sentencepiece": sentencepiece()}


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=40).filter(lambda text: "<" not in text))
def test_token_bytes_spell_the_text(kind: str, text: str) -> None:
    pieces = token_bytes(json.loads(KINDS[kind]))
    tokens = Tokenizer(KINDS[kind]).encode(text)
    assert b"".join(pieces[token] for token in tokens).decode() == text


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_have_no_bytes_and_other_added_ones_have(kind: str) -> None:
    pieces = token_bytes(json.loads(KINDS[kind]))
    tokenizer = Tokenizer(KINDS[kind])
    special = tokenizer.id_of("<|end|>" if kind == "byte level" else "</s>")
    assert special is not None
    assert pieces[special] == b""
    if kind == "byte level":
        added = tokenizer.id_of("<tool>")
        assert added is not None
        assert pieces[added] == b"<tool>"


def test_the_table_has_an_entry_for_every_logit() -> None:
    tokenizer = Tokenizer(KINDS["byte level"])
    size = tokenizer.size + 7
    table = vocabulary_table(KINDS["byte level"], size)
    count, *offsets = struct.unpack_from(f"<{size + 2}I", table)
    assert count == size
    assert offsets[-1] == len(table) - 4 * (size + 2)
    assert offsets[-8:] == [offsets[-1]] * 8
    token = tokenizer.encode("hello")[0]
    begin = 4 * (size + 2)
    assert b"hello".startswith(table[begin + offsets[token] : begin + offsets[token + 1]])


def test_the_first_token_is_added_as_the_model_wants_or_as_asked() -> None:
    tokenizer = Tokenizer(KINDS["sentencepiece"], bos_id=1, add_bos=True)
    plain = tokenizer.encode("a b", bos=False)
    assert tokenizer.encode("a b") == [1, *plain]
    assert Tokenizer(KINDS["sentencepiece"], bos_id=1).encode("a b") == plain


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\xfe", b"[1, 2]", b'{"model": null}'])
def test_what_is_no_tokenizer_is_refused(text: bytes) -> None:
    with pytest.raises(ProgramError, match=r"^\[tokenizer\] expected a tokenizer.json"):
        Tokenizer(text)


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(RuntimeFailure, match="lone surrogate"):
        Tokenizer(KINDS["byte level"]).encode("\ud800")
