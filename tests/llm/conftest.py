"""A language model small enough to know by heart, with a cache, a tokenizer and a template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn

from penlight import to_edge
from penlight.llm.tokenizer import vocabulary_table
from penlight.program.write import Blob

CONTEXT = 64
CHUNK = 8
END = 2
TEMPLATE = (
    "{% for m in messages %}{{ m.role[0] }} {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}a {% endif %}"
)


class Toy(nn.Module):
    """Logits from the last token and the mean of all before it, which the cache remembers."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.register_buffer("seen", torch.zeros(1, CONTEXT, 1))
        self.last = nn.Parameter(torch.randn(vocabulary, vocabulary, generator=generator))
        self.mean = nn.Parameter(torch.randn(1, vocabulary, generator=generator))

    def forward(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
        """tokens: int64 [1, T], input_pos: int64 [1] -> float32 [1, V]"""
        return self.every(tokens, input_pos)[:, -1]

    def every(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
        """The logits of all tokens, float32 [1, T, V]."""
        places = input_pos + torch.arange(tokens.shape[1])
        counts = places + 1
        self.seen[:, places] = tokens.float().unsqueeze(-1) / 10
        known = (torch.arange(CONTEXT) < counts.unsqueeze(-1)).float()
        mean = (self.seen[0, :, 0] * known).sum(1) / counts
        return nn.functional.embedding(tokens, self.last) + mean.unsqueeze(-1) * self.mean


class Verify(Toy):
    """The toy's method for drafts."""

    def forward(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
        return self.every(tokens, input_pos)


def capture(module: nn.Module, most: int = CHUNK) -> torch.export.ExportedProgram:
    """For up to `most` tokens."""
    length = torch.export.Dim("length", min=1, max=most)
    return torch.export.export(
        module,
        (torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)),
        dynamic_shapes=({1: length}, {0: None}),
    )


def words() -> list[str]:
    return ["<unk>", "<s>", "<end>", "u", "a", "s", *(f"w{n}" for n in range(26))]


def tokenizer_json() -> str:
    """A tokenizer whose tokens are words; the pieces it decodes to begin with a space."""
    vocabulary = {f"\u2581{word}": index for index, word in enumerate(words())}
    vocabulary = {k if i > 2 else k[1:]: i for k, i in vocabulary.items()}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.add_special_tokens([AddedToken(w, special=True) for w in words()[:3]])
    return str(made.to_str())


def build(
    path: Path, *, seed: int = 0, named: dict[str, bytes] | None = None, verify: bool = True
) -> Path:
    vocabulary = len(words())
    methods = {}
    for name, kind in (("forward", Toy), ("verify", Verify))[: 2 if verify else 1]:
        toy = kind(vocabulary).eval()
        with torch.no_grad():
            toy.last += seed
        methods[name] = capture(toy)
    constants = {
        "get_max_seq_len": CHUNK,
        "get_max_context_len": CONTEXT,
        "get_vocab_size": vocabulary,
        "get_bos_id": 1,
        "get_eos_ids": [END],
        "use_kv_cache": True,
    }
    program = to_edge(methods, constant_methods=constants).to_executorch()
    data = {
        "penlight.model": json.dumps({"name": "toy", "seed": seed}).encode(),
        "penlight.tokenizer": tokenizer_json().encode(),
        "penlight.tokenizer_config": json.dumps({"bos_id": 1, "add_bos": True}).encode(),
        "penlight.vocabulary": vocabulary_table(tokenizer_json(), vocabulary),
        "penlight.chat_template": TEMPLATE.encode(),
    }
    for key, value in (data if named is None else named).items():
        program.builder.add_named_data(key, Blob(value))
    program.save(path)
    return path


@pytest.fixture(scope="session")
def toy_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("toy") / "toy.pte")


@pytest.fixture(scope="session")
def other_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("toy") / "other.pte", seed=1)


@pytest.fixture(scope="session")
def bare_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model without tokenizer, template or vocabulary."""
    return build(tmp_path_factory.mktemp("toy") / "bare.pte", named={}, verify=False)


@pytest.fixture(scope="session")
def toy() -> Toy:
    """The same model in eager PyTorch."""
    return Toy(len(words())).eval()
