"""The messages of a conversation, how to continue them, and how they are kept in files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penlight.cli._terminal import write_whole
from penlight.errors import RuntimeFailure
from penlight.llm import LLM, Answer, Stream

__all__ = ["Conversation"]

_ROLES = ("system", "user", "assistant")


class Conversation:
    """The messages so far.

    raw: continue text as it is, without the model's chat template. Raises PenlightError where the
    model has no tokenizer, or a setting is out of range: now, and not at the first question.
    """

    def __init__(
        self, llm: LLM, *, system: str | None, sampling: dict[str, Any], raw: bool = False
    ) -> None:
        self.llm, self.sampling, self.raw = llm, sampling, raw
        self.messages: list[dict[str, str]] = []
        self.last: Answer | None = None
        self._asked: list[dict[str, str]] = []
        llm.tokenize("")
        settings = llm.defaults.changed(sampling)
        settings.native()
        settings.length()
        settings.drafting()
        self.begin(system)

    def begin(self, system: str | None) -> None:
        """Start anew, with or without a system message."""
        if system and self.completes:
            raise RuntimeFailure(
                "[system] expected a chat template for a system message but there is none in use; "
                "write it into the text"
            )
        self.messages = [{"role": "system", "content": system}] if system else []
        self.last = None

    @property
    def system(self) -> str | None:
        """The system message, if there is one."""
        first = self.messages[0] if self.messages else {}
        return first["content"] if first.get("role") == "system" else None

    @property
    def completes(self) -> bool:
        """Whether text is continued as it is, for want or by choice of no template."""
        return self.raw or self.llm.template is None

    def stream(self, text: str, on_prefill: Callable[[int, int], None] | None = None) -> Stream:
        """The answer to one more message; `finish` adds both."""
        if self.completes:
            return self.llm.stream_text(text, on_prefill=on_prefill, **self.sampling)
        self._asked = [*self.messages, {"role": "user", "content": text}]
        return self.llm.stream(
            self._asked, overflow="drop_oldest", on_prefill=on_prefill, **self.sampling
        )

    def finish(self, stream: Stream) -> None:
        """Remember what the model said, if it said something, stopped in the middle or not."""
        try:
            answer = stream.answer
        except RuntimeFailure:  # it failed: as if nothing had been asked
            return
        self.last = answer
        if answer and not self.completes:
            self.messages = [*self._asked, {"role": "assistant", "content": str(answer)}]

    def save(self, name: str) -> Path:
        """Write NAME.chat.json and NAME.session, both or neither; returns the first."""
        path, session = Path(f"{name}.chat.json"), Path(f"{name}.session")
        text = json.dumps({"messages": self.messages}, ensure_ascii=False, indent=1)
        with tempfile.TemporaryDirectory(dir=session.parent, prefix=f".{session.name}.") as folder:
            written = Path(folder) / session.name
            self.llm.save_session(written)
            write_whole(path, text.encode())
            os.replace(written, session)
        return path

    def load(self, name: str) -> Path:
        """Read what `save` wrote; without the session file its text is computed again."""
        path, session = Path(f"{name}.chat.json"), Path(f"{name}.session")
        messages = _messages(path)
        if session.exists():
            self.llm.load_session(session)
        self.messages, self.last = messages, None
        return path


def _messages(path: Path) -> list[dict[str, str]]:
    """The messages in a file. Raises RuntimeFailure if it holds something else."""
    text = path.read_bytes()
    try:
        found = json.loads(text)["messages"]
        messages = [{key: message[key] for key in ("role", "content")} for message in found]
        json.dumps(messages, ensure_ascii=False).encode()  # lone surrogates are no text
        fine = isinstance(found, list) and all(
            message["role"] in _ROLES and isinstance(message["content"], str)
            for message in messages
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        fine = False
    if not fine:
        raise RuntimeFailure(
            f"[{path}] expected a conversation but got other text; load what /save wrote"
        )
    return messages
