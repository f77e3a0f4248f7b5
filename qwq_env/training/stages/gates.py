"""Gates: what a stage must not cost. One that closes ends the run, and the stage is not sealed."""

from __future__ import annotations

from collections.abc import Sequence

from qwq_env.errors import QwqError
from qwq_env.evaluation.heldout import Result
from qwq_env.training.recipe import GateRecipe


class GateClosed(QwqError, RuntimeError):
    """A stage lost more of a held-out accuracy than its gate allows; the message says it all."""


def closed(gates: Sequence[GateRecipe], begin: Result, now: Result) -> str | None:
    """Return which gate has closed and by what, None while all are open.

    A member that was not evaluated, because all its episodes were lost, closes no gate.
    """
    for gate in gates:
        before, after = (_accuracy(result, gate.member) for result in (begin, now))
        # A rate of n tasks is a multiple of 1/n: what is within rounding has not fallen further.
        if before is not None and after is not None and before - after > gate.fall + 1e-9:
            return (
                f"{gate.member} fell from {before:.3f} to {after:.3f}, by more than"
                f" {gate.fall:g} (gates)"
            )
    return None


def _accuracy(result: Result, member: str) -> float | None:
    return result.accuracy if member == "all" else result.members.get(member)
