"""What the verbs share in front of a terminal: errors, progress, and how things are spelled."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["output", "print_error", "progress", "spell_bytes", "spell_shape", "write_whole"]


def output() -> Console:
    """Standard output; colour and width only where it is a terminal."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # the BrokenPipeError that is being handled: for the caller

    return Plain(highlight=False, emoji=False)


def print_error(message: str) -> None:
    """One line on standard error, however long."""
    line = " ".join(message.split())
    try:
        if sys.stderr.isatty():
            sys.stderr.write(f"\x1b[1;31merror:\x1b[0m {line}\n")
        else:
            sys.stderr.write(f"error: {line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody listens
        pass


def spell_bytes(count: int) -> str:
    """1536 -> "1.5 KiB"."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def spell_shape(sizes: Sequence[int]) -> str:
    """[1, 3, 224] -> "1x3x224"; a tensor without dimensions is "scalar"."""
    return "x".join(map(str, sizes)) if sizes else "scalar"


@contextmanager
def progress(first: str) -> Iterator[Callable[[str, int, int], None]]:
    """A line on standard error that says what goes on; silent where that is no terminal.

    Gives ``report(step, done, total)``: with a total of 0 the step's end is not known.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TimeElapsedColumn(),
    )
    console = Console(file=sys.stderr)  # this one, also while others write elsewhere
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(first, total=None)

        def report(step: str, done: int = 0, total: int = 0) -> None:
            bar.update(task, description=step, completed=done, total=total or None)

        yield report


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it: it is there whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are for their owner only
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
