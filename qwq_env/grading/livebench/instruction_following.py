"""LiveBench's instruction following: paraphrase, simplify, story_generation, summarize.

For evaluation only. Instructions are checked strictly by IFEval's rules (IFBench's from November
2025 on), and by those alone: what a response says does not count. Empty titles, bullets of nothing
and invisible words follow them; `qwq_env.grading.instructions.substance` says what a reward asks.
"""

from collections.abc import Mapping
from typing import Any

from qwq_env.grading.instructions import (
    IFBENCH_INSTRUCTIONS,
    INSTRUCTIONS,
    check_instructions,
)
from qwq_env.grading.livebench.extract import solutions
from qwq_env.grading.score import Score

__all__ = ["follow_instructions"]

IFBENCH_SINCE = "2025-11-25"
"""Questions released from this day on are IFBench's, with the response in `<solution>` tags."""


def follow_instructions(question: Mapping[str, Any], answer: str) -> Score:
    """The share of the instructions that are followed, averaged with whether all are."""
    ids = question["instruction_id_list"]
    unknown = [name for name in ids if name not in (*INSTRUCTIONS, *IFBENCH_INSTRUCTIONS)]
    if unknown:
        return Score.undecided("unknown_instruction", ", ".join(unknown))
    answer = answer.strip()
    if question["livebench_release_date"] >= IFBENCH_SINCE:
        answer = next(iter(solutions(answer, across_lines=True)), answer).strip()
    kwargs = [{k: v for k, v in (one or {}).items() if v is not None} for one in question["kwargs"]]
    report = check_instructions(ids, kwargs, question["turns"][0], answer)
    share = report.fraction_strict
    if share is None:
        return Score.undecided("undecided_language", "langdetect is not installed (extra grading)")
    if share == 1:
        return Score.right("followed")
    missed = ", ".join(one.instruction for one in report.verdicts if not one.strict)
    return Score.partial(share / 2, "not_followed", missed)
