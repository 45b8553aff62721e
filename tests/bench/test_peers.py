"""The benchmark beside other engines: what it makes of measurements, without making any."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench" / "peers"))
import checkpoints
import figures
import lab
import page
import protocol
import speculation
from aims import DRAFTING, Reached, aims, bandwidth
from contenders import BY_NAME, CONTENDERS
from own import CHAT, OWN


def line(contender: str, round: int, threads: int = 1, **values: Any) -> dict[str, Any]:
    """A run of a driver that decodes at `decode` and reads 512 tokens at `prefill` tokens/s."""
    measures = [
        {"measure": "load", "load_s": 0.5, "first_call_s": 0.25, "ready_s": 1.0, "private_mb": 9.0},
        {"measure": "prefill", "tokens": 512, "speeds": values.pop("prefill", [1000.0, 2000.0])},
        {"measure": "decode", "position": 4, "tokens": 128, "speeds": values.pop("decode")},
        {"measure": "memory", "peak_mb": 300.0},
    ]
    return {
        "session": "2030-01-01T00:00:00",
        "round": round,
        "contender": contender,
        "model": "smollm2",
        "threads": threads,
        "depth": False,
        "command": f"run {contender}",
        "measures": measures,
        "noisy": False,
        **values,
    }


def test_a_figure_is_the_median_over_rounds_of_the_median_of_repeats() -> None:
    rounds = [[1.0, 2.0, 9.0], [4.0, 4.0, 5.0], [3.0, 3.0]]
    found = figures.Figures(line("openvino", i, decode=each) for i, each in enumerate(rounds, 1))
    spread = found.get("openvino", "smollm2", 1, "decode 4")
    assert spread == figures.Spread(median=3.0, least=2.0, most=4.0, rounds=3, noisy=False)


def test_noisy_rounds_count_only_where_there_is_no_other() -> None:
    noisy = line("openvino", 1, decode=[1.0], noisy=True)
    alone = figures.Figures([noisy]).get("openvino", "smollm2", 1, "decode 4")
    assert alone is not None and alone.median == 1.0 and alone.noisy
    both = figures.Figures([noisy, line("openvino", 2, decode=[5.0])])
    assert both.get("openvino", "smollm2", 1, "decode 4") == figures.Spread(5, 5, 5, 1, False)


def test_only_the_last_session_counts() -> None:
    old = {"session": "2029", "round": 7, "contender": "openvino"}
    lines = [json.dumps(old), json.dumps(line("openvino", 1, decode=[1.0])), ""]
    assert [each["round"] for each in figures.latest(lines)] == [1]


def test_the_page_compares_with_the_form_that_has_as_many_bits() -> None:
    lines = [
        line("penlight-q4-q8", 1, decode=[300.0]),
        line("penlight-q4-q4", 1, decode=[400.0]),
        line("openvino", 1, decode=[150.0]),
        line("executorch", 1, decode=[160.0]),
    ]
    text = page.write({}, lines)
    row = next(each for each in text.splitlines() if each.startswith("| 135M decode, 1 thread"))
    assert "300 beside 150 of OpenVINO" in row  # 2.0 times; ExecuTorch is 2.5 times behind
    assert "≥ 1.60 | 2.00 | 1.25" in row
    assert "missed" not in row


def test_a_share_of_the_bandwidth_is_that_of_the_same_moment() -> None:
    runs = [(60.0, [50.0, 70.0]), (30.0, [20.0, 40.0]), (45.0, [50.0, 50.0])]
    lines = [
        line("penlight-q4-q4", i, threads=2, decode=[speed], read_gbs=read, model="llama1b")
        for i, (speed, read) in enumerate(runs, 1)
    ]
    records = {"export penlight-q4-q4 llama1b": {"weights_mb": 700.0}}
    shares = list(bandwidth(figures.Figures(lines), records))
    assert [it.value for it in shares] == [None, pytest.approx(0.7), None, None]
    assert shares[1].detail == "700 MB a token; 50.0 GB/s beside"


def test_a_missed_aim_stands_with_its_cause() -> None:
    lines = [line("penlight-q4-q4", 1, decode=[400.0]), line("executorch", 1, decode=[390.0])]
    text = page.write({}, lines)
    assert "**missed**" in text and "(decode-smollm2):" in text


def test_what_is_not_measured_says_so() -> None:
    text = page.write({}, [])
    assert "No measurement has been made yet" in text
    rows = [each for each in text.splitlines() if each.startswith("| 1B shape decode")]
    assert rows and all(page.MISSING in each for each in rows)


def test_a_peer_that_fails_is_reported_and_no_path_of_the_machine_with_it() -> None:
    records = {"export executorch smollm2": {"error": f"no {lab.LAB}/x", "command": ["make it"]}}
    text = page.write(records, [line("openvino", 1, decode=[1.0])])
    assert "no LAB/x" in text and "failed" in text
    assert str(lab.LAB) not in text and str(Path.home()) not in text


@pytest.mark.parametrize(("value", "at_most", "missed"), [(1.0, False, True), (1.0, True, False)])
def test_an_aim_knows_its_direction(value: float, at_most: bool, missed: bool) -> None:
    assert Reached("id", "text", 1.5, value, "", at_most).missed is missed


def test_every_peer_is_compared_with_one_of_ours() -> None:
    for contender in CONTENDERS:
        assert contender.ours != bool(contender.beside)
        for model in () if contender.ours else contender.models:
            ours = BY_NAME[contender.beside[model]]
            assert ours.ours
            assert model in ours.models
        assert not contender.file_of or contender.file_of in BY_NAME


def own_line(name: str, round: int, threads: int = 1, **values: Any) -> dict[str, Any]:
    """A run of a program that only ours is measured at."""
    own = next(it for it in OWN if it.name == name)
    measures = [{"measure": name, **values}]
    return line(name, round, threads, decode=[1.0]) | {"model": own.model, "measures": measures}


def reached(lines: list[dict[str, Any]], id: str) -> list[Reached]:
    return [it for it in aims(figures.Figures(lines), {}) if it.id == id]


def test_the_start_in_cpp_is_that_of_the_worst_form_and_number_of_threads() -> None:
    lines = [
        own_line("start-q4-q4", 1, 1, ready_s=0.02, private_mb=4.0, peak_mb=700.0),
        own_line("start-q4-q8", 1, 1, ready_s=0.03, private_mb=5.0, peak_mb=800.0),
        own_line("start-q4-q4", 1, 2, ready_s=0.2, private_mb=3.0, peak_mb=700.0),
    ]
    (ready,), (private,) = reached(lines, "ready-cpp"), reached(lines, "private-cpp")
    assert (ready.value, ready.aim, ready.missed) == (0.2, 0.15, True)
    assert (private.value, private.aim, private.missed) == (5.0, 30.0, False)


def test_an_int8_cache_is_held_against_its_own_beginning() -> None:
    deep = {"measure": "decode", "position": 4000, "tokens": 48, "speeds": [60.0]}
    near = {"measure": "decode", "position": 100, "tokens": 48, "speeds": [100.0]}
    run = line("penlight-int8-cache", 1, decode=[1.0]) | {"depth": True, "measures": [near, deep]}
    found = reached([run], "far-int8")
    assert [it.value for it in found] == [pytest.approx(0.6), None]
    assert all(it.value is None for it in reached([run], "far"))
    text = page.write({}, [run])
    assert "| Penlight `q4`, 4-bit head, int8 cache | 100 | 60.0 | 60% |" in text


def test_drafting_has_an_aim_where_it_gains_and_one_where_it_costs() -> None:
    values: dict[str, Any] = {
        "edit_ratio": 1.9,
        "edit_with": 190.0,
        "edit_without": 100.0,
        "write_ratio": 0.9,
    }
    lines = [own_line("drafting", 1, **values)]
    (edit,), (story,) = reached(lines, "drafting-edit"), reached(lines, "drafting-write")
    assert (edit.value, edit.missed, edit.detail) == (1.9, False, "tokens/s 190 beside 100")
    assert (story.value, story.missed) == (0.9, True)
    assert list(DRAFTING) == [name.split()[0] for name in speculation.PROMPTS]


def test_a_busy_core_leaves_a_share_of_decode_and_of_prefill() -> None:
    lines = [own_line("busy-core", 1, 2, decode_ratio=0.7, prefill_ratio=0.4)]
    assert [it.missed for it in reached(lines, "busy-decode")] == [False]
    assert [it.missed for it in reached(lines, "busy-prefill")] == [True]


def test_noisy_runs_of_our_own_programs_count_only_where_there_is_no_other() -> None:
    noisy = own_line("drafting", 1, edit_ratio=1.0) | {"noisy": True}
    clean = own_line("drafting", 2, edit_ratio=2.0)
    assert [it.value for it in reached([noisy, clean], "drafting-edit")] == [2.0]


def test_a_page_of_rounds_without_our_own_programs_says_so() -> None:
    text = page.write({}, [line("penlight-q4-q4", 1, decode=[400.0])])
    for row in ("ready in the C++ runner", "int8 cache, 1 thread", "a text to edit", "core busy"):
        assert any(row in each and page.MISSING in each for each in text.splitlines()), row


@pytest.mark.parametrize("id", ["ready-cpp", "busy-prefill"])
def test_a_missed_aim_without_a_cause_is_listed_all_the_same(
    id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "causes.toml").touch()
    monkeypatch.setattr(page, "HERE", tmp_path)
    text = page.write({}, [
        own_line("start-q4-q4", 1, ready_s=9.0),
        own_line("busy-core", 1, 2, prefill_ratio=0.1),
    ])  # fmt: skip
    assert f"({id}): the cause has not been written down yet" in text


@pytest.mark.parametrize(("features", "cause"), [(["avx2"], "narrow"), (["avx512_vnni"], "wide")])
def test_causes_are_those_of_such_a_machine(
    features: list[str], cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[avx512_vnni]\nready-cpp = "wide"\n[others]\nready-cpp = "narrow"\n'
    (tmp_path / "causes.toml").write_text(text)
    monkeypatch.setattr(page, "HERE", tmp_path)
    machine = {"machine": {"features": features}}
    assert f"(ready-cpp): {cause}" in page.write(machine, [own_line("start-q4-q4", 1, ready_s=9.0)])


def test_a_page_names_those_of_other_machines(tmp_path: Path) -> None:
    other = tmp_path / "benchmarks-old.md"
    other.write_text(page.write({"machine": {"cpu": "Some CPU", "features": ["avx2"]}}, []))
    text = page.write({}, [], [other])
    assert "[benchmarks-old.md](benchmarks-old.md)" in text and "Some CPU" in text


def test_an_example_that_cannot_be_compiled_is_reported_and_nothing_else_stops() -> None:
    text = page.write({"chat": {"command": ["c++ chat.cpp"], "error": "no such header"}}, [])
    assert "chat:\n\n```text\nno such header" in text


def test_our_own_programs_run_files_that_are_made() -> None:
    for own in OWN:
        assert own.contender in CONTENDERS and own.model in own.contender.models
        assert own.name not in BY_NAME
        program = Path(own.command()[1])
        assert program.is_file() and "--json" in program.read_text()
    assert {own.name for own in OWN if str(CHAT) in own.flags} == {"start-q4-q4", "start-q4-q8"}


def test_the_tokenizer_is_filled_up_to_size_with_its_own_ids_kept() -> None:
    token = {"id": 2, "content": "<end>", "special": True}
    made = checkpoints.padded({"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [token]}, 9)
    assert sorted(made["model"]["vocab"].values()) == [0, 1, *range(3, 9)]


def test_weights_are_renamed_and_turned_for_the_original_rotation() -> None:
    torch = pytest.importorskip("torch")
    assert checkpoints.meta_name("model.layers.3.mlp.up_proj.weight") == (
        "layers.3.feed_forward.w3.weight"
    )
    # One head of 4: halves (0, 1 | 2, 3) become pairs (0, 2), (1, 3).
    rows = checkpoints.interleaved(torch.arange(4.0).reshape(4, 1), heads=1)
    assert rows.flatten().tolist() == [0.0, 2.0, 1.0, 3.0]


def test_repeats_end_when_there_is_enough() -> None:
    assert len(protocol.repeated(lambda: 1.0)) == 3


def test_a_process_is_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "LAB", tmp_path)
    done = lab.run("x", [sys.executable, "-c", "print('hello'); raise SystemExit(3)"])
    assert (done.code, done.output) == (3, "hello\n")
    assert done.peak_mb > 1 and done.user_s + done.system_s > 0
