"""The calculator: one expression in, its exact value out.

```python
Calculator().evaluate("(1/3 + 0.1) * 30")   # "13"
```

Why not Python's `eval`, sympy or numexpr: they run code, read files, overflow, or hang on
`9**9**9`. Here every operation is bounded before it runs (see `calculator/numbers.py`), so a call
takes microseconds and needs neither a process nor a deadline. Integers and decimals are exact;
a result that is not is marked with `≈` and printed to 12 significant digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from qwq_env.errors import ToolError, did_you_mean
from qwq_env.tool import Tool, ToolResult
from qwq_env.tools.calculator.notation import (
    Binary,
    Call,
    Constant,
    Negative,
    Node,
    Number,
    Percent,
    parse,
)
from qwq_env.tools.calculator.numbers import (
    CONSTANTS,
    FUNCTIONS,
    Value,
    binary,
    call,
    modular_power,
)

_DIGITS = Context(prec=12)
_MAX_EXACT_DIGITS = 20
_MAX_FRACTION_CHARACTERS = 60


class Calculator(Tool):
    """Exact arithmetic on one expression; stateless and inline."""

    name = "calculator"
    instant = True
    replay = "idempotent"
    description = (
        "Evaluate one arithmetic expression exactly. Operators: + - * / // % and ^ or ** for "
        "powers. Functions: sqrt, cbrt, abs, min, max, sum, round, floor, ceil, gcd, lcm, mod, "
        "factorial, comb, perm, pow(a, b, m), exp, ln, log(x, base), log10, log2, sin, cos, tan "
        "(radians), asin, acos, atan. Constants: pi, e."
    )
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "expression": {
                "type": "string",
                "description": "Numbers and operators only, for example (3+4)*2^5/7.",
            }
        },
        "required": ["expression"],
        "additionalProperties": False,
    }

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult | str:
        """Evaluate `arguments["expression"]`."""
        return self.evaluate(arguments["expression"])

    def evaluate(self, expression: str) -> str:
        """Return the value of `expression` as text; raise `ToolError` with advice."""
        return show(value_of(parse(expression)))


def value_of(node: Node) -> Value:
    """Compute a tree of `notation.parse`."""
    match node:
        case Number(value):
            return value
        case Constant(name):
            return _constant(name)
        case Negative(operand):
            return -value_of(operand)
        case Percent(operand):
            return binary("/", value_of(operand), 100)
        case Call(name, arguments):
            if name not in FUNCTIONS:
                raise _unknown(name)
            return call(name, tuple(value_of(argument) for argument in arguments))
        case Binary(operator, left, right):
            return _binary(operator, left, right)


def _binary(operator: str, left: Node, right: Node) -> Value:
    if operator == "%" and isinstance(left, Binary) and left.operator == "**":
        # 7^2024 % 1000 is a fair question, although 7^2024 alone may be beyond the bound.
        base, exponent, modulus = value_of(left.left), value_of(left.right), value_of(right)
        whole = all(isinstance(part, int) for part in (base, exponent, modulus))
        if whole and exponent >= 0:
            return modular_power(int(base), int(exponent), int(modulus))
        return binary("%", binary("**", base, exponent), modulus)
    first, second = value_of(left), value_of(right)
    added_percent = (
        operator in "+-" and isinstance(right, Percent) and not isinstance(left, Percent)
    )
    # 1 + 10% is 1.1 whichever way it is read.
    if added_percent and first != 1 and second != 0:
        raise ToolError(
            "adding a percentage is ambiguous; write x * (1 + p/100) to raise x by p percent, "
            "or x + p/100"
        )
    return binary(operator, first, second)


def _constant(name: str) -> Value:
    if name in CONSTANTS:
        return CONSTANTS[name]
    if name in FUNCTIONS:
        raise ToolError(f"{name} is a function; write {name}{FUNCTIONS[name].usage}")
    raise _unknown(name)


def _unknown(name: str) -> ToolError:
    if name in ("x", "X", "×"):
        return ToolError("unknown name 'x': write * to multiply; variables are not supported")
    hint = did_you_mean(name.lower()[:40], [*FUNCTIONS, *CONSTANTS])
    return ToolError(
        f"unknown name {name[:40]!r}{hint}; variables are not supported, and the functions are "
        + ", ".join(FUNCTIONS)
    )


def show(value: Value) -> str:
    """Print a value: exactly where that is short, `≈` before an approximation."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"≈ {_plain(_DIGITS.create_decimal_from_float(value))}"
    exact = _terminating(value)
    if exact is not None:
        return exact
    approximation = _plain(_DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator)))
    fraction = str(value)
    if len(fraction) > _MAX_FRACTION_CHARACTERS:
        return f"≈ {approximation}"
    return f"{fraction} ≈ {approximation}"


def _terminating(value: Fraction) -> str | None:
    """Return the decimal form if it ends within 20 digits."""
    places = 0
    denominator = value.denominator
    for factor in (10, 5, 2):
        while denominator % factor == 0 and places <= _MAX_EXACT_DIGITS:
            denominator //= factor
            places += 1
    if denominator != 1 or places > _MAX_EXACT_DIGITS:
        return None
    return f"{Decimal(int(value * 10**places)).scaleb(-places):f}"


def _plain(number: Decimal) -> str:
    """Return a decimal without trailing zeros, in scientific form only where it must be."""
    number = number.normalize(_DIGITS)
    if number == 0:
        return "0"
    if -7 <= number.adjusted() < 15:
        return f"{number:f}"
    return f"{number:e}".replace("e+", "e")
