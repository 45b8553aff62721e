"""A person at a terminal: a program behind a pseudo-terminal, what it shows, and typing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

from penlight.closing import Closing

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?<>=]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>()][0B]?)")
ALT_ENTER = "\x1b\r"
CTRL_C = "\x03"
CTRL_D = "\x04"
UP = "\x1b[A"


class Terminal(Closing):
    """``penlight ARGUMENTS`` in a terminal of 100 columns; a context manager that ends it."""

    def __init__(self, *arguments: object, home: Path, cwd: Path) -> None:
        command = [sys.executable, "-m", "penlight", *map(str, arguments)]
        environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(home)}
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PENLIGHT_TRACEBACK"):
            environment.pop(name, None)
        self._seen = ""
        self._pid, self._file = pty.fork()
        if self._pid == 0:
            os.chdir(cwd)
            os.execve(command[0], command, environment)
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))

    def close(self) -> None:
        """End the program, however far it is, and give the terminal back."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def type(self, text: str | bytes) -> None:
        """Press the keys of a text, without Enter."""
        os.write(self._file, text if isinstance(text, bytes) else text.encode())

    def send(self, text: str) -> None:
        """Type a line and press Enter."""
        self.type(text + "\r")

    def expect(self, text: str, seconds: float = 30) -> str:
        """Wait until the text is shown; returns what was shown up to there since the last time."""
        deadline = time.monotonic() + seconds
        while text not in self._seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown, but: {self._seen[-2000:]!r}"
            if select.select([self._file], [], [], left)[0]:
                assert self._read(), f"ended before {text!r} was shown: {self._seen[-2000:]!r}"
        before, _, self._seen = self._seen.partition(text)
        return before

    def _read(self) -> bool:
        """Take in what has been written; False when the program has closed the terminal."""
        try:
            data = os.read(self._file, 1 << 16)
        except OSError:
            return False
        # The terminal's answer to "where is the cursor?", for which prompt_toolkit asks.
        if b"\x1b[6n" in data:
            os.write(self._file, b"\x1b[1;1R")
        text = _ESCAPES.sub("", data.decode(errors="replace"))
        self._seen += text.replace("\r", "")
        return bool(data)

    def finish(self, seconds: float = 20) -> int:
        """Wait for the end; returns the exit code."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self._file], [], [], 0.05)[0]:
                self._read()
            done, status = os.waitpid(self._pid, os.WNOHANG)
            if done:
                self._pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"still running: {self._seen[-2000:]!r}")
