"""ExecuTorch's XNNPACK backend, through the runner in its wheel.

The runner takes text: each word of the prompt is one token of both vocabularies, and what the
runner counted is checked. Tokenizing, which is part of its time, is well under 1 % of it.
"""

from __future__ import annotations

import json
import time

import executorch.extension.llm.custom_ops.custom_ops
import executorch.kernels.quantized  # noqa: F401, registers operators
import torch
from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner
from executorch.extension.pybindings import portable_lib
from protocol import Timing, arguments, drive

WORDS = (
    "the cat sat on a mat and the dog ran in the sun by a big red car as we all went to see it now"
).split()


class ExecuTorch:
    def __init__(self, model: str, threads: int, tokenizer: str) -> None:
        torch.set_num_threads(threads)
        portable_lib._unsafe_reset_threadpool(threads)
        self.runner = TextLLMRunner(model, tokenizer)

    def generate(self, tokens: list[int], count: int) -> Timing:
        text = " ".join(WORDS[i % len(WORDS)] for i in range(len(tokens)))
        times: list[float] = []
        counts: list[dict[str, int]] = []
        self.runner.reset()
        config = GenerationConfig(
            echo=False, max_new_tokens=count, seq_len=-1, temperature=0.0, warming=True
        )
        begin = time.perf_counter()
        self.runner.generate(
            text,
            config,
            lambda piece: times.append(time.perf_counter()),
            lambda stats: counts.append(json.loads(stats.to_json_string())),
        )
        read = counts[-1]["prompt_tokens"]
        if read != len(tokens):
            raise SystemExit(f"[bench] expected {len(tokens)} tokens in the prompt but got {read}")
        return Timing(times[0] - begin, times[-1] - times[0], len(times))


if __name__ == "__main__":
    parser = arguments()
    parser.add_argument("--tokenizer", required=True)
    options = parser.parse_args()
    drive(lambda model, threads: ExecuTorch(model, threads, options.tokenizer), options)
