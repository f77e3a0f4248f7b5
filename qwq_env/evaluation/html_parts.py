"""The parts of a page: tables, scales, histograms, transcripts. All text is escaped here.

Cells, parts and what `details` folds are HTML; names and texts are not, and go through `text`.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from qwq_env.dialect.codec import TokenCodec
from qwq_env.evaluation.statistics import Interval
from qwq_env.text.characters import printable
from qwq_env.trajectory import Trajectory

_MOST: Final = 6_000
_BINS: Final = 16
_SHORT: Final = 24
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d232a; --soft: #5c6670; --paper: #fff; --line: #d8dde2;
  --card: #f5f7f9; --right: #1f7a4d; --wrong: #b4442f; --accent: #2b5fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b0; --paper: #14181c;
  --line: #333b44; --card: #1d2329; --right: #56c28b; --wrong: #e98a74; --accent: #7fb0f0; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
header p { margin: .2rem 0; color: var(--soft); }
.figure b { font-size: 2.4rem; color: var(--ink); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .25rem .6rem;
  border-bottom: 1px solid var(--line); vertical-align: top; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; } svg { display: block; }
th, .short { white-space: nowrap; } section { overflow-x: auto; }
.bars { width: 100%; max-width: 450px; }
@media (max-width: 40rem) { .scale { display: none; } .short { white-space: normal; } }
details td:first-child { width: 9rem; }
details { border: 1px solid var(--line); border-radius: 6px;
  margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } .turn { background: var(--card); border-left: 3px solid var(--line);
  border-radius: 4px; margin: .5rem 0; padding: .4rem .7rem; } .turn h4 { margin: 0;
  font-size: .75rem; color: var(--soft); font-weight: 600; }
.thinking { opacity: .75; font-style: italic; } .answer, .assistant { border-color: var(--accent); }
.tool { border-color: var(--right); } pre { white-space: pre-wrap; margin: 0;
  font: 13px/1.45 ui-monospace, monospace; }
"""


def text(value: str, *, most: int = _MOST) -> str:
    """Return a text as HTML: nothing in it is markup, and what is invisible is seen.

    Of a longer one than `most` characters the middle is left out.
    """
    if len(value) > most:
        half, left_out = most // 2, len(value) - most
        value = f"{value[:half]}\n[... {left_out:,} characters left out ...]\n{value[-half:]}"
    return html.escape(printable(value))


def page(title: str, parts: Sequence[str]) -> str:
    """Return a whole page. It may not run nor load anything, whatever is in it."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )


def section(title: str, content: str) -> str:
    """Return a section, nothing if it has no content."""
    return f"<section><h2>{text(title)}</h2>{content}</section>" if content else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of these cells."""
    head = f"<tr>{''.join(f'<th>{text(name)}</th>' for name in columns)}</tr>" if columns else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{head}{body}</table>"


def _cell(content: str) -> str:
    # Numbers and short names are not broken, long words of others are.
    return f"<td class=short>{content}</td>" if len(content) <= _SHORT else f"<td>{content}</td>"


def details(head: str, content: str) -> str:
    """Return what is folded behind one line."""
    return f"<details><summary>{text(head, most=400)}</summary>{content}</details>"


def scale(value: float, span: Interval | None) -> str:
    """Return a value between 0 and 1 on a line, with its interval."""
    bar = ""
    if span is not None:
        low, high = max(0.0, span.low), min(1.0, span.high)
        bar = f'<rect x="{200 * low:.1f}" y="5" width="{max(1.0, 200 * (high - low)):.1f}"'
        bar += ' height="6" rx="3" fill="var(--accent)" opacity=".35"/>'
    at = 200 * min(max(value, 0.0), 1.0)
    return (
        '<svg class=scale width="210" height="16" viewBox="-5 0 210 16" role="img">'
        f'<line x2="200" y1="8" y2="8" stroke="var(--line)"/>{bar}'
        f'<circle cx="{at:.1f}" cy="8" r="4" fill="var(--accent)"/></svg>'
    )


def histogram(title: str, sides: Mapping[str, Sequence[float]]) -> str:
    """Return how the values of each side are spread, one row of bars for each."""
    most = max((value for side in sides.values() for value in side), default=0)
    if most <= 0:
        return ""
    width = math.ceil((most + 1) / _BINS)
    counts = {name: [0] * _BINS for name in sides}
    for name, side in sides.items():
        for value in side:
            counts[name][min(_BINS - 1, int(value // width))] += 1
    highest = max(max(each) for each in counts.values())
    rows = []
    for name, each in counts.items():
        bars = "".join(
            f'<rect x="{28 * i}" y="{60 - 56 * count / highest:.1f}" width="26"'
            f' height="{56 * count / highest:.1f}" fill="var(--{name})"/>'
            for i, count in enumerate(each)
        )
        line = '<line x2="448" y1="61" y2="61" stroke="var(--line)"/>'
        picture = f'<svg class=bars viewBox="0 0 450 62" role="img">{bars}{line}</svg>'
        rows.append([text(name), picture])
    axis = [["", f"{text(title)}, 0 to {width * _BINS:,}; {width:,} a bar"]]
    return table((), [*rows, *axis])


def transcript(trajectory: Trajectory, codec: TokenCodec | None) -> str:
    """Return what was said in an episode; of token ids with the `codec` that reads them."""
    turns = _messages(trajectory) if trajectory.messages else _spans(trajectory, codec)
    return "".join(
        f'<div class="turn {text(who)}"><h4>{text(who)}</h4><pre>{text(said)}</pre></div>'
        for who, said in turns
        if said.strip()
    )


def _messages(trajectory: Trajectory) -> Iterator[tuple[str, str]]:
    for message in trajectory.messages:
        role = str(message.get("role"))
        yield "thinking", str(message.get("reasoning_content") or "")
        yield role, str(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            function: Mapping[str, Any] = call.get("function", call)
            given = function.get("arguments")
            written = given if isinstance(given, str) else json.dumps(given)
            yield role, f"{function.get('name')}({written})"


def _spans(trajectory: Trajectory, codec: TokenCodec | None) -> Iterator[tuple[str, str]]:
    if codec is None:
        return
    for row in trajectory.earlier:
        yield "answer", codec.decode(row.completion_ids)
    for span in trajectory.spans:
        yield span.author, codec.decode(trajectory.ids[span.start : span.end])
