"""Answers too large to compute are wrong: at once where that is proved, else by what they cost."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.grading.math.exact import exact_value
from qwq_env.grading.math.magnitude import Magnitude, certainly_different, magnitude
from qwq_env.grading.math.tree import Call, Number


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("7", "9^{9^{9^9}}"), ("7", "-9^{9^{9^9}}"), ("0", "9^{9^{9^9}}"), ("1/2", "1/9^{9^{9^9}}"),
        ("0", "9^{-9^{9^9}}"), ("7", "7+9^{9^{9^9}}"), ("7", "0.1^{9^{9^9}}"),
        ("7", "1.5^{10^{10}}"), ("1", "1.0001^{10^{10}}"), ("7", "(10^{30})!"),
        ("7", "\\sqrt{9^{9^{9^9}}}"),
        ("7", "(-2)^{10^{20}+1}"), ("7", "10^{10^{10}}\\cdot 10^{-9}"), ("7", "1" * 3_000 + ".5"),
        ("\\sqrt2", "9^{9^{9^9}}"), ("\\pi", "1/9^{9^{9^9}}"), ("x+1", "9^{9^{9^9}}"),
        ("\\frac{\\pi}{6}", "-9^{9^{9^9}}"), ("3+4i", "9^{9^{9^9}}"),
        ("(1,2)", "(1,9^{9^{9^9}})"), ("9^{9^{9^9}}", "7"),
        ("7", ",".join(map(str, range(1_000)))), ("1,2", ",".join(map(str, range(3_000)))),
        ("\\{1,2\\}", "\\{" + ",".join(map(str, range(1_000))) + "\\}"),
        ("7", "(" * 500 + "8" + ")" * 500),
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_wrong(grader, gold, answer):
    assert grader.grade_sync(gold, answer).value == 0.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("x", "x+9^{9^{9^9}}-9^{9^{9^9}}"), ("x", "x\\cdot 9^{9^{9^9}}/9^{9^{9^9}}"),
        ("x", "x(9^{9^{9^9}})^{0}"), ("x-x", "x\\cdot 9^{9^{9^9}}"), ("x", "\\sin(9^{9^{9^9}})"),
    ],
)  # fmt: skip
def test_what_may_cancel_is_not_called_different_by_its_size(grader, gold, answer):
    assert grader.grade_sync(gold, answer).reason == "too_complex"


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("7", "(" * 500 + "7" + ")" * 500), ("7", "{" * 500 + "7" + "}" * 500),
        ("(1,2)", "((((((1,2))))))"), ("x+6", "(((x))+((6)))"),
        ("\\{1\\}", "\\{" + ",".join("1" * 500) + "\\}"),
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_right_however_it_is_wrapped(grader, gold, answer):
    assert grader.grade_sync(gold, answer).value == 1.0


numbers = st.fractions(-50, 50, max_denominator=30).map(Number)
exponents = st.integers(-60, 60).map(lambda n: Number(Fraction(n)))
trees = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.builds(lambda a, b: Call("add", (a, b)), inner, inner),
        st.builds(lambda a, b: Call("mul", (a, b)), inner, inner),
        st.builds(lambda a, b: Call("div", (a, b)), inner, inner),
        st.builds(lambda a, b: Call("pow", (a, b)), inner, exponents),
        st.builds(lambda a: Call("neg", (a,)), inner),
        st.builds(lambda a: Call("abs", (a,)), inner),
    ),
    max_leaves=6,
)


@given(trees)
def test_a_bound_holds_for_the_exact_value(tree):
    """With the exact operations taken away above 40 bits, so that bounds are all that is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qwq_env.grading.math.magnitude.exact_operation", _only_small)
        try:
            bound, value = magnitude(tree), exact_value(tree)
        except ZeroDivisionError:
            return
    if bound is None or value is None:
        return
    if isinstance(bound, Fraction):
        assert bound == value
    else:
        assert value != 0
        size = abs(value)
        assert size <= Fraction(1, 2**bound.bits) if bound.tiny else size >= 2**bound.bits
        assert bound.sign in (0, 1 if value > 0 else -1)
    assert not certainly_different(value, bound)


def _only_small(name, values):
    value = exact_value(Call(name, tuple(map(Number, values))))
    if value is None or max(value.numerator.bit_length(), value.denominator.bit_length()) > 40:
        return None
    return value


@given(st.integers(1, 200), st.integers(1, 200), st.booleans(), st.booleans())
def test_what_two_bounds_say_of_each_other(first, second, tiny, other):
    left, right = Magnitude(1, first, tiny), Magnitude(1, second, other)

    assert certainly_different(left, right) == (tiny != other)
    assert certainly_different(left, right._replace(sign=-1))
    assert not certainly_different(left, None)
