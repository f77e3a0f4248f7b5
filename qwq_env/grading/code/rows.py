"""The forms in which code tasks are published, read to a `CodeProblem`.

| form | its key |
|---|---|
| the house's own | `tests`: `[{"input", "output"}]` or `[{"function", "arguments", "expected"}]` |
| LiveCodeBench | `public_test_cases`, `private_test_cases`, `metadata` |
| APPS, TACO | `input_output` |
| PRIME, verl | `reward_model.ground_truth` |
| DeepCoder | `tests` |
| open-r1 | `verification_info` |
| HumanEval, HumanEval+ | `test` and `entry_point` |
| MBPP, MBPP+ | `test_list` (and `test_imports` or `test_setup_code`) |

Rows are foreign: their pickles are opened only as far as one string, their archives only up to a
size, their tests are never executed.
"""

from __future__ import annotations

import ast
import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.code.asserts import rewrite_asserts
from qwq_env.grading.code.problem import CallTest, CodeProblem, StdinTest, equals

_MOST_UNPACKED = 512 << 20
# What taking a foreign row apart raises where a key is missing or holds something else.
_MISSHAPEN = (KeyError, IndexError, TypeError, AttributeError, ValueError)


def read_problem(row: Mapping[str, Any]) -> CodeProblem:
    """Return the problem of a row, its form told by its keys.

    Raises `UsageError` for a row of no known form, or whose tests cannot be used as they are.
    """
    for key, reader in _READERS.items():
        if row.get(key) is not None:
            try:
                problem = reader(row)
            except UsageError:
                raise
            except _MISSHAPEN as error:
                reason = f"{type(error).__name__}: {error}"
                raise UsageError(f"{key}: not in its published form ({reason:.120})") from None
            if not problem.tests:
                raise UsageError(f"{key}: no tests; expected at least one")
            return problem
    known = ", ".join(_READERS)
    raise UsageError(f"row: keys {sorted(row)}; expected tests under one of: {known}")


def _live_code_bench(row: Mapping[str, Any]) -> CodeProblem:
    cases = [*_cases(row["public_test_cases"]), *_cases(row.get("private_test_cases") or "[]")]
    metadata = _json(row.get("metadata") or "{}", "metadata")
    name = metadata.get("func_name")
    if all(case.get("testtype") == "functional" for case in cases) and name:
        # Its solutions are methods of a class, as on the site that the tasks come from.
        return _problem(_lcb_call(name, case) for case in cases)
    return CodeProblem(
        tuple(StdinTest(_text(case["input"]), _text(case["output"])) for case in cases)
    )


def _lcb_call(name: str, case: Mapping[str, Any]) -> CallTest:
    arguments = [_json(line, "input") for line in case["input"].split("\n") if line.strip()]
    return CallTest(name, tuple(arguments), equals(_json(case["output"], "output")))


def _cases(packed: Any) -> list[dict[str, Any]]:
    """Return LiveCodeBench's cases: JSON, or base64 of zlib of a pickle of a JSON text."""
    if isinstance(packed, list):
        return packed
    try:
        cases = json.loads(packed)
    except ValueError:
        cases = json.loads(_unpack(packed))
    if not isinstance(cases, list):
        raise UsageError("test cases: not a list")
    return cases


class _TextUnpickler(pickle.Unpickler):
    """Opens a pickle of plain text and nothing else: no name in it is ever looked up."""

    def find_class(self, module: str, name: str) -> Any:
        raise UsageError(f"private_test_cases: the pickle asks for {module}.{name}; refused")

    def persistent_load(self, identity: Any) -> Any:
        raise UsageError("private_test_cases: the pickle refers to something outside; refused")


def _unpack(text: str) -> str:
    try:
        decompressor = zlib.decompressobj()
        data = decompressor.decompress(base64.b64decode(text), _MOST_UNPACKED)
        if decompressor.unconsumed_tail:
            raise UsageError(f"private_test_cases: more than {_MOST_UNPACKED} bytes unpacked")
        value = _TextUnpickler(io.BytesIO(data)).load()
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"private_test_cases: cannot be unpacked: {error}") from None
    if not isinstance(value, str):
        raise UsageError("private_test_cases: the pickle holds no text")
    return value


def _apps(row: Mapping[str, Any]) -> CodeProblem:
    return _inputs_outputs(_json(row["input_output"], "input_output"))


def _verl(row: Mapping[str, Any]) -> CodeProblem:
    truth = row["reward_model"].get("ground_truth")
    return _from_tests(_json(truth, "reward_model.ground_truth"))


def _open_r1(row: Mapping[str, Any]) -> CodeProblem:
    return _from_tests(_json(row["verification_info"], "verification_info")["test_cases"])


def _tests(row: Mapping[str, Any]) -> CodeProblem:
    return _from_tests(_json(row["tests"], "tests"))


def _from_tests(tests: Any) -> CodeProblem:
    if isinstance(tests, Mapping):
        return _inputs_outputs(tests)
    if not isinstance(tests, Sequence) or not tests:
        raise UsageError("tests: expected a list of tests, or inputs and outputs")
    if "arguments" in tests[0]:
        return _problem(
            CallTest(test["function"], tuple(test["arguments"]), equals(test["expected"]))
            for test in tests
        )
    if tests[0].get("fn_name"):
        return _problem(_call(test["fn_name"], test["input"], test["output"]) for test in tests)
    return CodeProblem(
        tuple(StdinTest(_text(test["input"]), _text(test["output"])) for test in tests)
    )


def _inputs_outputs(value: Mapping[str, Any]) -> CodeProblem:
    inputs, outputs, name = value["inputs"], value["outputs"], value.get("fn_name")
    if len(inputs) != len(outputs):
        raise UsageError(f"tests: {len(inputs)} inputs and {len(outputs)} outputs")
    pairs = zip(inputs, outputs, strict=True)
    if name:
        return _problem(_call(name, given, wanted) for given, wanted in pairs)
    return CodeProblem(tuple(StdinTest(_text(given), _text(wanted)) for given, wanted in pairs))


def _call(name: str, given: Any, wanted: Any) -> CallTest:
    """Read a call as APPS writes it: the value wrapped in a list or not, tasks differ."""
    arguments = tuple(given) if isinstance(given, list) else (given,)
    bare = equals(wanted)
    if isinstance(wanted, list) and len(wanted) == 1:
        inner = equals(wanted[0])
        return CallTest(name, arguments, lambda value: bare(value) or inner(value))
    return CallTest(name, arguments, bare)


def _text(value: Any) -> str:
    text = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"tests: not UTF-8 text ({error.reason})") from None
    return text


def _human_eval(row: Mapping[str, Any]) -> CodeProblem:
    entry = row["entry_point"]
    if inputs := _evalplus(row["test"]):
        return _problem(CallTest(entry, tuple(given), equals(wanted)) for given, wanted in inputs)
    return _problem(rewrite_asserts(row["test"], {"candidate": entry}))


def _evalplus(source: str) -> list[tuple[Any, Any]]:
    """Return the pairs of EvalPlus's `inputs = [...]` and `results = [...]`, if it has them."""
    found: dict[str, Any] = {}
    try:
        statements = [
            statement
            for node in ast.parse(source).body
            for statement in (node.body if isinstance(node, ast.FunctionDef) else [node])
        ]
        for statement in statements:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                if name in ("inputs", "results"):
                    found[name] = ast.literal_eval(statement.value)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return []
    if found.keys() != {"inputs", "results"}:
        return []
    return list(zip(found["inputs"], found["results"], strict=True))


def _mbpp(row: Mapping[str, Any]) -> CodeProblem:
    source = "\n".join(row["test_list"])
    imports = row.get("test_imports") or row.get("test_setup_code") or ""
    prelude = "\n".join(imports) if isinstance(imports, list) else imports
    return _problem(rewrite_asserts(source, {}), prelude)


def _problem(tests: Iterable[CallTest], prelude: str = "") -> CodeProblem:
    read = tuple(tests)
    for test in read:
        if not isinstance(test.function, str) or not test.function:
            raise UsageError(f"tests: function {test.function!r:.80}; expected a name")
    return CodeProblem(read, prelude)


def _json(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON: {error}") from None


_READERS: dict[str, Callable[[Mapping[str, Any]], CodeProblem]] = {
    "public_test_cases": _live_code_bench,
    "input_output": _apps,
    "reward_model": _verl,
    "verification_info": _open_r1,
    "entry_point": _human_eval,
    "test_list": _mbpp,
    "tests": _tests,
}
