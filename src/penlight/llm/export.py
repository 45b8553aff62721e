"""From a checkpoint to a program that chats.

    export_llm("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2.pte")

The model is captured with fake tensors, so no weight is read to trace it; each is read, quantised,
packed and written while the file is written. Memory is that of the capture and a few rows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import penlight
from penlight.errors import CheckpointError, ExportError
from penlight.llm.sources import SCHEMES, FloatSource, choose_formats, weight_source
from penlight.llm.tokenizer import vocabulary_table
from penlight.program.write import Blob, DataSource

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from penlight.checkpoints.source import Checkpoint

__all__ = ["SCHEMES", "ExportReport", "export_llm"]

PREFILL = 512  # most tokens of one forward call
_EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight")
_CACHE_TYPES = ("float16", "float32")

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExportReport:
    """What was made. seconds: by step, "capture", "lower" and "write"."""

    path: Path
    nbytes: int
    card: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)


def export_llm(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    quant: str | None = None,
    embedding_quant: str | None = None,
    context: int | None = None,
    prefill: int = PREFILL,
    cache: str = "float16",
    report: Report | None = None,
) -> ExportReport:
    """Export a language model to one .pte file that holds all that a chat needs.

    Args:
        source: a GGUF file, a Hugging Face folder, Meta's folder, or a hub id.
        output: a path that ends in .pte; it is complete or untouched.
        quant: one of `SCHEMES`; by default "keep" for GGUF and "q4" for float checkpoints.
        embedding_quant: the same for embedding and output head, which are 8 bit under "q4".
        context: the most tokens of a conversation; the model's own maximum by default. Memory is
            taken only as far as it is used.
        prefill: the most tokens of one forward call.
        cache: element type of keys and values, "float16" or "float32".
        report: called with (step, done, total) as the work goes on.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or of an unknown architecture.
        ExportError: wrong arguments, or a model that a program cannot express.
        OSError: the file cannot be written.
    """
    from penlight.checkpoints import open_checkpoint

    if not os.fspath(output).endswith(".pte"):
        raise ExportError(
            f"[export] expected an output that ends in .pte but got {os.fspath(output)!r}; "
            "rename it"
        )
    if cache not in _CACHE_TYPES:
        raise ExportError(f"[cache] expected float16 or float32 but got {cache!r}; choose one")
    tell = report or (lambda step, done, total: None)
    tell("open the checkpoint", 0, 0)
    with open_checkpoint(os.fspath(source)) as checkpoint:
        scheme = quant or ("keep" if _is_quantised(checkpoint) else "q4")
        job = _Job(checkpoint, scheme, embedding_quant, context, prefill, cache, tell)
        with ThreadPoolExecutor(1) as pool:  # reads and hashes while the model is captured
            digests = pool.submit(checkpoint.provenance.digests)
            return job.run(Path(output), digests.result)


def _is_quantised(checkpoint: Checkpoint) -> bool:
    return any(tensor.quantised for tensor in checkpoint.tensors.values())


@dataclass
class _Job:
    checkpoint: Checkpoint
    scheme: str
    embedding_scheme: str | None
    context: int | None
    prefill: int
    cache: str
    tell: Report
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, output: Path, digests: Callable[[], dict[str, str]]) -> ExportReport:
        from penlight import to_edge

        begin = time.perf_counter()
        self.tell("capture the model", 0, 0)
        model, constants = self._model()
        captured = self._capture(model)
        begin = self._lap("capture", begin)
        self.tell("lower the graph", 0, 0)
        edge = to_edge(captured, constant_methods=self._constant_methods(model))
        program = edge.to_executorch(constants=constants)
        begin = self._lap("lower", begin)
        self.tell("hash the checkpoint", 0, 0)
        card = self._card(model, digests())
        for key, data in self._named_data(card).items():
            program.builder.add_named_data(key, Blob(data))
        program.save(output, lambda done, total: self.tell("write", done, total))
        self._lap("write", begin)
        return ExportReport(output, output.stat().st_size, card, self.seconds)

    def _lap(self, step: str, begin: float) -> float:
        end = time.perf_counter()
        self.seconds[step] = end - begin
        return end

    def _model(self) -> tuple[nn.Module, dict[str, DataSource]]:
        """The packed model without data, and where the bytes of every parameter come from."""
        import torch

        import penlight.edge.ops  # noqa: F401  (registers torch.ops.penlight)
        from penlight import models
        from penlight.quantize.transform import pack_layers

        tensors = self.checkpoint.tensors
        config = self.checkpoint.config
        context = min(self.context or config.context_length, config.context_length)
        model = models.build(
            config, context=context, cache_dtype=getattr(torch, self.cache), device="meta"
        )
        models.check_tensors(model, self.checkpoint)
        matrices = {
            name: name in _EMBEDDINGS
            for name, parameter in model.named_parameters(remove_duplicate=False)
            if parameter.dim() == 2
        }
        stored = {name: "embed_tokens.weight" if name not in tensors else name for name in matrices}
        formats = choose_formats(
            {name: tensors[stored[name]] for name in matrices},
            matrices,
            self.scheme,
            self.embedding_scheme,
        )
        pack_layers(model, formats)
        sources: dict[str, DataSource] = {}
        for name, _ in model.named_parameters(remove_duplicate=False):
            if name not in formats:
                sources[name] = FloatSource(tensors[name])
            elif stored[name] == name:
                sources[name] = weight_source(tensors[name], formats[name])
        for name in formats:
            sources.setdefault(name, sources[stored[name]])  # tied: one source, stored once
        self.formats, self.length = formats, context
        return model, sources

    def _capture(self, model: nn.Module) -> ExportedProgram:
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode

        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            _make_fake(model)
            tokens = torch.zeros(1, 8, dtype=torch.int64)
            position = torch.zeros(1, dtype=torch.int64)
        longest = max(2, min(self.prefill, self.length))
        length = torch.export.Dim("length", min=1, max=longest)
        static = torch.export.Dim.STATIC
        with torch.no_grad():
            return torch.export.export(
                model,
                (tokens, position),
                dynamic_shapes={"tokens": {0: static, 1: length}, "input_pos": {0: static}},
            )

    def _constant_methods(self, model: nn.Module) -> dict[str, Any]:
        """What ExecuTorch's language-model runners ask a program for."""
        tokenizer = self.checkpoint.tokenizer
        stops = list(tokenizer.stop_ids) if tokenizer else []
        if tokenizer and tokenizer.eos_id is not None and tokenizer.eos_id not in stops:
            stops.insert(0, tokenizer.eos_id)
        bos = tokenizer.bos_id if tokenizer else None
        return {
            "get_bos_id": -1 if bos is None else bos,
            "get_eos_ids": stops,
            "get_max_seq_len": max(2, min(self.prefill, self.length)),
            "get_max_context_len": self.length,
            "get_vocab_size": self.checkpoint.config.vocab_size,
            "get_n_layers": self.checkpoint.config.layers,
            "use_kv_cache": True,
            "use_sdpa_with_kv_cache": False,
            "enable_dynamic_shape": True,
        }

    def _card(self, model: nn.Module, digests: dict[str, str]) -> dict[str, Any]:
        origin = self.checkpoint.provenance
        shapes = (tensor.shape for tensor in self.checkpoint.tensors.values())
        sizes = [_product(shape) for shape in shapes]
        return {
            "name": origin.name,
            "architecture": self.checkpoint.config.architecture,
            "parameters": sum(sizes),
            "context_length": self.length,
            "scheme": self.scheme,
            "formats": sorted(set(self.formats.values())),
            "cache": self.cache,
            "licence": origin.licence,
            "source": digests,
            "penlight": penlight.__version__,
        }

    def _named_data(self, card: dict[str, Any]) -> dict[str, bytes]:
        data = {"penlight.model": _json(card)}
        if self.checkpoint.generation:
            data["penlight.generation"] = _json(dict(self.checkpoint.generation))
        tokenizer = self.checkpoint.tokenizer
        if tokenizer is None:
            return data
        data["penlight.tokenizer"] = bytes(tokenizer.tokenizer_json)
        data["penlight.tokenizer_config"] = _json(
            {
                "bos_id": tokenizer.bos_id,
                "eos_id": tokenizer.eos_id,
                "stop_ids": list(tokenizer.stop_ids),
                "add_bos": tokenizer.add_bos,
                "special_tokens": dict(tokenizer.special_tokens),
            }
        )
        size = self.checkpoint.config.vocab_size
        try:
            data["penlight.vocabulary"] = vocabulary_table(tokenizer.tokenizer_json, size)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"[tokenizer] expected a tokenizer.json but it lacks {error}; check the checkpoint"
            ) from None
        if tokenizer.chat_template:
            data["penlight.chat_template"] = tokenizer.chat_template.encode()
        return data


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _make_fake(model: nn.Module) -> None:
    """Give every tensor of the meta device a fake one on the CPU; shared ones stay shared."""
    import torch
    from torch import nn

    made: dict[int, torch.Tensor] = {}

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
            is_parameter = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(empty, requires_grad=False) if is_parameter else empty
        return made[id(tensor)]

    for module in model.modules():
        for registry in (module._parameters, module._buffers):
            for name, tensor in registry.items():
                if tensor is not None and tensor.is_meta:
                    registry[name] = fake(tensor)  # type: ignore[assignment]
