"""llama.cpp, through llama-cpp-python's binding of its C functions."""

from __future__ import annotations

import ctypes
import time

import llama_cpp as llama
from protocol import DEPTHS, Timing, drive

CONTEXT = 128 + max(position + count for position, count in DEPTHS)  # tokens


class LlamaCpp:
    """Its default settings but for the threads: batches of 512, attention as it chooses."""

    def __init__(self, model: str, threads: int) -> None:
        self.quiet = llama.llama_log_callback(lambda level, text, data: None)
        llama.llama_log_set(self.quiet, ctypes.c_void_p(0))
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(
            model.encode(), llama.llama_model_default_params()
        )
        settings = llama.llama_context_default_params()
        settings.n_ctx = CONTEXT
        settings.n_threads = settings.n_threads_batch = threads
        self.context = llama.llama_init_from_model(self.model, settings)
        if not self.context:
            raise SystemExit(f"[bench] llama.cpp cannot open {model}")
        self.sampler = llama.llama_sampler_init_greedy()

    def step(self, tokens: list[int]) -> int:
        """The likeliest token after these."""
        ids = (llama.llama_token * len(tokens))(*tokens)
        batch = llama.llama_batch_get_one(ids, len(tokens))
        if llama.llama_decode(self.context, batch):
            raise SystemExit("[bench] llama_decode failed")
        return int(llama.llama_sampler_sample(self.sampler, self.context, -1))

    def generate(self, tokens: list[int], count: int) -> Timing:
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        begin = time.perf_counter()
        for at in range(0, len(tokens), 512):
            token = self.step(tokens[at : at + 512])
        first = time.perf_counter()
        for _ in range(count - 1):
            token = self.step([token])
        return Timing(first - begin, time.perf_counter() - first, count)


if __name__ == "__main__":
    drive(LlamaCpp)
