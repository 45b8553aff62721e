"""ONNX Runtime GenAI, on a folder that its model builder wrote."""

from __future__ import annotations

import json
import time

import onnxruntime_genai as og
from protocol import Timing, drive


class OnnxRuntime:
    def __init__(self, model: str, threads: int) -> None:
        config = og.Config(model)
        session = {"session_options": {"intra_op_num_threads": threads}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
        self.model = og.Model(config)

    def generate(self, tokens: list[int], count: int) -> Timing:
        length = len(tokens) + count
        parameters = og.GeneratorParams(self.model)
        parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = og.Generator(self.model, parameters)
        begin = time.perf_counter()
        generator.append_tokens(tokens)
        generator.generate_next_token()
        first = time.perf_counter()
        made = 1
        while made < count and not generator.is_done():
            generator.generate_next_token()
            generator.get_next_tokens()
            made += 1
        return Timing(first - begin, time.perf_counter() - first, made)


if __name__ == "__main__":
    drive(OnnxRuntime)
