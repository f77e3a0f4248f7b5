"""Assert statements rewritten to calls, so that what they expect stays outside.

`assert f(2, 3) == 5` run beside the solution hands it the 5: it may read it from the caller's
frame, or return an object that equals everything. Here the statement is read as "call f with
(2, 3), then check the value", the call is made in the sandbox and the check outside. Arguments
and expectations are constants: they are computed by a small evaluator, never executed.
"""

from __future__ import annotations

import ast
import math
import operator as operator_module
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.code.problem import CallTest, Check, contains, same

_CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict,
    "sorted": sorted, "float": float, "int": int, "str": str, "len": len, "abs": abs,
    "round": round, "sum": sum, "min": min, "max": max, "bool": bool,
}  # fmt: skip
_ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator_module.lt, ast.LtE: operator_module.le,
    ast.Gt: operator_module.gt, ast.GtE: operator_module.ge,
}  # fmt: skip
_MOST_ITEMS = 1_000_000
_MOST_BITS = 100_000


class CannotRewrite(UsageError):
    """The test is no call with a constant expectation; it would have to run beside the solution."""


def rewrite_asserts(source: str, aliases: Mapping[str, str]) -> list[CallTest]:
    """Return the calls that the asserts in `source` make, in their order.

    `aliases` maps names to the function's own: HumanEval's tests call `candidate`. Functions
    (`def check(candidate)`) are entered, other statements than asserts and constant assignments
    are refused. Raises `CannotRewrite`, which names the line.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise CannotRewrite(f"tests: not Python: {error}") from None
    return list(_Rewriter(dict(aliases)).walk(tree.body))


class _Rewriter:
    def __init__(self, aliases: dict[str, str]) -> None:
        self._aliases = aliases
        self._constants: dict[str, Any] = {}

    def walk(self, body: list[ast.stmt]) -> Iterator[CallTest]:
        for statement in body:
            if isinstance(statement, ast.FunctionDef):
                yield from self.walk(statement.body)
            elif isinstance(statement, ast.Assert):
                if not _is_true(statement.test):
                    yield self._rewrite(statement.test)
            elif isinstance(statement, ast.Assign):
                self._assign(statement)
            elif not _is_harmless(statement):
                raise _refusal(statement, "is neither an assert nor a constant")

    def _assign(self, statement: ast.Assign) -> None:
        [target] = statement.targets
        if not isinstance(target, ast.Name):
            raise _refusal(statement, "assigns to more than a name")
        if target.id == "METADATA":
            return
        self._constants[target.id] = self._constant(statement.value)

    def _rewrite(self, test: ast.expr) -> CallTest:
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            call, wrap = self._call(test.operand)
            return self._test(call, lambda value: not wrap(value))
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            return self._comparison(test.left, test.ops[0], test.comparators[0])
        if isinstance(test, ast.Call) and _name(test.func) in ("isclose", "math.isclose"):
            return self._isclose(test)
        call, wrap = self._call(test)
        return self._test(call, lambda value: wrap(value) is True)

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> CallTest:
        if isinstance(operator, ast.In | ast.NotIn):
            return self._membership(left, isinstance(operator, ast.In), right)
        if not self._has_call(left):
            mirrored = {ast.Lt: ast.Gt(), ast.LtE: ast.GtE(), ast.Gt: ast.Lt(), ast.GtE: ast.LtE()}
            left, operator, right = right, mirrored.get(type(operator), operator), left
        expected = self._constant(right)
        call, wrap = self._call(left)
        if isinstance(operator, ast.Eq):
            return self._test(call, lambda value: same(wrap(value), expected))
        if isinstance(operator, ast.Is) and (expected is None or isinstance(expected, bool)):
            return self._test(call, lambda value: wrap(value) is expected)
        if isinstance(operator, ast.NotEq):
            return self._test(call, lambda value: not same(wrap(value), expected))
        if type(operator) in _ORDERS:
            order = _ORDERS[type(operator)]
            return self._test(call, lambda value: order(_number(wrap(value)), expected))
        raise _refusal(left, f"compares by {type(operator).__name__}")

    def _membership(self, item: ast.expr, wanted: bool, container: ast.expr) -> CallTest:
        if self._has_call(item):
            held = self._constant(container)
            call, wrap = self._call(item)
            return self._test(call, lambda value: contains(held, wrap(value)) is wanted)
        sought = self._constant(item)
        call, wrap = self._call(container)
        return self._test(call, lambda value: contains(wrap(value), sought) is wanted)

    def _isclose(self, test: ast.Call) -> CallTest:
        first, second, *_ = test.args
        if not self._has_call(first):
            first, second = second, first
        options = {str(keyword.arg): self._constant(keyword.value) for keyword in test.keywords}
        expected = self._constant(second)
        call, wrap = self._call(first)
        return self._test(
            call, lambda value: math.isclose(_number(wrap(value)), expected, **options)
        )

    def _test(self, call: ast.Call, check: Check) -> CallTest:
        if call.keywords:
            raise _refusal(call, "passes arguments by name")
        name = _name(call.func)
        arguments = tuple(self._constant(argument) for argument in call.args)
        return CallTest(self._aliases.get(name, name), arguments, _total(check))

    def _call(self, node: ast.expr) -> tuple[ast.Call, Callable[[Any], Any]]:
        """Find the one call of the solution in `node`, and what is then made of its value."""
        if isinstance(node, ast.Call):
            name = _name(node.func)
            if name not in _CONSTRUCTORS:
                return node, lambda value: value
            [inner, *rest] = node.args
            call, wrap = self._call(inner)
            constructor, more = _CONSTRUCTORS[name], [self._constant(each) for each in rest]
            return call, lambda value: constructor(wrap(value), *more)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            call, wrap = self._call(node.left)
            offset = self._constant(node.right)
            return call, lambda value: _number(wrap(value)) - offset
        if isinstance(node, ast.Subscript):
            call, wrap = self._call(node.value)
            index = self._constant(node.slice)
            return call, lambda value: wrap(value)[index]
        raise _refusal(node, "calls no function of the solution")

    def _has_call(self, node: ast.expr) -> bool:
        return any(
            isinstance(each, ast.Call) and _name(each.func) not in _CONSTRUCTORS
            for each in ast.walk(node)
        )

    def _constant(self, node: ast.expr) -> Any:
        try:
            return _Constant(self._constants).value(node)
        except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
            raise _refusal(node, f"is no constant: {error}") from None


class _Constant:
    """Computes constant expressions, bounded in size."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._names[node.id]
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            return kind(self.value(item) for item in node.elts)
        if isinstance(node, ast.Dict):
            keys = [self.value(key) for key in node.keys if key is not None]
            return dict(zip(keys, map(self.value, node.values), strict=True))
        if isinstance(node, ast.UnaryOp):
            operand = self.value(node.operand)
            return -operand if isinstance(node.op, ast.USub) else not operand
        if isinstance(node, ast.BinOp):
            return _binary(self.value(node.left), node.op, self.value(node.right))
        if isinstance(node, ast.Call) and not node.keywords:
            return self._construct(_name(node.func), [self.value(each) for each in node.args])
        raise ValueError(f"{type(node).__name__} is not understood")

    def _construct(self, name: str, arguments: list[Any]) -> Any:
        if name == "range":
            numbers = range(*arguments)
            if len(numbers) > _MOST_ITEMS:
                raise ValueError("too long a range")
            return numbers
        if name not in _CONSTRUCTORS:
            raise ValueError(f"a call of {name}")
        return _CONSTRUCTORS[name](*arguments)


def _binary(left: Any, operator: ast.operator, right: Any) -> Any:
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        for one, other in ((left, right), (right, left)):
            if isinstance(one, str | bytes | list | tuple) and len(one) * other > _MOST_ITEMS:
                raise ValueError("too long a repetition")
        return left * right
    if isinstance(operator, ast.Div):
        return left / right
    if isinstance(operator, ast.Pow):
        whole = isinstance(left, int) and isinstance(right, int)
        if whole and right * max(1, left.bit_length()) > _MOST_BITS:
            raise ValueError("too large a power")
        return left**right
    raise ValueError(f"{type(operator).__name__} is not understood")


def _total(check: Check) -> Check:
    """Make a value of the wrong kind wrong, instead of an error."""

    def checked(value: Any) -> bool:
        try:
            return bool(check(value))
        except (TypeError, ValueError, ArithmeticError, LookupError):
            return False

    return checked


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return value


def _name(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _is_true(node: ast.expr) -> bool:
    """HumanEval begins and ends its tests with `assert True, "..."`."""
    return isinstance(node, ast.Constant) and bool(node.value)


def _is_harmless(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass):
        return True
    # A docstring, or HumanEval's closing `check(f)`.
    return isinstance(statement, ast.Expr) and (
        isinstance(statement.value, ast.Constant)
        or (isinstance(statement.value, ast.Call) and _name(statement.value.func) == "check")
    )


def _refusal(node: ast.AST, why: str) -> CannotRewrite:
    text = ast.unparse(node)
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return CannotRewrite(f"tests, line {getattr(node, 'lineno', '?')}: {shown!r} {why}")
