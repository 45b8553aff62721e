"""What every engine is asked to do, and how its answers are written: one JSON object a line.

    ENVIRONMENT/bin/python bench/peers/engine_NAME.py MODEL --threads 2 [--depth]

An engine's file makes an `Engine` and hands it to `drive`. It is run by the engine's own
environment, so nothing but the standard library is imported here. Times are wall times.

    {"measure": "load", "load_s", "first_call_s", "ready_s", "private_mb", "rss_mb"}
                                  ready counts from the start of the process, imports included
    {"measure": "prefill", "tokens", "speeds"}              tokens a second until the first token
    {"measure": "decode", "position", "tokens", "speeds"}   tokens a second after the first
    {"measure": "memory", "peak_mb"}                        the most resident memory of the process
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

STARTED = "PENLIGHT_BENCH_STARTED"  # set by the runner: time.monotonic() before the process
ENOUGH = 3.0  # seconds of repeats, from the second on

FIRST_CALL = [5, 6, 7]
PREFILLS = (512, 128)  # tokens
DECODE = (4, 128)  # tokens of the prompt, tokens made
DEPTHS = ((100, 48), (4000, 48))


@dataclass(frozen=True)
class Timing:
    """first_s: from the call to the first token. rest_s: from the first token to the last."""

    first_s: float
    rest_s: float
    made: int


class Engine(Protocol):
    """A loaded model. Every call begins with an empty cache."""

    def generate(self, tokens: list[int], count: int) -> Timing:
        """Make `count` tokens greedily after the given ones, whatever they are."""


def prompt(count: int) -> list[int]:
    """Ids that both vocabularies have, all different for up to 40,000."""
    return [i * 37 % 40000 + 100 for i in range(count)]


def emit(measure: str, **values: object) -> None:
    """One line of the report."""
    print(json.dumps({"measure": measure, **values}), flush=True)


def memory_mb(*names: str) -> float:
    """The sum of lines of /proc/self/status or smaps_rollup, in MB of 1,000,000 bytes."""
    total = 0
    for file in ("status", "smaps_rollup"):
        for line in Path("/proc/self", file).read_text().splitlines():
            key, _, value = line.partition(":")
            if key in names:
                total += int(value.split()[0]) * 1024
    return total / 1e6


def repeated(once: Callable[[], float], at_most: int = 3) -> list[float]:
    """Values of once(): two, and more while there is time for them."""
    values: list[float] = []
    begin = time.perf_counter()
    while len(values) < 2 or (len(values) < at_most and time.perf_counter() - begin < ENOUGH):
        values.append(once())
    return values


def prefill_speed(engine: Engine, count: int) -> float:
    """Tokens a second of a prompt, until the first token of the answer is there."""
    return count / engine.generate(prompt(count), 1).first_s


def decode_speed(engine: Engine, position: int, count: int) -> float:
    """Tokens a second after the first, behind a prompt of `position` tokens."""
    timing = engine.generate(prompt(position), count)
    if timing.made != count:
        raise SystemExit(f"[bench] expected {count} tokens but got {timing.made}")
    return (timing.made - 1) / timing.rest_s


def measure_speed(engine: Engine) -> None:
    """Prefill of 512 and 128, decode of 128."""
    for count in PREFILLS:
        if count == PREFILLS[0]:
            prefill_speed(engine, count)  # warms up
        emit("prefill", tokens=count, speeds=repeated(partial(prefill_speed, engine, count)))
    position, count = DECODE
    speeds = repeated(partial(decode_speed, engine, position, count))
    emit("decode", position=position, tokens=count, speeds=speeds)


def measure_depth(engine: Engine) -> None:
    """Decode far into a context."""
    for position, count in DEPTHS:
        speeds = repeated(partial(decode_speed, engine, position, count))
        emit("decode", position=position, tokens=count, speeds=speeds)


def drive(make: Callable[[str, int], Engine], options: argparse.Namespace | None = None) -> None:
    """Measure one engine; make(model, threads) loads it."""
    options = options or arguments().parse_args()
    started = float(os.environ.get(STARTED, time.monotonic()))
    begin = time.monotonic()
    engine = make(options.model, options.threads)
    loaded = time.monotonic()
    private, rss = memory_mb("Private_Clean", "Private_Dirty"), memory_mb("VmRSS")
    called = time.monotonic()
    engine.generate(FIRST_CALL, 1)
    first_call = time.monotonic() - called
    emit(
        "load",
        load_s=loaded - begin,
        first_call_s=first_call,
        ready_s=loaded - started,
        private_mb=private,
        rss_mb=rss,
    )
    (measure_depth if options.depth else measure_speed)(engine)
    emit("memory", peak_mb=memory_mb("VmHWM"))


def arguments() -> argparse.ArgumentParser:
    """The command line that all drivers share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--depth", action="store_true", help="decode at positions 100 and 4,000")
    return parser
