"""Turns whose thinking is bounded: what was sampled of them, and what was put in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from qwq_env.dialect.base import Dialect, Piece
from qwq_env.dialect.chatml import END_THINK, THINK
from qwq_env.rollout.policy import Generation

FINAL_ANSWER: Final = "Final Answer:"
"""What s1 puts behind the thinking that it ends (arXiv:2501.19393, section 3)."""


class SampledTurn(NamedTuple):
    """One turn: what was sampled, or that, the ids that were put behind it, and the rest."""

    parts: Sequence[Generation | list[int]]

    @property
    def ids(self) -> list[int]:
        """All ids of the turn."""
        return [i for part in self.parts for i in _ids(part)]

    @property
    def is_cut(self) -> bool:
        """Whether it ended at a limit and not by itself."""
        last = self.parts[-1]
        return not isinstance(last, list) and last.finish_reason == "length"


def closing(words: str) -> list[Piece]:
    """Return what ends a thinking, and begins the answer with `words`."""
    return [Piece("\n"), Piece(END_THINK, control=True), Piece(f"\n\n{words}")]


def still_thinks(text: str, dialect: Dialect) -> bool:
    """Say whether a turn that has come so far is in its thinking: opened, and not yet closed.

    A dialect's prompt may have opened it.
    """
    opened = bool(dialect.thinking_opening) or text.lstrip().startswith(THINK)
    return opened and END_THINK not in text


def _ids(part: Generation | list[int]) -> list[int]:
    return part if isinstance(part, list) else part.ids
