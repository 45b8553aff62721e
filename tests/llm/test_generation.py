"""Generation: the right tokens, the cache reused, every way to stop, sampling as defined."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from penlight import LLM
from penlight.errors import PenlightError, ProgramError, RuntimeFailure

from .conftest import CHUNK, CONTEXT, END, Toy, words

PROMPT = [1, 7, 9, 11, 20, 8, 8, 30, 4, 19, 6]


def eager_logits(toy: Toy, tokens: list[int]) -> torch.Tensor:
    """The logits after tokens, with an empty cache."""
    toy.seen.zero_()
    with torch.no_grad():
        return toy(torch.tensor([tokens]), torch.zeros(1, dtype=torch.int64))[0]


def eager_greedy(toy: Toy, prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(eager_logits(toy, tokens).argmax()))
        if tokens[-1] == END:
            break
    return tokens[len(prompt) :]


@pytest.fixture
def llm(toy_path: Path) -> LLM:
    return LLM(toy_path, threads=1)


def test_greedy_tokens_are_those_of_eager_pytorch(llm: LLM, toy: Toy) -> None:
    answer = llm.generate(PROMPT, max_new_tokens=20, ignore_eos=True)
    tokens = list(PROMPT)
    for token in answer.tokens:
        assert token == int(eager_logits(toy, tokens).argmax())
        tokens.append(token)
    assert answer.stop == "length"


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, CONTEXT])
def test_prefill_in_chunks_gives_the_logits_of_one_pass(llm: LLM, toy: Toy, length: int) -> None:
    tokens = [(5 * n + 3) % len(words()) for n in range(length)]
    np.testing.assert_allclose(llm.logits(tokens), eager_logits(toy, tokens), rtol=1e-5, atol=1e-5)


def test_a_conversation_computes_only_what_is_new(llm: LLM) -> None:
    first = llm.generate(PROMPT, max_new_tokens=3, ignore_eos=True)
    again = llm.generate([*PROMPT, *first.tokens, 5], max_new_tokens=1)
    assert again.statistics.reused_tokens == len(PROMPT) + 2  # the last one was never fed
    fresh = llm.generate([3, 3], max_new_tokens=1)
    assert fresh.statistics.reused_tokens == 0


def test_a_reused_prefix_changes_nothing(llm: LLM, toy_path: Path) -> None:
    llm.generate([*PROMPT[:6], 3, 3, 3, 3], max_new_tokens=5, ignore_eos=True)
    reused = llm.generate(PROMPT, max_new_tokens=12, ignore_eos=True)
    assert reused.statistics.reused_tokens == 6
    with LLM(toy_path, threads=1) as fresh:
        assert fresh.generate(PROMPT, max_new_tokens=12, ignore_eos=True).tokens == reused.tokens


def test_text_is_the_tokens_text(llm: LLM) -> None:
    answer = llm.generate("w1 w2", max_new_tokens=6, ignore_eos=True)
    assert answer == "".join(f" {words()[t]}" if t > 2 else "" for t in answer.tokens)
    stream = llm.stream_text("w1 w2", max_new_tokens=6, ignore_eos=True)
    assert "".join(stream) == answer == stream.answer


def test_a_stop_id_ends_the_answer_without_its_text(llm: LLM) -> None:
    plain = llm.generate(PROMPT, max_new_tokens=6, ignore_eos=True)
    stopped = llm.generate(PROMPT, stop_ids=[plain.tokens[3]])
    assert (stopped.stop, stopped.tokens) == ("end", plain.tokens[:4])
    assert stopped == "".join(f" {words()[t]}" for t in plain.tokens[:3])


def test_a_stop_string_across_tokens_is_not_shown(llm: LLM) -> None:
    plain = llm.generate(PROMPT, max_new_tokens=6, ignore_eos=True)
    stop = str(plain)[4:8]
    pieces = list(llm.stream_text(PROMPT, stop=[stop, "never"], ignore_eos=True))
    assert "".join(pieces) == str(plain).split(stop)[0]
    assert llm.generate(PROMPT, stop=[stop], ignore_eos=True).stop == "stop string"


def test_what_could_have_been_a_stop_string_is_shown_in_the_end(llm: LLM) -> None:
    plain = llm.generate(PROMPT, max_new_tokens=4, ignore_eos=True)
    held = llm.generate(PROMPT, max_new_tokens=4, ignore_eos=True, stop=[str(plain)[-2:] + "!"])
    assert held == plain


def test_a_full_context_ends_the_answer(toy_path: Path) -> None:
    with LLM(toy_path, context=16, threads=1) as llm:
        answer = llm.generate(PROMPT, ignore_eos=True)
        assert answer.stop == "context full"
        # The last token is made from a full cache and needs no place in it.
        assert len(PROMPT) + len(answer.tokens) == 17
        assert answer.statistics.context_used == llm.context_length == 16


def test_a_prompt_beyond_the_context_is_refused(llm: LLM) -> None:
    with pytest.raises(RuntimeFailure, match=rf"at most {CONTEXT} tokens.* but got {CONTEXT + 1}"):
        llm.generate([3] * (CONTEXT + 1))
    assert llm.generate([3] * CONTEXT).stop == "context full"


def test_leaving_a_stream_stops_the_model(llm: LLM) -> None:
    stream = llm.stream_text(PROMPT, ignore_eos=True)

    class Unhurried(queue.SimpleQueue):  # the model would be done before the reader wakes
        def put(self, piece: object) -> None:
            super().put(piece)
            stream._stopped.wait(60)

    stream._pieces = Unhurried()
    for _ in stream:
        break
    assert llm.context_used < CONTEXT
    assert not any(t.name.startswith("Thread") and t.is_alive() for t in threading.enumerate()[1:])


def test_cancelling_stops_the_answer(llm: LLM) -> None:
    stream = llm.stream_text(PROMPT, ignore_eos=True)
    for _ in stream:
        llm.cancel()
    assert stream.answer.stop in ("cancelled", "context full")


def test_errors_in_a_callback_reach_the_caller(llm: LLM) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyError(f"{done} of {total}")

    with pytest.raises(KeyError, match="8 of 11"):
        list(llm.stream_text(PROMPT, on_prefill=fail))
    assert llm.generate(PROMPT, max_new_tokens=1).tokens


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


def kept(p: np.ndarray, order: np.ndarray, mass: float) -> np.ndarray:
    """p with only the first entries of order that reach mass."""
    sums = np.cumsum(p[order])
    count = int(np.searchsorted(sums, mass * p.sum())) + 1
    out = np.zeros_like(p)
    out[order[:count]] = p[order[:count]]
    return out


def reference(logits: np.ndarray, settings: dict[str, float]) -> np.ndarray:
    """The distribution that the settings define, written as their papers do."""
    logits = logits.astype(np.float64)
    order = np.argsort(-logits, kind="stable")
    if k := int(settings.get("top_k", 0)):
        logits[order[k:]] = -np.inf
    p = softmax(logits / settings["temperature"])
    if "typical_p" in settings:
        surprise = -np.log(np.maximum(p, 1e-300))
        distance = np.abs(surprise - (p * surprise).sum())
        p = kept(p, np.argsort(distance, kind="stable"), settings["typical_p"])
    if "top_p" in settings:
        p = kept(p, np.argsort(-p, kind="stable"), settings["top_p"])
    if "min_p" in settings:
        p[p < settings["min_p"] * p.max()] = 0
    return p / p.sum()


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 0.5},
        {"temperature": 1.5, "top_k": 5},
        {"temperature": 1.0, "top_p": 0.6},
        {"temperature": 1.0, "min_p": 0.2},
        {"temperature": 1.0, "typical_p": 0.5},
        {"temperature": 0.8, "top_k": 12, "top_p": 0.9, "min_p": 0.05},
    ],
)
def test_samples_follow_the_distribution_that_the_settings_define(
    llm: LLM, toy: Toy, settings: dict[str, float]
) -> None:
    expected = reference(eager_logits(toy, PROMPT).numpy(), settings)
    draws = 1500
    counts = np.zeros(len(words()))
    for seed in range(draws):
        answer = llm.generate(PROMPT, max_new_tokens=1, seed=seed, **settings)
        counts[answer.tokens[0]] += 1
    assert not counts[expected == 0].any()
    likely = expected * draws > 5
    chi2 = ((counts - expected * draws)[likely] ** 2 / (expected * draws)[likely]).sum()
    # The 99.9th percentile of the chi-square distribution is below 3 n + 12 for all n here.
    assert chi2 < 3 * likely.sum() + 12


def test_penalties_change_the_logits_as_defined(llm: LLM, toy: Toy) -> None:
    logits = eager_logits(toy, PROMPT).numpy().copy()
    best = int(logits.argmax())
    prompt = [best, *PROMPT]
    for settings, change in [
        ({"repetition_penalty": 50.0}, lambda x, n: x / 50 if x > 0 else x * 50),
        ({"frequency_penalty": 9.0}, lambda x, n: x - 9 * n),
        ({"presence_penalty": 9.0}, lambda x, n: x - 9),
        ({"presence_penalty": -9.0}, lambda x, n: x + 9),
        ({"presence_penalty": 9.0, "penalty_window": 3}, None),
    ]:
        logits = eager_logits(toy, prompt).numpy().copy()
        window = prompt if change else prompt[-3:]
        for token in set(window):
            change = change or (lambda x, n: x - 9)
            logits[token] = change(logits[token], window.count(token))
        assert llm.generate(prompt, max_new_tokens=1, **settings).tokens == [int(logits.argmax())]


def test_a_seed_means_the_same_text_on_any_thread_count(toy_path: Path) -> None:
    texts = set()
    for threads in (1, 2, 3):
        with LLM(toy_path, threads=threads) as llm:
            texts.add(llm.generate(PROMPT, temperature=1.2, seed=5, max_new_tokens=30))
    assert len(texts) == 1
    with LLM(toy_path) as llm:
        others = {llm.generate(PROMPT, temperature=1.2, max_new_tokens=30) for _ in range(8)}
    assert len(others) > 1


def test_scores_are_log_probabilities(llm: LLM, toy: Toy) -> None:
    score = llm.score(PROMPT)
    for place in range(1, len(PROMPT)):
        logits = eager_logits(toy, PROMPT[:place])
        expected = torch.log_softmax(logits, -1)[PROMPT[place]]
        assert score.log_probabilities[place - 1] == pytest.approx(float(expected), abs=1e-5)
        assert score.best[place - 1] == int(logits.argmax())
    assert score.perplexity == pytest.approx(float(np.exp(-score.log_probabilities.mean())))


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": "warm"},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"min_p": -0.1},
        {"typical_p": 2.0},
        {"top_k": -1},
        {"top_k": 1.5},
        {"repetition_penalty": 0.0},
        {"frequency_penalty": 1000.0},
        {"max_new_tokens": -1},
        {"seed": -1},
        {"stop": "text"},
        {"stop": [""]},
        {"stop": ["a\0b"]},
        {"warmth": 1},
        {"speculation": "maybe"},
        {"speculation": True},
    ],
)
def test_settings_out_of_range_are_refused(llm: LLM, settings: dict[str, object]) -> None:
    with pytest.raises(RuntimeFailure, match=r"^\[.*\] expected .* but "):
        llm.generate(PROMPT, **settings)


@pytest.mark.parametrize("tokens", [[], [-1], [10**6], [1 << 40], ["a"], [True]])
def test_tokens_that_are_none_are_refused(llm: LLM, tokens: list[int]) -> None:
    with pytest.raises(RuntimeFailure, match="expected"):
        llm.generate(tokens)


def test_a_program_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    from penlight import to_edge

    class Add(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    path = tmp_path / "add.pte"
    to_edge(torch.export.export(Add(), (torch.ones(1),))).to_executorch().save(path)
    with pytest.raises(ProgramError, match="expected a language model"):
        LLM(path)


def test_a_model_without_tokenizer_works_on_tokens(bare_path: Path) -> None:
    with LLM(bare_path, threads=1) as llm:
        assert len(llm.generate(PROMPT, max_new_tokens=3, ignore_eos=True).tokens) == 3
        with pytest.raises(PenlightError, match="expected a tokenizer"):
            llm.generate("text")
        with pytest.raises(PenlightError, match="use stop ids"):
            llm.generate(PROMPT, stop=["x"])


def test_a_profile_counts_every_call(toy_path: Path) -> None:
    with LLM(toy_path) as llm, llm.profile() as profile:
        for speculation in ("off", "always"):
            llm.reset()
            llm.generate([1, 7, 8, 9], max_new_tokens=5, temperature=0, ignore_eos=True,
                         speculation=speculation)  # fmt: skip
        runs = [
            {c.runs for c in profile.instructions if c.kind == "kernel" and c.method == method}
            for method in (0, 1)
        ]
    # Without speculation one call reads the prompt, and one more each token but the last.
    assert len(runs[0]) == len(runs[1]) == 1
    (forward,), (verify,) = runs
    assert 5 < forward + verify <= 10
    assert all(cost.runs for cost in profile.operators())


def test_an_answer_is_made_without_numpy(toy_path: Path) -> None:
    """Importing it takes half of the time until a model is ready, and of the private memory."""
    code = (
        "import sys, penlight; llm = penlight.LLM(sys.argv[1], threads=1); "
        "print(len(llm.generate([5, 6, 7], max_new_tokens=3, ignore_eos=True).tokens), "
        "'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, toy_path],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "3 False\n"
