"""The models that every promise is tested on: export, both runtimes, interoperability.

Each is plain PyTorch with fixed weights and inputs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from tests.zoo_model import Arguments, Modules, ZooModel


class Add(nn.Module):
    """ExecuTorch's first example."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


ACTIVATIONS: tuple[nn.Module, ...] = (
    nn.ReLU(), nn.ReLU6(), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(),
    nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.SELU(), nn.CELU(), nn.LeakyReLU(0.1), nn.PReLU(),
    nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(), nn.Softplus(), nn.Softsign(), nn.LogSigmoid(),
    nn.Tanhshrink(), nn.Softshrink(), nn.Hardshrink(), nn.Threshold(0.1, 0.2),
    nn.Softmax(-1), nn.LogSoftmax(-1), nn.Softmin(-1),
)  # fmt: skip


class ActivationMLP(nn.Module):
    """A layer before every activation; all results are summed and returned one by one too."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(12, 12) for _ in ACTIVATIONS)
        self.activations = nn.ModuleList(ACTIVATIONS)
        self.gate = nn.Linear(12, 24)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        results = [a(layer(x)) for a, layer in zip(self.activations, self.layers, strict=True)]
        results.append(F.glu(self.gate(x), -1))
        return torch.stack(results).sum(0), results


class LeNet(nn.Module):
    """LeCun et al., 1998, with max pooling and ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.classifier(self.features(x).flatten(1)), dim=1)


class ResNetBlock(nn.Module):
    """Stem, basic block with a strided shortcut (He et al., 2015), several kinds of pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.first, self.norm1 = nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.second, self.norm2 = nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.shortcut = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
        self.pools = nn.ModuleList(
            [nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(2)]
        )
        self.late_norm = nn.BatchNorm2d(16)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
                nn.init.uniform_(module.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm2(self.second(torch.relu(self.norm1(self.first(x)))))
        y = self.late_norm(torch.relu(y + self.shortcut(x)))
        return torch.cat([pool(y).flatten(1) for pool in self.pools], dim=1)


def example_module(name: str) -> Any:
    """A module of the examples folder, by file name."""
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"examples_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class SequenceLSTM(nn.Module):
    """Two layers, the second half of them backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, state = self.lstm(x)
        return self.head(output[:, -1]), state


class TransformerBlock(nn.Module):
    """Layer norm before attention and before the MLP (Xiong et al., 2020)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (t.reshape(batch, length, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Token and position embedding, causal pre-norm blocks, a tied head."""

    def __init__(self, vocabulary: int = 50, width: int = 32, heads: int = 4, layers: int = 2):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(64, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        positions = torch.arange(length, device=tokens.device)
        mask = positions[:, None] >= positions[None, :]
        x = self.tokens(tokens) + self.positions(positions)
        for block in self.blocks:
            x = block(x, mask)
        return F.linear(self.norm(x), self.tokens.weight)


class MixedOps(nn.Module):
    """Everything that moves, selects or compares."""

    def forward(self, x: Tensor, y: Tensor, index: Tensor) -> dict[str, Tensor]:
        left, right = x.split([2, 2], dim=1)
        joined = torch.cat([left * 2, right + 1, y[:, :2]], dim=1)
        chosen = torch.where(joined > 0, joined, -joined / 3)
        values, places = chosen.topk(2, dim=1)
        gathered = torch.gather(chosen, 1, index)
        picked = chosen[torch.tensor([2, 0]), torch.tensor([1, 3])]
        turned = chosen.t().unsqueeze(0).expand(2, -1, -1).permute(1, 2, 0)
        return {
            "clamped": chosen.clamp(-0.5, 0.75),
            "values": values,
            "places": places,
            "gathered": gathered,
            "picked": picked,
            "turned": turned + 1,
            "strided": x[:, ::2] * y[0, 1],
            "flipped": torch.flip(x, [0]).cumsum(1),
            "reduced": chosen.amax(1) - chosen.mean(1) + chosen.sum(),
            "best": chosen.argmax(1),
            "padded": F.pad(x, (1, 1, 0, 2), value=0.5).pow(2).sqrt(),
            "rounded": (x * 3).round() % 2 + torch.floor(y * 4),
            "triangle": torch.tril(x[:, :3]).roll(1, 1),
            "spread": chosen.var(1, unbiased=True) + chosen.std(0).sum(),
        }


class IntegerAndBool(nn.Module):
    """int64 and bool arithmetic, and numbers among the inputs and outputs."""

    def forward(self, a: Tensor, b: Tensor, flag: Tensor) -> tuple[Any, ...]:
        both = (a > b) & flag | ~(a == 3)
        bits = (a * 2) ^ (b & 7) | 1
        mixed = a * 0.5 + flag
        return (
            a + b * 2 - 7, a // 3, a % 4, -a, both, bits, mixed, both.sum(), both.any(),
            a.to(torch.int32) + 1, (a / b), torch.where(flag, a, b), flag.to(torch.float32).mean(),
            a.clamp(0, 5), torch.maximum(a, b), 3, None,
        )  # fmt: skip


class Shifts(nn.Module):
    """Shifts of integers, negative ones included, by numbers and by tensors."""

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        return (a << 1, a >> 1, a << b, a.to(torch.int32) >> b.to(torch.int32))


class HalfTypes(nn.Module):
    """float16 and bfloat16 in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.half_layer = nn.Linear(8, 8).half()
        self.brain_layer = nn.Linear(8, 8).bfloat16()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.half_layer(x) * 0.5 + 1)
        b = torch.sigmoid(self.brain_layer(y)) - y
        return h, b, h.float() + b.float()


class ChannelsLast(nn.Module):
    """Takes and works on images whose channels lie innermost."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1).to(memory_format=torch.channels_last)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.pool(torch.relu(self.conv(x)))
        return y, y.mean((2, 3)) + x.amax((2, 3)).sum()


class DynamicLength(nn.Module):
    """Any number of rows; sizes take part in the arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = x.shape[0]
        y = torch.tanh(self.layer(x))
        flat = y.reshape(rows * 2, 3)
        table = torch.arange(rows, dtype=torch.float32)[:, None] + y.sum(1)[None, :]
        return flat * rows, table.softmax(-1), torch.cat([x, x[: rows - 1]]).mean(0)


class Cache(nn.Module):
    """State kept between calls: a ring of rows, a running sum, a counter that starts at 5."""

    ring: Tensor
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ring", torch.zeros(4, 3))
        self.register_buffer("total", torch.ones(3))
        self.register_buffer("count", torch.tensor([5]))

    def forward(self, row: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        before = self.total * 1
        self.ring.index_put_((place,), row)
        self.total.add_(row[0])
        self.count.add_(1)
        return self.ring.sum(0), self.total - before, self.count


class Encoder(nn.Module):
    """One of two methods over the same weights."""

    def __init__(self, table: nn.Embedding, layer: nn.Linear) -> None:
        super().__init__()
        self.table, self.layer = table, layer

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layer(self.table(tokens)).mean(0)


class Decoder(Encoder):
    """The other method: scores of all tokens."""

    def forward(self, code: Tensor) -> Tensor:
        return code @ self.layer.weight @ self.table.weight.t()


class Nested(nn.Module):
    """Containers, nothing, unused and passed-through inputs, constants and aliases as outputs."""

    constant: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("constant", torch.tensor([1.0, 2.0]))

    def forward(
        self, pair: tuple[Tensor, dict[str, Tensor]], missing: None, unused: Tensor, scale: float
    ) -> dict[str, Any]:
        x, more = pair
        y = x * scale + more["bias"]
        return {
            "same": (y, y), "view": y.reshape(-1), "input": x, "constant": self.constant,
            "nothing": missing, "list": [y[0], more["bias"].neg()],
        }  # fmt: skip


class Branches(nn.Module):
    """A choice that depends on data."""

    def forward(self, x: Tensor) -> Tensor:
        def positive(t: Tensor) -> Tensor:
            return torch.relu(t) * 2 + 1

        def negative(t: Tensor) -> Tensor:
            return t.reshape(2, 2).t().reshape(4)

        return torch.cond(x.sum() > 0, positive, negative, (x,)) - 1


def _multi() -> Modules:
    table, layer = nn.Embedding(20, 8), nn.Linear(8, 8)
    return {"encode": Encoder(table, layer), "decode": Decoder(table, layer)}


def _forward(*calls: Arguments) -> list[tuple[str, Arguments]]:
    return [("forward", arguments) for arguments in calls]


def _mobilenet() -> Modules:
    return {"forward": example_module("mobilenet_v2").pretrained()}


def _one(factory: Callable[[], nn.Module]) -> Callable[[], Modules]:
    return lambda: {"forward": factory()}


ZOO: tuple[ZooModel, ...] = (
    ZooModel("add", _one(Add), lambda: _forward((torch.ones(1), torch.full((1,), 2.0)))),
    ZooModel(
        "add_broadcast", _one(Add), lambda: _forward((torch.randn(3, 1, 4), torch.randn(2, 1)))
    ),
    ZooModel("mlp_activations", _one(ActivationMLP), lambda: _forward((torch.randn(5, 12),))),
    ZooModel("lenet", _one(LeNet), lambda: _forward((torch.randn(2, 1, 28, 28),))),
    ZooModel("resnet_block", _one(ResNetBlock), lambda: _forward((torch.randn(1, 3, 32, 32),))),
    ZooModel(
        "mobilenet_v2",
        _mobilenet,
        lambda: _forward((example_module("mobilenet_v2").photograph(),)),
    ),
    ZooModel("lstm", _one(SequenceLSTM), lambda: _forward((torch.randn(2, 5, 6),))),
    ZooModel("transformer", _one(Transformer), lambda: _forward((torch.randint(0, 50, (1, 12)),))),
    ZooModel(
        "mixed_ops",
        _one(MixedOps),
        lambda: _forward(
            (torch.randn(3, 4), torch.randn(3, 4), torch.tensor([[0, 1], [5, 2], [3, 3]]))
        ),
    ),
    ZooModel(
        "integer_and_bool",
        _one(IntegerAndBool),
        lambda: _forward(
            (
                torch.arange(-3, 5).reshape(2, 4),
                torch.tensor([3, 1, 2, 5]),
                torch.tensor([[True], [False]]),
            )
        ),
    ),
    ZooModel(
        "shifts",
        _one(Shifts),
        lambda: _forward((torch.arange(-3, 5).reshape(2, 4), torch.tensor([3, 1, 2, 5]))),
    ),
    ZooModel(
        "half_types",
        _one(HalfTypes),
        lambda: _forward((torch.randn(3, 8).half(), torch.randn(3, 8).bfloat16())),
        tolerance=2**-7,  # one unit in the last place of bfloat16, whose sums may round otherwise
    ),
    ZooModel(
        "channels_last",
        _one(ChannelsLast),
        lambda: _forward((torch.randn(1, 3, 8, 8).to(memory_format=torch.channels_last),)),
    ),
    ZooModel(
        "dynamic_length",
        _one(DynamicLength),
        lambda: _forward(*((torch.randn(n, 4),) for n in (5, 9, 3, 16))),
        dynamic_shapes={"forward": {"x": {0: Dim("rows", min=3, max=16)}}},
    ),
    ZooModel(
        "dynamic_transformer",
        _one(Transformer),
        lambda: _forward(*((torch.randint(0, 50, (1, n)),) for n in (7, 3, 20))),
        dynamic_shapes={"forward": {"tokens": {1: Dim("length", min=2, max=32)}}},
    ),
    ZooModel(
        "cache",
        _one(Cache),
        lambda: _forward(*((torch.randn(1, 3), torch.tensor([n])) for n in (0, 2, 1))),
    ),
    ZooModel(
        "multi_method",
        _multi,
        lambda: [
            ("encode", (torch.tensor([3, 1, 4]),)),
            ("decode", (torch.randn(8),)),
            ("encode", (torch.tensor([0, 19, 7]),)),
        ],
        constant_methods={"version": 3, "labels": ["a", "b"], "scale": 0.5, "ready": True},
    ),
    ZooModel(
        "nested",
        _one(Nested),
        lambda: _forward(
            ((torch.randn(2, 3), {"bias": torch.randn(3)}), None, torch.randn(7), 1.5)
        ),
    ),
    ZooModel(
        "branches",
        _one(Branches),
        lambda: _forward((torch.tensor([1.0, -2, 3, 4]),), (torch.tensor([1.0, -2, 3, -4]),)),
    ),
)
