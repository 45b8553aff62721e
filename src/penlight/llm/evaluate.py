"""How well a program speaks: its perplexity on a text, and how near it is to the float model.

    with penlight.LLM("smollm2.pte") as llm:
        print(perplexity(llm, text).perplexity)
        with open_checkpoint("SmolLM2-135M-Instruct.Q4_1.gguf") as checkpoint:
            print(compare(llm, checkpoint, text).mean_kl)

Texts longer than a window are read in overlapping windows, and every token is predicted once, by
the first window that holds it (a sliding window, as in the perplexity guide of transformers).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from penlight.errors import RuntimeFailure
from penlight.llm.model import LLM

if TYPE_CHECKING:
    import torch

    from penlight.checkpoints.source import Checkpoint
    from penlight.models._layers import CausalLM

__all__ = ["WINDOW", "Comparison", "Perplexity", "compare", "perplexity"]

WINDOW = 2048  # most tokens of a window, unless told otherwise
_ROWS = 64  # positions whose reference logits are held at once

Report = Callable[[int, int], None]
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log likelihood of `tokens` predicted tokens.

    windows: how many there were, of `window` tokens each and `stride` apart.
    """

    perplexity: float
    tokens: int
    windows: int
    window: int
    stride: int
    seconds: float

    @property
    def speed(self) -> float:
        """Predicted tokens per second."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Comparison(Perplexity):
    """A program's perplexity, and how near it is to the float model of its checkpoint.

    mean_kl: Kullback-Leibler divergence KL(float model || program), mean over the tokens, in nats.
    top1_agreement: share of the tokens where both find the same one likeliest.
    reference_perplexity: that of the float model.
    """

    mean_kl: float
    top1_agreement: float
    reference_perplexity: float


@dataclass(frozen=True)
class _Window:
    """tokens[first:] are to be predicted, each from all before it."""

    tokens: list[int]
    first: int


def perplexity(
    llm: LLM,
    text: str | Sequence[int],
    *,
    window: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
    report: Report | None = None,
) -> Perplexity:
    """How surprised a model is by a text, or by tokens.

    Args:
        window: tokens that a prediction may look at; by default the model's context, at most
            `WINDOW`.
        stride: tokens from the begin of a window to that of the next; by default half a window.
        limit: predict at most this many tokens.
        report: called with (predicted, of how many).

    Raises RuntimeFailure if the text is too short or a number is out of range. Forgets what the
    model's cache holds.
    """
    plan = _plan(llm, text, window, stride, limit)
    started = time.perf_counter()
    total, done = 0.0, 0
    for part in plan.windows:
        targets = part.tokens[part.first :]
        for logits, target in zip(_program_logits(llm, part), targets, strict=True):
            total -= _log_softmax(logits)[target]
            done += 1
            if report:
                report(done, plan.tokens)
    seconds = time.perf_counter() - started
    return Perplexity(
        perplexity=_exp(total / done),
        tokens=plan.tokens,
        windows=len(plan.windows),
        window=plan.length,
        stride=plan.stride,
        seconds=seconds,
    )


def compare(
    llm: LLM,
    checkpoint: Checkpoint,
    text: str | Sequence[int],
    *,
    window: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
    report: Report | None = None,
) -> Comparison:
    """A program beside its checkpoint's float32 weights in eager PyTorch; arguments as above.

    The float model is held whole: four bytes for each weight. Raises also CheckpointError if the
    checkpoint cannot be read or is of another vocabulary.
    """
    if checkpoint.config.vocab_size != llm.vocabulary_size:
        raise RuntimeFailure(
            f"[eval] expected a checkpoint with a vocabulary of {llm.vocabulary_size} but got "
            f"{checkpoint.config.vocab_size}; compare with the one that was exported"
        )
    plan = _plan(llm, text, window, stride, limit)
    started = time.perf_counter()
    model = _float_model(checkpoint, max(len(part.tokens) for part in plan.windows))
    divergence, negative, reference, agreed, done = 0.0, 0.0, 0.0, 0, 0
    for part in plan.windows:
        ours = _program_logits(llm, part)
        theirs = _reference_logits(model, part)
        for target, p, q in zip(part.tokens[part.first :], theirs, ours, strict=True):
            agreed += int(p.argmax()) == int(q.argmax())
            log_p, log_q = _log_softmax(p), _log_softmax(q)
            divergence += float(np.exp(log_p) @ (log_p - log_q))
            negative -= log_q[target]
            reference -= log_p[target]
            done += 1
            if report:
                report(done, plan.tokens)
    return Comparison(
        perplexity=_exp(negative / done),
        tokens=plan.tokens,
        windows=len(plan.windows),
        window=plan.length,
        stride=plan.stride,
        seconds=time.perf_counter() - started,
        mean_kl=divergence / done,
        top1_agreement=agreed / done,
        reference_perplexity=_exp(reference / done),
    )


@dataclass(frozen=True)
class _Plan:
    windows: list[_Window]
    length: int
    stride: int

    @property
    def tokens(self) -> int:
        """How many are predicted."""
        return sum(len(part.tokens) - part.first for part in self.windows)


def _plan(
    llm: LLM,
    text: str | Sequence[int],
    window: int | None,
    stride: int | None,
    limit: int | None,
) -> _Plan:
    """The windows over a text. Each begins with the model's first token, where it wants one."""
    tokens = llm.tokenize(text) if isinstance(text, str) else list(text)
    tokenizer = llm.tokenizer
    wants = isinstance(text, str) and tokenizer is not None and tokenizer.add_bos
    head = tokens[:1] if wants else []
    body = tokens[len(head) :]
    if limit is not None:
        _in_range("tokens", limit, 1, None)
        body = body[: limit + (0 if head else 1)]
    if len(head) + len(body) < 2 or not body:
        raise RuntimeFailure(
            f"[eval] expected a text of at least two tokens but got {len(head) + len(body)}; "
            "give a longer one"
        )
    length = min(llm.context_length, WINDOW) if window is None else window
    _in_range("window", length, 2 + len(head), llm.context_length)
    room = length - len(head)
    step = max(room // 2, 1) if stride is None else stride
    _in_range("stride", step, 1, room if head else room - 1)
    return _Plan(list(_windows(head, body, room, step)), length, step)


def _in_range(name: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        bounds = f"from {least}" if most is None else f"from {least} to {most}"
        raise RuntimeFailure(f"[eval] expected a {name} {bounds} but got {value}; change --{name}")


def _windows(head: list[int], body: list[int], room: int, stride: int) -> Iterator[_Window]:
    begin, done = 0, 0 if head else 1  # done: tokens of the body that need no prediction any more
    while done < len(body):
        end = min(begin + room, len(body))
        yield _Window(head + body[begin:end], len(head) + done - begin)
        done = end
        begin += stride


def _program_logits(llm: LLM, window: _Window) -> Iterator[Logits]:
    """float32 [vocabulary] for each token to predict, in order."""
    llm.reset()
    yield llm.logits(window.tokens[: window.first])
    for token in window.tokens[window.first : -1]:
        yield llm.logits([token])


def _float_model(checkpoint: Checkpoint, context: int) -> CausalLM:
    import penlight.edge.ops  # noqa: F401 - registers the operators
    from penlight import models

    model = models.build(checkpoint.config, context=context)
    models.load_float(model, checkpoint)
    return model


def _reference_logits(model: CausalLM, window: _Window) -> Iterator[Logits]:
    """As `_program_logits`, by eager PyTorch; the logits of a few positions are held at once."""
    import torch

    with torch.inference_mode():
        hidden = _hidden(model, window.tokens)  # [T, H]
    for begin in range(window.first - 1, len(window.tokens) - 1, _ROWS):
        with torch.inference_mode():
            rows = model.head(hidden[begin : min(begin + _ROWS, len(window.tokens) - 1)])
        yield from rows.numpy()


def _hidden(model: CausalLM, tokens: list[int]) -> torch.Tensor:
    import torch

    return model.hidden(torch.tensor([tokens]), torch.zeros(1, dtype=torch.int64))[0]


def _exp(nats: float) -> float:
    return math.exp(min(nats, 700.0))  # a model can be surprised beyond what a float holds


def _log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """Natural logarithms, float64. Raises RuntimeFailure where a logit is not finite."""
    wide = logits.astype(np.float64)
    best = wide.max()
    if not math.isfinite(best):
        raise RuntimeFailure(
            f"[eval] expected finite logits but got {best}; export the model again, and report it "
            "if that does not help"
        )
    wide -= best
    wide -= math.log(float(np.exp(wide).sum()))
    return wide
