"""Language models on the device: tokenizer, chat template, generation. Needs no torch.

Each name is loaded on first use: running a model by its tokens needs neither jinja2 nor tokenizers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penlight.llm.answer import Answer as Answer
    from penlight.llm.answer import Score as Score
    from penlight.llm.answer import Statistics as Statistics
    from penlight.llm.answer import Stream as Stream
    from penlight.llm.model import LLM as LLM
    from penlight.llm.sampling import Sampling as Sampling
    from penlight.llm.template import ChatTemplate as ChatTemplate
    from penlight.llm.template import TemplateError as TemplateError
    from penlight.llm.tokenizer import Tokenizer as Tokenizer

_HOMES = {
    "LLM": "model",
    "Answer": "answer",
    "ChatTemplate": "template",
    "Sampling": "sampling",
    "Score": "answer",
    "Statistics": "answer",
    "Stream": "answer",
    "TemplateError": "template",
    "Tokenizer": "tokenizer",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
