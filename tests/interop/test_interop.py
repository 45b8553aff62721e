"""Every model of the zoo through both exporters and both runtimes, held to the written page."""

from __future__ import annotations

import re

import pytest
import torch

from tests.interop import table
from tests.models_zoo import ZOO, ZooModel


def without_errors(text: str) -> str:
    """A page without the sizes of the errors, which vary between machines."""
    return re.sub(r"same, (exactly|\de-\d+)", "same", text)


@pytest.mark.parametrize("model", ZOO, ids=[model.name for model in ZOO])
def test_files_and_runtimes_agree_with_eager_and_with_the_page(model: ZooModel) -> None:
    row = table.measure(model)
    assert table.unexplained(model, row) == []
    assert without_errors(table.line(model, row)) in without_errors(table.PAGE.read_text())


def test_the_page_is_what_the_command_writes() -> None:
    written = table.PAGE.read_text()
    lines = {
        model.name: f"{line}\n"
        for model in ZOO
        for line in written.splitlines()
        if line.startswith(f"| `{model.name}` |")
    }
    assert list(lines) == [model.name for model in ZOO]
    assert table.page(lines) == written
    assert "WRONG" not in written


def test_every_fault_belongs_to_a_model() -> None:
    names = [fault.model for fault in table.PEER_FAULTS]
    assert len(set(names)) == len(names)
    assert set(names) <= {model.name for model in ZOO}


def test_initial_state_from_executorch_is_kept_where_its_exporter_writes_it() -> None:
    from executorch.exir import ExecutorchBackendConfig, to_edge
    from executorch.exir.passes.init_mutable_pass import InitializedMutableBufferPass

    (model,) = (model for model in ZOO if model.name == "cache")
    config = ExecutorchBackendConfig(passes=[InitializedMutableBufferPass(["count", "total"])])
    data = bytes(to_edge(model.programs()).to_executorch(config).buffer)
    for runtime in table.RUNTIMES.values():
        assert table.compare(model, runtime(data)).differences == []


def test_a_wrong_output_is_no_fault_of_the_peer() -> None:
    model = ZOO[0]
    data = table.penlight_export(model)
    execute = table.penlight_runtime(data)

    def off_by_one(method: str, inputs: object) -> list[torch.Tensor]:
        return [torch.as_tensor(v) + 1 for v in execute(method, inputs)]  # type: ignore[arg-type]

    row = table.Row({}, {way: table.compare(model, off_by_one) for way in table.WAYS})
    assert len(table.unexplained(model, row)) == len(table.WAYS)
    assert "WRONG" in table.line(model, row)
