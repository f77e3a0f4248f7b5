"""Instructions as a rule that a reward is multiplied with: followed, not followed, or unknown.

Short answers are checked where the call is made; long ones, which may take seconds, by a worker
that can be killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from qwq_env.grading.instructions import Rules, check_instructions, grade_row
from qwq_env.grading.pool import GraderPool, PoolSettings
from qwq_env.grading.score import Score

_INLINE_CHARACTERS = 4_000


class InstructionGrader:
    """1.0 for an answer that follows all instructions, 0.0 for one that does not, or undecided.

    With `share` it is the share of the instructions that are followed. With `loose` a preamble, a
    closing line and asterisks do not count against it. `rules` "ifeval" scores as published, for
    figures that are held against others; a reward does not pay for what nobody sees. The `pool`'s
    processes start with the first long answer.
    """

    def __init__(
        self,
        *,
        loose: bool = False,
        share: bool = False,
        rules: Rules = "reward",
        workers: int = 2,
        deadline_s: float = 30.0,
    ) -> None:
        self.loose, self.share, self.rules = loose, share, rules
        target = f"{__name__}:judge_instructions"
        self.pool = GraderPool(PoolSettings(target, workers=workers, deadline_s=deadline_s))

    async def grade(
        self,
        instruction_ids: Sequence[str],
        kwargs: Sequence[Mapping[str, object]],
        prompt: str,
        answer: str,
    ) -> Score:
        """Return the verdict on `answer`. Raises `UsageError` for malformed instructions."""
        row = _row(instruction_ids, kwargs, prompt, answer)
        if len(answer) <= _INLINE_CHARACTERS:
            return await _grade(row, self.loose, self.share, self.rules)
        return await self.pool.grade(row, self.loose, self.share, self.rules)

    def validate(
        self, instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, object]], prompt: str
    ) -> None:
        """Raise `UsageError` for instructions that no answer can be checked against."""
        check_instructions(instruction_ids, kwargs, prompt, "x", rules="reward")


def judge_instructions(
    row: Mapping[str, object], loose: bool, share: bool, rules: Rules = "reward"
) -> Score:
    """Score one row in a worker of the pool."""
    return asyncio.run(_grade(row, loose, share, rules))


async def _grade(row: Mapping[str, object], loose: bool, share: bool, rules: Rules) -> Score:
    return await grade_row(row, loose=loose, fraction=share, thinking="keep", rules=rules)


def _row(
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, object]],
    prompt: str,
    answer: str,
) -> dict[str, object]:
    return {
        "instruction_id_list": list(instruction_ids),
        "kwargs": [dict(values) for values in kwargs],
        "prompt": prompt,
        "response": answer.lstrip("\n"),
    }
