"""A model captured by a few of its layers is the model captured whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from references import VARIANTS, reference, saved
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from penlight.checkpoints import open_checkpoint
from penlight.llm.capture import capture, capture_whole
from penlight.models import build
from penlight.models._layers import Attention, CausalLM, GatedMLP, Position, PreNormLayer
from penlight.models.config import ModelConfig
from penlight.quantize.transform import pack_layers

LENGTH = 32
LAYERS = 6


def described(program: Any) -> dict[str, Any]:
    """All of a program but the names of its nodes, which are numbers here."""
    nodes = {node: i for i, node in enumerate(program.graph.nodes)}

    def call(node: Node) -> tuple[Any, ...]:
        args = map_arg((node.args, node.kwargs), lambda argument: f"#{nodes[argument]}")
        value = node.meta.get("val")
        tensor = (value.shape, value.dtype, value.device) if isinstance(value, Tensor) else value
        stack = node.meta.get("nn_module_stack", {}).values()
        return node.op, str(node.target), args, str(tensor), [path for path, _ in stack]

    signature = program.graph_signature
    return {
        "calls": [call(node) for node in nodes],
        "inputs": [(s.kind, s.target, s.persistent) for s in signature.input_specs],
        "named": all(
            s.arg.name == n.name for s, n in zip(signature.input_specs, nodes, strict=False)
        ),
        "outputs": [s.kind for s in signature.output_specs],
        "ranges": sorted(map(str, program.range_constraints.values())),
        "state": {k: (v.shape, v.dtype) for k, v in sorted(program.state_dict.items())},
        "constants": {k: (v.shape, v.dtype) for k, v in sorted(program.constants.items())},
    }


@pytest.fixture
def captured_layers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers torch.export was given, each time."""
    counts: list[int] = []
    export = torch.export.export

    def counting(model: Any, *args: Any, **options: Any) -> Any:
        counts.append(len(model.layers))
        return export(model, *args, **options)

    monkeypatch.setattr(torch.export, "export", counting)
    return counts


def made(config: ModelConfig, formats: dict[str, str] | None = None) -> CausalLM:
    model = build(config, context=config.context_length, cache_dtype=torch.float16, device="meta")
    pack_layers(model, formats or {})
    return model


@pytest.mark.parametrize("variant", VARIANTS)
def test_layers_of_a_kind_are_captured_once(
    variant: str, tmp_path: Path, captured_layers: list[int]
) -> None:
    family, changes = VARIANTS[variant]
    with open_checkpoint(
        saved(reference(family, {**changes, "num_hidden_layers": LAYERS}), tmp_path)
    ) as checkpoint:
        config = checkpoint.config
    whole = capture_whole(made(config), LENGTH)
    part = capture(made(config), LENGTH)
    kinds = {(config.window(i), config.uses_rope(i)) for i in range(1, LAYERS)}
    assert captured_layers == [LAYERS, 1 + len(kinds)]
    assert described(part) == described(whole)


CONFIG_CHANGES = {"num_hidden_layers": LAYERS, "hidden_size": 96, "intermediate_size": 96}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    folder = tmp_path_factory.mktemp("llama")
    with open_checkpoint(saved(reference("Llama", CONFIG_CHANGES), folder)) as checkpoint:
        return checkpoint.config


def test_layers_with_other_formats_are_another_kind(
    config: ModelConfig, captured_layers: list[int]
) -> None:
    names = [n for n, p in made(config).named_parameters() if p.dim() == 2]
    finer = {"layers.2.self_attn.v_proj.weight", "layers.5.self_attn.v_proj.weight"}
    formats = {name: "q6g32" if name in finer else "q4g32c" for name in names}
    whole = capture_whole(made(config, formats), LENGTH)
    part = capture(made(config, formats), LENGTH)
    assert captured_layers == [LAYERS, 3]
    assert described(part) == described(whole)


class Shared(PreNormLayer):
    """Adds what the first layer was given, which it leaves for the others."""

    def forward(self, x: Tensor, position: Position) -> Tensor:
        if not hasattr(position, "first"):
            position.first = x * 2.0  # type: ignore[attr-defined]
        return super().forward(x, position) + position.first  # type: ignore[attr-defined]


class Numbered(PreNormLayer):
    """Adds its number."""

    number = 0

    def forward(self, x: Tensor, position: Position) -> Tensor:
        return super().forward(x, position) + self.number


class Model(CausalLM):
    kind: type[PreNormLayer]

    def layer(self, index: int, cache: Any) -> PreNormLayer:
        layer = self.kind(self.config, Attention(self.config, index, cache), GatedMLP(self.config))
        if isinstance(layer, Numbered):
            layer.number = index
        return layer


@pytest.mark.parametrize(
    ("kind", "captured"), [(Shared, [LAYERS, 2, LAYERS]), (Numbered, [LAYERS, LAYERS])]
)
def test_layers_that_are_not_alike_are_captured_whole(
    kind: type[PreNormLayer], captured: list[int], config: ModelConfig, captured_layers: list[int]
) -> None:
    def model() -> CausalLM:
        made = type("Model", (Model,), {"kind": kind})(config, LENGTH, torch.float32)
        made.requires_grad_(False)
        return made.eval()  # type: ignore[no-any-return]

    whole = capture_whole(model(), LENGTH)
    part = capture(model(), LENGTH)
    assert captured_layers == captured
    assert described(part) == described(whole)


def test_a_model_has_its_layers_back(config: ModelConfig) -> None:
    model = made(replace(config, tied=True))
    layers = [*model.layers]
    capture(model, LENGTH)
    assert [*model.layers] == layers
    with pytest.raises(Exception, match="Dim"):
        capture(model, 0)
    assert [*model.layers] == layers
