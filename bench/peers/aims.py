"""What is aimed at beside the peers, and what the measurements reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contenders import CONTENDERS, checkpoint
from figures import Figures
from lab import NOISE

DECODE, PREFILL = "decode 4", "prefill 512"
AIMED = {  # times the fastest peer, by model and threads
    DECODE: {("smollm2", 1): 1.6, ("smollm2", 2): 2.0, ("llama1b", 1): 1.2, ("llama1b", 2): 1.2},
    PREFILL: {("smollm2", 1): 1.4, ("smollm2", 2): 1.4, ("llama1b", 1): 1.5, ("llama1b", 2): 1.5},
}
KEPT = 2.5  # times llama.cpp, decoding its own file
BANDWIDTH_SHARE = 0.85
READY_S, CHAT_READY_S, PRIVATE_MB = 0.3, 0.15, 30.0
FAR_SHARE = 0.8
DRAFTING = {"edit": ("a text to edit", 1.8), "write": ("a story to write at temperature 0.8", 0.97)}
BUSY_SHARE = 0.5
EXPORT_S = {"smollm2": 10.0, "llama1b": 45.0}
EXPORT_MB = 1000.0
POSITIONS = 513  # tokens in the cache at the peak
CHAT_POSITIONS = 32  # the same of bench/load.py, at most


@dataclass(frozen=True)
class Reached:
    """One aim. id: names its cause in causes.toml if it is missed; value: None if not measured."""

    id: str
    text: str
    aim: float
    value: float | None
    detail: str
    at_most: bool = False
    digits: int = 2

    @property
    def missed(self) -> bool:
        if self.value is None:
            return False
        return self.value > self.aim if self.at_most else self.value < self.aim

    def ratio(self) -> float | None:
        """Of what is reached to what is aimed at; 1 or more is good."""
        if self.value is None or not self.value:
            return None
        return self.aim / self.value if self.at_most else self.value / self.aim


def aims(figures: Figures, records: Mapping[str, Mapping[str, Any]]) -> list[Reached]:
    """All of them, in the page's order."""
    return [
        *beside_peers(figures),
        *kept_file(figures),
        *bandwidth(figures, records),
        *starting(figures, records),
        *far(figures),
        *drafting(figures),
        *busy(figures),
        *exporting(records),
    ]


def beside_peers(figures: Figures) -> Iterator[Reached]:
    """Decode and prefill: ours over the peer that comes nearest, bits for bits."""
    for measure, values in AIMED.items():
        word = measure.split()[0]
        for (model, threads), aim in values.items():
            nearest: tuple[float, str] | None = None
            for peer in CONTENDERS:
                if model not in peer.beside or peer.name == "llamacpp-q4_1":
                    continue
                theirs = figures.get(peer.name, model, threads, measure)
                ours = figures.get(peer.beside[model], model, threads, measure)
                if theirs and ours:
                    detail = f"{ours.median:.0f} beside {theirs.median:.0f} of {peer.title}"
                    candidate = (ours.median / theirs.median, detail)
                    nearest = min(nearest, candidate) if nearest else candidate
            yield Reached(
                f"{word}-{model}",
                f"{spelt(model)} {word}, {spell_threads(threads)}: times the fastest peer",
                aim,
                nearest[0] if nearest else None,
                f"tokens/s {nearest[1]}" if nearest else "",
            )


def kept_file(figures: Figures) -> Iterator[Reached]:
    for threads in (1, 2):
        ours = figures.get("penlight-keep", "smollm2", threads, DECODE)
        theirs = figures.get("llamacpp-q4_1", "smollm2", threads, DECODE)
        yield Reached(
            "kept-file",
            f"the Q4_1 file as it is, decode, {spell_threads(threads)}: times llama.cpp",
            KEPT,
            ours.median / theirs.median if ours and theirs else None,
            f"tokens/s {ours.median:.0f} beside {theirs.median:.0f}" if ours and theirs else "",
        )


def bandwidth(figures: Figures, records: Mapping[str, Mapping[str, Any]]) -> Iterator[Reached]:
    """The weights that a token reads, times tokens a second, over what the machine can read."""
    for contender in ("penlight-q4-q4", "penlight-q4-q8"):
        nbytes = records.get(f"export {contender} llama1b", {}).get("weights_mb")
        for threads in (1, 2):
            ours = figures.get(contender, "llama1b", threads, f"{DECODE} per GB")
            read = figures.get(contender, "llama1b", threads, "read beside")
            share = ours.median * nbytes / 1e3 if ours and nbytes else None
            yield Reached(
                "bandwidth",
                f"{spelt('llama1b')} decode, {contender[-2:]} head, {spell_threads(threads)}: "
                "share of the read bandwidth",
                BANDWIDTH_SHARE,
                share,
                f"{nbytes:.0f} MB a token; {read.median:.1f} GB/s beside" if share and read else "",
            )


def starting(figures: Figures, records: Mapping[str, Mapping[str, Any]]) -> Iterator[Reached]:
    """What a warm 1B file costs: the worst of our forms and numbers of threads."""
    forms = ("q4-q4", "q4-q8")
    ways = (
        ("penlight", "", "Python", READY_S, POSITIONS),
        ("start", "-cpp", "the C++ runner", CHAT_READY_S, CHAT_POSITIONS),
    )
    for prefix, ending, way, ready, positions in ways:
        head, both = f"{spelt('llama1b')}, warm: ", [f"{prefix}-{form}" for form in forms]
        yield Reached(
            f"ready{ending}", f"{head}s from process start to ready in {way}", ready,
            worst(figures, "ready_s", *both), "the worst of both forms", True, 3,
        )  # fmt: skip
        yield Reached(
            f"private{ending}", f"{head}private MB after load in {way}", PRIVATE_MB,
            worst(figures, "private_mb", *both), "the worst of both forms", True, 1,
        )  # fmt: skip
        for form, name in zip(forms, both, strict=True):
            size = records.get(f"export penlight-{form} llama1b", {}).get("size_mb")
            peak = worst(figures, "peak_mb", name)
            if size and peak:
                yield Reached(
                    f"peak{ending}",
                    f"{head}peak RSS in MB in {way}, {form[-2:]} head: file + 10 % + cache in use",
                    1.1 * size + cache_mb("llama1b", positions), peak,
                    f"the file has {size:.0f} MB", True, 0,
                )  # fmt: skip


def worst(figures: Figures, measure: str, *names: str) -> float | None:
    """The most of some runs with the 1B shape."""
    found = [figures.get(name, "llama1b", threads, measure) for name in names for threads in (1, 2)]
    return max((spread.median for spread in found if spread), default=None)


def cache_mb(model: str, positions: int) -> float:
    """Keys and values in float16 of that many tokens."""
    config = json.loads((checkpoint(model) / "config.json").read_text())
    width = config["num_key_value_heads"] * config["head_dim"]
    return float(config["num_hidden_layers"] * 2 * width * 2 * positions / 1e6)


def far(figures: Figures) -> Iterator[Reached]:
    caches = (("far", "", "penlight-q4-q4"), ("far-int8", " int8 cache,", "penlight-int8-cache"))
    for id, cache, name in caches:
        for threads in (1, 2):
            near = figures.get(name, "smollm2", threads, "decode 100")
            deep = figures.get(name, "smollm2", threads, "decode 4000")
            yield Reached(
                id,
                f"{spelt('smollm2')} decode at position 4,000,{cache} {spell_threads(threads)}: "
                "share of position 100",
                FAR_SHARE,
                deep.median / near.median if near and deep else None,
                f"tokens/s {deep.median:.0f} of {near.median:.0f}" if near and deep else "",
            )


def drafting(figures: Figures) -> Iterator[Reached]:
    for text, (spelt_text, aim) in DRAFTING.items():
        yield ratio_of(
            figures, "drafting", 1, text, ("with", "without"), f"drafting-{text}", aim,
            f"{spelt('smollm2')} drafting, {spelt_text}, 1 thread: times the speed without",
        )  # fmt: skip


def busy(figures: Figures) -> Iterator[Reached]:
    for work in ("decode", "prefill"):
        yield ratio_of(
            figures, "busy-core", 2, work, ("uneven", "quiet"), f"busy-{work}", BUSY_SHARE,
            f"{spelt('smollm2')} {work}, 2 threads, one core busy: share of the speed without",
        )  # fmt: skip


def ratio_of(
    figures: Figures, own: str, threads: int, what: str, pair: tuple[str, str], id: str, aim: float,
    text: str,
) -> Reached:  # fmt: skip
    """A ratio that a program of own.py took, with the two speeds."""
    ratio, *speeds = (
        figures.get(own, "smollm2", threads, f"{what}_{name}") for name in ("ratio", *pair)
    )
    detail = " beside ".join(f"{speed.median:.0f}" for speed in speeds if speed)
    return Reached(id, text, aim, ratio.median if ratio else None, detail and f"tokens/s {detail}")


def exporting(records: Mapping[str, Mapping[str, Any]]) -> Iterator[Reached]:
    """The worst of our forms."""
    for model, aim in EXPORT_S.items():
        found = [
            record
            for key, record in records.items()
            if key.startswith("export penlight") and key.endswith(model) and "error" not in record
        ]
        slowest = max(found, key=lambda record: record["wall_s"], default=None)
        yield Reached(
            f"export-{model}",
            f"{spelt(model)}: seconds to export",
            aim,
            slowest["wall_s"] if slowest else None,
            cost_of(slowest) if slowest else "",
            True,
            1,
        )
        beyond = [record["peak_mb"] - record["torch_mb"] for record in found]
        yield Reached(
            f"export-memory-{model}",
            f"{spelt(model)}: peak MB of the export beyond importing torch",
            EXPORT_MB,
            max(beyond, default=None),
            f"importing torch takes {found[0]['torch_mb']:.0f} MB" if found else "",
            True,
            0,
        )


def cost_of(record: Mapping[str, Any]) -> str:
    """CPU seconds of an export, and whether its wall time was disturbed."""
    noise = f"; others used {record['others']:.1f} cores meanwhile"
    return f"{record['cpu_s']:.1f} s of CPU" + (noise if record["others"] > NOISE else "")


def spelt(model: str) -> str:
    return {"smollm2": "135M", "llama1b": "1B shape"}[model]


def spell_threads(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
