"""Reading exported programs: their weights by layer, and their logits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from references import saved
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

import penlight
from penlight.checkpoints import open_checkpoint
from penlight.models import build, load_float
from penlight.program.read import ProgramFile
from penlight.program.schema import KernelCall, Tensor

VOCABULARY = 97  # of the reference models
TEMPLATE = "{% for m in messages %}{{ m.content }} {% endfor %}"


def eager(checkpoint: Path, **options: Any) -> Any:
    """The float model of a checkpoint in PyTorch, with one set of rotary frequencies."""
    with open_checkpoint(checkpoint) as opened:
        config = opened.config
        context = options.get("context", config.context_length)
        rope = config.rope.without_switch(context)
        model = build(replace(config, rope=rope), **options)
        load_float(model, opened)
    return model


class Running:
    """A program's forward, called as the eager model is."""

    def __init__(self, path: Path) -> None:
        self.forward = penlight.load(path).method("forward")

    def __call__(self, tokens: torch.Tensor, input_pos: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.array(self.forward(tokens.numpy(), input_pos.numpy())))


def chat_folder(model: Any, folder: Path) -> Path:
    """A Hugging Face folder with a tokenizer of words, a template and settings."""
    saved(model, folder)
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(w, special=True) for w in ("<unk>", "<s>", "</s>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    generation = {"eos_token_id": [2, 7], "temperature": 0.6, "top_p": 0.9}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Model\n")
    return folder


def calls(file: ProgramFile, operator: str) -> list[list[Any]]:
    """The arguments of every call of an operator in forward, in order."""
    return [args for name, args in all_calls(file) if name == operator]


def all_calls(file: ProgramFile) -> Iterator[tuple[str, list[Any]]]:
    """The operator and the arguments of every kernel call of forward, in order."""
    plan = next(p for p in file.program.execution_plan if p.name == "forward")
    for instruction in plan.chains[0].instructions:
        call = instruction.instr_args
        if isinstance(call, KernelCall):
            args = [plan.values[index].val for index in call.args]
            yield plan.operators[call.op_index].name, args


def linear_weights(file: ProgramFile) -> list[tuple[Tensor, str]]:
    """The packed weight and the format of every linear layer of forward, in order."""
    values = next(p for p in file.program.execution_plan if p.name == "forward").values
    found: list[tuple[Tensor, str]] = []
    for name, args in all_calls(file):
        if name == "penlight::linears":
            found += [(values[index].val, args[2].string_val) for index in args[1].items]
        elif name == "penlight::gated_linear":
            found += [(weight, args[3].string_val) for weight in args[1:3]]
        elif name in ("penlight::linear", "penlight::linear_add"):
            weight, format = args[1:3] if name == "penlight::linear" else args[2:4]
            found.append((weight, format.string_val))
    return found


def constant(file: ProgramFile, tensor: Tensor) -> memoryview:
    """The bytes of a packed weight."""
    assert tensor.data_buffer_idx > 0 and tensor.allocation_info is None
    return file.constant(tensor.data_buffer_idx, int(np.prod(tensor.sizes)))
