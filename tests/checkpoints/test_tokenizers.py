"""Converted vocabularies split text as the libraries they come from."""

from __future__ import annotations

import base64
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from references import reference, saved
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from writers import write_gguf, write_meta

from penlight.checkpoints import open_checkpoint
from penlight.checkpoints._tokenizers import (
    BYTE,
    CONTROL,
    LLAMA3,
    NORMAL,
    PRE_TOKENIZERS,
    UNKNOWN,
    USER_DEFINED,
    byte_alphabet,
    byte_level_json,
    from_sentencepiece,
    from_tiktoken,
)
from penlight.errors import CheckpointError

CORPUS = [
    "The quick brown fox jumps over the lazy dog, 12 times in 1999 and 2024.",
    "Pack my box with five dozen liquor jugs; it isn't hard, we've done it.",
    "How vexingly quick daft zebras jump!  Two spaces, 3.14 and\ttabs.",
    "sphinx of black quartz, judge my vow: the there then than that this those",
] * 20
SAMPLES = [
    "The quick brown fox",
    " leading space and  two",
    "12345 jumps in 2024, isn't it?",
    "日本語 and 🎉 and ünïcödé",
    "lines\n\nand\ttabs ",
    "x",
]
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\u2581"), max_size=40
)


def train(kind: str, **options: Any) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type=kind,
        vocab_size=360,
        hard_vocab_limit=False,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<|user|>"],
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def pair(request: pytest.FixtureRequest) -> tuple[Tokenizer, Any]:
    model = train(request.param)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model)
    return Tokenizer.from_str(from_sentencepiece(model, "tokenizer.model").decode()), theirs


@pytest.mark.parametrize("text", SAMPLES)
def test_sentencepiece_models_split_as_sentencepiece(text: str, pair: Any) -> None:
    ours, theirs = pair
    ids = ours.encode(text).ids
    assert ids == theirs.encode(text)
    assert ours.decode(ids) == theirs.decode(ids)


@given(text=TEXTS)
def test_any_text_splits_as_by_sentencepiece(text: str, pair: Any) -> None:
    ours, theirs = pair
    if text:  # sentencepiece has no prefix for no text
        assert ours.encode(text).ids == theirs.encode(text)


def test_a_model_without_prefix_or_of_collapsed_spaces_keeps_to_it() -> None:
    model = train("bpe", add_dummy_prefix=False)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model)
    ours = Tokenizer.from_str(from_sentencepiece(model, "").decode())
    for text in SAMPLES:
        assert ours.encode(text).ids == theirs.encode(text)
        assert ours.decode(ours.encode(text).ids) == text


def test_special_pieces_are_found_in_text(pair: Any) -> None:
    ours, theirs = pair
    assert "<|user|>" in ours.encode("a<|user|>b").tokens
    assert ours.token_to_id("</s>") == theirs.eos_id()
    assert "</s>" in ours.encode("end</s>").tokens


def _ranks() -> dict[bytes, int]:
    """A small byte-level vocabulary in order of merging, as tiktoken has them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = byte_alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    value = {char: byte for byte, char in enumerate(alphabet)}
    tokens = sorted(tokenizer.get_vocab(), key=lambda token: tokenizer.get_vocab()[token])
    single = [bytes([byte]) for byte in range(256)]
    merged = [bytes(value[char] for char in token) for token in tokens if len(token) > 1]
    return {token: rank for rank, token in enumerate([*single, *merged])}


RANKS = _ranks()
SPECIAL = ["<|begin|>", "<|end|>"]
TIKTOKEN = b"".join(base64.b64encode(t) + f" {r}\n".encode() for t, r in RANKS.items())


@given(TEXTS | st.sampled_from(SAMPLES))
def test_tiktoken_files_split_as_tiktoken(text: str) -> None:
    ours = Tokenizer.from_str(from_tiktoken(TIKTOKEN, SPECIAL, LLAMA3, "").decode())
    theirs = tiktoken.Encoding(
        "test",
        pat_str=LLAMA3,
        mergeable_ranks=RANKS,
        special_tokens={token: len(RANKS) + i for i, token in enumerate(SPECIAL)},
    )
    text = f"<|begin|>{text}<|end|>"
    ids = ours.encode(text).ids
    assert ids == theirs.encode(text, allowed_special="all")
    assert ours.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize(
    "content", [b"YQ==\n", b"YQ== 0 0\n", b"!!! 0\n", b"YQ== x\n", b"YQ== 7\n"]
)
def test_tiktoken_files_with_a_fault_are_refused(content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"expected .* but got .*; download it again"):
        from_tiktoken(content, SPECIAL, LLAMA3, "tokenizer.model")


WORDS = {
    "gpt-2": ["don", "'t", " 1234", ",", " Ümlaut", "\n", "\n", "x"],
    "smollm": ["don", "'t", " ", "1", "2", "3", "4", ",", " Ümlaut", "\n", "\n", "x"],
    "llama-bpe": ["don", "'t", " ", "123", "4", ",", " Ümlaut", "\n\n", "x"],
    "qwen2": ["don", "'t", " ", "1", "2", "3", "4", ",", " Ümlaut", "\n\n", "x"],
    "tekken": ["don", "'t", " ", "1", "2", "3", "4", ",", " Ümlaut", "\n\n", "x"],
    "gpt-4o": ["don't", " ", "123", "4", ",", " Ümlaut", "\n\n", "x"],
}


@pytest.mark.parametrize("pre", WORDS)
def test_each_kind_of_gguf_cuts_words_in_its_way(pre: str) -> None:
    alphabet = byte_alphabet()
    text = byte_level_json(alphabet, [NORMAL] * 256, [], pre, "")
    splitter = Tokenizer.from_str(text.decode()).pre_tokenizer
    value = {char: byte for byte, char in enumerate(alphabet)}
    words = [word for word, _ in splitter.pre_tokenize_str("don't 1234, Ümlaut\n\nx")]
    assert [bytes(value[c] for c in word).decode() for word in words] == WORDS[pre]


@pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
@given(text=st.text(max_size=30))
def test_every_kind_of_gguf_gives_text_back(pre: str, text: str) -> None:
    if pre in ("qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"):  # these compose accents
        text = unicodedata.normalize("NFC", text)
    json_text = byte_level_json(byte_alphabet(), [NORMAL] * 256, [], pre, "")
    tokenizer = Tokenizer.from_str(json_text.decode())
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_an_unknown_kind_of_gguf_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"pre-tokenizers .*llama-bpe.* but got 'viking'"):
        byte_level_json([], [], [], "viking", "model.gguf")


def test_gguf_sentencepiece_is_the_same_as_its_model_file(tmp_path: Path) -> None:
    model = train("bpe")
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model)
    size = theirs.get_piece_size()

    def kind(i: int) -> int:
        if theirs.is_unknown(i):
            return UNKNOWN
        if theirs.is_control(i):
            return CONTROL
        if theirs.is_byte(i):
            return BYTE
        return USER_DEFINED if theirs.id_to_piece(i) == "<|user|>" else NORMAL

    def vocabulary(writer: Any) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list([theirs.id_to_piece(i) for i in range(size)])
        writer.add_token_scores([theirs.get_score(i) for i in range(size)])
        writer.add_token_types([kind(i) for i in range(size)])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_chat_template("{{ messages }}")

    path = write_gguf(tmp_path / "m.gguf", reference("Llama", {}), "Llama", extra=vocabulary)
    spec = open_checkpoint(path).tokenizer
    assert spec is not None
    assert json.loads(spec.tokenizer_json) == json.loads(from_sentencepiece(model, ""))
    assert (spec.bos_id, spec.eos_id, spec.stop_ids, spec.add_bos) == (1, 2, (2,), True)
    assert spec.chat_template == "{{ messages }}"


def test_meta_folders_bring_either_tokenizer(tmp_path: Path) -> None:
    model = reference("Llama", {})
    old = write_meta(tmp_path / "llama-2-7b-chat", model)
    (old / "tokenizer.model").write_bytes(train("bpe"))
    spec = open_checkpoint(old).tokenizer
    assert spec is not None
    assert (spec.bos_id, spec.stop_ids, spec.add_bos) == (1, (2,), True)
    assert "[INST]" in (spec.chat_template or "")

    new = write_meta(tmp_path / "Llama3.2-1B-Instruct", model, use_scaled_rope=True)
    (new / "tokenizer.model").write_bytes(TIKTOKEN)
    spec = open_checkpoint(new).tokenizer
    assert spec is not None
    tokenizer = Tokenizer.from_str(spec.tokenizer_json.decode())
    base = len(RANKS)
    assert tokenizer.get_vocab_size() == base + 256
    for token, number in {  # Meta's numbers, less 128000
        "<|begin_of_text|>": 0,
        "<|end_of_text|>": 1,
        "<|finetune_right_pad_id|>": 4,
        "<|start_header_id|>": 6,
        "<|eom_id|>": 8,
        "<|eot_id|>": 9,
        "<|python_tag|>": 10,
        "<|reserved_special_token_247|>": 255,
    }.items():
        assert tokenizer.token_to_id(token) == base + number
    assert spec.bos_id == base
    assert set(spec.stop_ids) == {base + 9, base + 1, base + 8}
    assert "<|start_header_id|>" in (spec.chat_template or "")

    plain = write_meta(tmp_path / "Llama3-8B", model, rope_theta=500000.0)
    (plain / "tokenizer.model").write_bytes(TIKTOKEN)
    spec = open_checkpoint(plain).tokenizer
    assert spec is not None
    assert spec.chat_template is None
    assert Tokenizer.from_str(spec.tokenizer_json.decode()).token_to_id("<|eot_id|>") == base + 9


def test_hugging_face_folders_bring_either_tokenizer(tmp_path: Path) -> None:
    folder = saved(reference("Llama", {}), tmp_path)
    assert open_checkpoint(folder).tokenizer is None
    model = train("bpe")
    (folder / "tokenizer.model").write_bytes(model)
    settings = {
        "bos_token": "<s>",
        "eos_token": {"content": "</s>", "lstrip": False},
        "add_bos_token": True,
        "chat_template": [
            {"name": "tool_use", "template": "no"},
            {"name": "default", "template": "yes"},
        ],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [2, 7], "temperature": 0.6, "top_p": 0.9, "do_sample": True})
    )
    (folder / "README.md").write_text("---\ntags:\n- a\nlicense: apache-2.0\n---\n# Model\n")
    checkpoint = open_checkpoint(folder)
    spec = checkpoint.tokenizer
    assert spec is not None
    assert (spec.bos_id, spec.eos_id, spec.add_bos) == (1, 2, True)
    assert spec.stop_ids == (2, 7)
    assert spec.chat_template == "yes"
    assert spec.special_tokens == {"bos_token": "<s>", "eos_token": "</s>"}
    assert checkpoint.generation == {"temperature": 0.6, "top_p": 0.9, "do_sample": True}
    assert checkpoint.provenance.licence == "apache-2.0"

    (folder / "tokenizer.json").write_bytes(from_sentencepiece(model, ""))
    (folder / "chat_template.jinja").write_text("from its own file")
    spec_too = open_checkpoint(folder).tokenizer
    assert spec_too is not None
    assert spec_too.tokenizer_json == spec.tokenizer_json
    assert spec_too.chat_template == "from its own file"


@pytest.mark.parametrize("sequence", [False, True])
def test_the_post_processor_says_whether_text_starts_with_a_token(
    sequence: bool, tmp_path: Path
) -> None:
    folder = saved(reference("Llama", {}), tmp_path)
    values = json.loads(from_sentencepiece(train("bpe"), ""))
    step: dict[str, Any] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
    }
    values["post_processor"] = {"processors": [{}, step]} if sequence else step
    (folder / "tokenizer.json").write_text(json.dumps(values))
    spec = open_checkpoint(folder).tokenizer
    assert spec is not None
    assert spec.add_bos
    step["single"].pop(0)
    (folder / "tokenizer.json").write_text(json.dumps(values))
    spec = open_checkpoint(folder).tokenizer
    assert spec is not None
    assert not spec.add_bos
