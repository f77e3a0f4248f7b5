"""An episode as a person reads it: stretches of text, each in a style, nothing of it markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isnan
from statistics import fmean
from typing import Any, Final, NamedTuple

from qwq_env.rollout.placed import PlacedSegment
from qwq_env.rollout.stored import ScoredComponent, StoredEpisode
from qwq_env.text.characters import printable

_STYLES: Final = {
    "system": "dim cyan", "task": "cyan", "thinking": "dim", "text": "default", "call": "yellow",
    "result": "blue", "user": "magenta", "answer": "bold green", "markup": "dim red",
}  # fmt: skip
_SHORT: Final = 160
"""Characters shown of the system's words, where not all is asked for."""


class Styled(NamedTuple):
    """Text that is safe on a terminal, and Rich's name of the style that it is shown in."""

    text: str
    style: str


def episode_text(episode: StoredEpisode, *, everything: bool = False) -> Iterator[Styled]:
    """Yield an episode: its numbers, why it was paid so, and its text in order.

    `everything` shows also the dialect's own marks, and the system's words to the end. Raises
    `UsageError` if the row is damaged.
    """
    segments = episode.segments
    trajectory = episode.trajectory
    yield Styled(_line(_title(episode)) + "\n", "bold reverse")
    yield Styled(_line(_numbers(episode)) + "\n", "dim")
    if learned := _learned(episode):
        yield Styled(learned + "\n", "dim")
    for component in episode.components:
        yield Styled(_line(_component(component)) + "\n", "dim")
    if trajectory.reference is not None:
        reference = json.dumps(trajectory.reference, ensure_ascii=False, default=str)
        yield Styled(_line(f"  reference {reference[:500]}") + "\n", "dim")
    if not any(segment.text for segment in segments):
        why = "text was not stored" if episode.head.get("schema") else "numbers of version 1 alone"
        yield Styled(f"  ({why})\n", "dim")
    for segment in segments:
        yield from _segment(segment, everything)
    yield Styled("\n", "default")


def _title(episode: StoredEpisode) -> str:
    where = [episode.phase, "" if episode.step is None else f"step {episode.step}"]
    reward = "lost" if episode.reward is None else f"reward {episode.reward:g}"
    if episode.advantage is not None:
        reward += f" (advantage {episode.advantage:+.2f})"
    outcome = episode.outcome
    ended = outcome.reason if outcome.kind == "terminated" else f"{outcome.kind}: {outcome.reason}"
    return "  ".join(filter(None, [*where, episode.task, reward, ended]))


def _numbers(episode: StoredEpisode) -> str:
    head = episode.head
    tokens = ", ".join(f"{count} {who}" for who, count in episode.tokens.items())
    seconds = ", ".join(f"{n} {s:.2f} s" for n, s in episode.seconds._asdict().items() if s)
    parts = [
        f"  episode {episode.name}", episode.environment,
        f"{head.get('turns', 0)} turns, {head.get('tool_calls', 0)} calls",
        f"tokens: {tokens}" if tokens else "", seconds, episode.outcome.detail,
    ]  # fmt: skip
    return "; ".join(filter(None, parts))


def _learned(episode: StoredEpisode) -> str:
    """Say what the trainer made of the sampled tokens; nothing where that is not known."""
    rows = [found for row in range(len(episode.trajectory.rows)) if (found := episode.ratios(row))]
    ratios = [ratio for found in rows for ratio in found.ratios if not isnan(ratio)]
    entropies = [entropy for found in rows for entropy in found.entropies if not isnan(entropy)]
    if not ratios or not entropies:
        return ""
    return (
        f"  the trainer's ratios {min(ratios):.3g} to {max(ratios):.3g}, on average"
        f" {fmean(ratios):.3g}; entropy {fmean(entropies):.3g}"
    )


def _component(component: ScoredComponent) -> str:
    value = "undecided" if component.value is None else f"{component.value:g}"
    said = f"  {component.name} {value}"
    said += f": {component.reason}" if component.reason else ""
    said += f" ({component.detail})" if component.detail else ""
    return said + (f"; taken for the answer: {component.extracted}" if component.extracted else "")


def _segment(segment: PlacedSegment, everything: bool) -> Iterator[Styled]:
    kind, text = segment.kind, segment.text
    if everything:
        yield Styled(printable(text), _STYLES[kind])
        return
    if kind == "markup" or not (text.strip() or kind in ("call", "result")):
        return
    shown = printable(text.strip("\n"))
    if kind == "system" and len(shown) > _SHORT:
        shown = f"{shown[:_SHORT]} ... ({len(text)} characters)"
    if kind == "call" and not segment.error:
        shown = _call(segment)
    failed = segment.error and kind in ("call", "result")
    label = _line(_label(segment))
    # What is known of a call stands above it.
    between = "\n           " if kind in ("call", "result") else " " * max(1, 11 - len(label))
    yield Styled(label + between, "bold red" if failed else "bold")
    yield Styled(shown.strip("\n").replace("\n", "\n           ") + "\n", _STYLES[kind])


def _label(segment: PlacedSegment) -> str:
    if segment.kind not in ("call", "result"):
        return segment.kind
    about = [segment.name, segment.error]
    about += [f"{segment.seconds:.2f} s"] if segment.seconds >= 0.01 else []
    about += [f"{segment.cut} characters cut"] if segment.cut else []
    return f"{segment.kind} {', '.join(filter(None, about))}"


def _call(segment: PlacedSegment) -> str:
    """Show arguments one by one: in its JSON a program's lines are one."""
    arguments: Any = segment.arguments
    if not isinstance(arguments, dict):
        return printable(json.dumps(arguments, ensure_ascii=False, default=str))
    return "\n".join(f"{printable(name)} = {_value(value)}" for name, value in arguments.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        text = printable(value)
        return "\n  " + text.replace("\n", "\n  ") if "\n" in text.strip("\n") else text
    return printable(json.dumps(value, ensure_ascii=False, default=str))


def _line(text: str) -> str:
    return printable(text, lines=False)
