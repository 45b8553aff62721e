"""`penlight chat`: in a terminal, in a pipe, and with all that can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Finished, Penlight, one_error_line
from tests.cli.terminal import ALT_ENTER, CTRL_C, CTRL_D, UP, Terminal

ANSWER = "w7 u w5 w22 w11"  # what the toy says to nearly everything


def pipe(*arguments: object, given: bytes = b"", cwd: Path | None = None) -> Finished:
    """Run `penlight chat` with bytes on standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "penlight", "chat", *map(str, arguments)],
        input=given,
        capture_output=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def chat(toy_path: Path, tmp_path: Path) -> Iterator[Terminal]:
    with Terminal("chat", toy_path, "-n", 5, home=tmp_path, cwd=tmp_path) as terminal:
        terminal.expect("/help lists the commands.")
        terminal.expect(">")
        yield terminal


def test_a_question_is_answered_and_ctrl_d_leaves(chat: Terminal) -> None:
    chat.send("w1 w2")
    chat.expect(ANSWER)
    chat.expect(">")
    chat.type(CTRL_D)
    assert chat.finish() == 0


def test_alt_enter_begins_a_new_line_of_the_same_message(chat: Terminal, tmp_path: Path) -> None:
    chat.type("w1" + ALT_ENTER)
    chat.send("w2")
    chat.expect("w22 w11 u")
    chat.send("/save talk")
    chat.expect("Saved to talk.chat.json.")
    saved = json.loads((tmp_path / "talk.chat.json").read_text())
    assert saved["messages"][0] == {"role": "user", "content": "w1\nw2"}


def test_ctrl_c_stops_the_answer_and_not_the_program(endless_path: Path, tmp_path: Path) -> None:
    with Terminal("chat", endless_path, home=tmp_path, cwd=tmp_path) as chat:
        chat.expect(">")
        chat.send("w1 w2")
        chat.expect(ANSWER)
        chat.type(CTRL_C)
        chat.expect("(stopped)")
        chat.expect(">")
        chat.send("/stats")
        chat.expect("ended by: cancelled")
        chat.expect("load")
        chat.expect(">")
        chat.type("forget me" + CTRL_C)
        chat.expect("Ctrl-D leaves")
        chat.expect(">")
        chat.send("w3")  # and it still answers
        chat.expect("w15")
        chat.type(CTRL_C)
        chat.expect("(stopped)")
        chat.send("/exit")
        assert chat.finish() == 0


def test_a_saved_conversation_is_taken_up_in_another_run(
    chat: Terminal, toy_path: Path, tmp_path: Path
) -> None:
    chat.send("w1 w2")
    chat.expect(ANSWER)
    chat.send("/save talk")
    chat.expect("Saved to")
    with Terminal("chat", toy_path, "-n", 5, home=tmp_path, cwd=tmp_path) as later:
        later.expect(">")
        later.send("/load talk")
        later.expect("Taken up from talk.chat.json.")
        later.send("w3")
        later.expect("w11")
        later.send("/stats")
        # Begin, role and message, role and answer were all computed in the first run.
        remembered = later.expect(" of them remembered").rsplit(" ", 1)[-1]
        assert int(remembered) >= 9


def test_what_another_model_remembers_is_refused(
    chat: Terminal, other_path: Path, tmp_path: Path
) -> None:
    chat.send("w1 w2")
    chat.expect(ANSWER)
    chat.send("/save talk")
    chat.expect("Saved to")
    with Terminal("chat", other_path, home=tmp_path, cwd=tmp_path) as later:
        later.expect(">")
        later.send("/load talk")
        later.expect("error: [")
        later.expect(">")


def test_a_system_message_stays_through_a_reset_and_can_be_taken_away(
    chat: Terminal, tmp_path: Path
) -> None:
    def messages(name: str) -> list[str]:
        chat.send(f"/save {name}")
        chat.expect(f"Saved to {name}.chat.json.")
        saved = json.loads((tmp_path / f"{name}.chat.json").read_text())
        return [f"{m['role']}: {m['content']}" for m in saved["messages"]]

    chat.send("/system be w9")
    chat.expect("with this system message")
    chat.send("w1")
    chat.expect("w11")
    assert messages("one")[:2] == ["system: be w9", "user: w1"]
    chat.send("/reset")
    chat.expect("forgotten")
    assert messages("two") == ["system: be w9"]
    chat.send("/system")
    chat.expect("without a system message")
    assert messages("three") == []


def test_commands_say_what_is_wrong_and_the_program_goes_on(chat: Terminal, tmp_path: Path) -> None:
    (tmp_path / "bad.chat.json").write_text('{"messages": [{"role": "user"}]}')
    for line, says in [
        ("/stats", "There is no answer yet."),
        ("/nonsense", "expected a command but got /nonsense"),
        ("/save", "expected a name but got none"),
        ("/save no/such/folder/x", "error: "),
        ("/load nothing", "no such file or directory: nothing.chat.json"),
        ("/load bad", "expected a conversation but got other text"),
    ]:
        chat.send(line)
        chat.expect(says)
        chat.expect(">")
    chat.send("/etc/hosts is w1")  # a path is no command
    chat.expect("w11")


def test_bytes_that_are_no_text_are_refused_and_the_program_goes_on(chat: Terminal) -> None:
    chat.type(b"w1 \xff\r")
    chat.expect("expected UTF-8 text")
    chat.send("w1")
    chat.expect("w11")


def test_what_was_typed_comes_back_in_a_later_run(
    chat: Terminal, toy_path: Path, tmp_path: Path
) -> None:
    chat.send("w25 w24")
    chat.expect("w15")
    chat.send("/exit")
    assert chat.finish() == 0
    with Terminal("chat", toy_path, "-n", 5, home=tmp_path, cwd=tmp_path) as later:
        later.expect(">")
        time.sleep(0.5)  # the file is read while the prompt is shown already
        later.type(UP)
        later.expect("/exit")
        later.type(UP)
        later.expect("w25 w24")
    history = tmp_path / "penlight" / "chat_history"
    assert history.stat().st_mode & 0o077 == 0, "what people ask is theirs alone"


def test_a_prompt_is_answered_once_on_standard_output(toy_path: Path) -> None:
    done = pipe(toy_path, "-n", 5, "--prompt", "w1 w2")
    assert (done.code, done.out.strip(), done.err) == (0, ANSWER, "")


def test_a_pipe_is_the_question_or_follows_the_prompt(toy_path: Path) -> None:
    alone = pipe(toy_path, "-n", 5, "--stats", given=b"w1 w2\n")
    both = pipe(toy_path, "-n", 5, "--stats", "--prompt", "w1", given=b"w2\n")
    assert alone.out.strip() == ANSWER
    assert both.code == 0
    # "<s> u w1 w2 a"; with an empty line between, the toy takes both words for one.
    assert "prompt       5 tokens" in alone.err
    assert "prompt       4 tokens" in both.err


def test_raw_text_is_completed_without_the_template(toy_path: Path) -> None:
    done = pipe(toy_path, "-n", 3, "--raw", "--stats", "--prompt", "w1 w2")
    assert "prompt       3 tokens" in done.err


def test_a_model_without_a_template_completes_and_says_so(plain_path: Path) -> None:
    done = pipe(plain_path, "-n", 3, "--prompt", "w1 w2")
    assert done.code == 0
    assert len(done.out.split()) == 3
    assert done.err == "this model has no chat template: the text is completed\n"


def test_a_reader_that_leaves_stops_the_model(endless_path: Path) -> None:
    command = f"'{sys.executable}' -m penlight chat '{endless_path}' --prompt w1 | head -c 5"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        input=b"",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split()[-1] == b"141"
    assert done.stderr == b""


def test_escape_sequences_of_a_model_do_not_reach_the_terminal() -> None:
    from penlight.cli._terminal import printable

    assert printable("a\x1b]0;title\x07\x9b31m\r\tb\n") == "a]0;title31m\tb\n"


@pytest.mark.parametrize(
    ("arguments", "given", "says"),
    [
        (["{toy}"], b"\xff", "expected UTF-8 text on standard input but byte 0 is none"),
        (["{toy}"], b" \n", "expected a question but it is empty"),
        (["{toy}", "--prompt", ""], b"", "expected a question but it is empty"),
        (["{toy}", "--prompt", "\udcff"], b"", "expected UTF-8 text"),
        (["{toy}", "--prompt", "w1 " * 70], b"", "expected at most 64 tokens"),
        (["{toy}", "--prompt", "w1", "--temperature", "nan"], b"", "temperature"),
        (["{toy}", "--prompt", "w1", "--top-p", "-1"], b"", "top_p"),
        (["{toy}", "--prompt", "w1", "--seed", "-1"], b"", "expected seed to be a number from 0"),
        (["{toy}", "--raw", "--system", "x", "--prompt", "w1"], b"", "expected a chat template"),
        (["{bare}", "--prompt", "w1"], b"", "expected a tokenizer in the file"),
        (["{add}", "--prompt", "w1"], b"", "expected a language model"),
        (["missing.pte", "--prompt", "w1"], b"", "[missing.pte] expected a file"),
        (["missing", "--prompt", "w1"], b"", "there is no such file or folder"),
        (["cut.gguf", "--prompt", "w1"], b"", "cut.gguf"),
        (["empty.pte", "--prompt", "w1"], b"", "empty.pte"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_left_behind(
    toy_path: Path,
    bare_path: Path,
    add_pte: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    given: bytes,
    says: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\0\0\0\x01")
    (tmp_path / "empty.pte").write_bytes(b"")
    names = {"toy": toy_path, "bare": bare_path, "add": add_pte}
    filled = [argument.format(**names) for argument in arguments]
    done = pipe(*filled, given=given, cwd=tmp_path)
    assert says in one_error_line(done)
    assert done.out == ""
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_a_checkpoint_is_exported_once_and_then_chats(
    penlight: Penlight, smollm2_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    question = ["--prompt", "What is the capital of France?", "-n", 16]
    first = pipe(smollm2_gguf, *question)
    assert "Paris" in first.out, first.err
    (made,) = tmp_path.rglob("*.pte")
    assert f"to {made}" in first.err
    again = pipe(smollm2_gguf, *question)
    assert (again.out, again.err) == (first.out, "")

    text = tmp_path / "text.txt"
    text.write_text("The sun rises in the east and sets in the west. Water is wet, fire is hot.")
    done = penlight("eval", made, "--text", text, "--against", smollm2_gguf, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["tokens"] >= 18
    assert result["mean_kl"] < 0.02
    assert abs(result["perplexity"] / result["reference_perplexity"] - 1) < 0.02
