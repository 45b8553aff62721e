"""What a model gives back: an answer, piece by piece or whole, and what it cost."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penlight.errors import RuntimeFailure

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Answer", "Score", "Statistics", "Stream"]


@dataclass(frozen=True)
class Statistics:
    """What one answer cost. Times are in seconds."""

    prompt_tokens: int
    reused_tokens: int  # of the prompt, that the cache held already
    generated_tokens: int
    load_seconds: float
    prefill_seconds: float
    first_token_seconds: float
    decode_seconds: float
    context_used: int
    context_length: int
    drafted_tokens: int = 0  # guessed, and checked together
    accepted_tokens: int = 0  # of those, in the answer

    @property
    def prefill_speed(self) -> float:
        """Prompt tokens per second, of those that had to be computed."""
        done = self.prompt_tokens - self.reused_tokens
        return done / self.prefill_seconds if self.prefill_seconds > 0 else 0.0

    @property
    def decode_speed(self) -> float:
        """Tokens per second after the first."""
        return (self.generated_tokens - 1) / self.decode_seconds if self.decode_seconds > 0 else 0.0


class Answer(str):
    """Generated text, with the tokens it was made of, why it ended and what it cost."""

    tokens: list[int]
    stop: str  # "end", "stop string", "length", "context full" or "cancelled"
    statistics: Statistics

    def __new__(cls, text: str, tokens: list[int], stop: str, statistics: Statistics) -> Answer:
        answer = super().__new__(cls, text)
        answer.tokens, answer.stop, answer.statistics = tokens, stop, statistics
        return answer


@dataclass(frozen=True)
class Score:
    """How likely a text is.

    tokens: int32 [n]. log_probabilities: float32 [n - 1], natural logarithms, of every token but
    the first given those before it. best: int32 [n - 1], the model's own choice at each place.
    """

    tokens: npt.NDArray[np.int32]
    log_probabilities: npt.NDArray[np.float32]
    best: npt.NDArray[np.int32]

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log probability."""
        import numpy as np

        return float(np.exp(-self.log_probabilities.astype(np.float64).mean()))


class Stream:
    """The pieces of an answer as they are made; `answer` once they are all there.

    Leaving the loop early, or `close`, stops the model.
    """

    def __init__(self, run: Callable[[Callable[[str], bool]], Answer], cancel: Callable[[], None]):
        self._run, self._cancel = run, cancel
        self._pieces: queue.SimpleQueue[str | Answer | BaseException] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._answer: Answer | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._started = False

    def _work(self) -> None:
        def take(piece: str) -> bool:
            if piece:
                self._pieces.put(piece)
            return not self._stopped.is_set()

        try:
            self._pieces.put(self._run(take))
        except BaseException as error:
            self._pieces.put(error)

    def __iter__(self) -> Iterator[str]:
        if self._started:
            raise self._begun()
        self._started = True
        self._thread.start()
        try:
            while True:
                piece = self._pieces.get()
                if isinstance(piece, Answer):
                    self._answer = piece
                    return
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self.close()

    def read_all(self) -> Answer:
        """The whole answer at once, made by the calling thread: no piece waits for another."""
        if self._started:
            raise self._begun()
        self._started = True
        self._answer = self._run(lambda piece: True)
        return self._answer

    @staticmethod
    def _begun() -> RuntimeFailure:
        return RuntimeFailure(
            "[stream] expected to be read once but it was begun before; ask the model again"
        )

    @property
    def answer(self) -> Answer:
        """The whole answer. Raises RuntimeFailure if the pieces were not read to the end."""
        if self._answer is None:
            raise RuntimeFailure("[stream] the answer is not complete; read all pieces first")
        return self._answer

    def close(self) -> None:
        """Stop the model, if it still answers, and wait until it has."""
        self._stopped.set()
        if self._thread.is_alive():
            self._cancel()
            self._thread.join()
        while self._answer is None and not self._pieces.empty():
            piece = self._pieces.get()
            if isinstance(piece, Answer):
                self._answer = piece
