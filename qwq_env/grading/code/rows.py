"""The forms in which code tasks are published, read to a `CodeProblem`.

| form | its columns |
|---|---|
| the house's own | `tests`: `[{"input", "output"}]` or `[{"function", "arguments", "expected"}]` |
| LiveCodeBench | `public_test_cases`, `private_test_cases`, `metadata` |
| APPS, TACO | `input_output` |
| PRIME, verl | `reward_model.ground_truth`, with `inputs` and `outputs` or `assert_case` |
| DeepCoder | `tests`, each test with its `testtype` or `type`, or `{"functional": code}` |
| open-r1 | `verification_info.test_cases` |
| Codeforces (open-r1) | `official_tests`, where no checker of its own is needed |
| CodeContests | `public_tests`, `private_tests`, `generated_tests` |
| AceCode | `test_cases` |
| KodCode | `test`, `test_info`: functions of pytest that import `solution` |
| HumanEval, HumanEval+, LeetCodeDataset | `test`, `entry_point`, `prompt` |
| MBPP, MBPP+ | `test_list` (and `test`, `test_imports`, `test_setup_code`, `code`) |

Arguments of a call come as a list, or as text with the JSON of one argument a line. Where a row
could be read in two ways, it is read as the judge of its dataset does. Rows are foreign: pickles
are opened only as far as one string, archives up to a size, and test code is only taken apart
here; it runs in a sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.code import prelude
from qwq_env.grading.code.archive import unpack
from qwq_env.grading.code.asserted import asserted, human_eval, kodcode, mbpp
from qwq_env.grading.code.problem import (
    CallTest,
    CodeProblem,
    Equals,
    StdinTest,
    with_integer_keys,
)

# What taking a foreign row apart raises where a key is missing or holds something else.
MISSHAPEN = (KeyError, IndexError, TypeError, AttributeError, ValueError)
_MOST_DIGITS = 100_000
_MOST_SECONDS = 30.0


def read_problem(row: Mapping[str, Any]) -> CodeProblem:
    """Return the problem of a row, its form told by its columns.

    Raises `UsageError` for a row of no known form, or whose tests cannot be used as they are; it
    names the columns that there are, those that are wanted, and the nearest form.
    """
    columns = form_of(row)
    name, reader = _FORMS[columns]
    try:
        problem = reader(row)
    except UsageError as error:
        raise UsageError(f"{error} (read as {name})") from None
    except MISSHAPEN as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{columns[0]}: not in its published form ({reason:.120}; read as {name})"
        ) from None
    if not problem.tests:
        raise UsageError(f"{columns[0]}: no tests; expected at least one")
    return problem


def form_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns by which the form of a row is told; raises `UsageError` for none."""
    for columns in _FORMS:
        if all(row.get(column) is not None for column in columns):
            return columns
    raise _unknown_form(row)


def _unknown_form(row: Mapping[str, Any]) -> UsageError:
    found = [key for key, value in row.items() if value is not None]
    known = "; ".join(f"{' and '.join(columns)} ({name})" for columns, (name, _) in _FORMS.items())

    def likeness(form: tuple[str, ...]) -> tuple[int, int]:
        return len(set(form) & set(found)), -len(form)

    nearest = max(_FORMS, key=likeness)
    hint = ""
    if likeness(nearest)[0]:
        lacking = ", ".join(column for column in nearest if column not in found)
        hint = f"; nearest {_FORMS[nearest][0]}, which lacks {lacking}"
    return UsageError(
        f"row: has {', '.join(sorted(found))!r:.200}; expected tests in {known}{hint}"
    )


def _live_code_bench(row: Mapping[str, Any]) -> CodeProblem:
    cases = [*_cases(row["public_test_cases"]), *_cases(row.get("private_test_cases") or "[]")]
    name = (json_of(row.get("metadata") or "{}", "metadata") or {}).get("func_name")
    return _cases_problem(cases, name, prelude.LIVE_CODE_BENCH)


def _cases(packed: Any) -> list[dict[str, Any]]:
    """Return LiveCodeBench's cases: a list, JSON, or base64 of zlib of a pickle of JSON."""
    if isinstance(packed, str):
        try:
            packed = _loads(packed)
        except ValueError:
            packed = _loads(unpack(packed))
    if not isinstance(packed, list):
        raise UsageError("test cases: not a list")
    return packed


def _apps(row: Mapping[str, Any]) -> CodeProblem:
    return _inputs_outputs(json_of(row["input_output"], "input_output"), prelude.APPS)


def _verl(row: Mapping[str, Any]) -> CodeProblem:
    reward = json_of(row["reward_model"], "reward_model")
    return _from_tests(json_of(reward["ground_truth"], "reward_model.ground_truth"))


def _open_r1(row: Mapping[str, Any]) -> CodeProblem:
    info = json_of(row["verification_info"], "verification_info")
    language = info.get("language") or "python"
    if language != "python":
        raise UsageError(f"verification_info.language: {language!r:.80}; expected python")
    return _from_tests(json_of(info["test_cases"], "test_cases"), "")


def _codeforces(row: Mapping[str, Any]) -> CodeProblem:
    for column in ("generated_checker", "interaction_format"):
        if row.get(column):
            raise UsageError(f"{column}: outputs are judged by a program; expected fixed outputs")
    if (row.get("input_mode") or "stdio") != "stdio":
        raise UsageError(f"input_mode: {row['input_mode']!r:.80}; expected stdio")
    problem = _from_tests(json_of(row["official_tests"], "official_tests"), "")
    return _timed(problem, row.get("time_limit"))


def _code_contests(row: Mapping[str, Any]) -> CodeProblem:
    cases: list[dict[str, Any]] = []
    for column in ("public_tests", "private_tests", "generated_tests"):
        tests = json_of(row.get(column) or {"input": [], "output": []}, column)
        pairs = zip(tests["input"], tests["output"], strict=True)
        cases += [{"input": given, "output": wanted} for given, wanted in pairs]
    if (row.get("input_file"), row.get("output_file")) not in ((None, None), ("", "")):
        raise UsageError(f"input_file: {row.get('input_file')!r:.80}; expected standard streams")
    limit = row.get("time_limit")
    if isinstance(limit, Mapping):
        limit = limit["seconds"] + limit.get("nanos", 0) / 1e9
    return _timed(_cases_problem(cases, None, ""), limit)


def _timed(problem: CodeProblem, limit: Any) -> CodeProblem:
    """Bound a problem by its own limit, which was made for C++, twice: the default is the least."""
    if isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0:
        return replace(problem, seconds=min(_MOST_SECONDS, max(problem.seconds, 2.0 * limit)))
    return problem


def _ace_code(row: Mapping[str, Any]) -> CodeProblem:
    return _from_tests(json_of(row["test_cases"], "test_cases"), "")


def _tests(row: Mapping[str, Any]) -> CodeProblem:
    tests = json_of(row["tests"], "tests")
    if isinstance(tests, Mapping) and not {"inputs", "functional", "assert_case"} & tests.keys():
        raise UsageError(f"tests: has {sorted(tests)!r:.120}; expected the tests themselves")
    # The house's own tests are for programs as they are.
    own = isinstance(tests, list) and not any({"testtype", "type"} & test.keys() for test in tests)
    return _from_tests(tests, "" if own else prelude.CONTEST)


def _from_tests(tests: Any, before: str = prelude.CONTEST) -> CodeProblem:
    if isinstance(tests, Mapping):
        if functional := tests.get("functional"):
            return asserted(functional, before)
        return _inputs_outputs(tests, before)
    if not isinstance(tests, Sequence) or isinstance(tests, str) or not tests:
        raise UsageError("tests: expected a list of tests, or inputs and outputs")
    first = tests[0]
    if isinstance(first, str):
        return asserted("\n".join(tests), before)
    if "arguments" in first:
        return _calls(
            [
                CallTest(test["function"], tuple(test["arguments"]), Equals(test["expected"]))
                for test in tests
            ],
            before,
        )
    name = first.get("fn_name")
    if first.get("testtype") == "functional":
        name = json_of(first.get("metadata") or "{}", "metadata").get("func_name") or name
        if not name:
            raise UsageError("tests: functional, but no metadata.func_name names the function")
    return _cases_problem(tests, name, before)


def _cases_problem(cases: Sequence[Mapping[str, Any]], name: Any, before: str) -> CodeProblem:
    """Read cases of `input` and `output`: calls where a function is named, else programs."""
    if name:
        return _calls([_call(name, case) for case in cases], before)
    if any(case.get("testtype") == "functional" for case in cases):
        raise UsageError("metadata: no func_name; expected one for functional test cases")
    tests = [StdinTest(_text(case["input"]), _text(case["output"])) for case in cases]
    return CodeProblem(tuple(tests), before)


def _inputs_outputs(value: Mapping[str, Any], before: str) -> CodeProblem:
    before = f"{before}\n{value.get('import_prefix') or ''}".rstrip()
    asserts = value.get("assert_case") or []
    asserts = [asserts] if isinstance(asserts, str) else asserts
    if any(case and case.strip() for case in asserts):
        return asserted("\n".join(asserts), before)
    inputs, outputs, name = value["inputs"], value["outputs"], value.get("fn_name")
    if len(inputs) != len(outputs):
        raise UsageError(f"tests: {len(inputs)} inputs and {len(outputs)} outputs")
    pairs = zip(inputs, outputs, strict=True)
    cases = [{"input": given, "output": wanted} for given, wanted in pairs]
    return _cases_problem(cases, name, before)


def _call(name: str, case: Mapping[str, Any]) -> CallTest:
    """Read a call in either layout.

    As text, the input holds the JSON of one argument a line, and the output is JSON too; only
    under `type: function_call` (PrimeIntellect) a text is the JSON of the list of arguments. As a
    list, it holds the arguments, and the output is wrapped in a list or not: tasks differ.
    """
    given, wanted = case["input"], case["output"]
    if not isinstance(given, str):
        arguments = list(given) if isinstance(given, list) else [given]
        return CallTest(name, _keyed(arguments), Equals(wanted, wrapped=True))
    whole = _maybe_json(given) if case.get("type") == "function_call" else None
    if isinstance(whole, list):
        arguments = whole
    else:
        lines = [line for line in given.split("\n") if line.strip()]
        arguments = [_maybe_json(line) for line in lines]
        if any(argument is _NO_JSON for argument in arguments):
            arguments = [given]
    result = _maybe_json(wanted) if isinstance(wanted, str) else wanted
    if result is _NO_JSON:
        result = wanted
    # LiveCodeBench writes what is returned, and nothing around it.
    wrapped = case.get("testtype") != "functional"
    return CallTest(name, _keyed(arguments), Equals(result, wrapped=wrapped))


def _keyed(arguments: list[Any]) -> tuple[Any, ...]:
    """Give a dictionary that comes first its integer keys back, as the judges of APPS do."""
    return (with_integer_keys(arguments[0]), *arguments[1:]) if arguments else ()


def _text(value: Any) -> str:
    text = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"tests: not UTF-8 text ({error.reason})") from None
    return text


def _calls(tests: Iterable[CallTest], before: str = "") -> CodeProblem:
    read = tuple(tests)
    for test in read:
        if not isinstance(test.function, str) or not all(
            map(str.isidentifier, test.function.split("."))
        ):
            raise UsageError(f"tests: function {test.function!r:.80}; expected a name")
    return CodeProblem(read, before)


_NO_JSON = object()


def _maybe_json(text: str) -> Any:
    try:
        return _loads(text)
    except (ValueError, RecursionError):
        return _NO_JSON


def json_of(value: Any, where: str) -> Any:
    """Return what a column holds, as JSON text or as it is; raises `UsageError`."""
    if not isinstance(value, str):
        return value
    try:
        return _loads(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON: {error}") from None


def _loads(text: str) -> Any:
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int:
    """Read an integer of any length up to a bound: Python itself stops at 4,300 digits."""
    if len(digits) <= 4300:
        return int(digits)
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of more than {_MOST_DIGITS} digits")
    return int(Decimal(digits))


_FORMS: dict[tuple[str, ...], tuple[str, Callable[[Mapping[str, Any]], CodeProblem]]] = {
    ("public_test_cases",): ("LiveCodeBench", _live_code_bench),
    ("input_output",): ("APPS or TACO", _apps),
    ("reward_model",): ("verl or PRIME", _verl),
    ("verification_info",): ("open-r1", _open_r1),
    ("official_tests",): ("Codeforces", _codeforces),
    ("public_tests",): ("CodeContests", _code_contests),
    ("entry_point", "test"): ("HumanEval", human_eval),
    ("test", "test_info"): ("KodCode", kodcode),
    ("test_list",): ("MBPP", mbpp),
    ("test_cases",): ("AceCode", _ace_code),
    ("tests",): ("DeepCoder or the house's own", _tests),
}
