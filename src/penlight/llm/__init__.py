"""Language models on the device: tokenizer, chat template, generation. Needs no torch."""

from penlight.llm.answer import Answer, Score, Statistics, Stream
from penlight.llm.model import LLM
from penlight.llm.sampling import Sampling
from penlight.llm.template import ChatTemplate, TemplateError
from penlight.llm.tokenizer import Tokenizer

__all__ = [
    "LLM",
    "Answer",
    "ChatTemplate",
    "Sampling",
    "Score",
    "Statistics",
    "Stream",
    "TemplateError",
    "Tokenizer",
]
