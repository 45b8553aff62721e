"""Every architecture, in every variant of its checkpoints, agrees with transformers in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from references import LONGROPE, SIZES, VARIANTS, reference, saved

from penlight import models
from penlight.checkpoints import open_checkpoint
from penlight.errors import CheckpointError
from penlight.models.config import ModelConfig, RopeConfig

TOKENS = 40
TOLERANCE = 1e-4
LONG_ROPE = RopeConfig(
    1e4, 8, "longrope", original_context=16, short_factors=(1.0,) * 4, long_factors=(2.0,) * 4
)


@pytest.fixture(params=VARIANTS, scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The reference, ours from its saved checkpoint, tokens and the reference's logits [T, V]."""
    theirs = reference(*VARIANTS[request.param])
    folder = saved(theirs, tmp_path_factory.mktemp("checkpoint"))
    with open_checkpoint(folder) as checkpoint:
        ours = models.build(checkpoint.config)
        models.load_float(ours, checkpoint)
    tokens = torch.randint(3, SIZES["vocab_size"], (1, TOKENS))
    with torch.no_grad():
        expected = theirs(tokens).logits[0]
    return ours, tokens, expected


def test_one_token_after_another_gives_the_logits_of_every_position(pair: Any) -> None:
    ours, tokens, expected = pair
    for i in range(TOKENS):
        logits = ours(tokens[:, i : i + 1], torch.tensor([i]))
        torch.testing.assert_close(logits[0], expected[i], rtol=0, atol=TOLERANCE)


def test_prefill_of_any_length_gives_the_logits_of_its_last_token(pair: Any) -> None:
    ours, tokens, expected = pair
    for length in range(1, TOKENS + 1):
        logits = ours(tokens[:, :length], torch.tensor([0]))
        assert logits.shape == (1, SIZES["vocab_size"])
        torch.testing.assert_close(logits[0], expected[length - 1], rtol=0, atol=TOLERANCE)


def test_prefill_in_chunks_gives_the_logits_of_the_last_token(pair: Any) -> None:
    ours, tokens, expected = pair
    for first, last in ((0, 7), (7, 23), (23, TOKENS)):
        logits = ours(tokens[:, first:last], torch.tensor([first]))
        torch.testing.assert_close(logits[0], expected[last - 1], rtol=0, atol=TOLERANCE)


def test_longrope_switches_where_transformers_does(tmp_path: Path) -> None:
    changes = {"original_max_position_embeddings": 16, "rope_parameters": LONGROPE}
    theirs = reference("Phi3", changes)
    with open_checkpoint(saved(theirs, tmp_path)) as checkpoint:
        ours = models.build(checkpoint.config)
        models.load_float(ours, checkpoint)
    tokens = torch.randint(3, SIZES["vocab_size"], (1, TOKENS))
    for length in (1, 15, 16, 17, TOKENS):
        with torch.no_grad():
            expected = theirs(tokens[:, :length]).logits[0, -1]
        logits = ours(tokens[:, :length], torch.tensor([0]))
        torch.testing.assert_close(logits[0], expected, rtol=0, atol=TOLERANCE)


def test_a_short_context_needs_no_second_set_of_frequencies() -> None:
    config = tiny(rope=LONG_ROPE)
    assert "rope.long_inv_freq" not in dict(models.build(config, context=16).named_buffers())
    assert "rope.long_inv_freq" in dict(models.build(config, context=17).named_buffers())


def test_every_architecture_is_covered() -> None:
    built = {name.split()[0].rstrip(",") for name in VARIANTS}
    assert built == set(models.architectures())


def test_half_precision_caches_stay_close() -> None:
    torch.manual_seed(0)
    full = models.build(tiny())
    for parameter in full.parameters():
        parameter.normal_(0, 0.2)
    half = models.build(tiny(), cache_dtype=torch.float16)
    half.load_state_dict(full.state_dict())
    assert half.layers[0].self_attn.cache.k.dtype == torch.float16
    tokens = torch.randint(0, 50, (1, 20))
    zero = torch.tensor([0])
    torch.testing.assert_close(half(tokens, zero), full(tokens, zero), rtol=0, atol=2e-2)


def test_a_large_model_on_the_meta_device_takes_no_memory() -> None:
    rope = RopeConfig(5e5, 128, "llama3", 8.0, original_context=8192)
    config = ModelConfig("llama", 128256, 8192, 28672, 80, 64, 8, 128, 1e-5, 131072, rope)
    model = models.build(config, device="meta")
    assert sum(p.numel() for p in model.parameters()) > 70e9
    assert all(p.is_meta for p in model.parameters())
    computed = {name for name, b in model.named_buffers() if not b.is_meta}
    assert computed == {"rope.inv_freq"}


@pytest.mark.parametrize(
    "changes",
    [{"tied": True}, {"rope": LONG_ROPE}, {"architecture": "gemma3", "windows": (8, 0)}],
    ids=["llama", "longrope", "gemma3"],
)
def test_one_capture_serves_prompts_of_every_length(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = models.build(tiny(**changes))
    for parameter in model.parameters():
        parameter.normal_(0, 0.2)
    tokens, zero = torch.randint(0, 50, (1, 40)), torch.tensor([0])
    length = torch.export.Dim("length", min=1, max=model.context - 1)
    captured = torch.export.export(model, (tokens[:, :5], zero), dynamic_shapes=({1: length}, None))
    for count in (1, 2, 16, 17, 40):
        expected = model(tokens[:, :count], zero)
        torch.testing.assert_close(captured.module()(tokens[:, :count], zero), expected)


def test_a_tied_head_is_the_embedding_itself() -> None:
    model = models.build(tiny(tied=True))
    assert model.lm_head.weight is model.embed_tokens.weight
    assert "lm_head.weight" not in dict(model.named_parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "mamba"}, "architectures.*llama.*got 'mamba'"),
        ({"heads": 5}, "divisor of heads"),
        ({"layers": 0}, "layers.*1 to 4096"),
        ({"hidden_size": 1 << 50}, "hidden_size"),
        ({"norm_eps": float("nan")}, "norm_eps"),
        ({"windows": (4,)}, "windows.*one per layer"),
        ({"rope": {"theta": 1e4, "dims": 64}}, "at most head_dim"),
        ({"rope": {"theta": 1e4, "dims": 7}}, "even"),
        ({"rope": {"theta": 1e4, "dims": 8, "attention_factor": float("nan")}}, "attention_factor"),
        ({"head_dim": 9}, "head_dim.*even"),
        ({"rope": {"theta": float("inf"), "dims": 8}}, "theta"),
        ({"rope": {"theta": 1e4, "dims": 8, "kind": "longrope"}}, "factors"),
        ({"rope": {"theta": 1e4, "dims": 8, "kind": "yarn"}}, "original context"),
        ({"hidden": 48}, "one of architecture"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        models.build(ModelConfig.from_dict({**tiny().to_dict(), **changes}))


@pytest.mark.parametrize("context", [0, -1, 65])
def test_a_context_beyond_the_model_is_refused(context: int) -> None:
    with pytest.raises(CheckpointError, match="context of 1 to 64"):
        models.build(tiny(), context=context)


def test_a_configuration_survives_being_written_down() -> None:
    config = tiny(windows=(8, 0), local_rope=RopeConfig(1e4, 8), rope_layers=(True, False))
    assert ModelConfig.from_dict(config.to_dict()) == config


def tiny(**changes: Any) -> ModelConfig:
    values = dict(
        architecture="llama",
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=8,
        norm_eps=1e-5,
        context_length=64,
        rope=RopeConfig(1e4, 8),
    )
    return ModelConfig(**{**values, **changes})
