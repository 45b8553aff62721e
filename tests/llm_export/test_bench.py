"""What `penlight bench` counts for a real model is what its file holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from penlight.cli._bench_child import measure_llm
from penlight.cli._bench_run import summary
from penlight.program.read import ProgramFile, read_program
from penlight.program.schema import KernelCall, Tensor, TensorList

POSITION, TOKENS = 5, 3
LAYERS, CACHE_HEADS, WIDTH, HALF = 30, 3, 64, 2


@pytest.fixture(scope="module")
def workloads(smollm2: Path) -> dict[str, Any]:
    request = {"path": str(smollm2), "threads": 1, "began": time.monotonic(), "prompts": [8],
               "positions": [POSITION], "tokens": TOKENS, "enough": 0, "profile": True}  # fmt: skip
    (each,) = summary({1: [measure_llm(request, lambda step: None)]})
    return {workload["kind"]: workload for workload in each["workloads"]}


def constant_bytes(file: ProgramFile) -> int:
    """Of the weights that the calls of forward name, but the embedding's: of that a row is read."""
    plan = next(p for p in file.program.execution_plan if p.name == "forward")
    total = 0
    for instruction in plan.chains[0].instructions:
        call = instruction.instr_args
        if not isinstance(call, KernelCall) or "embedding" in plan.operators[call.op_index].name:
            continue
        for index in call.args:
            value = plan.values[index].val
            items = value.items if isinstance(value, TensorList) else [index]
            for item in items:
                tensor = plan.values[item].val
                if isinstance(tensor, Tensor) and tensor.allocation_info is None:
                    total += nbytes(tensor) if tensor.data_buffer_idx else 0
    return total


def nbytes(tensor: Tensor) -> int:
    size = tensor.scalar_type.item_size
    for length in tensor.sizes:
        size *= length
    return int(size)


def memory_of(workload: dict[str, Any], *names: str) -> float:
    return float(
        sum(o["memory_bytes"] for o in workload["operators"] if o["name"].startswith(names))
    )


def test_every_weight_is_read_once_for_a_token_and_once_for_a_prompt(
    workloads: dict[str, Any], smollm2: Path
) -> None:
    with read_program(smollm2) as file:
        expected = constant_bytes(file)
    assert expected > 60e6
    for workload in workloads.values():
        apart = memory_of(workload, "penlight::embedding", "penlight::attention")
        assert workload["memory_bytes"] - apart == expected


def test_attention_reads_the_cache_that_is_in_use(workloads: dict[str, Any]) -> None:
    row = 2 * LAYERS * CACHE_HEADS * WIDTH * HALF  # keys and values
    used = sum(range(POSITION + 1, POSITION + TOKENS + 1)) / TOKENS
    assert memory_of(workloads["decode"], "penlight::attention") == row * used
    assert memory_of(workloads["prefill"], "penlight::attention") == row * 8


def test_every_parameter_of_a_matrix_is_multiplied_once(workloads: dict[str, Any]) -> None:
    layer = 576 * 576 * 2 + 576 * 192 * 2 + 3 * 576 * 1536
    body, head = LAYERS * layer, 576 * 49152
    # Queries times keys, and weights times values; the rows of a prompt see 1, 2, ... positions.
    pair = 2 * LAYERS * 9 * WIDTH
    decode = body + head + pair * sum(range(POSITION + 1, POSITION + TOKENS + 1)) / TOKENS
    assert workloads["decode"]["multiply_adds"] == decode
    # Behind the last attention only the last token of a prompt goes on.
    spared = 7 * (576 * 576 + 3 * 576 * 1536)
    prompt = 8 * body - spared + head + pair * sum(range(1, 9))
    assert workloads["prefill"]["multiply_adds"] == prompt
