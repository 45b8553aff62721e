"""``penlight inspect``: what a program file holds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penlight.cli._options import AsJson
from penlight.cli._terminal import output, spell_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from penlight.cli._report import MethodReport, Report

EXAMPLES = [
    "penlight inspect model.pte",
    "penlight inspect model.pte --html model.html",
    "penlight inspect model.pte --json | jq '.methods\\[0].operators'",
]

LARGEST = 8  # rows in the table of the largest tensors


def inspect(
    program: Annotated[Path, typer.Argument(metavar="FILE.pte", help="The program to look into.")],
    as_json: AsJson = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="OUT.html",
            help="Write one self-contained page: the graph, and a picture of the memory plan "
            "over time.",
        ),
    ] = None,
) -> None:
    """Show a program's methods, operators, tensors, memory plan, segments and named data.

    Nothing is run, and no weight is read. Needs no torch.
    """
    from penlight.cli._report import report_on
    from penlight.program.read import read_program

    with read_program(program) as file:
        report = report_on(program.name, file)
    if html is not None:
        from penlight.cli._page import page
        from penlight.cli._terminal import write_whole

        write_whole(html, page(report).encode())
        if not as_json:
            print(f"wrote {html}")
    if as_json:
        print(json.dumps(dataclasses.asdict(report), indent=2))
    elif html is None:
        _show(output(), report)


def _table(title: str, *columns: str) -> Table:
    """A table whose columns are right-aligned where the name starts with ">"."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for column in columns:
        side = "right" if column.startswith(">") else "left"
        table.add_column(column.lstrip(">"), justify=side, overflow="fold")  # type: ignore[arg-type]
    return table


def _row(table: Table, *cells: object) -> None:
    """Cells are text from the file: never markup."""
    from rich.text import Text

    table.add_row(*(Text(str(cell)) for cell in cells))


def _show(console: Console, report: Report) -> None:
    from rich.text import Text

    count = len(report.methods)
    console.print(
        Text.assemble(
            (report.file, "bold"),
            f"  {spell_bytes(report.nbytes)}, of which {spell_bytes(report.tables)} tables; "
            f"{count} method{'s' if count != 1 else ''}",
        )
    )
    for method in report.methods:
        _show_method(console, method)
    if report.segments:
        table = _table("Segments", ">#", ">Offset", ">Size", "Holds")
        for segment in report.segments:
            _row(table, segment.index, segment.offset, spell_bytes(segment.nbytes), segment.holds)
        console.print(table)
    if report.named_data:
        table = _table("Named data", "Key", ">Size", "Starts with")
        for entry in report.named_data:
            _row(table, entry.key, spell_bytes(entry.nbytes), entry.preview)
        console.print(table)


def _show_method(console: Console, method: MethodReport) -> None:
    console.print()
    console.rule(f"method {method.name}", align="left", style="dim")
    table = _table("Inputs and outputs", "", ">#", "Type", ">Size", "Name")
    for side, values in (("input", method.inputs), ("output", method.outputs)):
        for number, value in enumerate(values):
            size = spell_bytes(value.nbytes) if value.kind == "tensor" else ""
            kind = value.spelled if value.kind == "tensor" else f"{value.kind} {value.spelled}"
            _row(table, side, number, kind, size, value.name)
    console.print(table)

    table = _table(f"Operators: {len(method.instructions)} instructions", "Operator", ">Calls")
    for name, calls in method.operators.items():
        _row(table, name, calls)
    console.print(table)

    table = _table("Tensors", "Role", ">Count", ">Size in all")
    for role in ("input", "constant", "state", "activation"):
        sizes = [tensor.nbytes for tensor in method.tensors if tensor.role == role]
        if sizes:
            _row(table, role, len(sizes), spell_bytes(sum(sizes)))
    console.print(table)

    table = _table("Largest tensors", ">Value", "Role", "Type", ">Size", "Name")
    for tensor in sorted(method.tensors, key=lambda t: -t.nbytes)[:LARGEST]:
        size = spell_bytes(tensor.nbytes)
        _row(table, tensor.value, tensor.role, tensor.spelled, size, tensor.name)
    console.print(table)

    table = _table("Memory plan", ">Arena", ">Size", ">Peak in use", ">At instruction", ">State")
    for arena in method.arenas:
        size, peak, state = (spell_bytes(n) for n in (arena.nbytes, arena.peak, arena.state))
        _row(table, arena.arena, size, peak, arena.peak_at, state)
    console.print(table)
