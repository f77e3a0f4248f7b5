"""A transcript for a person: coloured text for a terminal, a page for a browser."""

from __future__ import annotations

import html as html_module
from typing import TYPE_CHECKING

from qwq_env.text.characters import printable

if TYPE_CHECKING:
    from qwq_env.episode import Episode

_COLOURS = {"task": "36", "thinking": "90", "answer": "0", "tool": "33", "user": "35"}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.4rem 0;padding:.6rem .8rem;
border-left:4px solid #bbb;background:#f7f7f7}
.task{border-color:#2a7ab0}.thinking{border-color:#bbb;color:#666}.answer{border-color:#2e8b57}
.tool{border-color:#c98a1b}.user{border-color:#8a4bb0}small{color:#777}
"""


def ansi(episode: Episode, *, last: bool = False) -> str:
    """Return the transcript with a colour for each author; `last` gives the newest part only."""
    segments = episode.segments
    if last and len(segments) > 1:
        start = max(i for i, (author, _) in enumerate(segments) if author in ("thinking", "answer"))
        start -= start > 0 and segments[start - 1][0] == "thinking"
        segments = segments[start:]
    text = "".join(f"\x1b[{_COLOURS[a]}m{printable(t)}\x1b[0m" for a, t in segments)
    return f"{text}\n\x1b[1m{_summary(episode)}\x1b[0m" if episode.outcome else text


def html(episode: Episode) -> str:
    """Return a page without scripts or foreign resources; all text in it is escaped."""
    blocks = "".join(
        f'<small>{author}</small><pre class="{author}">{html_module.escape(printable(text))}</pre>'
        for author, text in episode.segments
        if text.strip()
    )
    title = html_module.escape(f"Episode {episode.task_id}")
    summary = html_module.escape(_summary(episode))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1>{blocks}<p><b>{summary}</b></p></html>"
    )


def _summary(episode: Episode) -> str:
    if episode.outcome is None:
        return "running"
    reward = None if episode.reward is None else episode.reward.value
    paid = "" if reward is None else f", reward {reward:g}"
    return f"{episode.outcome.kind}: {episode.outcome.reason}{paid}"
