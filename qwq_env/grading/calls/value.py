"""Whether one argument is one of the values that a possible answer allows.

BFCL's rules: types are exact, but an integer passes for a float; strings are compared without
case, spaces and `,./-_*^`, with one kind of quote; lists element by element, dicts key by key.
An empty string among the allowed values means that the argument may be left out; no allowed value
at all means the empty list (two published rows, which BFCL's checker lets nobody pass).

Where BFCL's checker pays for a wrong value by accident, this does not: True is never 1, not even
inside lists and dicts; the mark for "may be left out" does not also allow `[]` or `"-"`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from qwq_env.grading.calls.call import show
from qwq_env.grading.calls.document import Parameter

__all__ = ["OMITTED", "Mismatch", "check_value"]

OMITTED = ""
"""The allowed value that stands for "may be left out"."""

_IGNORED = re.compile(r"[ ,./\-_*^]")


class Mismatch(Exception):
    """The argument is not allowed: `reason` is `wrong_type` or `wrong_value`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def check_value(value: Any, allowed: Sequence[Any], parameter: Parameter) -> None:
    """Return if `value`, already converted, is one of `allowed`; raise Mismatch if it is not."""
    if isinstance(value, tuple) and parameter.kind == "tuple":
        value = list(value)
    if type(value) is int and parameter.python is float:
        value = float(value)
    answers = [answer for answer in allowed if answer != OMITTED]
    if OMITTED in allowed and _same(value, OMITTED):
        return
    if not answers and value == []:
        return  # no value at all is allowed: published so, it stands for the empty list
    # An answer of another type than the document's is a variable: it is compared as it stands.
    variable = bool(answers) and type(answers[0]) is not parameter.python
    if type(value) is not parameter.python and not (answers and type(value) is type(answers[0])):
        raise Mismatch(
            "wrong_type", f"{show(value)} is {type(value).__name__}, expected {parameter.kind}"
        )
    typed = parameter.nested_kind not in (None, "any")
    if typed and type(value) is list:
        _check_elements(value, answers, parameter)
    if variable or type(value) is not parameter.python:
        matches = any(_same(value, answer) for answer in answers)
    else:
        matches = any(_matches(value, answer) for answer in answers)
    if not matches:
        raise Mismatch("wrong_value", f"{show(value)}, expected {show(answers)}")


def _check_elements(value: list[Any], answers: list[Any], parameter: Parameter) -> None:
    for answer in answers:
        if not isinstance(answer, list):
            return
        # As for whole arguments, an answer's own type is allowed beside the document's.
        types = {parameter.nested_python, *(type(item) for item in answer[:1])}
        if all(type(item) in types for item in value):
            return
    raise Mismatch("wrong_type", f"{show(value)} has elements that are not {parameter.nested_kind}")


def _matches(value: Any, answer: Any) -> bool:
    if isinstance(value, list):
        return (
            isinstance(answer, list)
            and len(value) == len(answer)
            and all(map(_item_matches, value, answer))
        )
    return _item_matches(value, answer)


def _item_matches(value: Any, answer: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(answer, dict) and _dict_matches(value, answer)
    return _leaf_matches(value, answer)


def _leaf_matches(value: Any, answer: Any) -> bool:
    if isinstance(value, str):
        return isinstance(answer, str) and _normal(value) == _normal(answer)
    return _same(value, answer)


def _dict_matches(value: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    if not all(key in answer for key in value):
        return False
    for key, choices in answer.items():
        allowed = choices if isinstance(choices, list) else [choices]
        if key not in value:
            if OMITTED not in allowed:
                return False
        elif not any(_entry_matches(value[key], choice) for choice in allowed):
            return False
    return True


def _entry_matches(value: Any, choice: Any) -> bool:
    return _same(value, OMITTED) if choice == OMITTED else _leaf_matches(value, choice)


def _same(value: Any, answer: Any) -> bool:
    """Equality in which a truth value is no number."""
    if isinstance(value, bool) or isinstance(answer, bool):
        return value is answer
    if isinstance(value, (list, tuple)) and isinstance(answer, (list, tuple)):
        return len(value) == len(answer) and all(map(_same, value, answer))
    if isinstance(value, dict) and isinstance(answer, dict):
        return value.keys() == answer.keys() and all(_same(value[k], answer[k]) for k in value)
    return bool(value == answer)


def _normal(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')
