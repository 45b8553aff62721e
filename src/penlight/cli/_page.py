"""One self-contained HTML page about a program: figures, the memory plan over time, the graph.

The page loads nothing from elsewhere, follows the reader's light or dark setting, and every text
that comes from the file is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from zlib import crc32

from penlight.cli._report import Block, MethodReport, Report, ValueReport, live_bytes
from penlight.cli._terminal import spell_bytes

__all__ = ["page"]

HUES = (212, 28, 150, 268, 340, 48, 188, 100)  # one for each family of operators
PLAN_WIDTH, PLAN_HEIGHT = 1030, 340  # pixels; the width is a minimum
ROW, GUTTER = 24, 150  # pixels: height of an instruction, width of the arcs beside it

STYLE = """
:root { --bg:#fbfbfa; --fg:#1f2328; --dim:#6a737d; --line:#e1e4e8; --card:#fff; --accent:#0b62d6;
  --fill:72%; --edge:45%; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --bg:#0f1216; --fg:#e6e9ed; --dim:#8d96a0;
  --line:#272c33; --card:#161a20; --accent:#6cb2ff; --fill:38%; --edge:62%; } }
* { box-sizing: border-box; }
body { margin:0 auto; padding:32px 24px 80px; max-width:1180px; background:var(--bg);
  color:var(--fg); font:14px/1.5 system-ui, sans-serif; }
h1 { font-size:26px; margin:0 0 4px; } h2 { font-size:20px; margin:48px 0 4px; }
h3 { font-size:15px; margin:32px 0 8px; } .dim, th { color:var(--dim); }
.mono, td { font-family:ui-monospace, Menlo, Consolas, monospace; font-size:12.5px; }
.tiles { display:flex; flex-wrap:wrap; gap:12px; margin:20px 0 0; }
.tile { background:var(--card); border:1px solid var(--line); border-radius:10px;
  padding:10px 16px; min-width:130px; } .tile b { display:block; font-size:19px; }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px;
  overflow:auto; padding:12px; } nav a { margin-right:16px; }
a { color:var(--accent); text-decoration:none; } a:hover { text-decoration:underline; }
table { border-collapse:collapse; } th { text-align:left; font-weight:500; font-size:12px; }
td, th { padding:3px 18px 3px 0; vertical-align:top; white-space:nowrap; }
td.n, th.n { text-align:right; } .bar { display:inline-block; height:9px; border-radius:3px; }
svg text { fill:var(--dim); font:11px ui-monospace, Menlo, monospace; }
svg .axis { stroke:var(--line); } svg .live { fill:none; stroke:var(--fg); stroke-dasharray:3 3;
  opacity:.55; } svg rect.b { stroke-width:.7; } svg rect.b:hover { stroke-width:2.5; }
.graph { max-height:720px; overflow:auto; position:relative; }
.graph .inner { position:relative; } .graph svg { position:absolute; left:0; top:0; }
.graph path { fill:none; stroke:var(--dim); opacity:.35; } .graph path.on { stroke:var(--accent);
  stroke-width:2; opacity:1; }
.step { height:24px; line-height:24px; padding-left:158px; white-space:nowrap; cursor:default; }
.step:hover, .step.on { background:color-mix(in srgb, var(--accent) 12%, transparent); }
.step i { display:inline-block; width:44px; text-align:right; margin-right:10px;
  color:var(--dim); font-style:normal; } .step b { font-weight:600; }
.step.hide { opacity:.22; } .dot { fill:var(--fg); }
input { font:inherit; padding:6px 10px; border-radius:8px; border:1px solid var(--line);
  background:var(--card); color:var(--fg); width:280px; margin:0 0 10px; }
"""

# Hovering a step lights up the arcs to and from it; the box dims the steps that do not match.
SCRIPT = """
document.querySelectorAll('.graph').forEach(function (graph) {
  var arcs = {};
  graph.querySelectorAll('path').forEach(function (p) {
    [p.dataset.a, p.dataset.b].forEach(function (k) { (arcs[k] = arcs[k] || []).push(p); });
  });
  function light(step, on) {
    (arcs[step.dataset.i] || []).forEach(function (p) { p.classList.toggle('on', on); });
  }
  graph.querySelectorAll('.step').forEach(function (step) {
    step.addEventListener('mouseenter', function () { light(step, true); });
    step.addEventListener('mouseleave', function () { light(step, false); });
  });
  graph.parentNode.querySelector('input').addEventListener('input', function (event) {
    var wanted = event.target.value.toLowerCase();
    graph.querySelectorAll('.step').forEach(function (step) {
      step.classList.toggle('hide', step.textContent.toLowerCase().indexOf(wanted) < 0);
    });
  });
});
"""


def page(report: Report) -> str:
    """The page about `report`, as HTML text."""
    tiles = [
        ("File", spell_bytes(report.nbytes)),
        ("Tables", spell_bytes(report.tables)),
        ("Methods", str(len(report.methods))),
        ("Segments", str(len(report.segments))),
        ("Named data", str(len(report.named_data))),
    ]
    links = "".join(f'<a href="#m{i}">{escape(m.name)}</a>' for i, m in enumerate(report.methods))
    segments = [(s.index, s.offset, spell_bytes(s.nbytes), s.holds) for s in report.segments]
    named = [(e.key, spell_bytes(e.nbytes), e.preview) for e in report.named_data]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.file)}</title><style>{STYLE}</style>",
        f'<h1>{escape(report.file)}</h1><div class="dim">What this .pte program holds.</div>',
        _tiles(tiles),
        f"<h3>Methods</h3><nav>{links}</nav>",
        *(_method(number, method) for number, method in enumerate(report.methods)),
        "<h2>File</h2>",
        _table("Segments", ("#>", "Offset>", "Size>", "Holds"), segments),
        _table("Named data", ("Key", "Size>", "Starts with"), named),
        f"<script>{SCRIPT}</script></html>",
    ]
    return "\n".join(parts)


def _tiles(items: list[tuple[str, str]]) -> str:
    tiles = "".join(
        f'<div class="tile"><span class="dim">{escape(name)}</span><b>{escape(value)}</b></div>'
        for name, value in items
    )
    return f'<div class="tiles">{tiles}</div>'


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """Columns whose name ends in ">" are right-aligned. No rows, no table."""
    if not rows:
        return ""
    sides = [' class="n"' if c.endswith(">") else "" for c in columns]
    names = [escape(column.rstrip(">")) for column in columns]
    head = "".join(f"<th{s}>{name}</th>" for name, s in zip(names, sides, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{s}>{escape(str(c))}</td>" for c, s in zip(row, sides, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<h3>{escape(title)}</h3><div class="card"><table><tr>{head}</tr>{body}</table></div>'


def _method(number: int, method: MethodReport) -> str:
    constants = [t.nbytes for t in method.tensors if t.role == "constant"]
    tiles = [
        ("Instructions", str(len(method.instructions))),
        ("Kinds of operator", str(len(method.operators))),
        ("Constants", f"{len(constants)}, {spell_bytes(sum(constants))}"),
        ("Planned memory", spell_bytes(method.planned)),
    ]
    sides = [("input", method.inputs), ("output", method.outputs)]
    values = [
        (side, i, v.spelled if v.kind == "tensor" else f"{v.kind} {v.spelled}", v.name)
        for side, found in sides
        for i, v in enumerate(found)
    ]
    return "\n".join(
        [
            f'<h2 id="m{number}">Method {escape(method.name)}</h2>',
            _tiles(tiles),
            _table("Inputs and outputs", ("", "#>", "Type", "Name"), values),
            *(_plan(method, arena.arena) for arena in method.arenas),
            _operators(method),
            _graph(method),
        ]
    )


def _hue(name: str) -> int:
    family = name.split("::")[-1].split(".")[0]
    return HUES[crc32(family.encode()) % len(HUES)]


def _operators(method: MethodReport) -> str:
    most = max(method.operators.values(), default=1)
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td class='n'>{calls}</td><td>"
        f"<span class='bar' style='width:{max(3, 320 * calls // most)}px;"
        f"background:hsl({_hue(name)} 60% 55%)'></span></td></tr>"
        for name, calls in method.operators.items()
    )
    return f'<h3>Operators</h3><div class="card"><table>{rows}</table></div>'


def _plan(method: MethodReport, arena: int) -> str:
    """The picture of one arena: x is the instruction, y the offset, a rectangle a tensor's life."""
    found = next(a for a in method.arenas if a.arena == arena)
    blocks = [block for block in method.blocks if block.arena == arena]
    if not blocks or not found.nbytes:
        return ""
    steps = max(len(method.instructions), 1)
    wide = min(max(PLAN_WIDTH / steps, 3.0), 60.0)  # pixels per instruction
    width, left, bottom = wide * steps, 76, PLAN_HEIGHT + 12
    scale = PLAN_HEIGHT / found.nbytes

    def y(offset: int) -> float:
        return bottom - offset * scale

    shapes = []
    for quarter in range(5):
        at = found.nbytes * quarter // 4
        shapes.append(
            f'<line class="axis" x1="{left}" x2="{left + width:.1f}" y1="{y(at):.1f}" '
            f'y2="{y(at):.1f}"/><text x="{left - 6}" y="{y(at) + 4:.1f}" text-anchor="end">'
            f"{spell_bytes(at)}</text>"
        )
    every = max(1, round(80 / wide))
    for number in range(0, steps, every):
        x = left + number * wide
        shapes.append(f'<text x="{x:.1f}" y="{bottom + 16}">{number}</text>')
    made = {v: step.name for step in method.instructions for v in step.writes}
    tensors = {tensor.value: tensor for tensor in method.tensors}
    for block in blocks:
        value = block.values[0]
        source = "state" if block.is_state else made.get(value, "input")
        corner = (left + block.first * wide, y(block.offset + block.nbytes))
        size = ((block.last - block.first + 1) * wide, max(block.nbytes * scale, 0.6))
        shapes.append(_block(block, source, tensors[value].spelled, corner, size))
    line = " ".join(
        f"{left + number * wide:.1f},{y(live):.1f} {left + (number + 1) * wide:.1f},{y(live):.1f}"
        for number, live in enumerate(live_bytes(blocks, steps))
    )
    shapes.append(f'<polyline class="live" points="{line}"/>')
    full = left + width + 12
    return (
        f"<h3>Memory plan, arena {arena}</h3><p class='dim'>{spell_bytes(found.nbytes)} reserved; "
        f"{spell_bytes(found.peak)} in use at the peak (instruction {found.peak_at}). Across: "
        "instructions. Up: bytes from the start of the arena. Dashed: bytes in use.</p>"
        f'<div class="card"><svg width="{full:.0f}" height="{bottom + 24}">'
        f"{''.join(shapes)}</svg></div>"
    )


def _block(
    block: Block, source: str, spelled: str, corner: tuple[float, float], size: tuple[float, float]
) -> str:
    """The rectangle of one tensor's life; `source` is the operator that made it."""
    hue = _hue(source)
    label = (
        f"{source}: {spelled}\n"
        f"{spell_bytes(block.nbytes)} at {block.offset}, instructions {block.first} to {block.last}"
        f"\nvalues {', '.join(map(str, block.values[:12]))}"
    )
    return (
        f'<rect class="b" x="{corner[0]:.1f}" y="{corner[1]:.2f}" width="{size[0]:.1f}" '
        f'height="{size[1]:.2f}" '
        f'style="fill:hsl({hue} 55% var(--fill));stroke:hsl({hue} 55% var(--edge))">'
        f"<title>{escape(label)}</title></rect>"
    )


def _graph(method: MethodReport) -> str:
    """Every instruction on a line of its own, with arcs from the line that made a tensor."""
    steps = method.instructions
    by_value: dict[int, ValueReport] = {tensor.value: tensor for tensor in method.tensors}
    maker: dict[int, int] = {}
    arcs, lines = [], []
    for number, step in enumerate(steps):
        for source in sorted({maker[v] for v in step.reads if v in maker}):
            reach = min(10.0 + 9.0 * (number - source) ** 0.6, GUTTER - 6.0)
            a, b, x = source * ROW + ROW / 2, number * ROW + ROW / 2, GUTTER
            arcs.append(
                f'<path data-a="{source}" data-b="{number}" d="M{x} {a}C{x - reach:.0f} {a} '
                f'{x - reach:.0f} {b} {x} {b}"/>'
            )
        lines.append(_step(number, step.name, step.reads, step.writes, by_value))
        maker.update(dict.fromkeys(step.writes, number))
    height = ROW * len(steps)
    dots = "".join(
        f'<circle class="dot" cx="{GUTTER}" cy="{i * ROW + ROW / 2}" r="2.5"/>'
        for i in range(len(steps))
    )
    return (
        "<h3>Graph</h3><input placeholder='Find an operator, a shape, a name'>"
        '<div class="card graph"><div class="inner mono">'
        f'<svg width="{GUTTER + 6}" height="{height}">{"".join(arcs)}{dots}</svg>'
        f"{''.join(lines)}</div></div>"
    )


def _step(
    number: int, name: str, reads: list[int], writes: list[int], values: dict[int, ValueReport]
) -> str:
    made = ", ".join(values[v].spelled for v in writes)
    taken = [values[v] for v in reads]
    names = ", ".join(t.name or t.spelled for t in taken if t.role in ("constant", "state"))
    detail = "\n".join(f"reads {t.spelled} {t.role} {t.name}" for t in taken)
    return (
        f'<div class="step" data-i="{number}" title="{escape(detail)}"><i>{number}</i>'
        f"<b style='color:hsl({_hue(name)} 60% var(--edge))'>{escape(name)}</b> "
        f"→ {escape(made)} <span class='dim'>{escape(names)}</span></div>"
    )
