"""Exporting a language model's checkpoint, with progress and a summary."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from penlight.cli._terminal import (
    check_writable,
    output,
    printable,
    progress,
    quiet,
    spell_bytes,
)

if TYPE_CHECKING:
    from penlight.llm.export import ExportReport

__all__ = ["default_output", "export_checkpoint", "print_summary"]

_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


def default_output(source: str) -> Path:
    """NAME.pte here, after the file, the folder or the hub id."""
    name = Path(source).name or Path(source).resolve().name
    if not Path(source).exists():
        name = name.partition("@")[0]  # a hub id's revision
    return Path(f"{name.removesuffix('.gguf')}.pte")


def export_checkpoint(
    source: str,
    path: Path,
    *,
    quant: str | None = None,
    embedding_quant: str | None = None,
    context: int | None = None,
    cache: str | None = None,
) -> ExportReport:
    """Write the program of a checkpoint, showing how far it is; arguments as of `export_llm`."""
    check_writable(path)
    from penlight.llm.export import export_llm

    with progress("open the checkpoint", lines=True) as report, quiet():
        return export_llm(
            source,
            path,
            quant=quant,
            embedding_quant=embedding_quant,
            context=context,
            cache=cache or "float16",
            report=report,
        )


def print_summary(made: ExportReport, began: float) -> None:
    """A small table of what was made, on standard output. began: of `time.perf_counter`."""
    from rich.table import Table
    from rich.text import Text

    seconds = time.perf_counter() - began
    steps = ", ".join(f"{name} {spent:.1f}" for name, spent in made.seconds.items())
    card = made.card
    rows = {
        "file": made.path,
        "size": spell_bytes(made.nbytes),
        "architecture": card["architecture"],
        "parameters": _spell_count(card["parameters"]),
        "scheme": f"{card['scheme']} ({', '.join(card['formats'])})",
        "context": f"{card['context_length']:,} tokens",
        "seconds": f"{seconds:.1f} ({steps})",
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows.items():
        table.add_row(Text(name, "dim"), Text(printable(str(value)), overflow="fold"))
    output().print(table)


def _spell_count(count: int) -> str:
    """134515008 -> "134.5 M"."""
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
