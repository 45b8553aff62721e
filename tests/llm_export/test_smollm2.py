"""The real SmolLM2-135M-Instruct, exported as it is, chats."""

from __future__ import annotations

from pathlib import Path

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
