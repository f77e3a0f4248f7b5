"""Score one stored row: an IFEval row and the model's `response` to it."""

from collections.abc import Mapping
from typing import Literal

from qwq_env.errors import UsageError, brief
from qwq_env.grading.answer import final_answer_text, qwq_answer_text
from qwq_env.grading.instructions.report import InstructionReport, Rules, check_instructions
from qwq_env.grading.score import Score

__all__ = ["Thinking", "check_row", "checked_rules", "grade_row", "strip_thinking"]

Thinking = Literal["final", "qwq", "keep"]
"""What is graded of a response: what follows the last `</think>` (a thought that never ended has no
answer), what follows the first `\\n</think>\\n\\n` as in QwQ's own evaluation, or all of it."""


def strip_thinking(response: str, thinking: Thinking = "final") -> str:
    """The part of `response` that is graded, without blank lines before it."""
    if thinking == "final":
        return final_answer_text(response).lstrip("\n")
    if thinking == "qwq":
        return qwq_answer_text(response)
    if thinking == "keep":
        return response
    raise UsageError(f"thinking: {brief(thinking)}; expected 'final', 'qwq' or 'keep'")


async def grade_row(
    row: Mapping[str, object],
    *,
    loose: bool = False,
    fraction: bool = False,
    thinking: Thinking = "final",
    rules: Rules = "reward",
) -> Score:
    """Score a row with `prompt`, `instruction_id_list`, `kwargs` and `response`.

    1.0 if every instruction is followed, else 0.0, or their share with `fraction`; `detail` names
    those that are not. Undecided (`undecided_language`) where a language check needed langdetect
    and it is not installed. This is a reward, so what nobody sees is paid nothing;
    `rules="ifeval"` scores as published. Raises UsageError for a malformed row.
    """
    ids, kwargs = _instructions(row)
    report = check_instructions(
        ids,
        kwargs,
        _text(row, "prompt"),
        strip_thinking(_text(row, "response"), thinking),
        rules=rules,
    )
    return _score(report, loose, fraction)


def check_row(row: Mapping[str, object]) -> None:
    """Raise UsageError for a row that `grade_row` would refuse, whatever the model wrote."""
    _text(row, "response")
    check_instructions(*_instructions(row), _text(row, "prompt"), "x")


def _instructions(row: Mapping[str, object]) -> tuple[list[str], list[dict[str, object]]]:
    return checked_rules(row.get("instruction_id_list"), row.get("kwargs"))


def checked_rules(ids: object, kwargs: object) -> tuple[list[str], list[dict[str, object]]]:
    """Return what a row has as its rules. Raises UsageError for what is no such pair of lists."""
    if not isinstance(ids, list) or not isinstance(kwargs, list) or not ids:
        raise UsageError("row: expected the lists 'instruction_id_list' and 'kwargs', not empty")
    for instruction in ids:
        if not isinstance(instruction, str):
            raise UsageError(f"instruction_id_list: {brief(instruction)}; expected texts")
    for entry in kwargs:
        if not isinstance(entry, dict):
            raise UsageError(f"kwargs: {brief(entry)}; expected an object for each instruction")
    return ids, kwargs


def _score(report: InstructionReport, loose: bool, fraction: bool) -> Score:
    whole = report.prompt_loose if loose else report.prompt_strict
    share = report.fraction_loose if loose else report.fraction_strict
    failed = ", ".join(
        verdict.instruction
        for verdict in report.verdicts
        if (verdict.loose if loose else verdict.strict) is False
    )
    if whole:
        return Score.right("followed")
    if share is None and (fraction or whole is None):
        return Score.undecided("undecided_language", "langdetect is not installed (extra grading)")
    if fraction and share is not None:
        return Score.partial(share, "not_followed", failed)
    return Score.wrong("not_followed", failed)


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise UsageError(f"row: {name} is {brief(value)}; expected a text")
    return value
