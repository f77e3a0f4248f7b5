"""The table of all episodes, column by column: what is read when the page is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from qwq_env.viewer.episodes import Seen


def table_of(episodes: Sequence[Seen]) -> dict[str, Any]:
    """Return columns of (episodes,)."""
    found = [seen.trajectory for seen in episodes]
    return {
        "count": len(episodes),
        "episode": names_of(episodes),
        "phase": _coded([seen.phase for seen in episodes]),
        "environment": _coded([t.environment for t in found]),
        "task": _coded([str(t.task_id) for t in found]),
        "outcome": _coded([str(t.outcome.reason) for t in found]),
        "kind": _coded([str(t.outcome.kind) for t in found]),
        "step": [seen.stored.step for seen in episodes],
        "group": [seen.group for seen in episodes],
        "reward": [_short(t.reward) for t in found],
        "advantage": [_short(seen.stored.advantage) for seen in episodes],
        "right": [None if t.reward is None else t.is_right for t in found],
        "turns": [t.turns for t in found],
        "calls": [t.tool_calls for t in found],
        "errors": [sum(n for kind, n in t.counts.items() if kind != "ok") for t in found],
        "tokens": [
            t.tokens.get("policy", sum(sum(r.mask[1::2]) for r in s.rows))
            for s, t in zip(episodes, found, strict=True)
        ],
        "seconds": [round(sum(t.seconds) - t.seconds.waiting, 4) for t in found],
    }


def names_of(episodes: Sequence[Seen]) -> list[str]:
    """Return a name for each that a link may hold: the phase before it, a number behind, where it
    would stand twice."""
    given = Counter(seen.trajectory.episode for seen in episodes)
    names: list[str] = []
    used: Counter[str] = Counter()
    for seen in episodes:
        name = str(seen.trajectory.episode)
        if given[seen.trajectory.episode] > 1 and seen.phase:
            name = f"{seen.phase}:{name}"
        used[name] += 1
        names.append(name if used[name] == 1 else f"{name}#{used[name]}")
    return names


def _coded(values: Sequence[str]) -> dict[str, Any]:
    places: dict[str, int] = {}
    codes = [places.setdefault(value, len(places)) for value in values]
    return {"values": list(places), "codes": codes}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
