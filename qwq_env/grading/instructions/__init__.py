"""Instruction following: the checks of IFEval and IFBench, strict and loose, nothing to download.

`check_instructions` gives the verdict on every instruction of a prompt, `grade_row` the score of a
stored row, which asks more: see `Rules`. The checks are pure functions of the row and the response.
"""

from qwq_env.grading.instructions.english import BUILT_IN
from qwq_env.grading.instructions.report import (
    IFBENCH_INSTRUCTIONS,
    INSTRUCTIONS,
    InstructionReport,
    InstructionVerdict,
    Rules,
    check_instructions,
)
from qwq_env.grading.instructions.row import (
    Thinking,
    check_row,
    checked_rules,
    grade_row,
    strip_thinking,
)
from qwq_env.grading.instructions.sentences import Knowledge, read_knowledge, split_sentences

__all__ = [
    "BUILT_IN",
    "IFBENCH_INSTRUCTIONS",
    "INSTRUCTIONS",
    "InstructionReport",
    "InstructionVerdict",
    "Knowledge",
    "Rules",
    "Thinking",
    "check_instructions",
    "check_row",
    "checked_rules",
    "grade_row",
    "read_knowledge",
    "split_sentences",
    "strip_thinking",
]
