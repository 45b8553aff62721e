"""The real SmolLM2-135M-Instruct, exported as it is, chats."""

from __future__ import annotations

from pathlib import Path

import pytest

import penlight


def test_it_answers_and_ends_its_answer(smollm2: Path) -> None:
    with penlight.LLM(smollm2, context=256) as llm:
        answer = llm.chat(
            [{"role": "user", "content": "Name the capital of Japan."}],
            temperature=0,
            max_new_tokens=64,
        )
    assert "Tokyo" in answer
    assert answer.stop == "end"
    assert "<|im_end|>" not in answer


EDIT = (
    "Correct the spelling of this text and answer with the whole text:\n\nThe goverment of the "
    "country decided to build a new library in the centre of the city. The building will have five "
    "floors and a large garden where peple can read."
)


@pytest.mark.parametrize(
    "settings", [{"temperature": 0}, {"temperature": 0.8, "seed": 3, "top_p": 0.9}]
)
def test_drafts_change_nothing_of_its_answer(smollm2: Path, settings: dict[str, float]) -> None:
    answers = []
    for threads, mode in ((1, "off"), (2, "auto"), (2, "always")):
        with penlight.LLM(smollm2, context=256, threads=threads) as llm:
            answers.append(
                llm.chat(
                    [{"role": "user", "content": EDIT}],
                    max_new_tokens=50,
                    speculation=mode,
                    **settings,
                )
            )
    assert answers[0].tokens == answers[1].tokens == answers[2].tokens
    assert answers[2].statistics.accepted_tokens > 10


def test_its_card_names_the_file_it_was_made_from(smollm2: Path, smollm2_gguf: Path) -> None:
    with penlight.LLM(smollm2, context=256) as llm:
        card = llm.card
    assert card["source"] == {
        smollm2_gguf.name: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    }
    assert card["parameters"] == 134_515_008
    assert (card["scheme"], card["licence"]) == ("keep", "apache-2.0")
    assert card["formats"] == ["q4g32m.a16", "q8g32.a16"]


def test_it_is_hardly_larger_than_its_checkpoint(smollm2: Path, smollm2_gguf: Path) -> None:
    assert smollm2.stat().st_size < 1.01 * smollm2_gguf.stat().st_size
