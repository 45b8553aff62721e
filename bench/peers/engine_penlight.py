"""Penlight, through its Python class."""

from __future__ import annotations

from protocol import Timing, arguments, drive

from penlight import LLM


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
    options = arguments().parse_args()
    drive(lambda model, threads: Penlight(model, threads, {}), options)
