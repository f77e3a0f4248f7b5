"""One answer judged, in a worker that can be killed: what is foreign may cost any time."""

import importlib
from collections.abc import Mapping
from typing import Any

from qwq_env.grading.livebench.extract import UnreadableBox, without_thinking
from qwq_env.grading.livebench.tasks import JUDGES
from qwq_env.grading.score import Score

__all__ = ["judge"]

_NOT_AS_PUBLISHED = (LookupError, TypeError, AttributeError, ValueError)


def judge(question: Mapping[str, Any], answer: str) -> Score:
    """The score of an answer to a question that is not of coding, between 0 and 1.

    Undecided (`unusable_question`) where the question's own columns cannot be used, whatever the
    answer is; an answer on which the official judge would stumble is wrong, as there.
    """
    module, _, name = JUDGES[question["category"], question["task"]].partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        score: Score = function(question, without_thinking(answer))
    except UnreadableBox as error:
        return Score.wrong("unreadable", str(error))
    except _NOT_AS_PUBLISHED as error:
        reason = f"{type(error).__name__}: {error}"
        if answer and judge(question, "").decided:
            return Score.wrong("unreadable", reason)
        return Score.undecided("unusable_question", reason)
    return score
