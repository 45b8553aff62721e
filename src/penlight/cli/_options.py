"""Arguments and options that several verbs take: spelled, and explained, the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AsJson", "Model", "Threads"]

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .pte file, or a checkpoint, which is exported into a cache first: a .gguf "
        "file, a Hugging Face or Meta folder, or a hub id.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        "-t",
        min=1,
        metavar="N",
        help="How many threads to use; without it, one per performance core.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print everything as JSON, for other programs.")
]
