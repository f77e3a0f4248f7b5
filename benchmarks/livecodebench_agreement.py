"""Our judge of LiveCodeBench against the official one, on HumanEval and MBPP in its form.

    qwq bench livecodebench_agreement [--humaneval FILE --mbpp FILE] [--most 900]

Published assertions become LiveCodeBench's tests, of calls and of standard input; the programs are
the published solutions and what a seed makes of them: off by one, another type, an extra print, a
loop. Says on how many pairs of program and problem the verdicts are equal, and names those that
differ. The official judge runs in an environment of its own, made at the first call.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from _official import ask, environment
from _result import run

from qwq_env.grading.code import CodeGrader
from qwq_env.grading.code.rows import read_problem
from qwq_env.sandbox import LocalSandbox

SAMPLES = Path(__file__).parents[1] / "tests" / "data" / "code"
OFFICIAL = "nvidia-livecodebench==26.3"
_TURNED = {
    "right": "return result",
    "off by one": "return result + 1 if isinstance(result, (int, float)) else [result]",
    "a tuple": "return tuple(result) if isinstance(result, list) else result",
    "a float": "return float(result) if isinstance(result, int) else result",
    "a text": "return str(result)",
    "nothing": "return None",
    "prints too": "print('debug', flush=True); return result",
    "raises": "raise ValueError(result)",
    "exits": "import sys; sys.exit()",
}
_PRINTED = {
    "right": "print(json.dumps(result))",
    "spaces": "print('  ' + json.dumps(result) + '   ')",
    "a line more": "print(json.dumps(result)); print()",
    "as a float": "print(float(result) if isinstance(result, int) else json.dumps(result))",
    "wrong": "print('none')",
    "exits": "print(json.dumps(result)); import sys; sys.exit()",
}


class Pair(NamedTuple):
    """A program, and the row that judges it."""

    name: str
    row: dict[str, Any]
    input_output: str
    program: str


class Call(NamedTuple):
    """An assertion: what is called with, and what is expected."""

    arguments: list[Any]
    expected: Any


def main(argv: list[str]) -> int:
    """Measure and print; 1 below 99 %."""
    parser = argparse.ArgumentParser(prog="qwq bench livecodebench_agreement", description=__doc__)
    parser.add_argument("--humaneval", type=Path, default=SAMPLES / "humaneval.jsonl")
    parser.add_argument("--mbpp", type=Path, default=SAMPLES / "mbpp_sanitized.jsonl")
    parser.add_argument("--most", type=int, default=900)
    found = run(parser, argv, measure)
    return 0 if found["share_equal"] >= 0.99 else 1


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return how many verdicts are equal, and each that is not."""
    human, mbpp = _rows(options.humaneval), _rows(options.mbpp)
    made = list(islice(pairs(human, mbpp), options.most))
    python = environment("livecodebench", ["--no-deps", OFFICIAL], ["numpy"])
    asked = ({"input_output": pair.input_output, "program": pair.program} for pair in made)
    lines = "".join(json.dumps(each) + "\n" for each in asked)
    theirs = [
        json.loads(line) for line in ask(python, "_official_livecodebench.py", lines).splitlines()
    ]
    ours = asyncio.run(_ours(made))
    differ = [
        {"pair": pair.name, "official": their["passed"], "results": their["results"][-1:],
         "ours": our.value, "reason": our.reason, "detail": our.detail[:200]}
        for pair, our, their in zip(made, ours, theirs, strict=True)
        if our.value != float(their["passed"])
    ]  # fmt: skip
    return {
        "pairs": len(made),
        "official_passed": sum(each["passed"] for each in theirs),
        "share_equal": 1 - len(differ) / len(made),
        "differing": differ,
    }


def _rows(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines() if line]


async def _ours(made: list[Pair]) -> list[Any]:
    free = asyncio.Semaphore(4)
    grader = CodeGrader(LocalSandbox(), numbers="livecodebench")

    async def judge(pair: Pair) -> Any:
        async with free:
            return await grader.grade(read_problem(pair.row), f"```python\n{pair.program}\n```")

    return await asyncio.gather(*map(judge, made))


def pairs(human: list[dict[str, Any]], mbpp: list[dict[str, Any]]) -> Iterator[Pair]:
    """Give pairs of every kind in turn: of each problem one of calls and one of standard input."""
    number = 0
    problems = [
        (row["task_id"], row["entry_point"], row["prompt"] + row["canonical_solution"], row["test"])
        for row in human
    ]
    problems += [
        (f"MBPP/{row['task_id']}", None, row["code"], "\n".join(row["test_list"])) for row in mbpp
    ]
    for name, function, code, test in problems:
        function, calls = calls_of(test, function)
        if not calls:
            continue
        for kinds, form in ((_TURNED, _called), (_PRINTED, _read)):
            kind = list(kinds)[number % len(kinds)]
            number += 1
            yield form(f"{name} {form.__name__[1:]}: {kind}", function, code, kinds[kind], calls)


def calls_of(test: str, function: str | None) -> tuple[str, list[Call]]:
    """Return the function that is called, and its assertions of plain values."""
    found = []
    for node in ast.walk(ast.parse(test)):
        if not (isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare)):
            continue
        call, [other] = node.test.left, node.test.comparators
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            continue
        function = function or call.func.id
        if call.func.id not in (function, "candidate") or call.keywords:
            continue
        try:
            values = [ast.literal_eval(each) for each in (*call.args, other)]
            *arguments, expected = json.loads(json.dumps(values))
        except (ValueError, TypeError, SyntaxError):
            continue
        found.append(Call(arguments, expected))
    return function or "", found[:4]


def _called(name: str, function: str, code: str, turned: str, calls: list[Call]) -> Pair:
    program = (
        f"{code}\n\nclass Solution:\n    def answer(self, *arguments):\n"
        f"        result = globals()[{function!r}](*arguments)\n        {turned}\n"
    )
    inputs = ["\n".join(map(json.dumps, call.arguments)) for call in calls]
    return _pair(name, program, inputs, [json.dumps(call.expected) for call in calls], "answer")


def _read(name: str, function: str, code: str, printed: str, calls: list[Call]) -> Pair:
    program = (
        f"{code}\n\nimport json\nresult = {function}(*json.loads(input()))\n"
        f"result = json.loads(json.dumps(result))\n{printed}\n"
    )
    inputs = [json.dumps(call.arguments) for call in calls]
    return _pair(name, program, inputs, [json.dumps(call.expected) for call in calls], None)


def _pair(
    name: str, program: str, inputs: list[str], outputs: list[str], function: str | None
) -> Pair:
    kind = "stdin" if function is None else "functional"
    cases = [
        {"input": given, "output": wanted, "testtype": kind}
        for given, wanted in zip(inputs, outputs, strict=True)
    ]
    row = {
        "question_content": name,
        "public_test_cases": json.dumps(cases[:1]),
        "private_test_cases": json.dumps(cases[1:]),
        "metadata": json.dumps({} if function is None else {"func_name": function}),
    }
    named = {} if function is None else {"fn_name": function}
    return Pair(name, row, json.dumps({"inputs": inputs, "outputs": outputs, **named}), program)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
