"""A language model in a .pte file::

    llm = penlight.LLM("smollm2.pte")
    print(llm.chat([{"role": "user", "content": "What is the capital of France?"}]))
    for piece in llm.stream(messages, temperature=0.7):
        print(piece, end="", flush=True)

Needs neither torch nor any other file: tokenizer, chat template and settings lie in the program.
A conversation costs only what is new in it: the cache keeps the longest common prefix.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from penlight.closing import Closing
from penlight.errors import ProgramError, RuntimeFailure, UnsupportedError
from penlight.llm import abi
from penlight.llm.answer import Answer, Score, Statistics, Stream
from penlight.llm.sampling import Sampling
from penlight.runtime.profile import Probe, Profile
from penlight.runtime.program import Engine, Handle, Program
from penlight.runtime.values import is_int

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from penlight.llm.template import ChatTemplate, Message
    from penlight.llm.tokenizer import Tokenizer

__all__ = ["LLM"]

Overflow = Literal["error", "drop_oldest"]
_STOPS = {
    abi.Stop.EOS: "end",
    abi.Stop.STRING: "stop string",
    abi.Stop.LENGTH: "length",
    abi.Stop.CONTEXT: "context full",
    abi.Stop.CANCELLED: "cancelled",
    abi.Stop.CALLBACK: "cancelled",
    abi.Stop.NONE: "error",
}


class LLM(Closing):
    """A language model, its cache and its tokenizer. Calls take turns; a context manager.

    context: the most tokens to hold, at most the model's own. threads: one per performance core by
    default. Raises ProgramError if the file is no language model or malformed, RuntimeFailure if it
    cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        context: int | None = None,
        threads: int | None = None,
        prefill_chunk: int | None = None,
    ) -> None:
        for name, value in (("context", context), ("prefill_chunk", prefill_chunk)):
            if value is not None and not 1 <= value < 1 << 31:
                raise RuntimeFailure(
                    f"[{name}] expected a number of tokens from 1 but got {value}; leave it out "
                    "for the model's own"
                )
        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._program = Program(Engine(threads), path)
        pointer = ctypes.c_void_p()
        options = abi.Options(max_context=context or 0, prefill_chunk=prefill_chunk or 0)
        program = self._program._handle.get()
        abi.call("from_program", program, ctypes.byref(options), ctypes.byref(pointer))
        self._handle = Handle(self, "model", pointer, "llm_close")
        self.card: dict[str, Any] = self._json("penlight.model")
        self._settings = self._json("penlight.tokenizer_config")
        self.defaults = self._default_sampling()

    def _text(self, key: str) -> bytes | None:
        data = self._program.named_data
        return bytes(data[key]) if key in data else None

    def _json(self, key: str) -> dict[str, Any]:
        text = self._text(key)
        try:
            value = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ProgramError(f"[{key}] expected a JSON object but got other bytes; export again")
        return value

    # Tokenizer and template are read when text first needs them: that takes longer, and more
    # memory, than all else that opening a model does.
    @functools.cached_property
    def tokenizer(self) -> Tokenizer | None:
        """What turns text into tokens, if the file holds it. Raises ProgramError if malformed."""
        from penlight.llm.tokenizer import Tokenizer

        text = self._text("penlight.tokenizer")
        if text is None:
            return None
        bos = self._settings.get("bos_id")
        return Tokenizer(
            text,
            bos_id=bos if isinstance(bos, int) else None,
            add_bos=self._settings.get("add_bos") is True,
        )

    @functools.cached_property
    def template(self) -> ChatTemplate | None:
        """What makes one text of a conversation, if the file holds it. Raises TemplateError."""
        from penlight.llm.template import ChatTemplate

        text = self._text("penlight.chat_template")
        if text is None:
            return None
        special = self._settings.get("special_tokens")
        return ChatTemplate(
            text.decode(errors="replace"), special if isinstance(special, dict) else {}
        )

    def _default_sampling(self) -> Sampling:
        wanted = self._json("penlight.generation")
        known = ("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty")
        return Sampling().changed({k: v for k, v in wanted.items() if k in known})

    @property
    def context_length(self) -> int:
        """The most tokens that prompt and answer may have together."""
        return int(self._info().max_context)

    @property
    def context_used(self) -> int:
        """Tokens that the cache holds now."""
        return int(self._info().context_used)

    @property
    def vocabulary_size(self) -> int:
        """The number of logits."""
        return int(self._info().vocabulary_size)

    def _info(self) -> abi.Info:
        info = abi.Info()
        abi.ask("get_info", self._handle.get(), ctypes.byref(info))
        return info

    # ---- text and tokens ----

    def tokenize(self, text: str, *, bos: bool | None = None) -> list[int]:
        """Token ids of a text. bos: whether to begin with the model's own first token."""
        return self._tokenizer().encode(text, bos=bos)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of tokens; special: with those that stand for no text."""
        return self._tokenizer().decode(tokens, special=special)

    def _tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise UnsupportedError(
                f"[{self.path}] expected a tokenizer in the file but it has none; export the model "
                "again from a checkpoint with its tokenizer"
            )
        return self.tokenizer

    def prompt(self, messages: Sequence[Message], **variables: Any) -> str:
        """The conversation as the text that the model sees.

        Without a chat template that is the messages' contents, one after another: a plain
        completion.
        """
        for message in messages:
            if not isinstance(message.get("role"), str) or "content" not in message:
                raise RuntimeFailure(
                    f"[messages] expected a role and a content but got {dict(message)!r}; "
                    'write {"role": "user", "content": "..."}'
                )
        if self.template is None:
            warnings.warn(
                f"{self.path} has no chat template: the text is completed as it is", stacklevel=2
            )
            return "\n".join(str(message["content"]) for message in messages)
        return self.template.render(messages, **variables)

    def _tokens_of(self, messages: Sequence[Message], variables: dict[str, Any]) -> list[int]:
        text = self.prompt(messages, **variables)
        # A template writes the first token itself.
        return self.tokenize(text, bos=None if self.template is None else False)

    def _fit(
        self, messages: Sequence[Message], overflow: Overflow, room: int, variables: dict[str, Any]
    ) -> list[int]:
        """Tokens of the conversation; oldest turns dropped whole if that was asked for."""
        if overflow not in ("error", "drop_oldest"):
            raise RuntimeFailure(
                f"[overflow] expected 'error' or 'drop_oldest' but got {overflow!r}; choose one"
            )
        kept = list(messages)
        length = self.context_length
        while True:
            tokens = self._tokens_of(kept, variables)
            if overflow == "error" or len(tokens) + room <= length:
                break
            head = sum(1 for m in kept[:1] if m["role"] == "system")
            # A turn is what the user said and all that follows until the user speaks again.
            ends = [i for i in range(head + 1, len(kept)) if kept[i]["role"] == "user"]
            if not ends:
                break
            del kept[head : ends[0]]
        if len(tokens) > length:
            advice = "shorten the last message"
            if overflow == "error":
                advice = "shorten it, or pass overflow='drop_oldest'"
            raise RuntimeFailure(
                f"[context] expected at most {length} tokens but the conversation has "
                f"{len(tokens)}; {advice}"
            )
        return tokens

    # ---- answers ----

    def chat(
        self,
        messages: Sequence[Message],
        *,
        overflow: Overflow = "error",
        template_variables: dict[str, Any] | None = None,
        **sampling: Any,
    ) -> Answer:
        """The next message of the assistant.

        sampling: see `Sampling`. overflow: what to do when the conversation does not fit in the
        context: "error", or "drop_oldest", which leaves out whole turns after the system message.
        Raises TemplateError, RuntimeFailure.
        """
        return self.stream(
            messages, overflow=overflow, template_variables=template_variables, **sampling
        ).read_all()

    def stream(
        self,
        messages: Sequence[Message],
        *,
        overflow: Overflow = "error",
        template_variables: dict[str, Any] | None = None,
        on_prefill: Callable[[int, int], None] | None = None,
        **sampling: Any,
    ) -> Stream:
        """As `chat`, piece by piece. on_prefill(done, total) is called while the prompt is read."""
        settings = self.defaults.changed(sampling)
        room = min(settings.length() or 256, self.context_length // 4)
        tokens = self._fit(messages, overflow, room, template_variables or {})
        return self._stream(tokens, settings, on_prefill)

    def generate(self, prompt: str | Sequence[int], **sampling: Any) -> Answer:
        """Continue a text, or tokens, without a chat template. sampling: see `Sampling`."""
        return self.stream_text(prompt, **sampling).read_all()

    def stream_text(
        self,
        prompt: str | Sequence[int],
        *,
        on_prefill: Callable[[int, int], None] | None = None,
        **sampling: Any,
    ) -> Stream:
        """As `generate`, piece by piece."""
        settings = self.defaults.changed(sampling)
        tokens = self.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
        return self._stream(tokens, settings, on_prefill)

    def _stream(
        self,
        tokens: list[int],
        sampling: Sampling,
        on_prefill: Callable[[int, int], None] | None,
    ) -> Stream:
        if not tokens:
            raise RuntimeFailure(
                "[prompt] expected at least one token but the text has none; write something"
            )
        return Stream(
            lambda take: self._generate(tokens, sampling, take, on_prefill),
            lambda: abi.ask("cancel", self._handle.get()),
        )

    def _generate(
        self,
        tokens: list[int],
        sampling: Sampling,
        take: Callable[[str], bool],
        on_prefill: Callable[[int, int], None] | None,
    ) -> Answer:
        pieces: list[str] = []
        made: list[int] = []
        raised: list[BaseException] = []

        def on_token(_: Any, token: int, __: float, text: int | None, size: int) -> bool:
            try:
                piece = ctypes.string_at(text, size).decode() if text and size else ""
                made.append(token)
                pieces.append(piece)
                return take(piece)
            except BaseException as error:
                raised.append(error)
                return False

        def on_chunk(_: Any, done: int, total: int) -> bool:
            try:
                if on_prefill:
                    on_prefill(done, total)
                return take("")
            except BaseException as error:
                raised.append(error)
                return False

        request = self._request(tokens, sampling)
        request.on_token, request.on_prefill = abi.OnToken(on_token), abi.OnPrefill(on_chunk)
        result = abi.Result()
        with self._lock:
            handle = self._handle.get()
            abi.call("generate", handle, ctypes.byref(request), ctypes.byref(result))
        if raised:
            raise raised[0]
        stop = _STOPS[abi.Stop(result.stop)]
        return Answer("".join(pieces), made, stop, self._statistics(result))

    @staticmethod
    def _request(tokens: Sequence[int], sampling: Sampling) -> abi.Request:
        stops = sampling.stop_texts()
        return abi.Request(
            tokens=_ids(tokens),
            token_count=len(tokens),
            sampling=sampling.native(),
            max_new_tokens=sampling.length(),
            stop_ids=_ids(sampling.stop_ids),
            stop_id_count=len(sampling.stop_ids),
            ignore_eos=sampling.ignore_eos,
            stop_strings=(ctypes.c_char_p * len(stops))(*stops),
            stop_string_count=len(stops),
            speculation=sampling.drafting(),
        )

    def _statistics(self, result: abi.Result) -> Statistics:
        info = self._info()
        return Statistics(
            prompt_tokens=result.prompt_tokens,
            reused_tokens=result.reused_tokens,
            generated_tokens=result.generated_tokens,
            load_seconds=info.load_seconds,
            prefill_seconds=result.prefill_seconds,
            first_token_seconds=result.first_token_seconds,
            decode_seconds=result.decode_seconds,
            context_used=result.context_used,
            context_length=info.max_context,
            drafted_tokens=result.drafted_tokens,
            accepted_tokens=result.accepted_tokens,
        )

    def score(self, text: str | Sequence[int]) -> Score:
        """The log probability of every token of a text but the first.

        Raises RuntimeFailure if it has fewer than two tokens or more than the context.
        """
        tokens = self.tokenize(text) if isinstance(text, str) else list(text)
        if len(tokens) < 2:
            raise RuntimeFailure(
                f"[score] expected at least two tokens but got {len(tokens)}; give a longer text"
            )
        import numpy as np

        probabilities = np.empty(len(tokens) - 1, np.float32)
        best = np.empty(len(tokens) - 1, np.int32)
        with self._lock:
            abi.call(
                "score",
                self._handle.get(),
                _ids(tokens),
                len(tokens),
                probabilities.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                best.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            )
        return Score(np.array(tokens, np.int32), probabilities, best)

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Run tokens after what the cache holds: float32 [vocabulary_size] after the last one."""
        import numpy as np

        found = ctypes.POINTER(ctypes.c_float)()
        with self._lock:
            handle = self._handle.get()
            abi.call("forward", handle, _ids(tokens), len(tokens), ctypes.byref(found))
            return np.ctypeslib.as_array(found, (self.vocabulary_size,)).copy()

    # ---- what it costs ----

    def profile(self) -> Profile:
        """A context manager: while its block runs, what each instruction costs is counted.

        One at a time: the latest to begin counts from zero.
        """
        return Profile(self._methods, self._lock)

    def _methods(self) -> list[ctypes.c_void_p]:
        """Those that the C layer runs."""
        found: list[ctypes.c_void_p] = []
        while pointer := abi.ask("method", self._handle.get(), len(found)):
            found.append(ctypes.c_void_p(pointer))
        return found

    @property
    def isa(self) -> str:
        """The instruction set in use: `Program.isa`."""
        return self._program.isa

    def probe(self, buffer_bytes: int | None = None) -> Probe:
        """What this machine reads and multiplies with the model's threads: `Program.probe`."""
        return self._program.probe(buffer_bytes)

    # ---- the conversation's memory ----

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            abi.ask("truncate", self._handle.get(), 0)

    def save_session(self, path: str | os.PathLike[str]) -> None:
        """Write the cache to a file, whole or not at all. Raises RuntimeFailure if that fails."""
        with self._lock:
            abi.call("save_session", self._handle.get(), os.fsencode(path))

    def load_session(self, path: str | os.PathLike[str]) -> None:
        """Take the cache from a file.

        Raises RuntimeFailure if it is damaged or of another model; the cache is then as before.
        """
        with self._lock:
            abi.call("load_session", self._handle.get(), os.fsencode(path))

    def cancel(self) -> None:
        """Stop the answer that is being made, from any thread."""
        abi.ask("cancel", self._handle.get())

    def close(self) -> None:
        """Free the model's memory."""
        with self._lock:
            self._handle.close()
            self._program.close()

    def __repr__(self) -> str:
        name = self.card.get("name", "language model")
        return f"<penlight.LLM {name}: {self.context_used} of {self.context_length} tokens used>"


def _ids(tokens: Sequence[int]) -> ctypes.Array[ctypes.c_int32]:
    """Tokens as the C layer takes them; what no int32 can hold becomes -1, which it refuses."""
    for token in tokens:
        if not is_int(token):
            raise RuntimeFailure(
                f"[tokens] expected whole numbers but got {token!r}; tokenize text"
            )
    fitting = [int(t) if -(1 << 31) <= t < 1 << 31 else -1 for t in tokens]
    return (ctypes.c_int32 * len(fitting))(*fitting)
