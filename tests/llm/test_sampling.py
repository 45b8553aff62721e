"""Sampling from a vocabulary as large as it takes for shortcuts to be taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from penlight import LLM, to_edge

from .conftest import CONTEXT, capture
from .test_generation import reference

VOCABULARY = 5003
NEVER = (0, 17, 1023, 5000)  # -infinity, and one NaN
TOPS = (4096, 5002, 1500)  # the likeliest: two equal ones, then one not far behind


class Fixed(nn.Module):
    """The same logits after any token."""

    def __init__(self) -> None:
        super().__init__()
        logits = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(3)) * 2
        logits[0, TOPS] = torch.tensor([8.0, 8.0, 7.9])
        logits[0, NEVER] = -torch.inf
        logits[0, NEVER[1]] = torch.nan
        self.register_buffer("logits", logits)

    def forward(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
        """tokens: int64 [1, T], input_pos: int64 [1] -> float32 [1, V]"""
        return self.logits + 0 * (tokens[:, -1:] + input_pos)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fixed") / "fixed.pte"
    constants = {
        "get_max_seq_len": 8,
        "get_max_context_len": CONTEXT,
        "get_vocab_size": VOCABULARY,
        "use_kv_cache": False,
    }
    to_edge(capture(Fixed().eval()), constant_methods=constants).to_executorch().save(made)
    return made


@pytest.fixture(scope="module")
def llm(path: Path) -> LLM:
    return LLM(path, threads=1)


def test_the_first_of_equal_tokens_is_the_likeliest(llm: LLM) -> None:
    for seen, following in enumerate(TOPS):
        answer = llm.generate([1, *TOPS[:seen]], max_new_tokens=1, repetition_penalty=2.0)
        assert answer.tokens == [following]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 0.05},
        {"temperature": 0.8, "top_k": 1},
        {"temperature": 0.7, "top_k": 40},
        {"temperature": 0.7, "top_k": 40, "top_p": 0.9},
        {"temperature": 1.5, "top_k": 3000},
        {"temperature": 0.9, "top_p": 0.7},
        {"temperature": 1.0, "top_p": 0.99},
        {"temperature": 1.0, "min_p": 0.1},
        {"temperature": 1.0, "top_p": 0.8, "min_p": 0.02},
        {"temperature": 0.6, "typical_p": 0.6},
        {"temperature": 0.6, "typical_p": 0.9, "top_p": 0.9},
    ],
)
def test_samples_of_a_large_vocabulary_follow_the_distribution(
    llm: LLM, settings: dict[str, Any]
) -> None:
    logits = Fixed().logits[0].numpy()
    expected = reference(np.where(np.isnan(logits), -np.inf, logits), settings)
    draws = 1000
    counts = np.zeros(VOCABULARY)
    for seed in range(draws):
        answer = llm.generate([1], max_new_tokens=1, seed=seed, **settings)
        counts[answer.tokens[0]] += 1
    assert not counts[expected == 0].any()
    # Tokens in order of likelihood, in bins of at least 20 draws.
    order = np.argsort(-expected, kind="stable")
    bins = np.floor(np.cumsum(expected[order]) * draws / 20).astype(int)
    wanted = np.bincount(bins, expected[order] * draws)
    found = np.bincount(bins, counts[order])
    filled = wanted > 5
    chi2 = ((found - wanted)[filled] ** 2 / wanted[filled]).sum()
    # The 99.9th percentile of the chi-square distribution is below 2 n + 12 for all n here.
    assert chi2 < 2 * filled.sum() + 12


@pytest.mark.parametrize(
    "settings", [{}, {"top_k": 40}, {"top_p": 0.9}, {"typical_p": 0.9}, {"min_p": 0.01}]
)
def test_a_seed_means_the_same_text_on_any_instruction_set(
    path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    for isa in ("", "scalar"):
        monkeypatch.setenv("PENLIGHT_ISA", isa)
        with LLM(path, threads=1) as llm:
            answers.append(
                llm.generate([1], temperature=1.2, seed=5, max_new_tokens=40, **settings).tokens
            )
    assert len(set(answers[0])) > 10
    assert answers[0] == answers[1]


def test_log_probabilities_of_a_large_vocabulary(llm: LLM) -> None:
    logits = Fixed().logits[0].double()
    expected = torch.log_softmax(logits.nan_to_num(-torch.inf, neginf=-torch.inf), -1)
    tokens = [1, 2000, TOPS[1], 7]
    score = llm.score(tokens)
    np.testing.assert_allclose(score.log_probabilities, expected[tokens[1:]], atol=2e-6)
