"""Drafts change how fast an answer comes, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penlight import LLM
from penlight.llm import Answer

PROMPT = [1, 7, 9, 11, 20, 8, 8, 30, 4, 19, 6]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7, "seed": 1},
    {"temperature": 1.5, "seed": 2, "top_k": 5},
    {"temperature": 1.0, "seed": 3, "top_p": 0.6},
    {"temperature": 1.0, "seed": 4, "min_p": 0.1, "typical_p": 0.8},
    {"repetition_penalty": 1.3, "penalty_window": 8},
    {"temperature": 0.5, "seed": 5, "frequency_penalty": 0.2, "presence_penalty": 0.1},
    {"frequency_penalty": -1.0},
]


@pytest.fixture(scope="module")
def llm(toy_path: Path) -> Iterator[LLM]:
    with LLM(toy_path, threads=1) as llm:
        yield llm


def parts(answer: Answer) -> tuple[Any, ...]:
    """What an answer is, without what it cost."""
    s = answer.statistics
    counts = (s.generated_tokens, s.reused_tokens, s.context_used)
    return str(answer), answer.tokens, answer.stop, *counts


def both(llm: LLM, prompt: list[int] = PROMPT, **settings: Any) -> Answer:
    """The answer with drafts, which is the one without."""
    settings = {"ignore_eos": True, **settings}
    llm.reset()
    plain = llm.generate(prompt, speculation="off", **settings)
    assert plain.statistics.drafted_tokens == 0
    for mode in ("auto", "always"):
        llm.reset()
        drafted = llm.generate(prompt, speculation=mode, **settings)
        assert parts(drafted) == parts(plain), mode
    return drafted


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_answer_is_the_same_with_and_without(llm: LLM, settings: dict[str, Any]) -> None:
    answer = both(llm, **settings)
    assert answer.stop == "context full"
    assert 0 <= answer.statistics.accepted_tokens <= answer.statistics.drafted_tokens


def test_drafts_come_true_where_a_text_repeats_itself(llm: LLM) -> None:
    answer = both(llm, frequency_penalty=-5.0)
    statistics = answer.statistics
    assert statistics.accepted_tokens > statistics.generated_tokens // 2
    assert statistics.drafted_tokens >= statistics.accepted_tokens


@pytest.mark.parametrize("threads", [2, 3])
def test_a_seed_means_the_same_text_on_any_thread_count(toy_path: Path, threads: int) -> None:
    settings = {"temperature": 0.4, "seed": 5, "ignore_eos": True, "speculation": "always"}
    with LLM(toy_path, threads=1) as one, LLM(toy_path, threads=threads) as many:
        assert one.generate(PROMPT, **settings).tokens == many.generate(PROMPT, **settings).tokens


@pytest.mark.parametrize("length", range(1, 20))
def test_an_answer_ends_after_max_new_tokens(llm: LLM, length: int) -> None:
    answer = both(llm, frequency_penalty=-5.0, max_new_tokens=length)
    assert (len(answer.tokens), answer.stop) == (length, "length")


@pytest.mark.parametrize("context", range(12, 24))
def test_an_answer_ends_where_the_context_does(toy_path: Path, context: int) -> None:
    with LLM(toy_path, context=context, threads=1) as llm:
        answer = both(llm, frequency_penalty=-5.0)
    assert answer.statistics.context_used == context


def test_a_stop_within_a_draft_ends_the_answer_there(llm: LLM) -> None:
    settings = {"frequency_penalty": -0.3, "temperature": 0.4, "seed": 2}
    plain = both(llm, **settings, max_new_tokens=40)
    assert plain.statistics.accepted_tokens > 10
    for token in sorted(set(plain.tokens)):
        by_id = both(llm, **settings, stop_ids=[token])
        assert (by_id.stop, by_id.tokens[-1]) == ("end", token)
    for begin in range(0, len(plain) - 5, 3):
        by_text = both(llm, **settings, stop=[str(plain)[begin : begin + 5]])
        assert by_text.stop == "stop string"


def test_a_conversation_goes_on_after_drafts_that_came_to_nothing(llm: LLM) -> None:
    settings = {"ignore_eos": True, "temperature": 1.0, "seed": 7, "max_new_tokens": 9}
    turns = {}
    for mode in ("off", "always"):
        llm.reset()
        first = llm.generate(PROMPT, speculation=mode, **settings)
        prompt = [*PROMPT, *first.tokens, 5, 9, 8]
        turns[mode] = [parts(llm.generate(prompt, speculation=mode, **settings))]
        turns[mode] += [parts(llm.generate(prompt[:-2], speculation=mode, **settings))]
    assert turns["off"] == turns["always"]


def test_a_session_is_the_same_with_and_without(llm: LLM, toy_path: Path, tmp_path: Path) -> None:
    settings = {"ignore_eos": True, "frequency_penalty": -5.0, "max_new_tokens": 12}
    following = {}
    for mode in ("off", "always"):
        llm.reset()
        answer = llm.generate(PROMPT, speculation=mode, **settings)
        llm.save_session(tmp_path / mode)
        with LLM(toy_path, threads=1) as fresh:
            fresh.load_session(tmp_path / mode)
            prompt = [*PROMPT, *answer.tokens, 3]
            following[mode] = parts(fresh.generate(prompt, speculation=mode, **settings))
    assert (tmp_path / "off").read_bytes() == (tmp_path / "always").read_bytes()
    assert following["off"] == following["always"]


def test_scores_of_many_tokens_at_once_are_those_one_by_one(llm: LLM, bare_path: Path) -> None:
    tokens = [(5 * n + 3) % 32 for n in range(40)]
    with LLM(bare_path, threads=1) as plain:  # has no verify
        expected = plain.score(tokens)
    score = llm.score(tokens)
    assert (score.log_probabilities == expected.log_probabilities).all()
    assert (score.best == expected.best).all()


def test_a_program_without_verify_answers_without_drafts(llm: LLM, bare_path: Path) -> None:
    settings = {"ignore_eos": True, "frequency_penalty": -5.0, "speculation": "always"}
    with LLM(bare_path, threads=1) as bare:
        plain = bare.generate(PROMPT, **settings)
    llm.reset()
    assert plain.statistics.drafted_tokens == 0
    assert plain.tokens == llm.generate(PROMPT, **settings).tokens
