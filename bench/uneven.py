"""How fast a model runs while something else keeps one processor busy.

    python bench/uneven.py MODEL.pte [--threads N ...] [--rounds N] [--json]

A process that computes without end is bound to the last processor that this one may use, or not
there, by turns; decode and prefill are measured with one thread and with all, or as told. Speeds
are medians over the rounds. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from penlight import LLM

PREFILL, DECODE = 512, 200  # tokens


def main() -> None:
    """Print one line for each kind of work and number of threads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    usual = sorted({1, len(os.sched_getaffinity(0))})
    parser.add_argument("--threads", type=int, nargs="+", default=usual, metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="lines of JSON in place of the table")
    options = parser.parse_args()
    if not options.json:
        print(f"{'tokens a second':24}{'quiet':>10}{'uneven':>10}{'ratio':>8}")
    for threads in options.threads:
        with LLM(options.model, threads=threads) as llm:
            speed(llm)
            rounds = [(speed(llm), uneven_speed(llm)) for _ in range(options.rounds)]
        values: dict[str, float] = {"threads": threads}
        for index, name in enumerate(("decode", "prefill")):
            quiet, uneven = (median(each[kind][index] for each in rounds) for kind in (0, 1))
            values |= {f"{name}_quiet": quiet, f"{name}_uneven": uneven}
            values[f"{name}_ratio"] = uneven / quiet
            label = f"{name}, {threads} thread{'s' if threads > 1 else ''}"
            if not options.json:
                print(f"{label:24}{quiet:10.1f}{uneven:10.1f}{uneven / quiet:8.2f}", flush=True)
        if options.json:
            print(json.dumps({"measure": "busy core", **values}))


def speed(llm: LLM) -> tuple[float, float]:
    """Decode and prefill in tokens a second, each from an empty cache."""
    settings = {"temperature": 0.0, "ignore_eos": True, "speculation": "off"}
    tokens = [i * 37 % 40000 + 100 for i in range(PREFILL)]
    llm.reset()
    decode = llm.generate(tokens[:4], max_new_tokens=DECODE, **settings).statistics.decode_speed
    llm.reset()
    prefill = llm.generate(tokens, max_new_tokens=1, **settings).statistics.prefill_speed
    return decode, prefill


def uneven_speed(llm: LLM) -> tuple[float, float]:
    """The same while one processor is busy."""
    with busy_processor():
        return speed(llm)


@contextmanager
def busy_processor() -> Iterator[None]:
    """A process that computes on the last processor until the end."""
    last = max(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, {{{last}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(0.5)
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
