"""A cache of bytes: the same program otherwise, and a conversation that goes on from a session."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import Running, chat_folder, eager
from references import SIZES, reference

import penlight
from penlight.errors import RuntimeFailure
from penlight.llm.export import export_llm
from penlight.program.read import read_program
from penlight.program.schema import Tensor

TOKENS = 40
# Of logits: a key or value that is rounded the other way changes by 1/127 of its row's largest.
TOLERANCE = 5e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_folder(reference("Llama", {}), tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    """The program with an int8 cache and float weights, beside one with a float16 cache."""
    for cache in ("int8", "float16"):
        output = folder.parent / f"{cache}.pte"
        report = export_llm(folder, output, quant="f32", cache=cache, prefill=TOKENS)
        assert report.card["cache"] == cache
    return folder.parent / "int8.pte"


def test_prompts_and_single_tokens_give_the_eager_logits(path: Path, folder: Path) -> None:
    ours, program = eager(folder, cache_dtype=torch.int8), Running(path)
    tokens = torch.randint(3, SIZES["vocab_size"], (1, TOKENS), generator=torch.manual_seed(0))
    whole = program(tokens, torch.tensor([0]))
    for first, last in ((0, 20), (20, 29), *((i, i + 1) for i in range(29, TOKENS))):
        part, start = tokens[:, first:last], torch.tensor([first])
        logits = program(part, start)
        torch.testing.assert_close(logits, ours(part, start), rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(logits, whole, rtol=0, atol=TOLERANCE)


def test_the_state_is_bytes_and_a_scale_for_each_head(path: Path) -> None:
    config = reference("Llama", {}).config
    row = config.num_key_value_heads * (config.head_dim + 4)
    with read_program(path) as file:
        plan = next(p for p in file.program.execution_plan if p.name == "forward")
    caches = [
        value.val
        for value in plan.values
        if isinstance(value.val, Tensor) and value.val.sizes[-1:] == [config.head_dim + 4]
    ]
    assert {t.scalar_type.name for t in caches} == {"CHAR"}
    places = {(t.allocation_info.memory_id, t.allocation_info.memory_offset_low) for t in caches}
    assert len(places) == 2 * config.num_hidden_layers
    (state,) = {memory for memory, _ in places}
    used = config.max_position_embeddings * row * len(places)
    assert used <= plan.non_const_buffer_sizes[state] < used + 64 * len(places)


def test_a_session_goes_on_where_it_was_saved(path: Path, tmp_path: Path) -> None:
    messages, session = [{"role": "user", "content": "w5 w6 w7"}], tmp_path / "chat.session"
    settings = {"temperature": 0.0, "ignore_eos": True}
    with penlight.LLM(path, threads=1) as llm:
        llm.chat(messages, max_new_tokens=4, **settings)
        used = llm.context_used
        llm.save_session(session)
        expected = llm.chat(messages, max_new_tokens=9, **settings)
    with penlight.LLM(path, threads=1) as other:
        other.load_session(session)
        assert other.context_used == used
        assert other.chat(messages, max_new_tokens=9, **settings) == expected
    config = reference("Llama", {}).config
    row = 2 * config.num_key_value_heads * (config.head_dim + 4)  # of a layer: keys and values
    filled = used * config.num_hidden_layers * row
    assert filled < session.stat().st_size < filled + 1000  # not what the context has room for
    half = path.with_name("float16.pte")
    with penlight.LLM(half) as another, pytest.raises(RuntimeFailure, match="session"):
        another.load_session(session)
