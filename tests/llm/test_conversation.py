"""Conversations: rendered, cut to the context in whole turns, saved and taken up again."""

from __future__ import annotations

from pathlib import Path

import pytest

from penlight import LLM
from penlight.errors import RuntimeFailure

from .conftest import build

SYSTEM = {"role": "system", "content": "w1 w2 w3"}


def turn(number: int, length: int = 6) -> list[dict[str, str]]:
    text = " ".join(f"w{(number + n) % 26}" for n in range(length))
    return [{"role": "user", "content": text}, {"role": "assistant", "content": text}]


@pytest.fixture
def llm(toy_path: Path) -> LLM:
    return LLM(toy_path, threads=1)


def test_chat_completes_the_rendered_template(llm: LLM) -> None:
    messages = [SYSTEM, {"role": "user", "content": "w5"}]
    answer = llm.chat(messages, max_new_tokens=5, ignore_eos=True)
    tokens = llm.tokenize("s w1 w2 w3 u w5 a ", bos=False)
    assert llm.generate(tokens, max_new_tokens=5, ignore_eos=True) == answer


def test_a_conversation_that_does_not_fit_is_an_error(llm: LLM) -> None:
    messages = [SYSTEM, *(m for n in range(6) for m in turn(n)), {"role": "user", "content": "w5"}]
    with pytest.raises(RuntimeFailure, match="overflow='drop_oldest'"):
        llm.chat(messages)


def test_oldest_turns_are_dropped_whole_if_asked(llm: LLM) -> None:
    history = [m for n in range(6) for m in turn(n)]
    last = {"role": "user", "content": "w5"}
    room = 4
    answer = llm.chat(
        [SYSTEM, *history, last], overflow="drop_oldest", max_new_tokens=room, ignore_eos=True
    )
    fitting = next(
        kept
        for kept in ([SYSTEM, *history[2 * n :], last] for n in range(7))
        if len(llm.tokenize(llm.prompt(kept), bos=False)) + room <= llm.context_length
    )
    assert fitting[0] is SYSTEM
    assert answer == llm.chat(fitting, max_new_tokens=room, ignore_eos=True)
    assert answer.stop == "length"


def test_a_single_turn_that_does_not_fit_is_an_error_even_so(llm: LLM) -> None:
    with pytest.raises(RuntimeFailure, match="shorten the last message"):
        llm.chat([turn(0, 100)[0]], overflow="drop_oldest")


def test_without_a_template_the_text_is_completed_and_that_is_said(
    tmp_path: Path, toy_path: Path
) -> None:
    with LLM(toy_path, threads=1) as whole:
        data = {
            key: bytes(value)
            for key, value in whole._program.named_data.items()
            if key not in ("penlight.chat_template", "penlight.parameter_names")
        }
    path = build(tmp_path / "plain.pte", named=data)
    with LLM(path, threads=1) as llm:
        with pytest.warns(UserWarning, match="no chat template"):
            answer = llm.chat([{"role": "user", "content": "w5 w6"}], max_new_tokens=3)
        assert answer == llm.generate("w5 w6", max_new_tokens=3)


@pytest.mark.parametrize("message", [{}, {"role": "user"}, {"role": 3, "content": "x"}])
def test_messages_of_another_form_are_refused(llm: LLM, message: dict[str, object]) -> None:
    with pytest.raises(RuntimeFailure, match="expected a role and a content"):
        llm.chat([message])


def test_a_session_goes_on_where_it_was_saved(llm: LLM, toy_path: Path, tmp_path: Path) -> None:
    messages = [SYSTEM, {"role": "user", "content": "w5 w6 w7"}]
    llm.chat(messages, max_new_tokens=4, ignore_eos=True)
    used = llm.context_used
    llm.save_session(tmp_path / "chat.session")
    expected = llm.chat(messages, max_new_tokens=9, ignore_eos=True)
    with LLM(toy_path, threads=1) as other:
        other.load_session(tmp_path / "chat.session")
        assert other.context_used == used
        answer = other.chat(messages, max_new_tokens=9, ignore_eos=True)
        assert answer == expected
        # All but the prompt's last token were in the session.
        assert answer.statistics.reused_tokens == answer.statistics.prompt_tokens - 1
    assert [path.name for path in tmp_path.iterdir()] == ["chat.session"]


def test_a_session_of_another_model_is_refused(llm: LLM, other_path: Path, tmp_path: Path) -> None:
    llm.generate([3, 4, 5], max_new_tokens=1)
    llm.save_session(tmp_path / "chat.session")
    with LLM(other_path, threads=1) as other:
        other.generate([7, 8], max_new_tokens=1)
        used = other.context_used
        with pytest.raises(RuntimeFailure, match="it belongs to another"):
            other.load_session(tmp_path / "chat.session")
        assert other.context_used == used


def test_a_damaged_session_is_refused_and_changes_nothing(llm: LLM, tmp_path: Path) -> None:
    llm.generate([3, 4, 5, 6, 7], max_new_tokens=2)
    path = tmp_path / "chat.session"
    llm.save_session(path)
    whole = path.read_bytes()
    logits = llm.logits([9])
    cases = [whole[:n] for n in (0, 5, 31, 40, len(whole) - 1)] + [whole + b"x"]
    for place in range(0, len(whole), 7):
        cases.append(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
    used = llm.context_used
    for case in cases:
        path.write_bytes(case)
        with pytest.raises(RuntimeFailure, match=r"^\[.*chat.session\] expected a session"):
            llm.load_session(path)
        assert llm.context_used == used
    path.write_bytes(whole)
    llm.load_session(path)
    assert (llm.logits([9]) == logits).all()


def test_a_session_that_cannot_be_written_or_found_is_an_error(llm: LLM, tmp_path: Path) -> None:
    llm.generate([3, 4, 5], max_new_tokens=1)
    with pytest.raises(RuntimeFailure, match="could not"):
        llm.save_session(tmp_path / "no" / "folder")
    with pytest.raises(RuntimeFailure, match="cannot be opened"):
        llm.load_session(tmp_path / "nothing")
