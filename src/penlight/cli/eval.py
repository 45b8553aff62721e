"""``penlight eval``: how well a language model speaks, and how near it is to its checkpoint."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penlight.cli._options import AsJson, Model, Threads
from penlight.errors import RuntimeFailure

if TYPE_CHECKING:
    from penlight.llm.evaluate import Comparison, Perplexity

EXAMPLES = [
    "penlight eval smollm2.pte --text book.txt",
    "penlight eval smollm2.pte --text book.txt --tokens 2000 --json",
    "penlight eval smollm2.pte --text book.txt --against SmolLM2-135M-Instruct.Q4_1.gguf",
]

COMPARED = 2000  # tokens, unless told otherwise: eager PyTorch is slow
MOST_TEXT = 1 << 28  # bytes

Text = Annotated[
    str,
    typer.Option("--text", metavar="FILE", help="Ordinary text in UTF-8; - is standard input."),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="CHECKPOINT",
        help="Compare with the float32 weights of this checkpoint in PyTorch: the mean KL "
        "divergence and how often both find the same token likeliest.",
    ),
]
Tokens = Annotated[
    int | None,
    typer.Option(
        "--tokens",
        "-n",
        min=1,
        metavar="N",
        help=f"Predict the first N tokens only; without it all, or {COMPARED} with --against.",
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        "--window",
        metavar="N",
        help="Tokens that a prediction looks back at; without it the context, at most 2048.",
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        "--stride",
        metavar="N",
        help="Tokens from the beginning of one window to that of the next; without it, half "
        "a window.",
    ),
]


def eval(
    model: Model,
    text: Text,
    against: Against = None,
    tokens: Tokens = None,
    window: Window = None,
    stride: Stride = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Print a language model's perplexity on a text: lower is better.

    Needs no torch but for --against, which also holds the float model in memory: four bytes for
    each parameter.
    """
    words = _read(text)
    from penlight.cli._cache import program_of
    from penlight.cli._terminal import progress
    from penlight.llm import LLM
    from penlight.llm.evaluate import compare, perplexity

    options: dict[str, Any] = {"window": window, "stride": stride}
    with LLM(program_of(model), threads=threads) as llm, progress("read the text") as report:
        options["report"] = lambda done, total: report("predict", done, total)
        result: Perplexity | Comparison
        if against is None:
            result = perplexity(llm, words, limit=tokens, **options)
        else:
            from penlight.checkpoints import open_checkpoint

            with open_checkpoint(against) as checkpoint:
                report("load the float model", 0, 0)
                result = compare(llm, checkpoint, words, limit=tokens or COMPARED, **options)
    if as_json:
        fields = dataclasses.asdict(result)
        print(json.dumps({"model": model, **fields, "tokens_per_second": result.speed}))
    else:
        _show(result)


def _read(name: str) -> str:
    if name == "-":
        if sys.stdin is None:
            raise RuntimeFailure("[eval] expected text on standard input but it is closed")
        data = sys.stdin.buffer.read(MOST_TEXT + 1)
    else:
        with Path(name).open("rb") as file:
            data = file.read(MOST_TEXT + 1)
    if len(data) > MOST_TEXT:
        raise RuntimeFailure(
            f"[eval] expected at most {MOST_TEXT} bytes in {name} but got more; use a part of it"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RuntimeFailure(
            f"[eval] expected UTF-8 text in {name} but byte {error.start} is none; "
            "convert it, for example with iconv"
        ) from None


def _show(result: Perplexity | Comparison) -> None:
    from rich.table import Table

    from penlight.cli._terminal import output
    from penlight.llm.evaluate import Comparison

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("perplexity", f"{result.perplexity:.4f}")
    if isinstance(result, Comparison):
        ratio = 100 * (result.perplexity / result.reference_perplexity - 1)
        table.add_row("of the float model", f"{result.reference_perplexity:.4f} ({ratio:+.2f} %)")
        table.add_row("mean KL divergence", f"{result.mean_kl:.3g} nats")
        table.add_row("same likeliest token", f"{100 * result.top1_agreement:.2f} %")
    table.add_row(
        "tokens",
        f"{result.tokens:,} in {result.windows} windows of {result.window}, stride {result.stride}",
    )
    table.add_row("speed", f"{result.speed:.1f} tokens/s")
    output().print(table)
