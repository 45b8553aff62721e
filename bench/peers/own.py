"""What only Penlight is measured at: other programs of bench/, on files of its contenders.

With --json they print lines as protocol.py has them, and no peer is compared with what they say.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from contenders import BY_NAME, Command, Contender
from lab import LAB, ROOT

CHAT = LAB / "chat"  # the C++ example, made anew for every session: its library is the checkout's


@dataclass(frozen=True)
class Own:
    """One program on one file. name: in place of a contender's. flags: of the program."""

    name: str
    contender: Contender
    model: str
    threads: int
    flags: tuple[str, ...]

    def command(self) -> Command:
        program, *flags = self.flags
        file = str(self.contender.file(self.model))
        threads = ("--threads", str(self.threads))
        return [sys.executable, str(ROOT / "bench" / program), file, *threads, *flags, "--json"]


STARTS = {"start-q4-q4": "penlight-q4-q4", "start-q4-q8": "penlight-q4-q8"}  # whose file
OWN = (
    *(
        Own(name, BY_NAME[whose], "llama1b", n, ("load.py", "--chat", str(CHAT), "--rounds", "5"))
        for n in (1, 2)
        for name, whose in STARTS.items()
    ),
    Own("drafting", BY_NAME["penlight-q4-q8"], "smollm2", 1, ("speculation.py", "--rounds", "5")),
    Own("busy-core", BY_NAME["penlight-q4-q4"], "smollm2", 2, ("uneven.py", "--rounds", "3")),
)
