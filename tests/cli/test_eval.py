"""`penlight eval` predicts every token once, and knows a bad text from a good one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import penlight as package
from penlight.llm.evaluate import perplexity
from tests.cli.conftest import Penlight, one_error_line
from tests.llm.conftest import CONTEXT, Toy

TOKENS = [(7 * n + n * n) % 26 + 6 for n in range(150)]
TEXT = " ".join(f"w{token - 6}" for token in TOKENS)


def eager_perplexity(toy: Toy, window: int, stride: int) -> float:
    """By the definition: each token from what its window holds before it, begin token included."""
    total, done, begin = 0.0, 0, 0
    while done < len(TOKENS):
        part = [1, *TOKENS[begin : begin + window - 1]]
        for end in range(done - begin + 1, len(part)):
            with torch.no_grad():
                logits = toy(torch.tensor([part[:end]]), torch.zeros(1, dtype=torch.int64))
            total -= float(logits[0].log_softmax(0)[part[end]])
        done = begin + len(part) - 1
        begin += stride
    return math.exp(total / len(TOKENS))


@pytest.mark.parametrize(("window", "stride"), [(64, 31), (16, 15), (5, 1), (64, 1)])
def test_perplexity_is_that_of_the_definition(
    toy_path: Path, toy: Toy, window: int, stride: int
) -> None:
    with package.LLM(toy_path) as llm:
        found = perplexity(llm, TEXT, window=window, stride=stride)
    assert found.tokens == len(TOKENS)
    assert found.perplexity == pytest.approx(eager_perplexity(toy, window, stride), rel=1e-4)


def test_tokens_are_predicted_from_the_second_on(toy_path: Path) -> None:
    with package.LLM(toy_path) as llm:
        found = perplexity(llm, TOKENS[:20])
        assert found.tokens == 19
        assert found.perplexity == pytest.approx(llm.score(TOKENS[:20]).perplexity, rel=1e-5)
        assert perplexity(llm, TOKENS, limit=7).tokens == 7


def test_the_command_prints_a_table_and_json(
    penlight: Penlight, toy_path: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    shown = penlight("eval", toy_path, "--text", text)
    assert shown.code == 0, shown.err
    result = json.loads(penlight("eval", toy_path, "--text", text, "--json").out)
    assert result["tokens"] == len(TOKENS)
    assert result["window"] == CONTEXT
    assert f"perplexity  {result['perplexity']:.4f}" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--text", "missing.txt"], "no such file or directory: missing.txt"),
        (["--text", "."], "folder"),
        (["--text", "latin.txt"], "expected UTF-8 text in latin.txt but byte 2 is none"),
        (["--text", "empty.txt"], "expected a text of at least two tokens"),
        (["--text", "fine.txt", "--window", "65"], "expected a window from 3 to 64 but got 65"),
        (["--text", "fine.txt", "--stride", "0"], "expected a stride from 1"),
        (["--text", "fine.txt", "--against", "nothing.gguf"], "nothing.gguf"),
    ],
)
def test_what_is_wrong_is_one_line(
    penlight: Penlight, toy_path: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"w1\xe9")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "fine.txt").write_text("w1 w2 w3")
    done = penlight("eval", toy_path, *arguments, cwd=tmp_path)
    assert says in one_error_line(done)
    assert done.out == ""
