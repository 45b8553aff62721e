"""Penlight, through its Python class.

--speculation auto lets it draft from the text so far, as it does unless told otherwise; without,
every token is a step of its own, as the other engines take them.
"""

from __future__ import annotations

from dataclasses import fields

from protocol import Timing, arguments, drive

from penlight import LLM
from penlight.llm.sampling import Sampling


class Penlight:
    def __init__(self, model: str, threads: int, settings: dict[str, object]) -> None:
        self.llm = LLM(model, threads=threads)
        self.settings = settings

    def generate(self, tokens: list[int], count: int) -> Timing:
        self.llm.reset()
        answer = self.llm.generate(
            tokens, temperature=0.0, max_new_tokens=count, ignore_eos=True, **self.settings
        )
        cost = answer.statistics
        return Timing(cost.first_token_seconds, cost.decode_seconds, cost.generated_tokens)


if __name__ == "__main__":
    parser = arguments()
    parser.add_argument("--speculation", default="off")
    options = parser.parse_args()
    known = {field.name for field in fields(Sampling)}
    given = options.speculation != "off" or "speculation" in known
    settings = {"speculation": options.speculation} if given else {}
    drive(lambda model, threads: Penlight(model, threads, settings), options)
