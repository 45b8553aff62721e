"""Measuring in processes of their own, round by round, and summing the rounds up as plain data."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from penlight.errors import RuntimeFailure

__all__ = ["measure", "processor_name", "summary"]

Progress = Callable[[str, int, int], None]


def measure(
    request: dict[str, Any], threads: Sequence[int], rounds: int, progress: Progress
) -> dict[int, list[dict[str, Any]]]:
    """The results of every round by thread count; the counts take turns within a round.

    The last round profiles too. Raises RuntimeFailure with what a measuring process reported.
    """
    results: dict[int, list[dict[str, Any]]] = {count: [] for count in threads}
    total = rounds * len(threads)
    for turn in range(total):
        count = threads[turn % len(threads)]
        head = f"round {turn // len(threads) + 1} of {rounds}, threads: {count}"
        request |= {"threads": count, "profile": turn >= total - len(threads)}

        def report(step: str, head: str = head, turn: int = turn) -> None:
            progress(f"{head}: {step}", turn, total)

        results[count].append(_in_child(request, report))
    return results


def _in_child(request: dict[str, Any], report: Callable[[str], None]) -> dict[str, Any]:
    report("load")
    _read_through(Path(request["path"]))
    request["began"] = time.monotonic()  # one clock for all processes of the machine
    child = subprocess.Popen(
        [sys.executable, "-m", "penlight.cli._bench_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # an interrupt is ours to handle
    )
    try:
        return _listen(child, request, report)
    finally:
        child.kill()
        child.communicate()


def _listen(
    child: subprocess.Popen[str], request: dict[str, Any], report: Callable[[str], None]
) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        # Left open: the child ends with us when it is closed, however we end.
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended already: its code says why
    for line in child.stdout:
        message = json.loads(line)
        if "error" in message:
            raise RuntimeFailure(message["error"])
        if "result" in message:
            result: dict[str, Any] = message["result"]
            return result
        report(message["step"])
    raise RuntimeFailure(
        f"[bench] expected figures from a process of its own but it ended with code {child.wait()};"
        " see above for why, or try --quick if memory was short"
    )


def _read_through(path: Path) -> None:
    """Bring the file into the system's cache: loading is measured warm, every time."""
    with path.open("rb") as file:
        while file.read(1 << 22):
            pass


def processor_name() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


# ---- summing up ----


def spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Median, least and most; None where the system could not tell."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"median": statistics.median(known), "min": min(known), "max": max(known)}


def summary(results: dict[int, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """For each thread count the spread of everything over the rounds, and the last's profile."""
    return [_summary(count, rounds) for count, rounds in results.items()]


def _summary(threads: int, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    names = (
        *("start_seconds", "load_seconds", "first_token_seconds"),
        *("private_bytes", "peak_bytes"),
    )
    made: dict[str, Any] = {"threads": threads, "isa": rounds[-1]["isa"]}
    for name in ("read_bytes_per_second", "multiply_adds_per_second"):
        made[name] = spread([each["probe"][name] for each in rounds])
    made |= {n: spread([each.get(n) for each in rounds]) for n in names if n in rounds[-1]}
    made["workloads"] = [
        _workload([each["workloads"][index] for each in rounds], [each["probe"] for each in rounds])
        for index in range(len(rounds[-1]["workloads"]))
    ]
    return made


def _workload(rounds: list[dict[str, Any]], probes: list[dict[str, Any]]) -> dict[str, Any]:
    """One length of prompt, position or method over all rounds; shares are of the same round."""
    last = rounds[-1]
    costs = last["costs"]
    per_run = _per_run(costs)
    forwards = 1 if last["kind"] == "prefill" else last["items"]
    speeds = [last["items"] / statistics.median(each["seconds"]) for each in rounds]
    bounds = [last["items"] / (forwards * bound_seconds(per_run, probe)) for probe in probes]
    shares = [speed / bound for speed, bound in zip(speeds, bounds, strict=True)]
    return {
        "kind": last["kind"],
        "value": last["value"],
        "per_second": spread(speeds),
        "bound_per_second": spread(bounds),
        "share_of_bound": spread(shares),
        **per_run,
        "seconds": costs["seconds"] / costs["forwards"],
        "operators": _operators(costs, probes[-1]),
    }


def _per_run(costs: dict[str, Any]) -> dict[str, float]:
    """What one run of the program has to move and to multiply."""
    operators, forwards = costs["operators"], int(costs["forwards"])

    def sum_of(*names: str) -> float:
        return float(sum(cost[name] for cost in operators for name in names)) / forwards

    memory = sum_of("constant_bytes", "state_bytes")
    return {
        "memory_bytes": memory,
        "bytes": memory + sum_of("read_bytes", "written_bytes"),
        "multiply_adds": sum_of("multiply_adds"),
    }


def bound_seconds(per_run: dict[str, float], probe: dict[str, float]) -> float:
    """The roofline: no run is faster than its weights and state are read, or its products made."""
    reading = per_run["memory_bytes"] / probe["read_bytes_per_second"]
    making = per_run["multiply_adds"] / probe["multiply_adds_per_second"]
    return max(reading, making, 1e-12)


_RATES = (
    *("calls", "memory_bytes", "bytes", "bytes_per_second", "share_of_bandwidth"),
    *("multiply_adds", "multiply_adds_per_second"),
)


def _operators(costs: dict[str, Any], probe: dict[str, float]) -> list[dict[str, Any]]:
    """One entry for each operator, and one for what lies between them: they share all the time."""
    forwards, seconds = costs["forwards"], costs["seconds"]
    entries: list[dict[str, Any]] = []
    for cost in costs["operators"]:
        memory = cost["constant_bytes"] + cost["state_bytes"]
        moved = memory + cost["read_bytes"] + cost["written_bytes"]
        taken = max(cost["seconds"], 1e-12)
        entries.append(
            {
                "name": cost["name"],
                "kind": cost["kind"],
                "calls": cost["runs"] / forwards,
                "seconds": cost["seconds"] / forwards,
                "share": cost["seconds"] / seconds,
                "memory_bytes": memory / forwards,
                "bytes": moved / forwards,
                "bytes_per_second": moved / taken,
                "share_of_bandwidth": memory / taken / probe["read_bytes_per_second"],
                "multiply_adds": cost["multiply_adds"] / forwards,
                "multiply_adds_per_second": cost["multiply_adds"] / taken,
            }
        )
    between = seconds - sum(cost["seconds"] for cost in costs["operators"])
    entry = dict.fromkeys(_RATES, 0.0) | {"seconds": between / forwards, "share": between / seconds}
    return [*entries, {"name": "between operators", "kind": "between", **entry}]
