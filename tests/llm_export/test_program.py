"""What a program says of itself, and how its state behaves."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import TEMPLATE, VOCABULARY, calls, chat_folder
from references import reference

import penlight
from penlight.llm.export import ExportReport, export_llm
from penlight.llm.verify import VERIFY_LENGTH
from penlight.program.read import read_program
from penlight.program.schema import KernelCall, Tensor

LAYERS, CONTEXT, PREFILL = 4, 64, 16


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    folder = tmp_path_factory.mktemp("chat")
    chat_folder(reference("Llama", {}), folder / "tiny")
    return export_llm(folder / "tiny", folder / "model.pte", prefill=PREFILL)


def test_constant_methods_are_those_that_executorch_runners_ask_for(report: ExportReport) -> None:
    """Asked through ExecuTorch's own runtime, which has no kernels for forward."""
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(report.path)
    found = {
        n: list(program.load_method(n).execute([]))
        for n in program.method_names - {"forward", "verify"}
    }
    assert found == {
        "get_bos_id": [1],
        "get_eos_ids": [2, 7],
        "get_max_seq_len": [PREFILL],
        "get_max_context_len": [CONTEXT],
        "get_vocab_size": [VOCABULARY],
        "get_n_layers": [LAYERS],
        "use_kv_cache": [True],
        "use_sdpa_with_kv_cache": [False],
        "enable_dynamic_shape": [True],
    }


def test_the_file_holds_what_a_chat_needs(report: ExportReport) -> None:
    source = report.path.parent / "tiny"
    with read_program(report.path) as file:
        data = {key: bytes(value) for key, value in file.named_data.items()}
    assert json.loads(data["penlight.tokenizer_config"]) == {
        "bos_id": 1,
        "eos_id": 2,
        "stop_ids": [2, 7],
        "add_bos": False,
        "special_tokens": {"bos_token": "<s>", "eos_token": "</s>"},
    }
    assert data["penlight.tokenizer"] == (source / "tokenizer.json").read_bytes()
    assert data["penlight.chat_template"] == TEMPLATE.encode()
    assert json.loads(data["penlight.generation"]) == {"temperature": 0.6, "top_p": 0.9}
    assert int.from_bytes(data["penlight.vocabulary"][:4], "little") == VOCABULARY
    assert b"w50" in data["penlight.vocabulary"]


def test_the_card_says_where_the_model_comes_from(report: ExportReport) -> None:
    tiny = report.path.parent / "tiny"
    used = ("model.safetensors", "config.json", "tokenizer.json")
    with read_program(report.path) as file:
        card = json.loads(bytes(file.named_data["penlight.model"]))
    assert card == report.card
    model = reference("Llama", {})
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert card["source"] == {
        name: hashlib.sha256((tiny / name).read_bytes()).hexdigest() for name in used
    }
    wanted = {"architecture": "llama", "scheme": "q4", "licence": "apache-2.0", "name": "tiny"}
    assert {key: card[key] for key in wanted} == wanted


def test_a_cache_is_written_where_it_lies(report: ExportReport) -> None:
    """Nothing else in the program is as large as a cache, and no two of them overlap."""
    with read_program(report.path) as file:
        plan = next(p for p in file.program.execution_plan if p.name == "forward")
        updates = calls(file, "penlight::update_cache")
    assert len(updates) == 2 * LAYERS
    places = set()
    for cache, _, _, out, *_ in updates:
        where = cache.allocation_info
        assert (where.memory_id, where.memory_offset_low) == (
            out.allocation_info.memory_id,
            out.allocation_info.memory_offset_low,
        )
        places.add((where.memory_id, where.memory_offset_low))
    assert len(places) == 2 * LAYERS
    nbytes = CONTEXT * 2 * 8 * 2  # positions, heads, elements of a head, bytes of float16
    (state,) = {memory for memory, _ in places}
    assert plan.non_const_buffer_sizes[state] == 2 * LAYERS * nbytes
    operators = {plan.operators[c.instr_args.op_index].name for c in plan.chains[0].instructions
                 if isinstance(c.instr_args, KernelCall)}  # fmt: skip
    assert not operators & {"aten::copy_", "aten::clone", "aten::_to_copy"}


def test_caches_are_the_only_values_in_the_memory_of_state(report: ExportReport) -> None:
    with read_program(report.path) as file:
        plan = next(p for p in file.program.execution_plan if p.name == "forward")
        state = calls(file, "penlight::update_cache")[0][0].allocation_info.memory_id
    for value in plan.values:
        tensor: Any = value.val
        if isinstance(tensor, Tensor) and tensor.allocation_info:
            is_cache = tensor.sizes == [1, 2, CONTEXT, 8]
            assert (tensor.allocation_info.memory_id == state) is is_cache


def test_both_methods_plan_the_same_state(report: ExportReport) -> None:
    """Tensors of one name are one tensor, in a memory of their own (ExecuTorch's convention)."""
    with read_program(report.path) as file:
        plans = {plan.name: plan for plan in file.program.execution_plan}
    states = {}
    for name in ("forward", "verify"):
        tensors: list[Any] = [value.val for value in plans[name].values]
        states[name] = [
            (t.extra_tensor_info.fully_qualified_name, t.sizes, t.scalar_type, t.allocation_info)
            for t in tensors
            if isinstance(t, Tensor) and t.extra_tensor_info and t.allocation_info
        ]
    assert len(states["forward"]) == 2 * LAYERS
    assert states["forward"] == states["verify"]
    sizes = {name: plans[name].non_const_buffer_sizes for name in states}
    assert sizes["forward"][2] == sizes["verify"][2]
    assert sizes["verify"][1] <= sizes["forward"][1] + VERIFY_LENGTH * VOCABULARY * 4


@pytest.mark.parametrize(("asked", "given"), [(24, 24), (None, CONTEXT), (1000, CONTEXT)])
def test_context_is_capped(asked: int | None, given: int, report: ExportReport) -> None:
    path = report.path.parent / f"{asked}.pte"
    made = export_llm(report.path.parent / "tiny", path, context=asked, prefill=512)
    assert made.card["context_length"] == given
    with penlight.LLM(path) as llm:
        assert llm.context_length == given
        answer = llm.generate([5], temperature=0, max_new_tokens=1000, ignore_eos=True)
    assert answer.stop == "context full"
    assert answer.statistics.context_used >= given - 1


MEMORY = """
import os, sys, numpy, penlight  # logits are an array
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
llm = penlight.LLM(sys.argv[1])
begin = resident()
llm.logits([5] * 16)
few = resident() - begin
for _ in range(100):
    llm.logits([5] * 16)
print(few, resident() - begin, llm.context_used)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_the_cache_is_taken_as_it_is_used(tmp_path: Path) -> None:
    """131072 positions of 2 layers reserve 537 MB; 1616 of them are 3.3 MB."""
    sizes = {"num_hidden_layers": 2, "max_position_embeddings": 131072, "head_dim": 128}
    folder = chat_folder(reference("Llama", {**sizes, "num_key_value_heads": 2}), tmp_path / "m")
    report = export_llm(folder, tmp_path / "model.pte", prefill=16)
    with read_program(report.path) as file:
        plan = next(p for p in file.program.execution_plan if p.name == "forward")
    assert sum(plan.non_const_buffer_sizes) > 2 * 2 * 131072 * 2 * 128 * 2
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(report.path)], capture_output=True, text=True, check=True
    )
    few, many, used = map(int, done.stdout.split())
    assert used == 101 * 16
    assert few < 8e6
    assert many - few < 1616 * 2 * 2 * 2 * 128 * 2 * 1.5
