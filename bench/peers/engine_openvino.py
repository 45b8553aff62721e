"""OpenVINO GenAI, on a folder that optimum-cli wrote or on a GGUF file.

--stateful asks for the plain attention of one conversation instead of the default, paged one.
Its own clocks are read: time to the first token, and time per token after it.
"""

from __future__ import annotations

import numpy as np
import openvino
import openvino_genai as genai
from protocol import Timing, arguments, drive


class OpenVINO:
    def __init__(self, model: str, threads: int, stateful: bool) -> None:
        settings: dict[str, object] = {"INFERENCE_NUM_THREADS": threads}
        if stateful:
            settings["ATTENTION_BACKEND"] = "SDPA"
        else:
            scheduler = genai.SchedulerConfig()
            scheduler.enable_prefix_caching = False  # else a repeated prompt costs nothing
            scheduler.cache_size = 1  # GB
            settings["scheduler_config"] = scheduler
        self.pipeline = genai.LLMPipeline(model, "CPU", **settings)

    def generate(self, tokens: list[int], count: int) -> Timing:
        config = genai.GenerationConfig()
        config.max_new_tokens = count
        config.ignore_eos = True
        config.do_sample = False
        ids = np.array([tokens], dtype=np.int64)
        inputs = genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        cost = self.pipeline.generate(inputs, config).perf_metrics
        made = cost.get_num_generated_tokens()
        rest = cost.get_tpot().mean / 1e3 * (made - 1) if made > 1 else 0.0
        return Timing(cost.get_ttft().mean / 1e3, rest, made)


if __name__ == "__main__":
    parser = arguments()
    parser.add_argument("--stateful", action="store_true")
    options = parser.parse_args()
    drive(lambda model, threads: OpenVINO(model, threads, options.stateful), options)
