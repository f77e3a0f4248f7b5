"""Where a row of a published data set keeps its question and its answer.

| columns                                | as published by                                        |
|----------------------------------------|--------------------------------------------------------|
| `prompt`, `answer`                     | the house; the prompt is a text or messages            |
| `prompt`, `solution`                   | TRL                                                    |
| `prompt`, `reward_model`               | DAPO-Math-17k, verl: `{"ground_truth": ...}`           |
| `problem`, `solution`                  | MATH, NuminaMath (CoT, TIR): the answer in the last box |
| `problem`, `answer`                    | MATH-500, DeepScaleR, OpenR1-Math, AMC, AIME           |
| `question`, `answer`                   | GSM8K (behind `####`), OpenCompass                     |
| `question`, `final_answer`             | DeepMath-103K                                          |
| `body`, `question`, `answer`           | ASDiv (`9 (apples)`), SVAMP                            |
| `input`, `target`                      | MAWPS                                                  |

Case does not count (`Problem`, `Answer`). Where a row has several of them, the earlier column of
`_QUESTIONS` and the first usable one of `_ANSWERS` are taken.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.answer import last_boxed

__all__ = ["answer_of", "found_columns", "nearest_form", "question_of"]

_QUESTIONS = ("prompt", "problem", "question", "input")
_ANSWERS = ("answer", "final_answer", "expected_answer", "ground_truth", "reward_model", "target")
_FORMS: Mapping[str, tuple[str, ...]] = {
    "prompt and answer": ("prompt", "answer"),
    "TRL": ("prompt", "solution"),
    "DAPO": ("prompt", "reward_model"),
    "MATH": ("problem", "solution"),
    "MATH-500": ("problem", "answer"),
    "GSM8K": ("question", "answer"),
    "DeepMath": ("question", "final_answer"),
    "ASDiv": ("body", "question", "answer"),
    "MAWPS": ("input", "target"),
}
# What a prompt asks for that is paid here in another form: DAPO's frame, verl's GSM8K.
_FRAME = re.compile(
    r"\A\s*Solve the following math problem step by step\. The last line of your response should be"
    r" of the form Answer:[^\n]*\n+"
    r"|\n+\s*Remember to put your answer on its own line after \"Answer:\"\.?\s*\Z"
    r"|\s*Let's think step by step and output the final answer after \"####\"\.?\s*\Z"
)
_WITH_UNIT = re.compile(r"\s*(-?[\d.,/]+)\s*\([^()]*\)\s*")
_NOT_GIVEN = ("proof", "notfound", "none", "nan", "n/a")
"""What stands for an answer where a data set has none (NuminaMath-1.5, pandas)."""
_EXACT_FLOATS = 2**53
"""Beyond, a float is not the whole number that was written: 1e30."""
_MOST_BARE = 200
"""Characters of TRL's `solution` without a box that is an answer, and no solution."""


def question_of(row: Mapping[str, Any]) -> Any:
    """Return the question: a text, or the messages of a `prompt` column.

    Raises `UsageError` for a row of none of the forms above.
    """
    columns = _columns(row)
    name = next((name for name in _QUESTIONS if name in columns), None)
    if name is None or not ({*_ANSWERS, "solution"} & columns.keys()):
        raise UsageError(_no_form(row, columns))
    question = columns[name]
    if isinstance(question, list) and name == "prompt":
        return _lone_text(question)
    if not isinstance(question, str) or not question.strip():
        expected = "a text or a list of messages" if name == "prompt" else "a text"
        raise UsageError(f"{name}: {_show(question)}; expected {expected}")
    body = columns.get("body") if name == "question" else None
    return f"{body.strip()} {question}" if isinstance(body, str) and body.strip() else question


def answer_of(row: Mapping[str, Any]) -> Any:
    """Return the reference answer: a text, or the number that the column holds.

    Raises `UsageError` for a row without one: a proof, a solution without a box.
    """
    if "prompt" in row and row.get("answer") not in (None, ""):
        return row["answer"]  # the house form: any JSON that the rubric knows
    columns = _columns(row)
    given = [name for name in _ANSWERS if name in columns]
    for name in given:
        answer = _bare(columns[name], has_body="body" in columns)
        if answer is not None and str(answer).strip().lower() in _NOT_GIVEN:
            break
        if answer is not None:
            return answer
    solution = columns.get("solution")
    if isinstance(solution, str) and all(columns[name] in (None, "", []) for name in given):
        boxed = last_boxed(solution)
        if boxed:
            return boxed
        is_short = len(solution) <= _MOST_BARE and "\n" not in solution.strip()
        if "####" in solution or ("prompt" in columns and is_short):
            answer = _bare(solution)
            if answer is not None:
                return answer
        raise UsageError(f"solution: {_show(solution)}; expected a text with a \\boxed answer")
    shown = f"{given[0]}: {_show(columns[given[0]])}" if given else "answer: missing"
    raise UsageError(f"{shown}; expected the reference answer")


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns by their names in small letters; of two that differ in case, the first."""
    columns: dict[str, Any] = {}
    for name, value in row.items():
        columns.setdefault(str(name).lower(), value)
    return columns


def _bare(value: Any, has_body: bool = False) -> Any:
    """The answer in a column, without what stands around it; None where there is none."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _decoded(value)
    if isinstance(value, Mapping):
        value = value.get("ground_truth")
    if isinstance(value, str) and value.lstrip().startswith('["'):
        value = _decoded(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) and value and all(type(item) in (str, int, float) for item in value):
        value = ", ".join(map(str, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOATS:
        return int(value)
    if not isinstance(value, str):
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if "####" in value:
        value = value.rsplit("####", 1)[1].strip().replace(",", "")
    if has_body and (counted := _WITH_UNIT.fullmatch(value)):
        value = counted[1]
    return value if value.strip() else None


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # LaTeX that begins with a brace


def _lone_text(messages: list[Any]) -> Any:
    """The text of a lone user message that asks for no box, without what else it asks for."""
    message = messages[0] if len(messages) == 1 else None
    if not isinstance(message, Mapping) or message.get("role") != "user":
        return messages
    content = message.get("content")
    if not isinstance(content, str) or "\\boxed" in content:
        return messages
    return _FRAME.sub("", content)


def _no_form(row: Mapping[str, Any], columns: Mapping[str, Any]) -> str:
    """Say which columns there are, which are wanted, and which form is nearest."""
    wanted = f"a question ({', '.join(_QUESTIONS)}) and an answer ({', '.join(_ANSWERS)}, solution)"
    return f"{found_columns(row)}; expected {wanted}; {nearest_form(columns, _FORMS)}"


def found_columns(row: Mapping[str, Any]) -> str:
    """Return which columns a row has, for an error."""
    return f"columns: {', '.join(map(repr, row)) or 'none':.300}"


def nearest_form(columns: Collection[str], forms: Mapping[str, Sequence[str]]) -> str:
    """Say which of the `forms`, by the columns that each has, is nearest, and what it lacks."""

    def missing(form: str) -> list[str]:
        return [name for name in forms[form] if name not in columns]

    def likeness(form: str) -> tuple[int, float]:
        best = [
            max((difflib.SequenceMatcher(None, name, column).ratio() for column in columns),
                default=0.0)
            for name in missing(form)
        ]  # fmt: skip
        return -len(best), sum(best)

    nearest = max(forms, key=likeness)
    return f"nearest form: {nearest}, which lacks {', '.join(map(repr, missing(nearest)))}"


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
