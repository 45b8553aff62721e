"""Language models, one readable eager PyTorch file per architecture.

    from penlight import models
    model = models.build(checkpoint.config, context=4096)       # on any device, "meta" included
    models.load_float(model, checkpoint)                        # float32 weights, for eager runs
    logits = model(tokens, input_pos)                           # [1, V], of the last token

A file's name is the architecture's name: `llama.py` is found as ``"llama"``. Each defines one class
``Model``, a `penlight.models._layers.CausalLM`. Importing this package does not import torch;
building a model does. The forward pass uses the ``penlight::`` operators, which
`penlight.edge.ops` registers: import it before a model is run or exported.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from penlight.errors import CheckpointError
from penlight.models.config import ModelConfig, RopeConfig

if TYPE_CHECKING:
    import torch

    from penlight.models._layers import CausalLM

__all__ = [
    "ModelConfig",
    "RopeConfig",
    "architectures",
    "build",
    "check_tensors",
    "load_float",
]

_NOT_ARCHITECTURES = {"config"}
_MOST_NAMED = 8  # an error names at most this many tensors of each kind


class _Tensor(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...
    def read(self) -> Any: ...


class _Source(Protocol):
    @property
    def tensors(self) -> Mapping[str, _Tensor]: ...


def architectures() -> list[str]:
    """The names of all architectures: the files of this package, in alphabetical order."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(n for n in names if not n.startswith("_") and n not in _NOT_ARCHITECTURES)


def build(
    config: ModelConfig,
    *,
    context: int | None = None,
    cache_dtype: torch.dtype | None = None,
    device: str | None = None,
) -> CausalLM:
    """Makes the eager model of a configuration, with uninitialised weights.

    context: positions in the KV cache; the model's own maximum if None.
    cache_dtype: float32 (the default), float16 or int8.
    device: where parameters and caches live; ``"meta"`` takes no memory whatever the size. Rope
    frequencies are computed, not read, and have their values on the CPU in any case.
    Raises CheckpointError for an unknown architecture or a context out of range.
    """
    if config.architecture not in architectures():
        raise CheckpointError(
            f"[models] expected one of the architectures {', '.join(architectures())} "
            f"but got {config.architecture!r}; convert a model of a known architecture"
        )
    import torch

    module = importlib.import_module(f"{__name__}.{config.architecture}")
    with torch.device(device) if device else contextlib.nullcontext():
        model = module.Model(config, context, cache_dtype or torch.float32)
    model.requires_grad_(False)
    return model.eval()  # type: ignore[no-any-return]


def check_tensors(model: CausalLM, source: _Source) -> None:
    """Raises CheckpointError unless the source has exactly the model's tensors, in its shapes."""
    expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
    found = {name: tuple(t.shape) for name, t in source.tensors.items()}
    problems = []
    missing = [name for name in expected if name not in found]
    if missing:
        problems.append(f"without {_some(missing)}")
    wrong = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if wrong:
        problems.append(f"with {_some(wrong)}")
    extra = [name for name in found if name not in expected]
    if extra:
        problems.append(f"with {_some(extra)}, which this architecture does not use")
    if problems:
        raise CheckpointError(
            f"[checkpoint] expected the {len(expected)} tensors of a {model.config.architecture} "
            f"model but got a checkpoint {'; '.join(problems)}; "
            "check that all files are of one model and that the download is complete"
        )


def load_float(model: CausalLM, source: _Source) -> None:
    """Fills the model with float32 weights, one tensor at a time.

    Raises CheckpointError as `check_tensors` does, and where a tensor cannot be read.
    """
    import torch

    check_tensors(model, source)
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        parameter.data.copy_(torch.from_numpy(source.tensors[name].read()))


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
