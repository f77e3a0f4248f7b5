"""Which tests of a row a model may see: what `run_tests` runs, before hidden tests decide.

| form | its public tests |
|---|---|
| LiveCodeBench | `public_test_cases` |
| CodeContests | `public_tests` |
| Codeforces (open-r1) | `examples` |
| HumanEval, HumanEval+ | the examples in the docstring, as far as they can be read |
| MBPP, MBPP+ | the first assertion of `test_list` |
| the house's own | the tests with `"public": true`, else the first |
| APPS, TACO, PRIME, DeepCoder, open-r1, AceCode | the first test |
| KodCode, LeetCodeDataset in prose, DeepCoder's `functional` | none |

A form that publishes none of its tests as public gives its first, unless it is the only one.
Examples are taken as they were published: three of HumanEval's contradict its own solutions (47,
116 and 148), and 27 of its 164 tasks have none that can be read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.code.problem import CallTest, CodeProblem, Equals, Script
from qwq_env.grading.code.rows import MISSHAPEN, form_of, json_of, read_problem
from qwq_env.text.python import parse_python

Row = Mapping[str, Any]

_MOST_EXAMPLES = 20
_MOST_LINES = 20
_MOST_DOCSTRING = 20_000
_GIVES = re.compile(
    r"\s*(?:(?:==>|=+>|-+>|==|=|➞|→|#\s*=+>|,?\s*(?:should\s+)?returns?\b|,?\s*should be\b)\s*)+"
)


@dataclass(frozen=True, slots=True)
class Literally:
    """The check of `assert f(...) == expected`: Python's own `==`, on plain values."""

    expected: Any

    def __call__(self, value: Any) -> bool:
        """Say whether the value is right."""
        return bool(value == self.expected)


def read_public(row: Row) -> CodeProblem | None:
    """Return the problem that the public tests of a row make, None for a row without any.

    Raises `UsageError` as `read_problem` does.
    """
    columns = form_of(row)
    if "entry_point" in columns:
        return _examples(row)
    try:
        shown = _SHOWN[columns](row) if columns in _SHOWN else None
    except MISSHAPEN as error:
        if isinstance(error, UsageError):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{columns[0]}: not in its published form ({reason:.120})") from None
    return None if shown is None else _with_values(read_problem(shown))


def check_hidden(problem: CodeProblem, public: CodeProblem | None) -> None:
    """Raise `UsageError` for a problem all of whose tests are public: to know them would be enough.

    A script counts its assertions when it runs; where it is shown whole, it is the same.
    """
    if public is None:
        return
    if problem.tests == public.tests or (
        not isinstance(problem.tests[0], Script) and len(problem.tests) <= len(public.tests)
    ):
        raise UsageError("tests: all of them are public; expected some that are hidden")


def _live_code_bench(row: Row) -> Row | None:
    cases = json_of(row["public_test_cases"], "public_test_cases")
    return {**row, "private_test_cases": None} if cases else None


def _code_contests(row: Row) -> Row | None:
    tests = json_of(row["public_tests"], "public_tests")
    return {**row, "private_tests": None, "generated_tests": None} if tests["input"] else None


def _codeforces(row: Row) -> Row | None:
    tests = json_of(row.get("examples") or [], "examples")
    return {**row, "official_tests": tests} if tests else None


def _mbpp(row: Row) -> Row | None:
    tests = row["test_list"]
    return {**row, "test_list": tests[:1], "test": None} if len(tests) > 1 else None


def _in(*path: str) -> Callable[[Row], Row | None]:
    """Return what leaves some of the tests in the column at `path`."""

    def leave(row: Row) -> Row | None:
        value: Any = row
        for column in path:
            value = json_of(value[column], column)
        shown: Any = _some(value)
        if shown is None:
            return None
        for column in reversed(path[1:]):
            shown = {column: shown}
        return {**row, path[0]: shown}

    return leave


def _some(tests: Any) -> Any:
    """Return those of the tests that are public, in the layout of all; None for none."""
    if not isinstance(tests, Mapping):
        labelled = [test for test in tests if isinstance(test, Mapping) and test.get("public")]
        return labelled or (tests[:1] if len(tests) > 1 else None)
    cases = tests.get("assert_case")
    if isinstance(cases, list) and len(cases) > 1:
        return {**tests, "assert_case": cases[:1]}
    if len(tests.get("inputs") or ()) > 1 and not cases:
        return {**tests, "inputs": tests["inputs"][:1], "outputs": tests["outputs"][:1]}
    return None


_SHOWN: dict[tuple[str, ...], Callable[[Row], Row | None]] = {
    ("public_test_cases",): _live_code_bench,
    ("input_output",): _in("input_output"),
    ("reward_model",): _in("reward_model", "ground_truth"),
    ("verification_info",): _in("verification_info", "test_cases"),
    ("official_tests",): _codeforces,
    ("public_tests",): _code_contests,
    ("test_list",): _mbpp,
    ("test_cases",): _in("test_cases"),
    ("tests",): _in("tests"),
}


def _with_values(problem: CodeProblem) -> CodeProblem:
    """Turn `assert f(1, 2) == 3` into a call whose value can be shown beside the expected one."""
    if not isinstance(problem.tests[0], Script) or problem.tests[0].closing:
        return problem
    calls = []
    for statement in parse_python(problem.tests[0].sources[1]).body:
        match statement:
            case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
                call = _call(left)
                value = _literal(right)
                if call is None or value is _NO_LITERAL:
                    return problem
                calls.append(CallTest(*call, Literally(value)))
            case _:
                return problem
    return replace(problem, tests=tuple(calls)) if calls else problem


def _examples(row: Row) -> CodeProblem | None:
    """Read `>>> f(1)`, `f(1) == 2`, `f(1) ➞ 2` and `f(1) should return 2` in a docstring."""
    whole = read_problem(row)
    entry = row["entry_point"]
    prompt = row.get("prompt")
    lines = _docstring(prompt if isinstance(prompt, str) else "", entry).split("\n")
    tests: dict[str, CallTest] = {}
    plain: dict[str, type] = {}
    for number, line in enumerate(lines):
        for call, rest in _calls(line, entry):
            gives = _GIVES.match(rest)
            value = _literal_text(rest[gives.end() :] if gives else "")
            if ">>>" in line and not rest.strip():
                value = _printed_below(lines[number + 1 :])
            if value is _NO_LITERAL:
                continue
            tests.setdefault(given := repr(call[1]), CallTest(*call, Equals(value)))
            if gives and gives[0].strip() == "=":
                plain[given] = type(value)
    # `f(1) = 3` may be a part of a definition; then it is of another kind than the examples.
    last = next(reversed(plain.values()), None)
    kept = [test for given, test in tests.items() if plain.get(given, last) is last]
    found = tuple(kept[:_MOST_EXAMPLES])
    return CodeProblem(found, whole.prelude, whole.seconds) if found else None


def _docstring(prompt: str, entry: str) -> str:
    try:
        tree = parse_python(prompt[:_MOST_DOCSTRING])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            return ast.get_docstring(node) or ""
    return ""


def _calls(line: str, entry: str) -> Iterator[tuple[tuple[str, tuple[Any, ...]], str]]:
    """Yield each call of the function with plain arguments in a line, with what follows it."""
    for found in re.finditer(rf"\b{re.escape(entry)}\s*\(", line[:2000]):
        for end in re.finditer(r"\)", line[found.start() : 2000]):
            stop = found.start() + end.end()
            call = _call(_expression(line[found.start() : stop]))
            if call is not None:
                yield call, line[stop:]
                break


def _printed_below(lines: list[str]) -> Any:
    """Return the value that an interpreter shows in the next line, or the next few."""
    text = ""
    for line in lines[:_MOST_LINES]:
        if not line.strip() or line.strip().startswith(">>>"):
            break
        text = f"{text}\n{line.strip()}".strip()
        if (value := _literal_text(text)) is not _NO_LITERAL:
            return value
    return _NO_LITERAL


def _expression(text: str) -> ast.expr | None:
    try:
        return parse_python(text.strip(), "eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _call(node: ast.expr | None) -> tuple[str, tuple[Any, ...]] | None:
    """Return the function and the arguments of a call with plain arguments by position."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.keywords:
        return None
    arguments = tuple(map(_literal, node.args))
    return None if _NO_LITERAL in arguments else (node.func.id, arguments)


_NO_LITERAL = object()


def _literal(node: ast.expr | None) -> Any:
    """Return the plain value that an expression writes out; complex numbers are not plain."""
    if node is None or any(
        isinstance(each, ast.Constant) and isinstance(each.value, complex | EllipsisType)
        for each in ast.walk(node)
    ):
        return _NO_LITERAL
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return _NO_LITERAL


def _literal_text(text: str) -> Any:
    """Return the value that a text is, with a full stop behind it or a remark after `#`."""
    for each in (text, text.strip().rstrip("."), text.partition("#")[0]):
        value = _literal(_expression(each)) if each.strip() else _NO_LITERAL
        if value is not _NO_LITERAL:
            return value
    return _NO_LITERAL
