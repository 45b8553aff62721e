"""Penlight beside eager PyTorch and ExecuTorch's portable runtime, in one run.

    make bench                                   a table
    make bench ARGS="--markdown docs/bench.md"   and a page
    make bench ARGS="--threads 1 --rounds 5"

Every engine runs the same model with the same inputs and as many threads. Rounds are interleaved,
so that a noisy machine disturbs all alike, and each engine's best round counts. Read the ratios:
the times are of the machine at hand.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.export import export

import penlight

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import add
import mobilenet_v2

ENGINES = ("penlight", "torch eager", "executorch")


@dataclass
class Row:
    """Seconds by engine for one model and step; an engine that cannot do it is absent."""

    what: str
    seconds: dict[str, float]

    def cells(self) -> list[str]:
        """The times, and how many times faster Penlight is."""
        ours = self.seconds["penlight"]
        cells = [self.what, spell(ours)]
        for engine in ENGINES[1:]:
            theirs = self.seconds.get(engine)
            cells.append(f"{spell(theirs)} ({theirs / ours:.2f}x)" if theirs else "")
        return cells


def spell(seconds: float) -> str:
    """0.0012 -> "1.20 ms"."""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.2f} {unit}"
    return f"{seconds * 1e6:.1f} us"


def best_of(runs: dict[str, Callable[[], object]], rounds: int, least: float) -> dict[str, float]:
    """Seconds a call for each: rounds of at least `least` seconds, interleaved, the best counts."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            calls, started = 0, time.perf_counter()
            while time.perf_counter() - started < least:
                run()
                calls += 1
            best[name] = min(best[name], (time.perf_counter() - started) / max(calls, 1))
    return best


def export_row(name: str, model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Row, bytes, bytes]:
    """Time both exporters once, from the captured program on; gives their files too."""
    from executorch.exir import to_edge as executorch_to_edge

    captured = export(model, inputs)
    started = time.perf_counter()
    ours = penlight.to_edge(captured).to_executorch().buffer
    middle = time.perf_counter()
    theirs = executorch_to_edge(captured).to_executorch().buffer
    end = time.perf_counter()
    times = {"penlight": middle - started, "executorch": end - middle}
    return Row(f"{name}: export", times), ours, theirs


def run_row(
    name: str,
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    files: tuple[bytes, bytes],
    options: argparse.Namespace,
) -> Row:
    """Time one forward in every engine, after checking that they agree."""
    from executorch.runtime import Runtime

    mine = penlight.load(files[0], threads=options.threads)
    # Its Python binding has no say in the number of threads.
    theirs = Runtime.get().load_program(files[1]).load_method("forward")
    assert theirs is not None
    runs: dict[str, Callable[[], object]] = {
        "penlight": lambda: mine.forward(*inputs),
        "torch eager": lambda: model(*inputs),
        "executorch": lambda: theirs.execute(list(inputs)),
    }
    expected = model(*inputs)
    for given in (mine.forward(*inputs), theirs.execute(list(inputs))[0]):
        torch.testing.assert_close(given, expected, rtol=1e-3, atol=1e-4)
    return Row(f"{name}: run", best_of(runs, options.rounds, options.seconds))


def markdown(rows: list[Row], threads: int) -> str:
    """The table as a page."""
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench`, {threads} threads, torch {torch.__version__.split('+')[0]}. "
        "In brackets: how many times longer than Penlight. ExecuTorch runs the kernels of its "
        "wheel, without a delegate, with as many threads as it chooses.",
        "",
        "| | " + " | ".join(ENGINES) + " |",
        "|---" * (len(ENGINES) + 1) + "|",
        *(f"| {' | '.join(row.cells())} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="at least, a round and engine")
    parser.add_argument("--markdown", type=Path, metavar="OUT.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)

    photograph = (mobilenet_v2.photograph(),)
    models = [
        ("Add", add.Add(), add.example_inputs()),
        ("MobileNetV2", mobilenet_v2.pretrained(), photograph),
    ]
    rows = []
    with torch.no_grad():
        for name, model, inputs in models:
            exported, ours, theirs = export_row(name, model.eval(), inputs)
            rows += [exported, run_row(name, model, inputs, (ours, theirs), options)]

    table = Table(title=f"{options.threads} threads; in brackets: times longer than penlight")
    for heading in ("", *ENGINES):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)
    if options.markdown:
        options.markdown.write_text(markdown(rows, options.threads))


if __name__ == "__main__":
    main()
