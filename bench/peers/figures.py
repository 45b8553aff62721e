"""Medians and spreads of what the drivers reported, over the rounds of one session."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """Of one figure over rounds, each round's being the median of its repeats."""

    median: float
    least: float
    most: float
    rounds: int
    noisy: bool  # no round was free of other work


def latest(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The runs of the last session."""
    every = [json.loads(line) for line in lines if line.strip()]
    return [line for line in every if line["session"] == every[-1]["session"]]


class Figures:
    """What was measured, asked for by contender, model, threads and name.

    Names: "prefill 512", "decode 4" (the position), the fields of all other measures, "read
    beside" (GB/s that the machine read right before and after, their mean), and "decode 4 per GB"
    (tokens for each GB that it could have read meanwhile).
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = list(lines)
        self._clean: dict[tuple[str, str, int, str], list[float]] = {}
        self._noisy: dict[tuple[str, str, int, str], list[float]] = {}
        for line in self._lines:
            for name, value in values_of(line):
                key = (line["contender"], line.get("model", ""), line["threads"], name)
                into = self._noisy if line.get("noisy") else self._clean
                into.setdefault(key, []).append(value)

    def get(self, contender: str, model: str, threads: int, name: str) -> Spread | None:
        """None where nothing was measured; noisy rounds count only where there is no other."""
        key = (contender, model, threads, name)
        values = self._clean.get(key) or self._noisy.get(key)
        if not values:
            return None
        noisy = key not in self._clean
        return Spread(statistics.median(values), min(values), max(values), len(values), noisy)

    def threads(self) -> list[int]:
        """The numbers of threads that were measured."""
        return sorted({line["threads"] for line in self._lines})

    def rounds(self) -> int:
        return max((line["round"] for line in self._lines), default=0)

    def errors(self) -> dict[tuple[str, str], str]:
        """What failed, by contender and model."""
        return {
            (line["contender"], line["model"]): line["error"]
            for line in self._lines
            if "error" in line
        }

    def commands(self) -> dict[str, str]:
        """One command for each contender."""
        return {
            line["contender"]: line["command"]
            for line in self._lines
            if "command" in line and not line["depth"]
        }


def values_of(line: Line) -> Iterable[tuple[str, float]]:
    """Names and values of one run; those of a deep one are only its speeds."""
    if line["contender"] == "machine":
        yield from ((name, line[name]) for name in ("read_gbs", "int8_tops"))
        return
    read = statistics.mean(line["read_gbs"]) if line.get("read_gbs") else None
    if read and not line["depth"]:
        yield "read beside", read
    for measure in line["measures"]:
        kind = measure["measure"]
        if kind == "prefill":
            yield f"prefill {measure['tokens']}", statistics.median(measure["speeds"])
        elif kind == "decode":
            speed = statistics.median(measure["speeds"])
            yield f"decode {measure['position']}", speed
            if read:
                yield f"decode {measure['position']} per GB", speed / read
        elif not line["depth"]:
            yield from ((name, value) for name, value in measure.items() if name != "measure")
            if kind == "load":
                yield "load and first call", measure["load_s"] + measure["first_call_s"]


def gist(line: Line) -> str:
    """One run in a few words, for the terminal."""
    if "error" in line:
        return str(line["error"]).splitlines()[-1]
    parts = [
        f"{name} {value:.{0 if value >= 10 else 2}f}"
        for name, value in values_of(line)
        if name.startswith(("prefill", "decode", "ready", "peak", "edit", "write"))
        and not name.endswith("per GB")
    ]
    return ", ".join(parts) + (" (noisy)" if line.get("noisy") else "")
