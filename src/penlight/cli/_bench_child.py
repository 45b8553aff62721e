"""The process that measures one program once, so that memory and first times are its own.

Reads one request, a line of JSON, from standard input, and ends when that is closed; writes JSON
lines to standard output: progress, then ``{"result": ...}`` or ``{"error": ...}``. Started by
`penlight.cli._bench_run` as a module.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penlight.errors import PenlightError, RuntimeFailure

if TYPE_CHECKING:
    from penlight.llm import LLM
    from penlight.llm.answer import Statistics
    from penlight.runtime import Method, Profile

Report = Callable[[str], None]

_FIRST_PROMPT = 128  # tokens, until the first token is timed


def private_bytes() -> int | None:
    """Memory that is this process's alone and not of a file; None where the system cannot tell."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines[1:])
    return int(fields["Anonymous"].split()[0]) * 1024


def peak_bytes() -> int | None:
    """The largest resident size so far, mapped files included."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _grown(before: int | None) -> int | None:
    after = private_bytes()
    return None if before is None or after is None else after - before


def _repeated(run: Callable[[], float], enough: float) -> list[float]:
    """What `run` gives, its seconds, until `enough` have gone: no figure is one lucky draw."""
    taken = [run()]
    while sum(taken) < enough and len(taken) < 1000:
        taken.append(run())
    return taken


def _costs(profile: Profile, forwards: int, seconds: float) -> dict[str, Any]:
    """What a profiled pass did: `forwards` runs of the program in `seconds` of the clock."""
    operators = [dataclasses.asdict(cost) for cost in profile.operators()]
    return {"forwards": forwards, "seconds": seconds, "operators": operators}


# ---- a language model ----


def measure_llm(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Load, first token, memory, prefill and decode of a language model."""
    from penlight.llm import LLM

    before, began = private_bytes(), time.perf_counter()
    with LLM(request["path"], threads=request["threads"]) as llm:
        loaded, ready = time.perf_counter() - began, time.monotonic()
        private = _grown(before)
        tokens = some_tokens(llm)
        report("first token")
        first = _generate(llm, tokens[: min(_FIRST_PROMPT, llm.context_length - 1)], 1)
        result = {
            "start_seconds": ready - request["began"],
            "load_seconds": loaded,
            "first_token_seconds": loaded + first.first_token_seconds,
            "private_bytes": private,
            "workloads": [
                *(_prefill(llm, tokens[:n], request, report) for n in request["prompts"]),
                *(_decode(llm, tokens, p, request, report) for p in request["positions"]),
            ],
        }
        result["peak_bytes"] = peak_bytes()
        report("memory bandwidth")
        return result | {"probe": dataclasses.asdict(llm.probe()), "isa": llm.isa}


def some_tokens(llm: LLM) -> list[int]:
    """As many as the context holds, of all the vocabulary, always the same."""
    return [(7919 * place + 13) % llm.vocabulary_size for place in range(llm.context_length)]


def _generate(llm: LLM, tokens: list[int], count: int) -> Statistics:
    settings: dict[str, Any] = {"temperature": 0, "repetition_penalty": 1, "ignore_eos": True}
    settings |= {"speculation": "off", "max_new_tokens": count}
    return llm.generate(tokens, **settings).statistics


def _prefill(
    llm: LLM, tokens: list[int], request: dict[str, Any], report: Report
) -> dict[str, Any]:
    """Read `tokens` into an empty cache."""
    report(f"prefill of {len(tokens)} tokens")

    def once() -> float:
        llm.reset()
        return _generate(llm, tokens, 1).prefill_seconds

    result = {"kind": "prefill", "value": len(tokens), "items": len(tokens)}
    result["seconds"] = _repeated(once, request["enough"])
    if request["profile"]:
        with llm.profile() as profile:
            seconds = once()
        result["costs"] = _costs(profile, 1, seconds)
    return result


def _decode(
    llm: LLM, tokens: list[int], position: int, request: dict[str, Any], report: Report
) -> dict[str, Any]:
    """Make tokens one by one from `position` on, after really reading what comes before."""
    report(f"decode at position {position}")
    count = min(request["tokens"], llm.context_length - position - 1)
    prompt = tokens[: position + 1]

    def once() -> Statistics:
        if position:
            _generate(llm, tokens[:position], 1)  # what the cache lacks of it
        else:
            llm.reset()
        return _generate(llm, prompt, count)

    result = {"kind": "decode", "value": position, "items": count - 1}
    result["seconds"] = _repeated(lambda: once().decode_seconds, request["enough"])
    if request["profile"]:
        with llm.profile() as profile:
            if position:
                _generate(llm, tokens[:position], 1)
            profile.clear()
            done = once() if not position else _generate(llm, prompt, count)
        # The prompt's last token is read by one more run.
        result["costs"] = _costs(profile, count, done.first_token_seconds + done.decode_seconds)
    return result


# ---- any other program ----


def measure_program(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Load, memory and latency of each method, on random inputs of the declared shapes."""
    from penlight.runtime import load

    before, began = private_bytes(), time.perf_counter()
    with load(request["path"], threads=request["threads"]) as program:
        methods = [program.method(name) for name in request["methods"]]
        loaded, ready = time.perf_counter() - began, time.monotonic()
        result = {
            "start_seconds": ready - request["began"],
            "load_seconds": loaded,
            "private_bytes": _grown(before),
            "workloads": [_method(method, request, report) for method in methods],
        }
        result["peak_bytes"] = peak_bytes()
        report("memory bandwidth")
        return result | {"probe": dataclasses.asdict(program.probe()), "isa": program.isa}


def _method(method: Method, request: dict[str, Any], report: Report) -> dict[str, Any]:
    report(f"method {method.name}")
    values = random_inputs(method)

    def once() -> float:
        began = time.perf_counter()
        method.execute(values, copy=False)
        return time.perf_counter() - began

    try:
        first = once()
    except PenlightError as error:
        raise RuntimeFailure(
            f"[bench] method {method.name!r} does not run on random inputs: {error}; "
            "leave it out by naming others with --method"
        ) from None
    result: dict[str, Any] = {"kind": "method", "value": method.name, "items": 1}
    result |= {"first_seconds": first, "seconds": _repeated(once, request["enough"])}
    if request["profile"]:
        with method.profile() as profile:
            taken = _repeated(once, request["enough"])
        result["costs"] = _costs(profile, len(taken), sum(taken))
    return result


def random_inputs(method: Method) -> list[Any]:
    """What ``penlight run --input random:`` would give; 1 for numbers that are no tensors."""
    import numpy as np

    from penlight.cli._values import parse_value

    plain = {"none": "none", "bool": "true"}
    generator = np.random.default_rng(0)
    return [
        parse_value("random:" if i.kind == "tensor" else plain.get(i.kind, "1"), i, generator)
        for i in method.inputs
    ]


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Answer the request on standard input."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def write(**fields: Any) -> None:
        print(json.dumps(fields), flush=True)

    measure = measure_program if request["methods"] else measure_llm
    try:
        write(result=measure(request, lambda step: write(step=step)))
    except PenlightError as error:
        write(error=str(error))
    except BrokenPipeError:
        pass  # nobody waits for the answer any more
    except MemoryError:
        write(error="[bench] out of memory; close other programs or use a smaller model")
    except Exception as error:
        if os.environ.get("PENLIGHT_TRACEBACK") == "1":
            raise
        write(error=f"[bench] unexpected {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
