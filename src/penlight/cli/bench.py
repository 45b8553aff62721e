"""``penlight bench``: how fast a program is here, and how fast it could be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penlight.cli._options import AsJson, Model
from penlight.errors import RuntimeFailure

if TYPE_CHECKING:
    from penlight.runtime import Program

EXAMPLES = [
    "penlight bench smollm2.pte",
    "penlight bench smollm2.pte --quick",
    "penlight bench smollm2.pte --threads 1,2 --prompt 512 --positions 100,4000 --rounds 5",
    "penlight bench mobilenet.pte --json",
]

PROMPTS = (128, 512, 2048)
POSITIONS = (0, 100, 1000, 4000)
TOKENS = 64  # decoded at each position
QUICK_TOKENS = 16
ENOUGH = 0.5  # seconds to repeat one measurement for, at least
QUICK_ENOUGH = 0.05


Threads = Annotated[
    str | None,
    typer.Option(
        "--threads",
        "-t",
        metavar="N,N,...",
        help="Thread counts to measure; without it 1, 2, 4, ... and all performance cores.",
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        "-p",
        metavar="N,N,...",
        help="Lengths of prompts, in tokens; without it 128, 512 and 2048, or the context.",
    ),
]
Positions = Annotated[
    str | None,
    typer.Option(
        "--positions",
        metavar="N,N,...",
        help="How many tokens the cache holds when tokens are made; they are really read "
        "first. Without it 0, 100, 1000 and 4000, as far as the context goes.",
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option(
        "--rounds",
        "-r",
        min=1,
        max=1000,
        metavar="N",
        help="How often to measure everything, by turns; without it 3, or 1 with --quick.",
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        metavar="NAME",
        help="Time this method on random inputs, language model or not; may be repeated.",
    ),
]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="One round, short prompts: a first look in seconds."),
]


def bench(
    model: Model,
    threads: Threads = None,
    prompt: Prompts = None,
    positions: Positions = None,
    rounds: Rounds = None,
    method: Methods = None,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Measure prefill, decode, load time and memory, and where the time goes.

    Beside every speed stands its share of the bound: what the read bandwidth and the int8 products
    of this machine, measured in the same round, would allow. Each round runs in processes of their
    own, by turns over the thread counts; figures are medians with (least to most). Other programs
    than language models are run on random inputs. Speculation is off: every token is computed by
    itself.
    """
    from penlight.cli._bench_run import measure, processor_name, summary
    from penlight.cli._cache import program_of
    from penlight.cli._terminal import progress
    from penlight.runtime import load

    path = program_of(model)
    with load(path) as program:
        counts = _numbers("--threads", threads, 1024, 1) or _thread_counts(program.threads)
        request, card = _request(program, path, method, prompt, positions, quick)
    times = rounds or (1 if quick else 3)
    with progress("begin") as show:
        results = measure(request, counts, times, show)
    import platform

    import penlight

    report = {
        "model": model,
        "file_bytes": path.stat().st_size,
        "card": card,
        "penlight": penlight.__version__,
        "system": platform.platform(),
        "processor": processor_name(),
        "rounds": times,
        "threads": summary(results),
    }
    if as_json:
        print(json.dumps(report))
    else:
        from penlight.cli._bench_show import show_report

        show_report(report)


def _request(
    program: Program,
    path: Path,
    methods: list[str] | None,
    prompt: str | None,
    positions: str | None,
    quick: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the measuring processes are asked, and the model's card."""
    request: dict[str, Any] = {"path": str(path), "methods": [], "prompts": [], "positions": []}
    request["tokens"] = QUICK_TOKENS if quick else TOKENS
    request["enough"] = QUICK_ENOUGH if quick else ENOUGH
    if methods or not _is_language_model(program):
        if prompt or positions:
            raise RuntimeFailure(
                f"[bench] expected a language model for --prompt and --positions but got {path}; "
                "leave them out"
            )
        request["methods"] = methods or _methods_with_work(program)
        for name in request["methods"]:
            program.info(name)
        return request, {}
    from penlight.llm import LLM

    with LLM(path) as llm:
        most, card = llm.context_length - 1, dict(llm.card)
    if most < 2:
        raise RuntimeFailure(
            f"[bench] expected a context of at least 3 tokens but got {most + 1}; export the model "
            "with a longer one"
        )
    request["prompts"] = _numbers("--prompt", prompt, most, 1) or _fitting(
        PROMPTS[: 1 if quick else None], most
    )
    last = most - 2  # so that there are two tokens to make
    request["positions"] = _numbers("--positions", positions, last, 0) or _fitting(
        POSITIONS[: 2 if quick else None], last
    )
    return request, card


def _is_language_model(program: Program) -> bool:
    return "penlight.model" in program.named_data or "get_max_context_len" in program.methods


def _methods_with_work(program: Program) -> list[str]:
    """All but those that only give constants."""
    names = [name for name in program.methods if program.info(name).inputs]
    return names or list(program.methods)


def _fitting(wanted: tuple[int, ...], most: int) -> list[int]:
    """Those that fit, and the most that does in place of the first that does not."""
    fitting = [number for number in wanted if number <= most]
    return fitting if len(fitting) == len(wanted) else sorted({*fitting, most})


def _thread_counts(cores: int) -> list[int]:
    """1, 2, 4, ... and all of them."""
    return sorted({cores, *(1 << n for n in range(cores.bit_length()) if 1 << n <= cores)})


def _numbers(option: str, text: str | None, most: int, least: int) -> list[int]:
    """ "1,2,4" as numbers from `least` to `most`, in order and once each; [] without a text."""
    if text is None:
        return []
    read: Callable[[str], int] = int
    try:
        numbers = sorted({read(item) for item in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < least or numbers[-1] > most:
        raise RuntimeFailure(
            f"[{option}] expected numbers from {least} to {most} with commas between them but got "
            f"{text[:60]!r}; write for example {option} {least or 100},{max(2, least)}"
        )
    return numbers
