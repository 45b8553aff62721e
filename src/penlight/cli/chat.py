"""``penlight chat``: talk with a language model in a terminal, or ask it once."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from penlight.cli._options import Model, Threads
from penlight.errors import RuntimeFailure

EXAMPLES = [
    "penlight chat smollm2.pte",
    "penlight chat SmolLM2-135M-Instruct.Q4_1.gguf   (exported into a cache first)",
    'penlight chat smollm2.pte --prompt "What is the capital of France?"',
    'cat notes.txt | penlight chat smollm2.pte --prompt "Summarise this:"',
    "penlight chat smollm2.pte --temperature 0.7 --top-p 0.9 --seed 1",
]

MOST_INPUT = 1 << 24  # bytes; more than any context holds

Prompt = Annotated[
    str | None,
    typer.Option("--prompt", "-p", metavar="TEXT", help="Ask this once and exit."),
]
System = Annotated[
    str | None,
    typer.Option("--system", "-s", metavar="TEXT", help="What the model is told first."),
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", metavar="X", help="0 takes the likeliest token each time."),
]
TopK = Annotated[
    int | None, typer.Option("--top-k", metavar="N", help="Choose among the N likeliest.")
]
TopP = Annotated[
    float | None,
    typer.Option("--top-p", metavar="X", help="Choose among the likeliest of sum X."),
]
MinP = Annotated[
    float | None,
    typer.Option("--min-p", metavar="X", help="Leave out what is X times less likely."),
]
RepetitionPenalty = Annotated[
    float | None,
    typer.Option("--repetition-penalty", metavar="X", help="Above 1: repeat less."),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="The same seed gives the same text."),
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", "-n", metavar="N", help="The longest answer; 0 is no limit."),
]
Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", metavar="TEXT", help="End the answer before this; repeatable."),
]
Speculation = Annotated[
    str | None,
    typer.Option(
        "--speculation",
        metavar="WHEN",
        help="Guess from the text and check several tokens at once: auto, always or off. "
        "Changes the speed, not the answer.",
    ),
]
Context = Annotated[
    int | None,
    typer.Option("--context", "-c", min=1, metavar="N", help="Tokens to remember at most."),
]
Raw = Annotated[
    bool, typer.Option("--raw", help="Continue the text as it is, without a chat template.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Print text as it comes, no markdown.")]
Stats = Annotated[
    bool, typer.Option("--stats", help="Print speeds after each answer, on standard error.")
]


def chat(
    model: Model,
    prompt: Prompt = None,
    system: System = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    seed: Seed = None,
    max_tokens: MaxTokens = None,
    stop: Stop = None,
    speculation: Speculation = None,
    context: Context = None,
    threads: Threads = None,
    raw: Raw = False,
    plain: Plain = False,
    stats: Stats = False,
) -> None:
    """Chat with a language model. Needs no torch and no other file than the .pte.

    In a terminal: Enter sends, Alt+Enter begins a new line, Ctrl-C stops the answer, /help lists
    the commands. Text on standard input is the question, or follows --prompt.
    """
    from penlight.cli._chat import ask, check_text, talk

    given = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
        "max_new_tokens": max_tokens,
        "stop": stop,
        "speculation": speculation,
    }
    sampling: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for text in (prompt, system, *(stop or [])):
        check_text(text or "", "chat")
    question = _question(prompt, raw)
    from penlight.cli._cache import program_of
    from penlight.cli._conversation import Conversation
    from penlight.llm import LLM

    with LLM(program_of(model), context=context, threads=threads) as llm:
        conversation = Conversation(llm, system=system, sampling=sampling, raw=raw)
        if question is not None:
            ask(conversation, question, plain=plain, stats=stats)
        else:
            talk(conversation, plain=plain, stats=stats)


def _question(prompt: str | None, raw: bool) -> str | None:
    """--prompt and standard input; None where there is a terminal to talk in."""
    piped = None
    if sys.stdin is None or not sys.stdin.isatty():
        piped = _read_standard_input()
    if prompt is None and piped is None:
        return None
    parts = [part for part in (prompt, piped) if part and part.strip()]
    if not parts:
        raise RuntimeFailure("[chat] expected a question but it is empty; write something")
    question = "\n\n".join(parts)
    return question if raw else question.strip()


def _read_standard_input() -> str:
    if sys.stdin is None:
        return ""
    data = sys.stdin.buffer.read(MOST_INPUT + 1)
    if len(data) > MOST_INPUT:
        raise RuntimeFailure(
            f"[chat] expected at most {MOST_INPUT} bytes on standard input but got more; "
            "give a shorter text"
        )
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise RuntimeFailure(
            f"[chat] expected UTF-8 text on standard input but byte {error.start} is none; "
            "convert it, for example with iconv"
        ) from None
