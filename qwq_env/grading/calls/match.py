"""Whether a list of calls is the one that was asked for: BFCL's syntax-tree match.

One rule covers BFCL's categories: as many calls as answers, and each call matched to an answer of
its own, in any order. `simple` and `multiple` are the case of one answer, `irrelevance` that of
none. The pairing is a maximum matching: which call is tried first does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.calls import java, javascript
from qwq_env.grading.calls.call import Call, NoCalls, UnreadableCall, read_calls, show
from qwq_env.grading.calls.document import FunctionDoc, Language, Parameter, read_documents
from qwq_env.grading.calls.response import plain_name, read_response
from qwq_env.grading.calls.source import parse_source_calls
from qwq_env.grading.calls.value import OMITTED, Mismatch, check_value
from qwq_env.grading.score import Score

__all__ = ["match_calls"]


def match_calls(
    calls: object,
    possible_answers: Sequence[dict[str, dict[str, list[Any]]]],
    function_docs: Sequence[Any],
    language: Language = "python",
) -> Score:
    """Score `calls` against the possible answers of a BFCL row.

        docs = [{"name": "area", "parameters": {"properties": {"side": {"type": "integer"}},
                                                "required": ["side"]}}]
        match_calls([{"name": "area", "arguments": {"side": 3}}], [{"area": {"side": [3]}}], docs)

    `calls` is anything that `read_calls` reads, or a response that states calls in some form among
    other words (`qwq_env.grading.calls.response` says where the line is); for Java and JavaScript,
    texts are read as source and the values of arguments are pieces of source. Each answer is
    `{name: {argument: allowed values}}`, as published; dots and underscores in names are one. No
    answers means that no call must be made.

    The score is 1.0 (`match`, `no_call`) or 0.0; the reason names the first thing wrong with the
    best pairing: `not_calls`, `malformed`, `unexpected_call`, `wrong_count`, `wrong_function`,
    `missing_argument`, `unexpected_argument`, `wrong_type`, `wrong_value`. `unsupported_type` is
    undecided. Raises UsageError for a malformed row.
    """
    documents = read_documents(function_docs, language)
    answers = [_read_answer(answer, documents) for answer in possible_answers]
    try:
        if isinstance(calls, str):
            parse = read_calls if language == "python" else parse_source_calls
            given = read_response(calls, documents, parse)
        else:
            given = read_calls(calls)
    except NoCalls as problem:
        return Score.wrong("not_calls", str(problem)) if answers else Score.right("no_call")
    except UnreadableCall as problem:
        return Score.wrong("malformed" if answers else "unexpected_call", str(problem))
    if not answers:
        return Score.wrong("unexpected_call", given[0].name) if given else Score.right("no_call")
    if len(given) != len(answers):
        return Score.wrong("wrong_count", f"{len(given)} calls, expected {len(answers)}")
    if any(parameter.python is set for doc, _ in answers for parameter in doc.parameters.values()):
        return Score.undecided("unsupported_type", ", ".join(sorted(java.UNSUPPORTED)))
    return _pair([_published(call, documents) for call in given], answers, language)


def _published(call: Call, documents: Mapping[str, FunctionDoc]) -> Call:
    """The call by its function's published name: many APIs take no dots, and write `_` for them.

    Where two functions would then be one, each must be named as published.
    """
    if call.name in documents:
        return call
    alike = [name for name in documents if plain_name(name) == plain_name(call.name)]
    return replace(call, name=alike[0]) if len(alike) == 1 else call


Answer = tuple[FunctionDoc, dict[str, list[Any]]]


def _read_answer(answer: Any, documents: dict[str, FunctionDoc]) -> Answer:
    if not isinstance(answer, dict) or len(answer) != 1:
        raise UsageError(f"possible answer: {answer!r:.80}; expected one function")
    name, values = next(iter(answer.items()))
    if name not in documents:
        raise UsageError(f"possible answer: {name!r} has no function document")
    if not isinstance(values, dict) or not all(isinstance(v, list) for v in values.values()):
        raise UsageError(f"possible answer: {name}: expected a list of values per argument")
    return documents[name], values


def _pair(calls: list[Call], answers: list[Answer], language: Language) -> Score:
    problems = [[_problem(call, answer, language) for call in calls] for answer in answers]
    owner: dict[int, int] = {}  # call -> answer

    def place(answer: int, tried: set[int]) -> bool:
        for call, problem in enumerate(problems[answer]):
            if problem is None and call not in tried:
                tried.add(call)
                if call not in owner or place(owner[call], tried):
                    owner[call] = answer
                    return True
        return False

    for answer in range(len(answers)):
        if not place(answer, set()):
            free = [problem for call, problem in enumerate(problems[answer]) if call not in owner]
            found = [problem for problem in free or problems[answer] if problem is not None]
            return max(found, key=_progress, default=Score.wrong("wrong_count", "a call twice"))
    return Score.right("match")


_ORDER = ("wrong_function", "missing_argument", "unexpected_argument", "wrong_type", "wrong_value")


def _progress(problem: Score) -> int:
    return _ORDER.index(problem.reason)


def _problem(call: Call, answer: Answer, language: Language) -> Score | None:
    """What is wrong with `call` as this answer, or None."""
    document, values = answer
    if call.name != document.name:
        return Score.wrong("wrong_function", f"{call.name}, expected {document.name}")
    if call.positional:
        return Score.wrong("unexpected_argument", f"{call.name}: arguments without a name")
    for name in document.required:
        if name not in call.arguments:
            return Score.wrong("missing_argument", f"{call.name}: {name}")
    for name, value in call.arguments.items():
        if name not in document.parameters or name not in values:
            return Score.wrong("unexpected_argument", f"{call.name}: {name}")
        try:
            check_value(
                _convert(value, document.parameters[name], language),
                values[name],
                document.parameters[name],
            )
        except Mismatch as mismatch:
            return Score.wrong(mismatch.reason, f"{call.name}: {name} is {mismatch}")
    for name, allowed in values.items():
        if name not in call.arguments and allowed and OMITTED not in allowed:
            return Score.wrong("missing_argument", f"{call.name}: {name}")
    return None


def _convert(value: Any, parameter: Parameter, language: Language) -> Any:
    if language == "python":
        return value
    if not isinstance(value, str):
        raise Mismatch("wrong_type", f"{show(value)}, expected source text")
    convert = java.convert if language == "java" else javascript.convert
    return convert(value, parameter.kind, parameter.nested_kind)
