"""A conversation in the terminal: input with history, streamed answers, commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penlight.cli._terminal import output, write_whole
from penlight.errors import PenlightError, RuntimeFailure
from penlight.llm import LLM, Answer, Stream

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Conversation", "ask", "talk"]

HELP = """\
/reset          forget the conversation
/system TEXT    tell the model TEXT first, and begin anew
/save NAME      write the conversation to NAME.json and the model's memory of it to NAME.session
/load NAME      take both up again
/stats          what the last answer cost
/help           this list
/exit           leave, as Ctrl-D does

Enter sends, Alt+Enter begins a new line, Ctrl-C stops an answer."""


class Conversation:
    """The messages so far and how to continue them."""

    def __init__(
        self, llm: LLM, *, system: str | None, sampling: dict[str, Any], raw: bool = False
    ) -> None:
        self.llm, self.sampling, self.raw = llm, sampling, raw
        self.messages: list[dict[str, str]] = []
        self.last: Answer | None = None
        self.begin(system)

    def begin(self, system: str | None) -> None:
        """Start anew, with or without a system message."""
        self.messages = [{"role": "system", "content": system}] if system else []
        self.last = None

    @property
    def system(self) -> str | None:
        """The system message, if there is one."""
        first = self.messages[0] if self.messages else {}
        return first["content"] if first.get("role") == "system" else None

    @property
    def completes(self) -> bool:
        """Whether text is continued as it is, for want or by choice of no template."""
        return self.raw or self.llm.template is None

    def stream(self, text: str, on_prefill: Callable[[int, int], None] | None = None) -> Stream:
        """The answer to one more message, which is added."""
        if self.completes:
            return self.llm.stream_text(text, on_prefill=on_prefill, **self.sampling)
        asked = [*self.messages, {"role": "user", "content": text}]
        stream = self.llm.stream(
            asked, overflow="drop_oldest", on_prefill=on_prefill, **self.sampling
        )
        self.messages = asked
        return stream

    def finish(self, said: str, answer: Answer | None) -> None:
        """Remember what the model said, even if it was stopped in the middle."""
        self.last = answer
        if not self.completes:
            self.messages.append({"role": "assistant", "content": said})

    def save(self, name: str) -> None:
        """Write NAME.json and NAME.session."""
        text = json.dumps({"messages": self.messages}, ensure_ascii=False, indent=1)
        write_whole(Path(f"{name}.json"), text.encode())
        self.llm.save_session(f"{name}.session")

    def load(self, name: str) -> None:
        """Read what `save` wrote; without the session file its text is computed again."""
        path = Path(f"{name}.json")
        try:
            messages = json.loads(path.read_bytes())["messages"]
            fine = all(isinstance(m[key], str) for m in messages for key in ("role", "content"))
        except FileNotFoundError:
            raise
        except (ValueError, TypeError, KeyError, RecursionError):
            fine = False
        if not fine:
            raise RuntimeFailure(
                f"[{path}] expected a conversation but got other text; load what /save wrote"
            )
        if Path(f"{name}.session").exists():
            self.llm.load_session(f"{name}.session")
        self.messages, self.last = messages, None


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
    name = llm.card.get("name", Path(llm.path).name)
    console.print(f"{name}, {llm.context_length} tokens of context. /help lists the commands.")
    if conversation.completes and not conversation.raw:
        console.print("This model has no chat template: your text is completed as it is.")
    for text in _inputs():
        try:
            if text.startswith("/"):
                if not _command(conversation, text, console):
                    return
                continue
            _answer(conversation, text, plain=plain)
            if stats:
                _print_statistics(conversation)
        except (PenlightError, OSError) as error:
            console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)


def _inputs() -> Iterator[str]:
    """What the user types, until Ctrl-D."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    history: History = InMemoryHistory()
    file = Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state"))
    try:
        (file / "penlight").mkdir(parents=True, exist_ok=True)
        history = FileHistory(str(file / "penlight" / "chat_history"))
    except OSError:
        pass  # a read-only home keeps no history
    session: PromptSession[str] = PromptSession(
        history=history, key_bindings=keys, multiline=True, prompt_continuation="  "
    )
    while True:
        try:
            text = session.prompt("> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text:
            yield text


def _command(conversation: Conversation, text: str, console: Console) -> bool:
    """Carry out one command; False to leave."""
    word, _, rest = text.partition(" ")
    rest = rest.strip()
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
            console.print("A new conversation, with the system message." if rest else "No system.")
        case "/save" | "/load":
            if not rest:
                raise RuntimeFailure(f"[{word}] expected a name; write {word} NAME")
            (conversation.save if word == "/save" else conversation.load)(rest)
            done = "Saved to" if word == "/save" else "Taken up from"
            console.print(f"{done} {rest}.json.", markup=False)
        case "/stats":
            _print_statistics(conversation)
        case _:
            raise RuntimeFailure(f"[{word}] is no command; /help lists them")
    return True


def _answer(conversation: Conversation, text: str, *, plain: bool) -> bool:
    """Print one answer as it comes; False if Ctrl-C stopped it."""
    console = output()
    printer = _MarkdownPrinter(console) if console.is_terminal and not plain else _PlainPrinter()
    said: list[str] = []
    stream = conversation.stream(text)
    try:
        with printer:
            for piece in stream:
                said.append(piece)
                printer.add(piece)
    except KeyboardInterrupt:
        stream.close()
        conversation.finish("".join(said), None)
        console.print("(stopped)", style="dim")
        return False
    conversation.finish("".join(said), stream.answer)
    if stream.answer.stop == "context full":
        console.print("(the context is full)", style="dim")
    return True


class _PlainPrinter:
    """Text to standard output as it comes."""

    def __enter__(self) -> _PlainPrinter:
        return self

    def add(self, piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()

    def __exit__(self, *_: object) -> None:
        sys.stdout.write("\n")
        sys.stdout.flush()


class _MarkdownPrinter:
    """Markdown, rendered while it grows: finished blocks stay, the last one is drawn anew."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._text = ""
        self._live = Live(
            console=console, refresh_per_second=12, vertical_overflow="visible", transient=True
        )

    def __enter__(self) -> _MarkdownPrinter:
        self._live.start()
        return self

    def add(self, piece: str) -> None:
        from rich.markdown import Markdown

        self._text += piece
        end = _finished(self._text)
        if end:
            self._live.console.print(Markdown(self._text[:end]))
            self._text = self._text[end:]
        self._live.update(Markdown(self._text))

    def __exit__(self, *_: object) -> None:
        from rich.markdown import Markdown

        self._live.stop()
        if self._text.strip():
            self._console.print(Markdown(self._text))


def _finished(text: str) -> int:
    """Where the last complete block of markdown ends: a blank line outside of a code fence."""
    end, place, fenced = 0, 0, False
    for line in text.splitlines(keepends=True):
        place += len(line)
        if line.lstrip().startswith("```"):
            fenced = not fenced
        # A list goes on after a blank line, and would be numbered anew.
        if not line.strip() and not fenced and line.endswith("\n"):
            end = place
    last = text[end:].lstrip()
    return 0 if last[:1] in "-*+0123456789" and last else end


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
    table.add_row("context", f"{s.context_used} of {s.context_length} tokens")
    table.add_row("load", f"{1000 * s.load_seconds:.0f} ms")
    console.print(table)
