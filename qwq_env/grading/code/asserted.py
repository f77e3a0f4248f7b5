"""Tests that were published as code: HumanEval's, MBPP's, EvalPlus's, LeetCode's, KodCode's.

Nothing of them is run here. What is read off the syntax tree is which names are the solution's,
so that a `Script` can be played with functions in their place.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.code.prelude import starred
from qwq_env.grading.code.problem import CodeProblem, Script
from qwq_env.text.python import parse_python

_METHOD = re.compile(r"Solution\s*\(\s*\)\s*\.\s*(\w+)")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# MBPP's own solution of task 123 takes about five.
MBPP_SECONDS = 15.0
# Given to each module, and what the play names for itself.
_GIVEN = {"__name__", "__file__", "__doc__", "__builtins__"}


def human_eval(row: Mapping[str, Any]) -> CodeProblem:
    """Read a row with `test`, `entry_point` and `prompt`: HumanEval, HumanEval+, LeetCodeDataset.

    What the prompt shows beside the function (imports, helpers) is there for the program and for
    the tests. An `entry_point` may be a method, `Solution().two_sum`.
    """
    entry, test = row["entry_point"], row["test"]
    method = _METHOD.fullmatch(entry)
    if method is None and not entry.isidentifier():
        raise UsageError(f"entry_point: {entry!r:.80}; expected a name or Solution().name")
    helpers = _helpers(row.get("prompt") or "", method[1] if method else entry)
    tree = _parsed(test, "test")
    if any(map(_is_unittest, tree.body)):
        raise UsageError("test: a class of unittest; expected assertions, or a function `check`")
    # HumanEval's files end with `check(f)`, the published rows do not.
    called = any(isinstance(each, ast.Expr) and _calls(each, "check") for each in tree.body)
    defined = any(isinstance(each, ast.FunctionDef) and each.name == "check" for each in tree.body)
    source = f"{test}\ncheck({entry})\n" if defined and not called else test
    script = Script((helpers, source), ("Solution" if method else entry,))
    return CodeProblem((script,), helpers)


def kodcode(row: Mapping[str, Any]) -> CodeProblem:
    """Read a row with `test` and `test_info`: functions of pytest, which import `solution`."""
    tree = _parsed(row["test"], "test")
    kept = [each for each in tree.body if not _imports_solution(each)]
    names = {
        alias.name
        for each in tree.body
        if isinstance(each, ast.ImportFrom) and _imports_solution(each)
        for alias in each.names
    }
    tests = [each for each in kept if isinstance(each, ast.FunctionDef) and _is_test(each.name)]
    odd = [each.name for each in tests if each.args.args or each.decorator_list]
    if odd or not tests or any(map(_is_unittest, kept)) or not names or "*" in names:
        shown = odd[0] if odd else "none that is a test" if names else "no import of `solution`"
        raise UsageError(f"test: {shown:.80}; expected functions test_...() without arguments")
    calls = "\n".join(f"{each.name}()" for each in tests)
    source = ast.unparse(ast.Module(kept, type_ignores=[]))
    return CodeProblem((Script(("", f"{source}\n{calls}\n"), tuple(sorted(names))),))


def mbpp(row: Mapping[str, Any]) -> CodeProblem:
    """Read a row with `test_list`: MBPP as published, sanitized or not, and MBPP+ with its `test`.

    Imports of the tests are there for the program too; set-up code that needs the solution's
    names (`root = Node(1)`) is put behind it.
    """
    imports = _joined(row.get("test_imports"))
    closing = _joined(row.get("test_setup_code"))
    source = row.get("test") or _joined(row["test_list"])
    reference = row["code"] if _is_code(row.get("code")) else ""
    return replace(asserted(source, imports, closing, reference), seconds=MBPP_SECONDS)


def asserted(source: str, imports: str = "", closing: str = "", reference: str = "") -> CodeProblem:
    """Return the problem of bare test code; the solution's are the names that it does not define.

    A `reference` solution tells more: what it defines is the solution's even where Python has a
    function of that name (MBPP asks for a `sum`), and what it imports the tests may use too.
    """
    tree, setting = _parsed(source, "tests"), _parsed(closing, "test_setup_code")
    solved = _parsed(reference, "code").body
    given = {*_GIVEN, *dir(builtins), *_bound(_parsed(imports, "test_imports").body)}
    wanted = _loaded(setting) - given - set(_bound(setting.body))
    if not wanted:
        # It stands by itself: both sides have it.
        imports = f"{imports}\n{closing}" if closing else imports
        given |= set(_bound(setting.body))
        closing = ""
    free = _loaded(tree) - set(_bound(tree.body))
    modules = _imports(free - given, [*solved, *_standard(tree)])
    functions = free - given - set(_bound(_parsed(modules, "code").body))
    defined = (each for each in solved if not isinstance(each, ast.Import | ast.ImportFrom))
    functions |= free & {each.name for each in defined if isinstance(each, _DEFINITIONS)}
    if not functions:
        # A solution may have the name of something that its judge imports for it (`gcd`).
        calls = (each.func for each in ast.walk(tree) if isinstance(each, ast.Call))
        called = {each.id for each in calls if isinstance(each, ast.Name)}
        functions = (free & called) - _GIVEN - set(dir(builtins))
    if not functions:
        raise UsageError("tests: they call nothing that is not theirs; expected the solution")
    script = Script((f"{imports}\n{modules}", source), tuple(sorted(functions)), closing)
    return CodeProblem((script,), imports)


def _is_test(name: str) -> bool:
    return name.startswith("test")


def _is_unittest(statement: ast.stmt) -> bool:
    bases = statement.bases if isinstance(statement, ast.ClassDef) else []
    return any(ast.unparse(base).endswith("TestCase") for base in bases)


def _imports_solution(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "solution"


def _imports(names: set[str], statements: Iterable[ast.stmt]) -> str:
    """Return, as code, those of the imports that bind one of the names."""
    imports = (each for each in statements if isinstance(each, ast.Import | ast.ImportFrom))
    return "\n".join(ast.unparse(each) for each in imports if names & set(_bound([each])))


def _standard(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield imports of the standard modules that are used by name, as in `math.isclose(...)`."""
    for node in ast.walk(tree):
        base = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(base, ast.Name) and base.id in sys.stdlib_module_names:
            yield ast.Import([ast.alias(base.id)])


def _joined(lines: Any) -> str:
    return "\n".join(lines) if isinstance(lines, list | tuple) else lines or ""


def _is_code(text: Any) -> bool:
    try:
        parse_python(text)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


def _parsed(source: str, field: str) -> ast.Module:
    try:
        return parse_python(source)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UsageError(f"{field}: not Python: {error}") from None


def _helpers(prompt: str, entry: str) -> str:
    """Return what a prompt defines beside the function that it asks for.

    A prompt in prose, or one that ends in the midst of a signature, has none.
    """
    if not _is_code(prompt):
        return ""
    kept = [
        ast.unparse(statement)
        for statement in parse_python(prompt).body
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        and entry not in _bound([statement])
        and "Solution" not in _bound([statement])
    ]
    return "\n".join(kept)


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements bind, wherever in them: more than a scope holds."""
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, _DEFINITIONS):
                yield node.name
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                yield node.id
            elif isinstance(node, ast.arg):
                yield node.arg
            elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                yield from starred(node.module or "")
            elif isinstance(node, ast.alias):
                yield (node.asname or node.name).partition(".")[0]
            elif isinstance(node, ast.ExceptHandler) and node.name:
                yield node.name


def _loaded(tree: ast.AST) -> set[str]:
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _calls(statement: ast.Expr, name: str) -> bool:
    value = statement.value
    return (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == name
    )
