"""From a checkpoint to a program that chats.

    export_llm("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2.pte")

The model is captured with fake tensors, so no weight is read to trace it; each is read, quantised,
packed and written while the file is written. Memory is that of the capture and a few rows.
"""

from __future__ import annotations

import gc
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import penlight
from penlight.errors import CheckpointError, ExportError
from penlight.llm.sources import SCHEMES, FloatSource, choose_formats, weight_source
from penlight.llm.tokenizer import vocabulary_table
from penlight.program.write import Blob, DataSource

if TYPE_CHECKING:
    from penlight.checkpoints.source import Checkpoint
    from penlight.models._layers import CausalLM

__all__ = ["SCHEMES", "ExportReport", "export_llm"]

PREFILL = 512  # most tokens of one forward call
_EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight")
_CACHE_TYPES = ("float16", "float32", "int8")

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
        output: a path that ends in .pte; the file is complete or untouched.
        quant: one of `SCHEMES`; by default "keep" for GGUF and "q4" for float checkpoints.
        embedding_quant: the same for embedding and output head, which are 8 bit under "q4".
        context: the most tokens of a conversation, 2 or more; at most, and by default, the model's
            own maximum. Memory is taken only as far as it is used. Models with two sets of rotary
            frequencies (longrope) get the long ones if it is beyond what the short ones serve.
        prefill: the most tokens of one forward call, 2 or more.
        cache: element type of keys and values, "float16", "float32" or "int8" (half the
            memory of float16: bytes, and a scale for each head of a position).
        report: called with (step, done, total) as the work goes on.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or of an unknown architecture.
        ExportError: wrong arguments, a model that a program cannot express, or a file that cannot
            be written.
    """
    from penlight.checkpoints import open_checkpoint

    target = Path(output)
    _check_arguments(target, context, prefill, cache)
    tell = report or (lambda step, done, total: None)
    tell("open the checkpoint", 0, 0)
    with open_checkpoint(os.fspath(source)) as checkpoint:
        scheme = quant or ("keep" if _is_quantised(checkpoint) else "q4")
        length = min(context or checkpoint.config.context_length, checkpoint.config.context_length)
        job = _Job(checkpoint, scheme, embedding_quant, length, min(prefill, length), cache, tell)
        with _in_background(checkpoint.provenance.digests) as digests:
            return job.run(target, digests)


def _check_arguments(output: Path, context: int | None, prefill: int, cache: str) -> None:
    if output.suffix != ".pte":
        raise ExportError(
            f"[export] expected an output that ends in .pte but got {os.fspath(output)!r}; "
            "rename it"
        )
    if output.is_dir() or not output.parent.is_dir():
        got = "a folder" if output.is_dir() else f"{os.fspath(output.parent)!r}, which is no folder"
        raise ExportError(
            f"[{output}] expected a file in a folder that exists but got {got}; choose another"
        )
    if cache not in _CACHE_TYPES:
        known = ", ".join(_CACHE_TYPES)
        raise ExportError(f"[cache] expected one of {known} but got {cache!r}; choose one")
    for name, value in (("context", context), ("prefill", prefill)):
        if value is not None and value < 2:
            raise ExportError(
                f"[{name}] expected at least 2 tokens but got {value}; leave it out for the default"
            )


@contextmanager
def _in_background(
    digests: Callable[[Callable[[int], None]], dict[str, str]],
) -> Iterator[Callable[[], dict[str, str]]]:
    """Runs `digests` beside the body, which waits for the result; gives up when the body ends."""
    ended = threading.Event()

    def on_chunk(_: int) -> None:
        if ended.is_set():
            raise InterruptedError

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(digests, on_chunk)
        try:
            yield future.result
        finally:
            ended.set()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Graphs are many small objects: looking for cycles among them takes a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_quantised(checkpoint: Checkpoint) -> bool:
    return any(tensor.quantised for tensor in checkpoint.tensors.values())


@dataclass
class _Job:
    """One export. context, prefill: tokens, within what the model can."""

    checkpoint: Checkpoint
    scheme: str
    embedding_scheme: str | None
    context: int
    prefill: int
    cache: str
    tell: Report
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, output: Path, digests: Callable[[], dict[str, str]]) -> ExportReport:
        from penlight import EdgeProgramManager, to_edge
        from penlight.llm.capture import capture
        from penlight.llm.verify import verify_program

        begin = time.perf_counter()
        self.tell("capture the model", 0, 0)
        with _without_collection():
            model, formats, constants = self._model()
            _check_space(output, constants)
            captured = capture(model, self.prefill)
            begin = self._lap("capture", begin)
            self.tell("lower the graph", 0, 0)
            methods = {"forward": to_edge(captured).exported_program()}
            methods["verify"] = verify_program(methods["forward"])
            edge = EdgeProgramManager(methods, self._constant_methods())
            program = edge.to_executorch(constants=constants)
        begin = self._lap("lower", begin)
        self.tell("hash the checkpoint", 0, 0)
        card = self._card(formats, digests())
        for key, data in self._named_data(card).items():
            program.builder.add_named_data(key, Blob(data))
        begin = self._lap("hash", begin)
        try:
            program.save(output, lambda done, total: self.tell("write", done, total))
        except OSError as error:
            raise ExportError(
                f"[{output}] expected a file that can be written but got: {error.strerror}; "
                "choose another place"
            ) from None
        self._lap("write", begin)
        return ExportReport(output, output.stat().st_size, card, self.seconds)

    def _lap(self, step: str, begin: float) -> float:
        end = time.perf_counter()
        self.seconds[step] = end - begin
        return end

    def _model(self) -> tuple[CausalLM, dict[str, str], dict[str, DataSource]]:
        """The packed model without data; by parameter, formats and where the bytes come from."""
        import torch

        import penlight.edge.ops  # noqa: F401  (registers torch.ops.penlight)
        from penlight import models
        from penlight.quantize.transform import pack_layers

        tensors = self.checkpoint.tensors
        config = self.checkpoint.config
        config = replace(config, rope=config.rope.without_switch(self.context))
        model = models.build(
            config, context=self.context, cache_dtype=getattr(torch, self.cache), device="meta"
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
        return model, formats, sources

    def _constant_methods(self) -> dict[str, Any]:
        """What ExecuTorch's language-model runners ask a program for."""
        methods: dict[str, Any] = {
            "get_max_seq_len": self.prefill,
            "get_max_context_len": self.context,
            "get_vocab_size": self.checkpoint.config.vocab_size,
            "get_n_layers": self.checkpoint.config.layers,
            "use_kv_cache": True,
            "use_sdpa_with_kv_cache": False,
            "enable_dynamic_shape": True,
        }
        tokenizer = self.checkpoint.tokenizer
        if tokenizer is None:
            return methods
        if tokenizer.bos_id is not None:
            methods["get_bos_id"] = tokenizer.bos_id
        ends = [*tokenizer.stop_ids] if tokenizer.eos_id is None else [tokenizer.eos_id]
        ends += [token for token in tokenizer.stop_ids if token not in ends]
        if ends:
            methods["get_eos_ids"] = ends
        return methods

    def _card(self, formats: dict[str, str], digests: dict[str, str]) -> dict[str, Any]:
        origin = self.checkpoint.provenance
        tensors = self.checkpoint.tensors.values()
        return {
            "name": origin.name,
            "architecture": self.checkpoint.config.architecture,
            "parameters": sum(math.prod(tensor.shape) for tensor in tensors),
            "context_length": self.context,
            "scheme": self.scheme,
            "formats": sorted(set(formats.values())),
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


def _check_space(output: Path, constants: dict[str, DataSource]) -> None:
    """Raise ExportError if the weights do not fit on the disk; a tied one is stored once."""
    needed = sum(source.nbytes for source in {id(s): s for s in constants.values()}.values())
    free = shutil.disk_usage(output.parent).free
    if needed > free:
        raise ExportError(
            f"[{output}] expected {needed / 1e6:,.0f} MB of free space but got {free / 1e6:,.0f} "
            "MB; free some, or choose another place"
        )
