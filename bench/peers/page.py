"""docs/benchmarks.md from the records and one session's measurements: no figure is typed in."""

from __future__ import annotations

import platform
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aims import DECODE, PREFILL, Reached, aims, spell_threads
from contenders import BY_NAME, CONTENDERS, MODELS, Contender
from figures import Figures, Spread
from lab import HERE, without_paths

Records = Mapping[str, Mapping[str, Any]]
MISSING = "not measured"

HEAD = """# Benchmarks beside other engines

Written by `make bench-peers`, which installs every engine, makes the same models for each, measures
them in turn on one machine and fills in this page; `bench/peers/README.md` says how.
"""

METHOD = """## How it is measured

Each run is a process of its own. Engines follow each other with the same model and number of
threads, and then all of them again in the next round: what disturbs the machine disturbs them
alike. Before each run it is waited until other processes use less than a tenth of a core; a run
during which they used more is repeated once, and counts only if no clean one is left (†). A figure
is the median over the rounds, each round's being the median of two or three repeats; in brackets
are the least and the most.

- *Prefill* is the number of tokens in the prompt over the time to the first token, with an empty
  cache. *Decode* is tokens a second after the first, 128 greedy ones behind a prompt of 4,
  whatever the tokens are.
- *GB/s beside* is what the probe could read right before and right after the run, the mean of both:
  the machine's memory is others' too, and decode with two threads follows it. Shares of the read
  bandwidth are taken run by run.
- *Load + first call* is opening the model and one token behind a prompt of 3, files being in the
  page cache; *ready* counts from the start of the process, with Python and its imports, to the
  loaded model.
- *Private* is memory after load that no other process shares: private clean and dirty pages.
  *Peak RSS* is the most resident memory of the whole run, mapped weights included.
- *In the C++ runner* is `examples/cpp`'s `chat`, compiled here: a start that does not count, then
  the median of five, each with 8 tokens behind a line of text (`bench/load.py`).
- Prompts are the same token ids, but for ExecuTorch, whose runner takes text: words of one token
  each, and their count is checked. What its tokenizer costs is part of its time.
- Penlight's drafting from the text so far is off but in the row that names it, and no ratio is
  taken of that row: what a model writes behind four arbitrary tokens repeats itself, which drafting
  gains from more than from ordinary text. What it gains on a text to edit and costs on a story is
  measured by itself, with and without in turns, the first greedily, the second at a temperature of
  0.8, at which it does not repeat itself (`bench/speculation.py`).
- *One core busy* is a process that computes without end on the last of them, there and not there in
  turns (`bench/uneven.py`). Its work counts as the run's own, not as that of others.
- The int8 cache is a file of its own, and no peer is compared with it.

What is equal and what is not: all engines multiply 4-bit weights in groups of 32 in the layers
of the transformer, by activations that ExecuTorch, llama.cpp, ONNX Runtime (accuracy level 4) and
Penlight round to 8 bits first; what OpenVINO does is its default. Heads differ, so each peer is
compared with the Penlight file whose bits in body and head are no fewer (the last column of the
first table); ONNX Runtime's scales of 32 bits, with which its 4-bit weights take 5, are the
exception. The 135M's weights are those of the shipped Q4_1 file, so every other 4-bit form has
been rounded twice: speed is compared here, not quality. The 1B shape has random weights and a
tokenizer filled up to size.
"""


def write(records: Records, lines: Sequence[Mapping[str, Any]], others: Sequence[Path] = ()) -> str:
    """The page.

    records: what was installed and exported. lines: the runs of one session. others: pages of other
    machines, in the same folder.
    """
    figures = Figures(lines)
    reached = aims(figures, records)
    parts = [
        HEAD,
        *other_pages(others),
        *machine_section(records, figures, lines),
        *aims_section(reached, records.get("machine", {})),
        *(text for model in MODELS for text in speed_section(model, figures)),
        *holds_section(records),
        *depth_section(figures),
        *export_section(records),
        *failures(records, figures),
        METHOD,
        *versions_section(records),
        *commands_section(records, figures),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def other_pages(pages: Sequence[Path]) -> Iterator[str]:
    """Where other machines' figures are."""
    for it in pages:
        about = it.read_text(encoding="utf-8").partition("## The machine\n")[2].strip()
        yield f"[{it.name}]({it.name}) has those of another machine: {about.partition(';')[0]}.\n"


def machine() -> dict[str, Any]:
    """What the page says of the machine; nothing that identifies it."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    numbers = {
        name: match.group(1)
        for name, key in (("family", "cpu family"), ("model", "model"))
        if (match := re.search(rf"^{key}\s*:\s*(\d+)", text, re.M))
    }
    flags = set((re.search(r"^(?:flags|Features)\s*:\s*(.+)", text, re.M) or [""] * 2)[1].split())
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp",
             "i8mm", "bf16")  # fmt: skip
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": model.group(1).strip() if model else platform.machine(),
        **numbers,
        "cores": text.count("processor\t:") or None,
        "features": [name for name in known if name in flags],
        "memory_gb": int(memory.group(1)) * 1024 / 1e9 if memory else None,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
    }


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table, or nothing if it has no rows."""
    body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *body, ""])


def number(value: float, digits: int | None = None) -> str:
    """Three figures that count, thousands with a comma."""
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def cell(spread: Spread | None) -> str:
    """Median and spread."""
    if spread is None:
        return MISSING
    text = number(spread.median) + (" †" if spread.noisy else "")
    if spread.rounds == 1:
        return text
    return f"{text} [{number(spread.least)}–{number(spread.most)}]"


def machine_section(
    records: Records, figures: Figures, lines: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    it = records.get("machine", {})
    yield "## The machine\n"
    family = f" (family {it['family']}, model {it['model']})" if "family" in it else ""
    yield (
        f"{it.get('cpu')}{family}, {it.get('cores')} cores, {', '.join(it.get('features', []))}; "
        f"{number(it.get('memory_gb') or 0, 0)} GB; {it.get('system')}; Python {it.get('python')}; "
        f"{it.get('compiler')}. Penlight is commit {it.get('commit')}."
    )
    if lines:
        yield (
            f"Measured {lines[-1]['session'].replace('T', ' ')}, rounds: {figures.rounds()}. What "
            "the machine can do at most, right before each round (bench/peers/probe.cpp):\n"
        )
        yield table(
            ("", *map(spell_threads, figures.threads())),
            (
                (title, *(cell(figures.get("machine", "", n, name)) for n in figures.threads()))
                for title, name in (
                    ("read bandwidth, GB/s", "read_gbs"),
                    ("8-bit dot products, TOP/s", "int8_tops"),
                )
            ),
        )
    else:
        yield "No measurement has been made yet.\n"


def aims_section(reached: Sequence[Reached], machine: Mapping[str, Any]) -> Iterator[str]:
    """Aim, reached and ratio, then the causes of what is missed."""
    yield "## What is aimed at, and what is reached\n"
    yield table(
        ("", "aim", "reached", "ratio", ""),
        (
            (
                it.text,
                f"{'≤' if it.at_most else '≥'} {number(it.aim, it.digits)}",
                MISSING if it.value is None else number(it.value, it.digits),
                "" if (ratio := it.ratio()) is None else number(ratio, 2),
                it.detail + ("; **missed**" if it.missed else ""),
            )
            for it in reached
        ),
    )
    missed = list(dict.fromkeys(it.id for it in reached if it.missed))
    if not missed:
        return
    wide = "avx512_vnni" in machine.get("features", ())
    all_causes = tomllib.loads((HERE / "causes.toml").read_text())
    causes = all_causes.get("avx512_vnni" if wide else "others", {})
    yield "What is missed, and why:\n"
    for id in missed:
        what = next(it.text for it in reached if it.id == id and it.missed)
        cause = causes.get(id, "the cause has not been written down yet").strip()
        yield f"- *{what}* ({id}): {cause}"
    yield ""


def speed_section(model: str, figures: Figures) -> Iterator[str]:
    """Speeds, then start and memory, then ratios."""
    threads = figures.threads() or [1, 2]
    chosen = [it for it in CONTENDERS if model in it.models]
    yield f"## {MODELS[model]}\n"
    counts = " / ".join(map(str, threads))
    yield f"Tokens a second, threads {counts}:\n"
    measures = (PREFILL, "prefill 128", DECODE, "read beside")

    def both(it: Contender, name: str) -> str:
        spreads = [figures.get(it.name, model, n, name) for n in threads]
        return " / ".join(map(cell, spreads)) if any(spreads) else MISSING

    yield table(
        ("", "prefill 512", "prefill 128", "decode 128", "GB/s beside", "compared with"),
        (
            (it.title, *(both(it, name) for name in measures), compared(it, model))
            for it in chosen
        ),
    )  # fmt: skip
    yield f"Start and memory, threads {counts}:\n"
    costs = ("load and first call", "ready_s", "private_mb", "peak_mb")
    yield table(
        ("", "load + first call, s", "ready, s", "private after load, MB", "peak RSS, MB"),
        ((it.title, *(both(it, name) for name in costs)) for it in chosen),
    )
    yield "Penlight's form over each peer (speeds), and the peer over Penlight's (time, memory):\n"
    yield table(
        ("", "prefill 512", "decode 128", "load + first call", "peak RSS"),
        (
            (
                it.title,
                *(ratios(figures, it, model, name) for name in (PREFILL, DECODE)),
                *(ratios(figures, it, model, name, False) for name in (costs[0], costs[3])),
            )
            for it in chosen
            if it.beside
        ),
    )


def compared(it: Contender, model: str) -> str:
    return BY_NAME[it.beside[model]].title if model in it.beside else ""


def ratios(
    figures: Figures, peer: Contender, model: str, name: str, faster: bool = True
) -> str:  # fmt: skip
    """Ours to theirs, or theirs to ours, for each number of threads."""
    texts = []
    for threads in figures.threads():
        ours = figures.get(peer.beside[model], model, threads, name)
        theirs = figures.get(peer.name, model, threads, name)
        if ours and theirs:
            ratio = ours.median / theirs.median
            texts.append(f"{number(ratio if faster else 1 / ratio, 2)}×")
    return " / ".join(texts) or MISSING


def holds_section(records: Records) -> Iterator[str]:
    """What each file holds; sizes as measured."""
    yield "## What the files hold\n"
    yield table(
        ("", "body", "embedding and head", "MB, 135M", "MB, 1B shape"),
        (
            (it.title, *it.holds, *(size(it, model, records) for model in MODELS))
            for it in CONTENDERS
            if not it.file_of
        ),
    )


def size(it: Contender, model: str, records: Records) -> str:
    if model not in it.models:
        return ""
    if it.name == "llamacpp-q4_1":
        shipped = records.get("machine", {}).get("shipped_mb")
        return number(shipped, 0) if shipped else MISSING
    found = records.get(f"export {it.name} {model}", {}).get("size_mb")
    return number(found, 0) if found else MISSING


def depth_section(figures: Figures) -> Iterator[str]:
    yield "## Far into a context\n"
    yield "Decode of the 135M at positions 100 and 4,000, tokens a second:\n"
    threads = figures.threads() or [1, 2]
    rows = []
    for it in CONTENDERS:
        if "smollm2" not in it.models:
            continue
        row = [it.title]
        for n in threads:
            near, deep = (figures.get(it.name, "smollm2", n, f"decode {at}") for at in (100, 4000))
            row += [cell(near), cell(deep)]
            row.append(f"{deep.median / near.median:.0%}" if near and deep else "")
        rows.append(row)
    heads = [
        head
        for n in threads
        for head in (f"100, {spell_threads(n)}", f"4,000, {spell_threads(n)}", "share")
    ]
    yield table(("", *heads), rows)
    yield (
        "ExecuTorch's file was exported for a context of 1,024, whose cache it allocates at load, "
        "and cannot go there.\n"
    )


def export_section(records: Records) -> Iterator[str]:
    """What the exporters take."""
    yield "## Export\n"
    yield (
        "From the checkpoint in the page cache to the finished file; the peak is that of the "
        "largest process. Wall times marked † were taken while other processes used more than a "
        "tenth of a core, and are only an upper bound: read the CPU seconds.\n"
    )
    rows = []
    for it in CONTENDERS:
        for model in it.models:
            record = records.get(f"export {it.name} {model}")
            if it.file_of or it.name == "llamacpp-q4_1":
                continue
            row = [it.title, MODELS[model]]
            if not record or "error" in record:
                rows.append([*row, "failed" if record else MISSING, "", "", ""])
                continue
            noisy = " †" if record["others"] > 0.1 else ""
            row += [number(record["wall_s"], 1) + noisy, number(record["cpu_s"], 1)]
            rows.append([*row, number(record["peak_mb"], 0), number(record["size_mb"], 0)])
    yield table(("", "model", "wall, s", "CPU, s", "peak RSS, MB", "file, MB"), rows)


def failures(records: Records, figures: Figures) -> Iterator[str]:
    """Every error of a peer, in its own words."""
    found = [(key, it["error"]) for key, it in records.items() if "error" in it]
    found += [(" ".join(key), error) for key, error in figures.errors().items()]
    if found:
        yield "## What failed\n"
        for key, error in found:
            yield f"{key}:\n\n```text\n{without_paths(error)}\n```\n"


def versions_section(records: Records) -> Iterator[str]:
    """Every distribution of every environment."""
    yield "## Versions\n"
    for key, record in records.items():
        if key.startswith("environment") and "versions" in record:
            listed = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
            yield f"**{key.removeprefix('environment ')}**: {listed}\n"


def commands_section(records: Records, figures: Figures) -> Iterator[str]:
    """Everything that was run, with LAB for the folder of `PENLIGHT_PEERS`."""
    yield "## Commands\n"
    yield "LAB stands for `build/peers`, or the folder that `PENLIGHT_PEERS` names.\n\n```sh"
    for key, record in records.items():
        if key.startswith("environment"):
            name = key.removeprefix("environment ")
            given = "".join(f"{k}={shlex.quote(v)} " for k, v in record["settings"].items())
            for step in record["steps"]:
                pip = f"LAB/environments/{name}/bin/python -m pip"
                yield f"{given}{pip} {without_paths(shlex.join(step))}"
    for key, record in records.items():
        if key.startswith(("export", "chat")):
            yield from record.get("command", ())
    yield from figures.commands().values()
    yield "```\n"


def spell_command(command: Sequence[str]) -> str:
    """As one would type it, with names for the places of this machine."""
    return without_paths(shlex.join(command))
