"""Who is compared: each engine's file, how it is made, how it is driven, and what is in it.

What a file holds was read from files that these commands made.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from checkpoints import BEGIN, END, gguf_file
from environments import ENVIRONMENTS, SOURCES
from lab import HERE, LAB

MODELS = {"smollm2": "SmolLM2-135M", "llama1b": "Llama-3.2-1B shape"}
BOTH = tuple(MODELS)
ET_CONTEXT = 1024  # tokens; ExecuTorch's cache is allocated for all of them

Command = list[str]


@dataclass(frozen=True)
class Contender:
    """An engine with one form of the models.

    engine: the driver's name. flags: of the driver. file_of: whose file it runs, if not its own.
    beside: by model, which form of ours has no fewer bits, in body and head, and is compared with
    it.
    depth: whether its file and driver reach position 4,000. holds: how its file stores the weights
    of the body, and those of embedding and head.
    """

    name: str
    title: str
    engine: str
    models: tuple[str, ...] = BOTH
    flags: tuple[str, ...] = ()
    file_of: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)
    depth: bool = True
    holds: tuple[str, str] = ("", "")

    @property
    def ours(self) -> bool:
        return self.engine == "penlight"

    def python(self) -> str:
        """The interpreter of its environment; ours is the project's own."""
        return sys.executable if self.ours else str(ENVIRONMENTS[self.engine].tool("python"))

    def drive(self, model: str, threads: int, depth: bool) -> Command:
        """The command that measures it."""
        command = [self.python(), str(HERE / f"engine_{self.engine}.py"), str(self.file(model))]
        command += ["--threads", str(threads), *self.flags]
        if self.engine == "executorch":
            command += ["--tokenizer", str(checkpoint(model) / "tokenizer.json")]
        return [*command, "--depth"] if depth else command

    def file(self, model: str) -> Path:
        """What it runs: a file, or a folder."""
        name = self.file_of or self.name
        if name == "llamacpp-q4_1":
            return gguf_file()
        ending = {"penlight": ".pte", "executorch": ".pte", "llamacpp": ".gguf"}
        engine = BY_NAME[name].engine
        return LAB / "models" / f"{model}-{name}{ending.get(engine, '')}"

    def export(self, model: str) -> list[Command]:
        """The commands that make its file; none where it runs another's."""
        if self.file_of or self.name == "llamacpp-q4_1":
            return []
        maker = {
            "penlight": _penlight,
            "executorch": _executorch,
            "llamacpp": _llamacpp,
            "onnxruntime": _onnxruntime,
            "openvino": _openvino,
        }
        return maker[self.engine](self, model)


def checkpoint(model: str) -> Path:
    """The model's Hugging Face folder."""
    return LAB / "checkpoints" / f"{model}-hf"


def meta_checkpoint(model: str) -> Path:
    """The same in Meta's form."""
    return LAB / "checkpoints" / f"{model}-meta"


_FLAGS = {
    "penlight-keep": ("--quant", "keep"),
    "penlight-q4-q6": ("--quant", "q4", "--embedding-quant", "q6"),
    "penlight-q4-q8": ("--quant", "q4", "--embedding-quant", "q8"),
    "penlight-q4-q4": ("--quant", "q4", "--embedding-quant", "q4"),
    "penlight-int8-cache": ("--quant", "q4", "--embedding-quant", "q4", "--cache", "int8"),
}


def _penlight(it: Contender, model: str) -> list[Command]:
    source = gguf_file() if it.name == "penlight-keep" else checkpoint(model)
    program = Path(sys.executable).with_name("penlight")
    output = str(it.file(model))
    return [[str(program), "export", str(source), "--output", output, *_FLAGS[it.name]]]


def _executorch(it: Contender, model: str) -> list[Command]:
    kind, begin, end = ("smollm2", 1, 2) if model == "smollm2" else ("llama3_2", BEGIN, END)
    source, file = meta_checkpoint(model), it.file(model)
    settings = (
        f"base.model_class={kind}",
        f"base.checkpoint={source / 'consolidated.00.pth'}",
        f"base.params={source / 'params.json'}",
        f"""base.metadata='{{"get_bos_id":{begin}, "get_eos_ids":[{end}]}}'""",
        "model.use_kv_cache=True",
        "model.use_sdpa_with_kv_cache=True",
        "model.enable_dynamic_shape=True",
        "model.dtype_override=fp32",
        "backend.xnnpack.enabled=True",
        "backend.xnnpack.extended_ops=True",
        "quantization.qmode=8da4w",
        "quantization.group_size=32",
        "quantization.embedding_quantize='8,0'",
        f"export.max_seq_length={ET_CONTEXT}",
        f"export.max_context_length={ET_CONTEXT}",
        f"export.output_name={file}",  # one that ends in .pte is a path
    )
    return [[it.python(), "-m", "executorch.extension.llm.export.export_llm", *settings]]


def _llamacpp(it: Contender, model: str) -> list[Command]:
    folders = sorted(SOURCES.glob("llama_cpp_python-*/vendor/llama.cpp"))
    source = folders[0] if folders else SOURCES
    whole = str(LAB / "models" / f"{model}-llamacpp-bf16.gguf")
    convert = [sys.executable, str(source / "convert_hf_to_gguf.py"), str(checkpoint(model))]
    quantize = [it.python(), str(HERE / "export_llamacpp.py"), whole, str(it.file(model))]
    return [[*convert, "--outfile", whole, "--outtype", "bf16"], quantize]


def _onnxruntime(it: Contender, model: str) -> list[Command]:
    arguments = (
        *("-m", "onnxruntime_genai.models.builder", "-i", str(checkpoint(model))),
        *("-o", str(it.file(model)), "-p", "int4", "-e", "cpu", "-c", str(LAB / "models/cache")),
        *("--extra_options", "int4_accuracy_level=4", "int4_block_size=32"),
    )
    return [[it.python(), *arguments]]


def _openvino(it: Contender, model: str) -> list[Command]:
    arguments = (
        *("export", "openvino", "-m", str(checkpoint(model)), "--task"),
        *("text-generation-with-past", "--weight-format", "int4", "--sym", "--group-size", "32"),
        *("--ratio", "1.0", str(it.file(model))),
    )
    return [[str(ENVIRONMENTS["openvino"].tool("optimum-cli")), *arguments]]


SMOLLM2 = ("smollm2",)
BESIDE_4 = dict.fromkeys(BOTH, "penlight-q4-q4")
BESIDE_8 = dict.fromkeys(BOTH, "penlight-q4-q8")
# What files hold, with bits a weight. Ours add 64 bits a row to OURS_4.
OURS_4 = "4.5: 4, and 8-bit scale and centre of 32"
OURS_6 = "7.0: 6, and 16-bit scale of 16"
OURS_8 = "8.5: 8, and 16-bit scale of 32"
GGML_4 = "4.5: 4, and 16-bit scale of 32"
GGML_41 = "5.0: 4, and 16-bit scale and minimum of 32"
ONNX_4 = "5.0: 4, and 32-bit scale of 32"
CONTENDERS: Sequence[Contender] = (
    Contender(
        "penlight-q4-q4", "Penlight `q4`, 4-bit head", "penlight", holds=(OURS_4, OURS_4 + "; tied")
    ),
    Contender(
        "penlight-q4-q6",
        "Penlight `q4`, 6-bit head",
        "penlight",
        ("llama1b",),
        holds=(OURS_4, OURS_6 + "; tied"),
    ),
    Contender(
        "penlight-q4-q8", "Penlight `q4`, 8-bit head", "penlight", holds=(OURS_4, OURS_8 + "; tied")
    ),
    Contender(
        "penlight-drafting",
        "Penlight `q4`, 8-bit head, drafting",
        "penlight",
        SMOLLM2,
        flags=("--speculation", "auto"),
        file_of="penlight-q4-q8",
        depth=False,
    ),
    Contender(
        "penlight-int8-cache",
        "Penlight `q4`, 4-bit head, int8 cache",
        "penlight",
        SMOLLM2,
        holds=(OURS_4, OURS_4 + "; tied"),
    ),
    Contender(
        "penlight-keep",
        "Penlight `keep` of the Q4_1 file",
        "penlight",
        SMOLLM2,
        holds=(GGML_41, OURS_8 + "; tied"),
    ),
    Contender(
        "executorch",
        "ExecuTorch XNNPACK 8da4w",
        "executorch",
        beside=BESIDE_4,
        depth=False,
        holds=(GGML_4, "embedding 8 a row; head 4.5, as the body"),
    ),
    Contender(
        "llamacpp-q4_0",
        "llama.cpp Q4_0",
        "llamacpp",
        beside={"smollm2": "penlight-q4-q8", "llama1b": "penlight-q4-q6"},
        holds=(GGML_4, "135M: 8.5, Q8_0; 1B: 6.6, Q6_K; tied"),
    ),
    Contender(
        "llamacpp-q4_1",
        "llama.cpp, the Q4_1 file as shipped",
        "llamacpp",
        SMOLLM2,
        beside={"smollm2": "penlight-keep"},
        holds=(GGML_41, "8.5, Q8_0; tied"),
    ),
    Contender(
        "onnxruntime",
        "ONNX Runtime GenAI int4",
        "onnxruntime",
        beside=BESIDE_4,
        holds=(ONNX_4, ONNX_4 + "; tied"),
    ),
    Contender(
        "openvino",
        "OpenVINO GenAI int4",
        "openvino",
        beside=BESIDE_8,
        holds=(GGML_4, "8, and 16-bit scale of a row; tied"),
    ),
    Contender(
        "openvino-stateful",
        "OpenVINO GenAI int4, stateful attention",
        "openvino",
        flags=("--stateful",),
        file_of="openvino",
        beside=BESIDE_8,
    ),
    Contender(
        "openvino-gguf",
        "OpenVINO GenAI, the Q4_0 GGUF file",
        "openvino",
        SMOLLM2,
        file_of="llamacpp-q4_0",
        beside=BESIDE_8,
    ),
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}
