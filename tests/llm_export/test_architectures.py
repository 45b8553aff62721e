"""Every architecture, exported, computes the logits of the eager model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Running, eager
from references import LONGROPE, SIZES, VARIANTS, reference, saved

from penlight.llm.export import export_llm

TOKENS = 40
TOLERANCE = 1e-4
ALL = {
    **VARIANTS,
    "phi3, longrope past its switch": (
        "Phi3",
        {"original_max_position_embeddings": 16, "rope_parameters": LONGROPE},
    ),
}


@pytest.fixture(params=ALL, scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ours in eager PyTorch, the program, and tokens."""
    folder = tmp_path_factory.mktemp("model")
    saved(reference(*ALL[request.param]), folder / "checkpoint")
    path = folder / "model.pte"
    export_llm(folder / "checkpoint", path, quant="f32", cache="float32", prefill=TOKENS)
    return (
        eager(folder / "checkpoint"),
        Running(path),
        torch.randint(3, SIZES["vocab_size"], (1, TOKENS)),
    )


def test_prefill_of_any_length_gives_the_eager_logits(pair: Any) -> None:
    ours, program, tokens = pair
    for length in (1, 2, 7, 16, 17, TOKENS):
        start = torch.tensor([0])
        logits = program(tokens[:, :length], start)
        assert logits.shape == (1, SIZES["vocab_size"])
        expected = ours(tokens[:, :length], start)
        torch.testing.assert_close(logits, expected, rtol=0, atol=TOLERANCE)


def test_tokens_after_a_prompt_give_the_eager_logits(pair: Any) -> None:
    ours, program, tokens = pair
    for first, last in ((0, 5), (5, 14), *((i, i + 1) for i in range(14, TOKENS))):
        part, start = tokens[:, first:last], torch.tensor([first])
        torch.testing.assert_close(program(part, start), ours(part, start), rtol=0, atol=TOLERANCE)


def test_a_half_precision_cache_gives_the_eager_logits(tmp_path: Path) -> None:
    folder = saved(reference("Llama", {}), tmp_path / "model")
    export_llm(folder, tmp_path / "model.pte", quant="f32")
    ours, program = eager(folder, cache_dtype=torch.float16), Running(tmp_path / "model.pte")
    tokens = torch.randint(3, SIZES["vocab_size"], (1, TOKENS))
    for first, last in ((0, 30), *((i, i + 1) for i in range(30, TOKENS))):
        part, start = tokens[:, first:last], torch.tensor([first])
        # One rounding of a key or value to 11 bits may go the other way.
        torch.testing.assert_close(program(part, start), ours(part, start), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("context", "lengths"), [(None, (17, 18, 29, TOKENS)), (16, (1, 9, 16))])
def test_a_conversation_has_the_logits_of_its_whole_text_on_either_side_of_the_switch(
    context: int | None, lengths: tuple[int, ...], tmp_path: Path
) -> None:
    """Token by token and in chunks, from before the switch: no key is of the other frequencies."""
    theirs = reference(*ALL["phi3, longrope past its switch"])
    folder, path = saved(theirs, tmp_path / "model"), tmp_path / "model.pte"
    export_llm(folder, path, quant="f32", cache="float32", prefill=8, context=context)
    tokens = torch.randint(3, SIZES["vocab_size"], (1, TOKENS), generator=torch.manual_seed(0))
    program = Running(path)
    for length in lengths:
        first = min(length - 1, 12)
        for begin, end in (
            (0, first // 2),
            (first // 2, first),
            *((i, i + 1) for i in range(first, length)),
        ):
            if begin < end:
                logits = program(tokens[:, begin:end], torch.tensor([begin]))
        with torch.no_grad():
            expected = theirs(tokens[:, :length]).logits[:, -1]
        torch.testing.assert_close(logits, expected, rtol=0, atol=TOLERANCE)
