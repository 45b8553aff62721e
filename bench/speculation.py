"""What drafts gain where a text repeats its prompt, and cost where it does not.

    python bench/speculation.py MODEL.pte [--threads N] [--rounds N] [--json]

Answers with and without drafts take turns, so that both see the same machine; speeds are medians
over the rounds. Answers are compared token by token: they must be equal.
"""

from __future__ import annotations

import argparse
import json
from statistics import median

from penlight import LLM
from penlight.llm import Answer, Statistics

TEXT = """\
The goverment of the country decided to build a new library in the centre of the city. The building
will have five floors and a large garden where people can read. Many students from the university
are happy about the decision, because the old library was too small and there was never enough space
for everybody. The work will begin in the spring, and the mayor hopes that the doors can open before
the end of next year. Until then the books will be kept in the town hall, where visitors may ask for
them on every day of the week. The new building was drawn by an architect who grew up in the city
and who has planned schools and museums in many other countries."""
PROMPTS = {
    "edit this text": f"Repeat this text and correct its spelling:\n\n{TEXT}",
    "write a story": "Write a story about a fisherman who finds a letter.",
}
# Of what --json measures: warm enough for a story that does not repeat itself.
TEMPERATURES = {"edit this text": 0.0, "write a story": 0.8}
LENGTH = 160  # tokens of an answer


def main() -> None:
    """Print one line for each prompt and way of sampling."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--json", action="store_true", help="one temperature for each text, in a line of JSON"
    )
    options = parser.parse_args()
    with LLM(options.model, threads=options.threads) as llm:
        if options.json:
            values: dict[str, float] = {}
            for name, text in PROMPTS.items():
                found = compare(llm, name, text, TEMPERATURES[name], options.rounds)[0]
                values |= {f"{name.split()[0]}_{key}": value for key, value in found.items()}
            print(json.dumps({"measure": "drafting", **values}))
            return
        print(f"{'':32}{'without':>10}{'with':>10}{'ratio':>8}  drafts that came true")
        for name, text in PROMPTS.items():
            for temperature in (0.0, 0.8):
                found, s = compare(llm, name, text, temperature, options.rounds)
                speeds = f"{found['without']:10.1f}{found['with']:10.1f}{found['ratio']:8.2f}"
                drafts = f"{s.accepted_tokens} of {s.drafted_tokens}, {s.generated_tokens} tokens"
                print(f"{f'{name}, temperature {temperature}':32}{speeds}  {drafts}")


def compare(
    llm: LLM, name: str, text: str, temperature: float, rounds: int
) -> tuple[dict[str, float], Statistics]:
    """One prompt, with and without in turns: speeds and their ratio, and what became of drafts."""
    speeds: dict[str, list[float]] = {"off": [], "auto": []}
    answers: dict[str, Answer] = {}
    for _ in range(rounds):
        for mode, measured in speeds.items():
            answers[mode] = llm.chat(
                [{"role": "user", "content": text}],
                temperature=temperature,
                seed=1,
                max_new_tokens=LENGTH,
                speculation=mode,
            )
            measured.append(answers[mode].statistics.decode_speed)
    if answers["off"].tokens != answers["auto"].tokens:
        raise SystemExit(f"{name}: expected the same answer with drafts but got another")
    found = {
        "without": median(speeds["off"]),
        "with": median(speeds["auto"]),
        "ratio": median(b / a for a, b in zip(*speeds.values(), strict=True)),
    }
    return found, answers["auto"].statistics


if __name__ == "__main__":
    main()
