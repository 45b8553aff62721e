"""Printing text that grows: plain, or as markdown that is drawn while it comes."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from penlight.cli._terminal import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment

__all__ = ["Printer", "printer_for"]

_LIVE_LINES = 6  # how many of the last lines may still change
_FRAME = 0.05  # seconds between two drawings, at least


class Printer(Protocol):
    """A context manager; what was added is all printed when it ends."""

    def __enter__(self) -> Printer: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def wait(self, done: int, total: int) -> None:
        """Nothing has come yet: `done` of `total` tokens of the prompt were read."""

    def add(self, piece: str) -> None:
        """Text has come."""


def printer_for(console: Console, *, plain: bool) -> Printer:
    """Markdown on a terminal, text elsewhere and where it was asked for."""
    if console.is_terminal and not console.is_dumb_terminal and not plain:
        return _MarkdownPrinter(console)
    return _PlainPrinter(console.is_terminal)


class _PlainPrinter:
    """Text to standard output as it comes; control characters stay out of a terminal."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal

    def __enter__(self) -> Printer:
        return self

    def wait(self, done: int, total: int) -> None:
        pass

    def add(self, piece: str) -> None:
        sys.stdout.write(printable(piece) if self._terminal else piece)
        sys.stdout.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None or kind is KeyboardInterrupt:
            sys.stdout.write("\n")
            sys.stdout.flush()


class _MarkdownPrinter:
    """Markdown, drawn anew as it grows: the last lines may change, those above are final.

    So no more lines are drawn again than a terminal shows, however long the answer is.
    """

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._text = ""
        self._final = 0  # lines that are printed for good
        self._next = 0.0  # when to draw again
        self._live = Live(
            console=console, auto_refresh=False, transient=True, vertical_overflow="crop"
        )

    def __enter__(self) -> Printer:
        self._live.start()
        return self

    def wait(self, done: int, total: int) -> None:
        from rich.text import Text

        if done < total:
            self._live.update(Text(f"reading {done:,} of {total:,} tokens", "dim"), refresh=True)

    def add(self, piece: str) -> None:
        self._text += printable(piece)
        now = time.monotonic()
        if now >= self._next:
            self._draw(_LIVE_LINES)
            # Drawing takes longer the longer the text is: a tenth of the time goes to it at most.
            spent = time.monotonic() - now
            self._next = now + max(_FRAME, 10 * spent)

    def _draw(self, live: int) -> None:
        """Print all but the last `live` lines for good, and those for now."""
        from rich.markdown import Markdown
        from rich.segment import Segments

        lines = self._console.render_lines(Markdown(self._text), pad=False)
        while lines and not "".join(segment.text for segment in lines[-1]).strip():
            lines.pop()
        keep = max(len(lines) - live, self._final)
        if keep > self._final:
            self._console.print(Segments(_joined(lines[self._final : keep])), end="")
            self._final = keep
        self._live.update(Segments(_joined(lines[keep:])), refresh=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._draw(0)
        finally:
            self._live.stop()


def _joined(lines: list[list[Segment]]) -> list[Segment]:
    """Lines as one run of segments, each line with its end."""
    from rich.segment import Segment

    return [segment for line in lines for segment in [*line, Segment.line()]]
