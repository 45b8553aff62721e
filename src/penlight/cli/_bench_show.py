"""The tables of ``penlight bench``: with bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penlight.cli._terminal import output, printable, spell_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["show_report"]

_BAR = 6  # columns
_WIDE = 100  # columns for all there is to say
_WIDTH = 110  # off a terminal
_SHOWN = 12  # operators; the rest is one line

Spread = dict[str, float]


def show_report(report: dict[str, Any]) -> None:
    """Everything that was measured, then where the time goes with the most threads."""
    console = output()
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    _show_head(console, report)
    _show_machine(console, report)
    _show_speeds(console, report)
    most = report["threads"][-1]
    for workload in _broken_down(most["workloads"]):
        _show_operators(console, workload, most)


def _show_head(console: Console, report: dict[str, Any]) -> None:
    card = report["card"]
    name = card.get("name") or report["model"]
    scheme = f", {card['scheme']}" if card.get("scheme") else ""
    console.print(f"{name}{scheme}, {spell_bytes(report['file_bytes'])}", markup=False)
    isa = report["threads"][-1]["isa"]
    console.print(
        f"{report['processor']}, {isa}, {report['system']}, penlight {report['penlight']}",
        style="dim",
        markup=False,
    )


def _table(*columns: str, title: str = "") -> Table:
    from rich.table import Table

    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        title=title or None,
        title_justify="left",
        title_style="bold",
    )
    for place, column in enumerate(columns):
        # The first names things; one without a name holds bars.
        table.add_column(column, justify="right" if place and column else "left", no_wrap=True)
    return table


def _ranged(values: Spread | None, spell: Callable[[float], str]) -> str:
    """ "12.3 (11.9 to 12.8)", or the value alone where nothing varied; "-" if it is not known."""
    if values is None:
        return "-"
    texts = [spell(values[key]) for key in ("median", "min", "max")]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _milliseconds(seconds: float) -> str:
    if abs(seconds) < 1e-4:
        return f"{1e6 * seconds:.1f} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 0.1 else f"{1e3 * seconds:,.0f} ms"


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e8 else f"{count / 1e6:,.0f} MB"


def _speed(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _show_machine(console: Console, report: dict[str, Any]) -> None:
    """What the machine gives, and what loading costs: a line for each thread count."""
    rows: list[tuple[str, str, Callable[[float], str]]] = [
        ("read bandwidth", "read_bytes_per_second", lambda v: f"{v / 1e9:.1f} GB/s"),
        ("int8 products", "multiply_adds_per_second", lambda v: f"{2 * v / 1e9:,.0f} GOP/s"),
        ("load", "load_seconds", _milliseconds),
        ("from process start to ready", "start_seconds", _milliseconds),
        ("load and first token", "first_token_seconds", _milliseconds),
        ("private memory after load", "private_bytes", _megabytes),
        ("peak memory, mapped file too", "peak_bytes", _megabytes),
    ]
    console.print()
    table = _table("", *(_threads(each["threads"]) for each in report["threads"]))
    for name, key, spell in rows:
        if key in report["threads"][-1]:
            table.add_row(name, *(_ranged(each[key], spell) for each in report["threads"]))
    console.print(table)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _title(workload: dict[str, Any]) -> str:
    value = workload["value"]
    if workload["kind"] == "method":
        return f"method {printable(value)}"
    return f"prefill of {value:,}" if workload["kind"] == "prefill" else f"decode at {value:,}"


def _show_speeds(console: Console, report: dict[str, Any]) -> None:
    """Tokens or runs per second, and their share of the bound."""
    console.print()
    is_llm = report["threads"][-1]["workloads"][0]["kind"] != "method"
    columns = [text for each in report["threads"]
               for text in (_threads(each["threads"]), "of bound")]  # fmt: skip
    table = _table("tokens per second" if is_llm else "time of a run", *columns)
    for index, workload in enumerate(report["threads"][-1]["workloads"]):
        cells = []
        for each in report["threads"]:
            found = each["workloads"][index]
            speed = found["per_second"]
            if is_llm:
                cells.append(_ranged(speed, _speed))
            else:
                times = {"median": speed["median"], "min": speed["max"], "max": speed["min"]}
                cells.append(_ranged(times, lambda value: _milliseconds(1 / value)))
            cells.append(_percent(found["share_of_bound"]["median"]))
        table.add_row(_title(workload), *cells)
    console.print(table)


def _broken_down(workloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The prompt nearest 512 tokens, and the first and the last position; every method."""
    prompts = [w for w in workloads if w["kind"] == "prefill"]
    places = [w for w in workloads if w["kind"] == "decode"]
    chosen = [w for w in workloads if w["kind"] == "method"]
    chosen += sorted(prompts, key=lambda w: abs(w["value"] - 512))[:1]
    return chosen + ([places[0], places[-1]] if len(places) > 1 else places)


def _show_operators(console: Console, workload: dict[str, Any], threads: dict[str, Any]) -> None:
    """Where the time of one pass goes."""
    unit = {"prefill": "for the prompt", "decode": "for a token", "method": "for a run"}
    console.print()
    columns = ["operator", "calls", "time", "share", "memory", "of read", "GOP/s"]
    wide = console.width >= _WIDE
    if wide:
        columns += ["moved", "GB/s", *([""] if console.is_terminal else [])]
    table = _table(
        *columns,
        title=f"{_title(workload)}, {_threads(threads['threads'])}: "
        f"{_milliseconds(workload['seconds'])} {unit[workload['kind']]}",
    )
    entries = sorted(workload["operators"], key=lambda entry: -entry["share"])
    for entry in entries[:_SHOWN]:
        table.add_row(*_operator_cells(entry)[: len(columns)])
    rest = entries[_SHOWN:]
    if rest:
        share, seconds = (sum(e[key] for e in rest) for key in ("share", "seconds"))
        table.add_row(f"{len(rest)} more", "", _milliseconds(seconds), _percent(share))
    console.print(table)
    _show_bound(console, workload, threads)


def _operator_cells(entry: dict[str, Any]) -> list[str]:
    multiplied, memory, moved = (
        entry[key] for key in ("multiply_adds_per_second", "memory_bytes", "bytes")
    )
    return [
        printable(entry["name"].removesuffix(".out").removesuffix(".default")),
        f"{entry['calls']:,.0f}" if entry["calls"] else "",
        _milliseconds(entry["seconds"]),
        _percent(entry["share"]),
        _megabytes(memory) if memory >= 5e4 else "",
        _percent(entry["share_of_bandwidth"]) if memory >= 5e4 else "",
        f"{2 * multiplied / 1e9:,.0f}" if multiplied else "",
        _megabytes(moved) if moved >= 5e4 else "",
        f"{entry['bytes_per_second'] / 1e9:.1f}" if moved >= 5e4 else "",
        "━" * round(_BAR * max(0.0, min(1.0, entry["share"]))),
    ]


def _show_bound(console: Console, workload: dict[str, Any], threads: dict[str, Any]) -> None:
    """The roofline in words."""
    reading = workload["memory_bytes"] / threads["read_bytes_per_second"]["median"]
    making = workload["multiply_adds"] / threads["multiply_adds_per_second"]["median"]
    limit = "read bandwidth" if reading >= making else "int8 products"
    console.print(
        f"bound by {limit}: {_megabytes(workload['memory_bytes'])} of weights and cache read in "
        f"{_milliseconds(reading)},\n{workload['multiply_adds'] / 1e9:.3g} billion multiply-adds "
        f"made in {_milliseconds(making)}",
        style="dim",
        markup=False,
    )
