"""Says what keeps a training from learning, by the metric that shows it, and what to change.

Such runs look like any other: they take their time and end well. Each cause is told once when it
has held for some batches, and again if it went away and came back. That no group has two different
rewards is `flat_rewards.py`'s to say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from transformers import TrainerCallback

logger = logging.getLogger(__name__)

_PATIENCE: Final = 10
_CUT: Final = 0.5
_HIGH, _FALL = 0.2, 3.0
_SOLVED: Final = 0.95
_REMEDIES: Final[Mapping[str, str]] = {
    "tokens": "grpo.max_completion_tokens, or grpo.context",
    "turns": "environment.turns",
    "tool_calls": "environment.tool_calls",
}
"""What bounds an episode, by the reason that its outcome gives."""

Row = Mapping[str, Any]


class LearningWatch(TrainerCallback):  # type: ignore[misc]  # its package is read without types
    """Warns of what holds in each of `patience` batches, by the rows that the trainer logs of them.

    `has_tools` says whether the policy could call any.
    """

    def __init__(self, *, has_tools: bool, patience: int = _PATIENCE) -> None:
        self._patience = patience
        self._rows: list[Row] = []
        self._best, self._best_step = 0.0, 0
        self._told: set[str] = set()
        self._causes: dict[str, Callable[[Sequence[Row]], str | None]] = {
            "cut": cut,
            "collapsed": self._collapsed,
            **({"no call": no_call} if has_tools else {}),
        }

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """Look at a row of the log; an evaluation, and a step that learns from a batch again, have
        no `reward`."""
        if not logs or logs.get("reward") is None:
            return
        self._rows = [*self._rows, dict(logs)][-self._patience :]
        if len(self._rows) < self._patience:
            return
        for name, cause in self._causes.items():
            told = cause(self._rows)
            if told is None:
                self._told.discard(name)
            elif name not in self._told:
                self._told.add(name)
                if state.is_world_process_zero:
                    logger.warning("step %d: %s", state.global_step, told)
        if (reward := _mean(self._rows, "reward")) > self._best:
            self._best, self._best_step = reward, state.global_step

    def _collapsed(self, rows: Sequence[Row]) -> str | None:
        now = _mean(rows, "reward")
        if self._best < _HIGH or now * _FALL > self._best:
            return None
        return (
            f"reward fell to {now:.2f} from {self._best:.2f} at step {self._best_step}, each a mean"
            f" of {len(rows)} batches: it has collapsed; lower grpo.learning_rate or"
            " grpo.max_grad_norm, raise grpo.beta, or go on from a checkpoint before it"
        )


def cut(rows: Sequence[Row]) -> str | None:
    """Say so if in each row half of the episodes or more were cut, and by which bound."""
    least = min(row.get("episode/truncated", 0.0) for row in rows)
    if least < _CUT:
        return None
    prefix = "episode/truncated/"
    by_reason = {
        name.removeprefix(prefix): _mean(rows, name)
        for row in rows
        for name in row
        if name.startswith(prefix)
    }
    reason = max(by_reason, key=by_reason.__getitem__, default="a limit")
    share = _mean(rows, "episode/truncated")
    return (
        f"episode/truncated is {share:.2f} over {len(rows)} batches, mostly by {reason}: such"
        f" answers have no end, and are hardly ever paid; raise {_REMEDIES.get(reason, reason)}"
    )


def no_call(rows: Sequence[Row]) -> str | None:
    """Say so if no row has a single call, and the tasks are not solved without."""
    calls = max(row.get("episode/tool_calls", 1.0) for row in rows)
    if calls > 0 or _mean(rows, "reward") > _SOLVED:
        return None
    return (
        f"episode/tool_calls is 0 over {len(rows)} batches, though there are tools: what is never"
        " tried is never learned; show calls in a cold start (cold_start.source=solve), say"
        " environment.dialect as the policy writes them, or leave out environment.tools"
    )


def _mean(rows: Sequence[Row], name: str) -> float:
    values = [float(row.get(name) or 0.0) for row in rows]
    return sum(values) / len(values)
