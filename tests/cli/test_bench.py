"""`penlight bench` measures what it says: counts and bytes are exact, shares add up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from penlight.cli import _bench_run
from penlight.cli.bench import _fitting, _thread_counts
from penlight.errors import RuntimeFailure
from tests.cli.conftest import Penlight, one_error_line
from tests.cli.terminal import CTRL_C, Terminal
from tests.llm.conftest import CHUNK, CONTEXT


@pytest.fixture(scope="module")
def toy_report(penlight: Penlight, toy_path: Path) -> dict[str, Any]:
    done = penlight(
        *("bench", toy_path, "--json", "--quick", "--rounds", 2, "--threads", "2,1"),
        *("--prompt", "8,20", "--positions", "0,30"),
    )
    assert done.code == 0, done.err
    assert done.err == ""
    report: dict[str, Any] = json.loads(done.out)
    return report


def operators(penlight: Penlight, path: Path) -> dict[str, int]:
    """How often the graph of forward calls each operator."""
    inspected = json.loads(penlight("inspect", path, "--json").out)
    forward = next(m for m in inspected["methods"] if m["name"] == "forward")
    return dict(forward["operators"])


def test_every_thread_count_and_length_is_measured(
    toy_report: dict[str, Any], toy_path: Path
) -> None:
    assert toy_report["file_bytes"] == toy_path.stat().st_size
    assert [each["threads"] for each in toy_report["threads"]] == [1, 2]
    for each in toy_report["threads"]:
        measured = [(w["kind"], w["value"]) for w in each["workloads"]]
        assert measured == [("prefill", 8), ("prefill", 20), ("decode", 0), ("decode", 30)]
        for name in ("load_seconds", "start_seconds", "first_token_seconds", "peak_bytes"):
            assert 0 < each[name]["min"] <= each[name]["median"] <= each[name]["max"]
        assert each["start_seconds"]["min"] > each["load_seconds"]["min"]
        assert each["first_token_seconds"]["min"] > each["load_seconds"]["min"]


def test_calls_are_those_of_the_graph(
    toy_report: dict[str, Any], penlight: Penlight, toy_path: Path
) -> None:
    graph = operators(penlight, toy_path)
    for each in toy_report["threads"]:
        for workload in each["workloads"]:
            # A prompt takes a run for each chunk, a token takes one.
            runs = -(-workload["value"] // CHUNK) if workload["kind"] == "prefill" else 1
            calls = {o["name"]: o["calls"] for o in workload["operators"] if o["kind"] == "kernel"}
            assert calls == {name: runs * count for name, count in graph.items()}


def test_shares_add_up_to_all_the_time(toy_report: dict[str, Any]) -> None:
    for each in toy_report["threads"]:
        for workload in each["workloads"]:
            found = workload["operators"]
            assert sum(o["share"] for o in found) == pytest.approx(1)
            assert sum(o["seconds"] for o in found) == pytest.approx(workload["seconds"])
            assert all(0 <= o["share"] <= 1 for o in found)
            for total in ("memory_bytes", "bytes", "multiply_adds"):
                assert sum(o[total] for o in found) == pytest.approx(workload[total])


def test_the_bound_is_what_the_probe_allows(toy_report: dict[str, Any]) -> None:
    for each in toy_report["threads"]:
        bandwidth = each["read_bytes_per_second"]
        for workload in each["workloads"][2:]:
            assert workload["memory_bytes"] > 0
            assert workload["multiply_adds"] == 0
            for key in ("min", "max"):
                bound = bandwidth[key] / workload["memory_bytes"]
                assert workload["bound_per_second"][key] == pytest.approx(bound)


def test_tables_name_what_was_measured(penlight: Penlight, toy_path: Path) -> None:
    done = penlight("bench", toy_path, "--quick", "--threads", "1", "--prompt", 5)
    assert done.code == 0, done.err
    assert done.err == ""
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert lines[0].startswith("toy, ")
    begins = ("read bandwidth", "load and first token", "prefill of 5 ", "decode at 0 ",
              f"decode at {CONTEXT - 3} ", "prefill of 5, 1 thread:", "between operators",
              "bound by read bandwidth:")  # fmt: skip
    for begin in begins:
        assert [line for line in lines if line.startswith(begin)], begin


def test_any_program_is_run_on_random_inputs(penlight: Penlight, mlp_pte: Path) -> None:
    done = penlight("bench", mlp_pte, "--quick", "--threads", 1, "--json")
    assert done.code == 0, done.err
    (each,) = json.loads(done.out)["threads"]
    (workload,) = each["workloads"]
    assert (workload["kind"], workload["value"]) == ("method", "forward")
    graph = operators(penlight, mlp_pte)
    assert {o["name"]: o["calls"] for o in workload["operators"] if o["calls"]} == graph
    # Eight rows, the bound of its dynamic dimension, through layers of 4 x 8 and 8 x 3.
    assert workload["multiply_adds"] == 8 * (4 * 8 + 8 * 3)
    assert workload["memory_bytes"] == 4 * (4 * 8 + 8 + 8 * 3 + 3)
    assert "first_token_seconds" not in each


def test_a_method_can_be_timed_alone(penlight: Penlight, toy_path: Path) -> None:
    done = penlight(
        *("bench", toy_path, "--quick", "--threads", 1, "--method", "get_vocab_size"),
    )
    assert done.code == 0, done.err
    assert "method get_vocab_size" in done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.pte"], "missing.pte"),
        (["cut.pte"], "cut.pte"),
        (["text.txt"], "text.txt"),
        (["toy.pte", "--threads", "0"], "[--threads] expected numbers from 1 to 1024"),
        (["toy.pte", "--threads", "1,x"], "[--threads] expected numbers from 1 to 1024"),
        (["toy.pte", "--prompt", "64"], "[--prompt] expected numbers from 1 to 63"),
        (["toy.pte", "--positions", "-1"], "[--positions] expected numbers from 0 to 61"),
        (["toy.pte", "--rounds", "0"], "--rounds"),
        (["toy.pte", "--method", "encode"], "expected one of"),
        (["add.pte", "--prompt", "5"], "expected a language model for --prompt"),
    ],
)
def test_what_is_wrong_is_one_line(
    penlight: Penlight, toy_path: Path, add_pte: Path, tmp_path: Path, arguments: list[str],
    says: str,
) -> None:  # fmt: skip
    (tmp_path / "toy.pte").symlink_to(toy_path)
    (tmp_path / "add.pte").symlink_to(add_pte)
    (tmp_path / "cut.pte").write_bytes(toy_path.read_bytes()[:1000])
    (tmp_path / "text.txt").write_text("no program")
    done = penlight("bench", *arguments, cwd=tmp_path)
    assert says in one_error_line(done)
    assert done.out == ""


def test_what_a_measuring_process_says_is_passed_on(toy_path: Path) -> None:
    request: dict[str, Any] = {"path": str(toy_path), "methods": ["nothing"], "enough": 0}
    with pytest.raises(RuntimeFailure, match="expected one of forward"):
        _bench_run.measure(request, [1], 1, lambda step, done, total: None)


def test_a_measuring_process_that_dies_is_reported(
    toy_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen = subprocess.Popen

    def dying(_: list[str], **options: Any) -> subprocess.Popen[str]:
        return popen(["sh", "-c", "exit 9"], **options)

    monkeypatch.setattr(subprocess, "Popen", dying)
    with pytest.raises(RuntimeFailure, match="it ended with code 9"):
        _bench_run.measure({"path": str(toy_path)}, [1], 1, lambda step, done, total: None)


def test_an_interrupt_ends_it_in_one_line(endless_path: Path, tmp_path: Path) -> None:
    with Terminal("bench", endless_path, "--threads", 1, home=tmp_path, cwd=tmp_path) as terminal:
        terminal.expect("round 1 of 3")
        terminal.type(CTRL_C)
        terminal.expect("error: interrupted")
        assert terminal.finish() == 130


def test_defaults_are_what_fits() -> None:
    assert _fitting((128, 512), 600) == [128, 512]
    assert _fitting((128, 512), 300) == [128, 300]
    assert _fitting((0, 100), 61) == [0, 61]
    assert [_thread_counts(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
