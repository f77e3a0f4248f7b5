from __future__ import annotations

import asyncio
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.errors import ToolError
from qwq_env.task import Task
from qwq_env.tools.calculator import Calculator, value_of
from qwq_env.tools.calculator.notation import MAX_CHARACTERS, parse

TASK = Task("t", "1+1?", "2")
evaluate = Calculator().evaluate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1+1", "2"),
        ("0.1+0.2", "0.3"),
        ("1/3", "1/3 ≈ 0.333333333333"),
        ("7/4", "1.75"),
        ("-2**2", "-4"),
        ("2^3^2", "512"),
        ("2**-1*3", "1.5"),
        ("-5 // 2", "-3"),
        ("-5 % 3", "1"),
        ("5.5 % 2", "1.5"),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("12,345.67*2", "24691.34"),
        ("max(100,200)", "200"),
        ("15% of 80", "12"),
        ("50% of 20% of 10", "1"),
        ("200*(1+10%)", "220"),
        ("5% + 3%", "0.08"),
        ("10%3", "1"),
        ("5! + 3²", "129"),
        ("√16+1", "5"),
        ("math.sqrt(9)", "3"),
        ("8^(2/3)", "4"),
        ("log10(1000) + log(8, 2)", "6"),
        ("7^2024 % 1000", "401"),
        ("pow(2, 1000000, 7)", "2"),
        ("round(2.675, 2)", "2.68"),
        ("floor(sqrt(2)*100)", "141"),
        ("comb(5, 2) + perm(5, 2)", "30"),
        ("sqrt(2)", "≈ 1.41421356237"),
        ("sin(pi/6)", "≈ 0.5"),
        ("sin(pi)", "≈ 0"),
        ("10**-500", "≈ 1e-500"),
        ("1e3", "1000"),
    ],
)
def test_a_value_is_exact_or_says_that_it_is_not(expression: str, value: str) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "advice"),
    [
        ("9**9**9", "too large"),
        ("10**-10**9", "too large"),
        ("2**10000*2", "too large"),
        ("comb(10**9, 10**8)", "1,000 digits"),
        ("perm(1000000, 1000000)", "too large"),
        ("1001!", "from 0 to 1000"),
        ("1e400000", "exponents beyond"),
        ("1e999999999999999999", "exponents beyond"),
        ("exp(1000)", "too large"),
        ("0**-1", "division by zero"),
        ("1/(1/3-1/3)", "division by zero"),
        ("5 % 0", "division by zero"),
        ("tan(pi/2)", "not defined"),
        ("(-8)**0.5", "not real"),
        ("sqrt(-1)", "not real"),
        ("sin(10^22)", "precision"),
        ("floor(3*sqrt(2)^2)", "approximation"),
        ("200 + 10%", "ambiguous"),
        ("10% 3", "ambiguous"),
        ("10 % -3", "ambiguous"),
        ("5!!", "ambiguous"),
        ("2 ^ 10%", "ambiguous"),
        ("max(1,000)", "thousands"),
        ("3,5", "point for decimals"),
        ("1,00", "point for decimals"),
        ("2(3)", "write * to multiply"),
        ("2pi", "write * to multiply"),
        ("1 000", "write * to multiply"),
        ("3 x 4", "write * to multiply"),
        ("sqr(4)", "did you mean 'sqrt'"),
        ("sqrt", "is a function"),
        ("gcd(1.5, 2)", "whole numbers"),
        ("round(1, 2, 3)", "was given 3"),
        ("max()", "was given 0"),
        ("nan", "unknown name"),
        ("True", "unknown name"),
        ("", "empty"),
        ("2+", "ends where"),
        ("(1+2", "not closed"),
        ("1+2)", "unexpected ')'"),
        ("2+3=", "without '='"),
        ("\\frac{1}{2}", "LaTeX"),
        ("$5", "currency"),
        ("__import__('os')", "unexpected"),
        ("().__class__", "unexpected"),
        ("lambda: 1", "unexpected"),
        ("[x for x in range(9)]", "unexpected"),
        ("٣+1", "unexpected character"),
        ("1\0", "unexpected character"),
        ("\ud800", "unexpected character"),
        ("(" * 400 + "1", "nested deeper"),
        ("-" * 400 + "1", "nested deeper"),
        ("+".join("1" * 200), "more than 200"),
        ("1+" * 140 + "1", "more than 200"),
        ("9" * 100_000, "at most 500"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_advice(expression: str, advice: str) -> None:
    with pytest.raises(ToolError) as raised:
        evaluate(expression)

    assert advice in str(raised.value)
    assert len(str(raised.value)) < 600


def test_the_tool_is_called_with_its_schema() -> None:
    calculator = Calculator()

    answer = asyncio.run(calculator.call({"expression": "6*7"}))

    assert answer == "42"
    assert calculator.schema()["function"]["parameters"]["required"] == ["expression"]
    assert calculator.for_episode(TASK, 0) is calculator


_OPERATIONS = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: Fraction(left // right),
    "%": lambda left, right: left % right,
}


Pair = tuple[str, Fraction]


def _grow(parts: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    def join(left: Pair, name: str, right: Pair) -> Pair:
        if name in ("/", "//", "%") and right[1] == 0:
            name = "-"
        return f"({left[0]}) {name} ({right[0]})", _OPERATIONS[name](left[1], right[1])

    def power(base: Pair, exponent: int) -> Pair:
        exponent = abs(exponent) if base[1] == 0 else exponent
        return f"({base[0]})^{exponent}", base[1] ** exponent

    return (
        st.builds(join, parts, st.sampled_from(sorted(_OPERATIONS)), parts)
        | st.builds(power, parts, st.integers(-3, 3))
        | parts.map(lambda part: (f"-({part[0]})", -part[1]))
    )


_LITERALS = st.integers(0, 10**9).map(lambda number: (str(number), Fraction(number))) | st.decimals(
    0, 10**6, places=3
).map(lambda number: (str(number), Fraction(number)))


_EXPRESSIONS = st.recursive(_LITERALS, _grow, max_leaves=12).filter(
    lambda pair: len(pair[0]) <= MAX_CHARACTERS
)
_CHAINS = st.lists(
    st.tuples(st.sampled_from([" + ", " - ", " * ", " // ", " % "]), st.integers(0, 99)),
    max_size=20,
).map(lambda links: "7" + "".join(f"{operator}{number}" for operator, number in links))
_NOISE = st.text(alphabet="0123456789.,+-*/%^()!²√ episqrtlogmxd=_", max_size=60)
_SMALL = st.integers(-(10**9), 10**9)


@given(_EXPRESSIONS)
def test_exact_arithmetic_equals_that_of_fractions(pair: Pair) -> None:
    expression, expected = pair

    assert value_of(parse(expression)) == expected


@given(_CHAINS)
def test_precedence_is_that_of_python(expression: str) -> None:
    try:
        expected = eval(expression)
    except ZeroDivisionError:
        with pytest.raises(ToolError, match="division by zero"):
            evaluate(expression)
        return

    assert evaluate(expression) == str(expected)


@given(_NOISE | st.text(max_size=60))
def test_any_text_is_a_value_or_an_advice(text: str) -> None:
    try:
        answer = evaluate(text)
    except ToolError as error:
        assert str(error)
    else:
        assert "nan" not in answer and "inf" not in answer


@given(_SMALL, _SMALL.filter(bool))
def test_what_is_printed_is_near_the_exact_value(numerator: int, denominator: int) -> None:
    printed = evaluate(f"({numerator}) / ({denominator})")

    shown = float(Fraction(printed.split("≈")[-1].strip()))
    assert math.isclose(shown, Fraction(numerator, denominator), rel_tol=1e-11)
