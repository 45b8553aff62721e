"""`penlight inspect` tells what a file holds: as tables, as JSON, as a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from penlight.cli._report import Block, live_bytes
from penlight.program.read import read_program
from penlight.program.schema import Chain, ExecutionPlan
from penlight.program.write import Blob, ProgramBuilder
from tests.cli.conftest import Penlight


def test_tables_name_the_operators_and_the_inputs(penlight: Penlight, mlp_pte: Path) -> None:
    done = penlight("inspect", mlp_pte)
    assert done.code == 0, done.err
    assert "method forward" in done.out
    assert "float32 up to 8x4" in done.out
    for heading in ("Operators", "Tensors", "Memory plan", "Segments"):
        assert heading in done.out


def test_json_agrees_with_the_file(penlight: Penlight, mlp_pte: Path) -> None:
    report = json.loads(penlight("inspect", mlp_pte, "--json").out)
    with read_program(mlp_pte) as file:
        plan = file.program.execution_plan[0]
    method = report["methods"][0]
    assert report["nbytes"] == mlp_pte.stat().st_size
    assert sum(method["operators"].values()) == len(plan.chains[0].instructions)
    assert [arena["nbytes"] for arena in method["arenas"]] == plan.non_const_buffer_sizes[1:]
    constants = [t for t in method["tensors"] if t["role"] == "constant"]
    assert sum(t["nbytes"] for t in constants) >= 4 * (4 * 8 + 8 + 8 * 3 + 3)
    for block in method["blocks"]:
        arena = method["arenas"][block["arena"] - 1]
        assert block["offset"] + block["nbytes"] <= arena["nbytes"]
        assert 0 <= block["first"] <= block["last"] < len(method["instructions"])
    for arena in method["arenas"]:
        assert arena["peak"] <= arena["nbytes"]


class Page(HTMLParser):
    """Collects what a page shows and loads."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_the_page_shows_graph_and_plan_and_loads_nothing(
    penlight: Penlight, mlp_pte: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mlp.html"
    assert penlight("inspect", mlp_pte, "--html", out).code == 0
    text = out.read_text()
    page = Page()
    page.feed(text)
    assert page.tags.count("svg") >= 2
    assert "rect" in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert "http" not in text
    assert "@import" not in text


def test_hostile_names_stay_text(penlight: Penlight, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>[bold]&"
    builder = ProgramBuilder()
    builder.add_plan(ExecutionPlan(name=evil, chains=[Chain()]))
    builder.add_named_data(evil, Blob(b"\x1b[31m" + evil.encode()))
    path = tmp_path / "evil.pte"
    builder.save(path)
    done = penlight("inspect", path, "--html", tmp_path / "evil.html")
    assert done.code == 0, done.err
    assert "<script>alert" not in (tmp_path / "evil.html").read_text()
    shown = penlight("inspect", path)
    assert shown.code == 0
    assert "[bold]" in shown.out
    assert "\x1b" not in shown.out


def test_bytes_in_use_are_those_of_the_blocks_alive() -> None:
    blocks = [Block(1, 0, 10, 0, 2, [0]), Block(1, 16, 5, 2, 3, [1])]
    assert live_bytes(blocks, 5) == [10, 10, 15, 5, 0]


@pytest.mark.parametrize("name", ["no/such/folder.html", "."])
def test_a_page_that_cannot_be_written_ends_in_one_line(
    penlight: Penlight, add_pte: Path, tmp_path: Path, name: str
) -> None:
    done = penlight("inspect", add_pte, "--html", name, cwd=tmp_path)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
