"""Score one stored row: a BFCL row with the model's calls."""

from collections.abc import Mapping
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.answer import final_answer_text
from qwq_env.grading.calls.document import Language
from qwq_env.grading.calls.match import match_calls
from qwq_env.grading.calls.multi_turn import EpisodeCheck, check_episode
from qwq_env.grading.score import Score

__all__ = ["check_row", "grade_row"]


async def grade_row(row: Mapping[str, object]) -> Score:
    """Score a row as BFCL publishes it, joined with its answer and with what the model did.

    Needed: `function` (the documents) and `ground_truth` (the possible answers; absent or empty
    where no call must be made), and either `calls`, structured, or `response`, the text form,
    graded after the thinking. `language` is `python` unless the row says so or its `id` begins
    with `simple_java` or `simple_javascript`. A row with `involved_classes` is a multi-turn
    episode: `calls` is then a list of turns.

    A blank `response` earns nothing where no call must be made: saying nothing is no answer.
    Raises UsageError for a malformed row.
    """
    gold = _gold(row)
    if "involved_classes" in row:
        return check_episode(row, gold, row.get("calls"))
    documents = _documents(row)
    if "calls" in row:
        return match_calls(row["calls"], gold, documents, _language(row))
    answer = final_answer_text(_response(row)).strip()
    if not answer:
        return Score.wrong("not_calls", "the response is blank")
    return match_calls(answer, gold, documents, _language(row))


def check_row(row: Mapping[str, object]) -> None:
    """Raise UsageError for a row that `grade_row` would refuse, whatever the model called.

    Raises BfclMissing for a multi-turn episode where the simulated services are not installed.
    """
    gold = _gold(row)
    if "involved_classes" in row:
        EpisodeCheck(row, gold)
        return
    match_calls([], gold, _documents(row), _language(row))
    if "calls" not in row:
        _response(row)


def _gold(row: Mapping[str, object]) -> list[Any]:
    gold = row.get("ground_truth") or []
    if not isinstance(gold, list):
        raise UsageError(f"row: ground_truth is {gold!r:.80}; expected a list")
    return gold


def _documents(row: Mapping[str, object]) -> list[Any]:
    documents = row.get("function")
    if not isinstance(documents, list):
        raise UsageError("row: expected the list 'function' of function documents")
    return documents


def _response(row: Mapping[str, object]) -> str:
    response = row.get("response")
    if not isinstance(response, str):
        raise UsageError("row: expected 'calls', or 'response' as text")
    return response


def _language(row: Mapping[str, object]) -> Language:
    named, identifier = row.get("language"), str(row.get("id", ""))
    if named in ("python", "java", "javascript"):
        return named
    if named is not None:
        raise UsageError(f"row: language is {named!r}; expected python, java or javascript")
    if identifier.startswith(("simple_javascript", "javascript")):
        return "javascript"
    return "java" if identifier.startswith(("simple_java", "java")) else "python"
