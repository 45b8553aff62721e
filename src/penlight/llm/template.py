"""Chat templates: Jinja text from a file that nobody vouches for, so it runs fenced in.

    ChatTemplate(text, {"bos_token": "<s>"}).render([{"role": "user", "content": "Hi"}])

The template runs in jinja2's immutable sandbox, with limits on what it writes, on the size of every
value that one operation can make, and on time. There is what templates of Hugging Face checkpoints
rely on: ``raise_exception``, ``strftime_now``, ``tojson``, loop controls, ``generation`` blocks.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

import jinja2
import jinja2.compiler
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from penlight.errors import PenlightError

__all__ = ["ChatTemplate", "Message", "TemplateError"]

Message = Mapping[str, Any]  # "role" and "content", as everywhere

MAX_TEMPLATE = 1 << 20  # characters
MAX_OUTPUT = 1 << 24  # characters
MAX_VALUE = 1 << 22  # items or characters that one operation may make
MAX_SECONDS = 10.0
# Their arguments make text of any length out of nothing; no template needs them.
_REFUSED_FILTERS = ("batch", "center", "filesizeformat", "format", "indent", "slice", "wordwrap")
_SIZED_METHODS = ("center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill")


class TemplateError(PenlightError):
    """A chat template is malformed, refuses the conversation, or does what it must not."""


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks the assistant's words for training; here it is its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's interface

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Code(jinja2.compiler.CodeGenerator):
    """Compiles ``a ~ b`` to a call of the environment's, which bounds it."""

    def visit_Concat(self, node: jinja2.nodes.Concat, frame: jinja2.compiler.Frame) -> None:  # noqa: N802
        self.write("environment.concatenate((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["*", "**", "%", "+"])
    code_generator_class = _Code

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation]
        )
        for name in _REFUSED_FILTERS:
            self.filters.pop(name)
        self.filters |= {"join": _join, "replace": _replace, "tojson": _tojson}
        self.globals = {
            "dict": dict,
            "namespace": self.globals["namespace"],
            "raise_exception": _raise,
            "range": self.globals["range"],  # the sandbox's own, which is bounded
            "strftime_now": _strftime_now,
        }

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "**" and not (numbers and abs(left) <= MAX_VALUE and abs(right) <= 64):
            raise TemplateError("[chat template] a power is too large; correct the template")
        if operator == "%" and not numbers:
            raise TemplateError("[chat template] text formatting is refused; use ~ to join")
        if operator == "*" and not numbers:
            sized, times = (right, left) if isinstance(left, int) else (left, right)
            if not isinstance(times, int) or len(sized) * times > MAX_VALUE:
                raise TemplateError("[chat template] a repetition is too long; shorten it")
        if operator == "*" and numbers and max(abs(left), abs(right)) > 1 << 64:
            raise TemplateError("[chat template] a product is too large; correct the template")
        if operator == "+" and not numbers and len(left) + len(right) > MAX_VALUE:
            raise TemplateError("[chat template] a text is too long; correct the template")
        return super().call_binop(context, operator, left, right)

    def concatenate(self, parts: Sequence[Any]) -> str:
        return _join(parts)

    def call(*args: Any, **kwargs: Any) -> Any:  # positional, so that a template may pass any name
        function, arguments = args[2], args[3:]
        owner = getattr(function, "__self__", None)
        bounded = _BOUNDED_METHODS.get(getattr(function, "__name__", ""))
        if isinstance(owner, str) and bounded:
            return bounded(owner, *arguments)
        return jinja2.sandbox.ImmutableSandboxedEnvironment.call(*args, **kwargs)

    def wrap_str_format(self, value: Any) -> None:
        """Nothing, so that `is_safe_attribute` is asked about str.format too, and refuses it."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr in _SIZED_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    """Unlike jinja2's own: not escaped for HTML, as checkpoints expect."""
    if indent is not None and not 0 <= indent <= 16:
        raise TemplateError("[chat template] expected an indent from 0 to 16; correct the template")
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _join(values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        raise TemplateError("[chat template] join by attribute is refused; use map before it")
    parts = [str(value) for value in values]
    separator = str(separator)
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_VALUE:
        raise TemplateError("[chat template] a text is too long; shorten the conversation")
    return separator.join(parts)


def _join_method(separator: str, values: Iterable[Any]) -> str:
    return _join(values, separator)


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, before, after = str(value), str(old), str(new)
    times = text.count(before)
    if count is not None and count >= 0:
        times = min(count, times)
    if len(text) + times * max(len(after) - len(before), 0) > MAX_VALUE:
        raise TemplateError("[chat template] a text is too long; shorten the conversation")
    return text.replace(before, after, times)


_BOUNDED_METHODS: dict[str, Callable[..., str]] = {"join": _join_method, "replace": _replace}


def _raise(message: object = "") -> str:
    raise TemplateError(f"[chat template] {message}")


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form[:64])


class ChatTemplate:
    """A compiled template. Raises TemplateError if it is no Jinja or too long.

    special_tokens: texts by the names that the template uses, such as "bos_token".
    """

    def __init__(self, text: str, special_tokens: Mapping[str, str] | None = None) -> None:
        self.text = text
        self._special = dict(special_tokens or {})
        if len(text) > MAX_TEMPLATE:
            raise TemplateError(
                f"[chat template] expected at most {MAX_TEMPLATE} characters but got {len(text)}; "
                "the checkpoint is corrupt"
            )
        try:
            self._template = _Sandbox().from_string(text)
        except (jinja2.TemplateError, RecursionError, SyntaxError, ValueError, MemoryError) as e:
            raise TemplateError(
                f"[chat template] expected a Jinja template but got: {e}; correct the template"
            ) from None

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, **variables: Any
    ) -> str:
        """The conversation as the model's prompt.

        variables: further names for the template, such as ``tools`` or ``enable_thinking``.
        Raises TemplateError if the template refuses the conversation or breaks a limit.
        """
        names = {
            **self._special,
            **variables,
            "messages": [dict(message) for message in messages],
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            with _Deadline(MAX_SECONDS):
                return self._collect(names)
        except TemplateError:
            raise
        # A template can raise nearly anything: it is a program.
        except Exception as error:
            detail = str(error) or type(error).__name__
            raise TemplateError(
                f"[chat template] the template failed: {detail}; check the messages' roles and "
                "contents"
            ) from None

    def _collect(self, names: Mapping[str, Any]) -> str:
        parts, size = [], 0
        for part in self._template.generate(names):
            size += len(part)
            if size > MAX_OUTPUT:
                raise TemplateError(
                    f"[chat template] expected at most {MAX_OUTPUT} characters of prompt but got "
                    "more; shorten the conversation or correct the template"
                )
            parts.append(part)
        return "".join(parts)


class _Deadline:
    """Ends Python code that runs too long, wherever it is: no loop of a template can hang."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def __enter__(self) -> None:
        self._previous = sys.gettrace()
        if self._previous is None:  # else a debugger watches, who can interrupt by hand
            sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        if self._previous is None:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > self._end:
            raise TemplateError(
                f"[chat template] expected to end within {MAX_SECONDS:.0f} seconds but it did not; "
                "correct the template"
            )
        return self._trace
