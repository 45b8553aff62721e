"""What the verbs share in front of a terminal: errors, progress, and how things are spelled."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penlight.errors import ExportError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "check_writable",
    "describe",
    "output",
    "print_error",
    "printable",
    "progress",
    "quiet",
    "spell_bytes",
    "spell_shape",
    "write_whole",
]

# Control characters but tab and line feed: text of others must not steer the terminal.
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


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


def describe(error: OSError) -> str:
    """What went wrong with which file, and what to do."""
    reason = (error.strerror or str(error)).lower()
    path = f" {error.filename}" if error.filename is not None else ""
    advice = {
        errno.ENOENT: "check the path",
        errno.EACCES: "check the permissions of the file and its folder",
        errno.EPERM: "check the permissions of the file and its folder",
        errno.ENOSPC: "free some space or write elsewhere",
        errno.EDQUOT: "free some space or write elsewhere",
        errno.EISDIR: "give a file, not a folder",
        errno.EROFS: "write elsewhere",
    }.get(error.errno or 0)
    return f"{reason}:{path}" + (f"; {advice}" if advice else "") if path else reason


def printable(text: str) -> str:
    """Text without control characters, so that it cannot move the cursor or worse."""
    return text.translate(_CONTROLS)


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
def progress(first: str, *, lines: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A line on standard error that says what goes on.

    Gives ``report(step, done, total)``: with a total of 0 the step's end is not known. Where there
    is no terminal it is silent, or with `lines` writes a line for each step that has ended.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr)  # this one, also while others write elsewhere
    if not console.is_terminal:
        yield _StepLines(first).report if lines else lambda step, done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[share]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(first, total=None, share="")

        def report(step: str, done: int = 0, total: int = 0) -> None:
            share = f"{100 * done // total} %" if total else ""
            bar.update(task, description=step, completed=done, total=total or None, share=share)

        yield report


class _StepLines:
    """Writes one line for each step, with its time, as soon as the next one begins."""

    def __init__(self, first: str) -> None:
        self._step, self._began = first, time.perf_counter()

    def report(self, step: str, done: int, total: int) -> None:
        """Called as often as one likes while a step goes on."""
        if step != self._step:
            self._end(step)
        elif total and done >= total:
            self._end("")

    def _end(self, following: str) -> None:
        now = time.perf_counter()
        if self._step:
            print(f"{self._step}: {now - self._began:.1f} s", file=sys.stderr, flush=True)
        self._step, self._began = following, now


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's warnings, which say nothing about the user's model, off the terminal."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def check_writable(path: Path) -> None:
    """Raises ExportError where no file can be written: before the work, not after it."""
    if not path.parent.is_dir():
        raise ExportError(
            f"[export] expected a folder to write to but there is no {path.parent}; make it first"
        )
    if path.is_dir():
        raise ExportError(
            f"[export] expected a file to write but {path} is a folder; name a file in it"
        )


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
