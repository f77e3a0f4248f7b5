"""Our judge of LiveCodeBench against the official one, on HumanEval and MBPP in its form.

    qwq bench livecodebench_agreement [--humaneval FILE --mbpp FILE] [--most 900]

Published assertions become LiveCodeBench's tests, of calls and of standard input. The programs are
the published solutions, those with one change in their code (another operator, a number, a
statement less), and those that hand their result over otherwise: as another type, with an extra
print, by an exception, never. Says on how many pairs of program and problem the verdicts are equal,
and names those that differ; and, apart from these, what both say of programs by hand, each odd in
one way. The official judge runs in an environment of its own, made at the first call.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
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
    "nearly": "return result + 1e-9 if isinstance(result, float) else result",
    "a text": "return str(result)",
    "nothing": "return None",
    "prints too": "print('debug', flush=True); return result",
    "prints much": "print('debug ' * 100_000); return result",
    "raises": "raise ValueError(result)",
    "exits": "import sys; sys.exit()",
    "recurses": "return self.answer(*arguments)",
    "loops": "while True: pass",
}
_PRINTED = {
    "right": "print(json.dumps(result))",
    "spaces": "print('  ' + json.dumps(result) + '   ')",
    "a line more": "print(json.dumps(result)); print()",
    "a line before": "print(); print(json.dumps(result))",
    "as a float": "print(float(result) if isinstance(result, int) else json.dumps(result))",
    "nearly": "print(result + 1e-9 if isinstance(result, float) else json.dumps(result))",
    "one item a line": "print(*result, sep='\\n') if isinstance(result, list) else print(result)",
    "wrong": "print('none')",
    "prints too": "print('debug'); print(json.dumps(result))",
    "raises": "print(json.dumps(result)); raise ValueError(result)",
    "exits": "print(json.dumps(result)); import sys; sys.exit()",
    "fails": "print(json.dumps(result)); import sys; sys.exit(3)",
    "reads on": "input(); print(json.dumps(result))",
    "loops": "while True: pass",
}
_SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_READ = {
    "exit code 3": "print(input()); raise SystemExit(3)",
    "sys.exit with words": "import sys\nprint(input())\nsys.exit('done')",
    "exit()": "print(input())\nexit()",
    "quit()": "print(input())\nquit()",
    "ends in the middle": "print(input())\nimport sys\nif 1:\n    sys.exit(1)\nprint(2)",
    "main guard": "def main():\n    print(input())\nif __name__ == '__main__':\n    main()",
    "a global": "total = 0\ndef add():\n    global total\n    total += 7\nadd()\nprint(total)",
    "reads the buffer": "import sys\nprint(sys.stdin.buffer.read().decode())",
    "reads lines": "import sys\nprint(sys.stdin.readline())",
    "opens 0": "print(open(0).read())",
    "zeros in front": "print('007')",
    "an exponent": "print('0.7e1')",
    "digits of another script": "print('\u0667')",
    "nearly": "print(7.0000001)",
    "a carriage return": "print('7\\r')",
    "words on standard error": "import sys\nprint('hm', file=sys.stderr)\nprint(7)",
    "deep recursion": "def f(n):\n    return n and f(n - 1)\nf(20000)\nprint(7)",
    "a thread": "from threading import *\nt = Thread(target=print, args=(7,))\nt.start(); t.join()",
}
"""Programs that are to print 7, which they may read."""
_RETURNED = {
    "integer keys": ("{1: 2}", {"1": 2}),
    "a counter": ("Counter('aab')", {"a": 2, "b": 1}),
    "a tuple": ("(1, 2)", [1, 2]),
    "tuples within": ("[(1, 2)]", [[1, 2]]),
    "a set": ("{1}", [1]),
    "an item for a list": ("3", [3]),
    "True for 1": ("True", 1),
    "a whole float": ("3.0", 3),
    "nearly": ("0.1 + 0.2", 0.3),
    "a fraction": ("__import__('fractions').Fraction(1, 2)", 0.5),
    "a numpy number": ("__import__('numpy').int64(3)", 3),
    "a large integer": ("10**30", 10**30),
    "a generator": ("(n for n in [1])", [1]),
    "a deque": ("deque([1])", [1]),
    "None for nothing": ("None", None),
}
"""What a function returns, and what it should."""
_WEIGHTS = {"right": 5.0, "loops": 0.2}


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
    parser.add_argument("--seed", type=int, default=0, help="of what is changed")
    found = run(parser, argv, measure)
    return 0 if found["share_equal"] >= 0.99 else 1


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return how many verdicts are equal, and each that is not."""
    human, mbpp = _rows(options.humaneval), _rows(options.mbpp)
    made = list(islice(pairs(human, mbpp, options.seed), options.most))
    odd = list(odd_pairs())
    ours, theirs = asyncio.run(_ours([*made, *odd])), _theirs([*made, *odd])
    by_hand = {
        pair.name: {"official": their["passed"], "ours": our.value == 1.0}
        for pair, our, their in zip(odd, ours[len(made) :], theirs[len(made) :], strict=True)
    }
    ours, theirs = ours[: len(made)], theirs[: len(made)]
    differ = [
        {"pair": pair.name, "official": their["passed"], "results": their["results"][-1:],
         "ours": our.value, "reason": our.reason, "detail": our.detail[:200]}
        for pair, our, their in zip(made, ours, theirs, strict=True)
        if our.value != float(their["passed"])
    ]  # fmt: skip
    kinds: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for pair, their in zip(made, theirs, strict=True):
        counts = kinds[pair.name.partition(" ")[2]]
        counts[0] += their["passed"]
        counts[1] += 1
    return {
        "pairs": len(made),
        "problems": len({pair.name.partition(" ")[0] for pair in made}),
        "official_passed": sum(each["passed"] for each in theirs),
        "share_equal": 1 - len(differ) / len(made),
        "differing": differ,
        "by_hand": by_hand,
        "passed_of_kind": dict(sorted(kinds.items())),
        "ours_by_reason": Counter(our.reason for our in ours).most_common(),
    }


def _rows(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines() if line]


def _theirs(made: list[Pair]) -> list[dict[str, Any]]:
    python = environment("livecodebench", ["--no-deps", OFFICIAL], ["numpy"])
    asked = ({"input_output": pair.input_output, "program": pair.program} for pair in made)
    lines = "".join(json.dumps(each) + "\n" for each in asked)
    answered = ask(python, "_official_livecodebench.py", lines)
    return [json.loads(line) for line in answered.splitlines()]


async def _ours(made: list[Pair]) -> list[Any]:
    free = asyncio.Semaphore(4)
    grader = CodeGrader(LocalSandbox(), numbers="livecodebench")

    async def judge(pair: Pair) -> Any:
        async with free:
            return await grader.grade(read_problem(pair.row), f"```python\n{pair.program}\n```")

    return await asyncio.gather(*map(judge, made))


def pairs(human: list[dict[str, Any]], mbpp: list[dict[str, Any]], seed: int) -> Iterator[Pair]:
    """Give pairs in turn: of each problem one of calls and one of standard input."""
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
            draw = random.Random(f"{seed} {name} {form.__name__}")
            kind = draw.choices(list(kinds), [_WEIGHTS.get(each, 1.0) for each in kinds])[0]
            written, how = code, kind
            if kind == "right" and draw.random() < 0.6:
                written, how = changed(code, draw), "changed"
            yield form(f"{name} {form.__name__[1:]}: {how}", function, written, kinds[kind], calls)


def odd_pairs() -> Iterator[Pair]:
    """Give programs that are odd in one way each."""
    for name, program in _READ.items():
        yield _pair(f"reads: {name}", program, ["7"] * 2, ["7"] * 2, None)
    for name, (value, expected) in _RETURNED.items():
        program = f"class Solution:\n    def answer(self, x):\n        return {value}"
        yield _pair(f"returns: {name}", program, ["1"] * 2, [json.dumps(expected)] * 2, "answer")


def changed(code: str, draw: random.Random) -> str:
    """Return a program with one change in it: an operator, a number, a condition, a statement."""
    tree = ast.parse(code)
    changes = [change for node in ast.walk(tree) for change in _changes(node)]
    if changes:
        draw.choice(changes)()
    return ast.unparse(ast.fix_missing_locations(tree))


def _changes(node: ast.AST) -> Iterator[Callable[[], None]]:
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in _SWAPPED:
        yield lambda: setattr(node, "op", _SWAPPED[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPPED:
        yield lambda: node.ops.__setitem__(0, _SWAPPED[type(node.ops[0])]())
    elif isinstance(node, ast.Constant) and type(node.value) in (int, bool):
        other = (not node.value) if isinstance(node.value, bool) else node.value + 1
        yield lambda: setattr(node, "value", other)
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        yield lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.FunctionDef) and len(node.body) > 1:
        yield lambda: node.body.pop(-2)


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
