"""What solves a task: calls, of possible answers the first allowed; or the line that declines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from qwq_env.grading.calls.call import Call, parse_python_calls
from qwq_env.grading.calls.value import OMITTED

Message = dict[str, Any]

STATEMENT: Final = "NO FUNCTION:"
"""How an answer says that nothing is to be called; the name of a function follows."""


def possible_calls(
    answers: Sequence[Mapping[str, Any]], functions: Sequence[Mapping[str, Any]]
) -> list[Call]:
    """Return a call for each possible answer, optional arguments left out."""
    documents = {document["name"]: document for document in functions}
    return [
        Call(name, _arguments(allowed, documents[name]["parameters"]))
        for answer in answers
        for name, allowed in answer.items()
    ]


def _arguments(
    allowed: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    required = parameters.get("required", ())
    return {
        name: _first(values)
        for name, values in allowed.items()
        if name in parameters.get("properties", {}) and (name in required or OMITTED not in values)
    }


def _first(values: Sequence[Any]) -> Any:
    if not values:
        return []  # no value at all is allowed: published so, it stands for the empty list
    return _plain(next((value for value in values if value != OMITTED), OMITTED))


def _plain(value: Any) -> Any:
    """Return a value as a model writes it: published, an object's entries are lists of choices."""
    if isinstance(value, dict):
        choices = {name: v if isinstance(v, list) else [v] for name, v in value.items()}
        return {
            name: _plain(next(v for v in each if v != OMITTED))
            for name, each in choices.items()
            if OMITTED not in each
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


def declining(functions: Sequence[Mapping[str, Any]]) -> str:
    """Return the line that says that none of the functions fits."""
    return f"{STATEMENT} {functions[0]['name']}"


def episode_calls(
    turns: Sequence[Sequence[str]], documents: Mapping[str, Mapping[str, Any]]
) -> list[list[Call]]:
    """Return the gold calls of each turn, which are texts; arguments by place get their names."""
    return [[_named(text, documents) for text in turn] for turn in turns]


def _named(text: str, documents: Mapping[str, Mapping[str, Any]]) -> Call:
    (call,) = parse_python_calls(text, words=False)
    if not call.positional:
        return call
    names = documents[call.name]["parameters"]["properties"]
    return Call(call.name, {**dict(zip(names, call.positional, strict=False)), **call.arguments})


def calling(calls: Sequence[Call]) -> Message:
    """Return the assistant message that makes the calls."""
    made = [
        {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
        for call in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def saying(words: str) -> Message:
    """Return the assistant message that says something."""
    return {"role": "assistant", "content": words}
