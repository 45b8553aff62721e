"""A conversation in the terminal: questions, streamed answers, commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from penlight.cli._conversation import Conversation
from penlight.cli._printers import printer_for
from penlight.cli._terminal import describe, output, printable
from penlight.errors import PenlightError, RuntimeFailure

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from rich.console import Console

__all__ = ["ask", "check_text", "talk"]

HELP = """\
/reset          forget the conversation
/system TEXT    tell the model TEXT first, and begin anew; without TEXT, tell it nothing
/save NAME      write the conversation to NAME.chat.json and what the model remembers of it
                to NAME.session
/load NAME      take both up again
/stats          what the last answer cost
/help           this list
/exit           leave, as Ctrl-D does

Enter sends, Alt+Enter begins a new line, the arrow keys bring back what you wrote before,
Ctrl-C stops an answer."""


def ask(conversation: Conversation, question: str, *, plain: bool, stats: bool) -> None:
    """One question, one answer on standard output."""
    if conversation.completes and not conversation.raw:
        print("this model has no chat template: the text is completed", file=sys.stderr)
    if not _answer(conversation, question, plain=plain):
        raise KeyboardInterrupt
    if stats:
        _print_statistics(conversation)


def talk(conversation: Conversation, *, plain: bool, stats: bool) -> None:
    """Questions and answers until the user leaves."""
    console = output()
    llm = conversation.llm
    name = printable(str(llm.card.get("name", Path(llm.path).name)))
    console.print(
        f"{name}, {llm.context_length:,} tokens of context. /help lists the commands.",
        markup=False,
    )
    if conversation.completes and not conversation.raw:
        console.print("This model has no chat template: your text is completed as it is.")
    for text in _inputs(console):
        try:
            check_text(text, "input")
            if _is_command(text):
                if not _command(conversation, text, console):
                    return
                continue
            if not _answer(conversation, text, plain=plain):
                console.print("(stopped)", style="dim")
            elif stats:
                _print_statistics(conversation)
        except KeyboardInterrupt:
            console.print("(stopped)", style="dim")
        except BrokenPipeError:
            raise
        except (PenlightError, OSError) as error:
            message = describe(error) if isinstance(error, OSError) else str(error)
            console.print(f"error: {printable(message)}", style="red", markup=False, soft_wrap=True)


def check_text(text: str, where: str) -> None:
    """Raises RuntimeFailure if the terminal or the shell gave bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RuntimeFailure(
            f"[{where}] expected UTF-8 text but character {error.start} is none; "
            "check the encoding of the terminal or the file it came from"
        ) from None


def _inputs(console: Console) -> Iterator[str]:
    """What the user types, until Ctrl-D."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(
        history=_history(), key_bindings=keys, multiline=True, prompt_continuation="  "
    )
    while True:
        try:
            text = session.prompt("> ").strip()
        except KeyboardInterrupt:
            console.print("(/exit or Ctrl-D leaves)", style="dim")
            continue
        except EOFError:
            return
        if text:
            yield text


def _history() -> History:
    """What was typed before, also in earlier runs if the home folder can be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class ValidHistory(FileHistory):
        def store_string(self, string: str) -> None:
            super().store_string(string.encode(errors="replace").decode())

    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    file = Path(base) / "penlight" / "chat_history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Questions are nobody else's business.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return ValidHistory(str(file))


def _is_command(text: str) -> bool:
    """A word after a slash; a path such as /etc/hosts is none."""
    first = text.split(maxsplit=1)[0]
    return first.startswith("/") and (first == "/" or first[1:].isalpha())


def _command(conversation: Conversation, text: str, console: Console) -> bool:
    """Carry out one command; False to leave."""
    word, *following = text.split(maxsplit=1)
    rest = following[0] if following else ""
    match word:
        case "/exit" | "/quit":
            return False
        case "/help":
            console.print(HELP, markup=False)
        case "/reset":
            conversation.begin(conversation.system)
            console.print("The conversation is forgotten.")
        case "/system":
            conversation.begin(rest or None)
            told = "with this system message" if rest else "without a system message"
            console.print(f"A new conversation, {told}.")
        case "/save" | "/load":
            if not rest:
                raise RuntimeFailure(f"[{word}] expected a name but got none; write {word} NAME")
            saves = word == "/save"
            path = conversation.save(rest) if saves else conversation.load(rest)
            done = "Saved to" if saves else "Taken up from"
            console.print(f"{done} {path}.", markup=False, soft_wrap=True)
        case "/stats":
            _print_statistics(conversation)
        case _:
            raise RuntimeFailure(
                f"[input] expected a command but got {word}; /help lists the commands"
            )
    return True


def _answer(conversation: Conversation, text: str, *, plain: bool) -> bool:
    """Print one answer as it comes; False if Ctrl-C stopped it."""
    printer = printer_for(output(), plain=plain)
    with printer, closing(conversation.stream(text, printer.wait)) as stream:
        try:
            for piece in stream:
                printer.add(piece)
        except KeyboardInterrupt:
            stream.close()
            return False
        finally:
            conversation.finish(stream)
    if stream.answer.stop == "context full":
        print("(the context is full)", file=sys.stderr)
    return True


def _print_statistics(conversation: Conversation) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True, highlight=False)
    answer = conversation.last
    if answer is None:
        console.print("There is no answer yet.")
        return
    s = answer.statistics
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("prompt", f"{s.prompt_tokens} tokens, {s.reused_tokens} of them remembered")
    table.add_row("prefill", f"{s.prefill_speed:.0f} tokens/s")
    table.add_row("first token", f"after {1000 * s.first_token_seconds:.0f} ms")
    table.add_row("answer", f"{s.generated_tokens} tokens, ended by: {answer.stop}")
    table.add_row("decode", f"{s.decode_speed:.1f} tokens/s")
    if s.drafted_tokens:
        table.add_row("guesses", f"{s.accepted_tokens} of {s.drafted_tokens} tokens came true")
    table.add_row("context", f"{s.context_used} of {s.context_length} tokens")
    table.add_row("load", f"{1000 * s.load_seconds:.0f} ms")
    console.print(table)
