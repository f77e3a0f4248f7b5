"""What holds for every answer: another way of writing it is equal, another value is not."""

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qwq_env.grading.math.judge import judge_fully

integers = st.integers(-(10**9), 10**9)
fractions = st.fractions(min_value=-1000, max_value=1000, max_denominator=999)
patient = settings(deadline=None)


def frac(value: Fraction, command: str = "frac") -> str:
    sign = "-" if value < 0 else ""
    return f"{sign}\\{command}{{{abs(value.numerator)}}}{{{value.denominator}}}"


INTEGER_FORMS = [
    lambda n: f"{n:,}",
    lambda n: f"{n:,}".replace(",", "{,}"),
    lambda n: f"{n:,}".replace(",", ",\\!"),
    lambda n: f"{n:,}".replace(",", "\\,"),
    lambda n: f"{n}.00",
    lambda n: f"${n}$",
    lambda n: f"\\text{{{n}}}",
    lambda n: f"x = {n}",
    lambda n: f"{n}\\text{{ apples}}",
    lambda n: f"\\boxed{{{n}}}",
    lambda n: f"{n}.".replace("-", "−"),
    lambda n: f"\\left({n}\\right)",
    lambda n: f"{n}^\\circ",
]

FRACTION_FORMS = [
    frac,
    lambda q: frac(q, "dfrac"),
    lambda q: f"{q.numerator}/{q.denominator}",
    lambda q: f"\\frac{{{3 * q.numerator}}}{{{3 * q.denominator}}}",
    lambda q: f"\\frac{{{-q.numerator}}}{{{-q.denominator}}}",
    lambda q: f"k = {frac(q)}",
    lambda q: f"{q.numerator} \\div {q.denominator}",
]


@patient
@given(integers, st.sampled_from(INTEGER_FORMS))
def test_an_integer_in_another_form_is_equal(grader, n, form):
    assert grader.grade_sync(str(n), form(n)).value == 1.0


COMPUTATIONS = [
    lambda n, m: f"{n - m}+{m}",
    lambda n, m: f"{n + m}-{m}",
    lambda n, m: f"{n * m}/{m}",
    lambda n, m: f"\\frac{{{n * m}}}{{{m}}}",
    lambda n, m: f"{n - 12}+\\binom{{12}}{{1}}",
    lambda n, m: f"\\max({n},{n - m})",
    lambda n, m: f"\\lfloor {n}.5 \\rfloor",
    lambda n, m: f"x = {n - m}+{m}",
    lambda n, m: f"x-{m} = {n}-{m}",
]


@patient
@given(integers, st.integers(2, 999), st.sampled_from(COMPUTATIONS))
def test_the_computation_of_an_integer_is_not_the_integer(grader, n, m, form):
    assert grader.grade_sync(str(n), form(n, m)).value == 0.0


@patient
@given(integers, integers, st.sampled_from(INTEGER_FORMS))
def test_another_integer_is_different(grader, n, other, form):
    assume(n != other)

    assert grader.grade_sync(str(n), form(other)).value == 0.0


@patient
@given(
    fractions.filter(lambda q: q.denominator > 1),
    st.sampled_from(FRACTION_FORMS),
    st.sampled_from(FRACTION_FORMS),
)
def test_a_fraction_in_another_form_is_equal(grader, q, form, other_form):
    assert grader.grade_sync(form(q), other_form(q)).value == 1.0


@patient
@given(fractions, fractions, st.sampled_from(FRACTION_FORMS))
def test_another_fraction_is_different(grader, q, other, form):
    assume(q != other)

    assert grader.grade_sync(frac(q), form(other)).value == 0.0


@patient
@given(st.decimals(-1000, 1000, places=4), st.integers(1, 9))
def test_a_digit_more_is_another_number(grader, number, digit):
    assert grader.grade_sync(str(number), f"{number}{digit}").value == 0.0
    assert grader.grade_sync(str(number), f"{number}000").value == 1.0


names = st.sampled_from(["x", "y", "a", "n", "\\theta", "x_1"])
terms = st.tuples(st.integers(1, 30), names, st.integers(1, 3))
sums = st.lists(terms, min_size=1, max_size=4)


def spelled(terms_of_sum, template: str) -> str:
    return "+".join(
        template.format(c=c, v=v, p=p, before=c - 1, after=c + 2) for c, v, p in terms_of_sum
    )


SPELLINGS = [
    "{c}{v}^{{{p}}}",
    "{c}\\cdot {v}^{p}",
    "{c}*{v}**{p}",
    "\\frac{{{c}{v}^{{{p}}}}}{{1}}",
    "{v}^{{{p}}}\\left({before}+1\\right)",
    "({after}{v}^{{{p}}}-2{v}^{{{p}}})",
]


@patient
@given(sums, st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS), st.randoms())
def test_a_sum_in_another_spelling_and_order_is_equal(terms_of_sum, one, other, random):
    shuffled = random.sample(terms_of_sum, len(terms_of_sum))

    score = judge_fully(spelled(terms_of_sum, one), spelled(shuffled, other))

    assert score.value == 1.0


@patient
@given(sums, st.sampled_from(SPELLINGS), st.integers(1, 9))
def test_a_sum_with_something_added_is_different(terms_of_sum, template, extra):
    text = spelled(terms_of_sum, template)

    assert judge_fully(text, f"{text}+{extra}").value == 0.0
    assert judge_fully(text, f"{extra + 1}({text})").value == 0.0


@patient
@given(st.lists(integers, min_size=2, max_size=6, unique=True), st.randoms())
def test_lists_forget_their_order_and_tuples_do_not(grader, numbers, random):
    gold = ", ".join(map(str, numbers))
    shuffled = ", ".join(map(str, random.sample(numbers, len(numbers))))

    assert grader.grade_sync(gold, f"\\{{{shuffled}\\}}").value == 1.0
    assert grader.grade_sync(f"({gold})", f"({shuffled})").value == float(gold == shuffled)
    assert grader.grade_sync(gold, f"{gold}, {max(numbers) + 1}").value == 0.0


@given(
    st.text(max_size=40),
    st.text(alphabet="\\{}[]()$^_,=+-*/|!%&~ 0123456789abxfrcsqtp", max_size=40),
)
def test_whatever_is_written_there_is_a_verdict(gold_free, latex_like):
    for answer in (gold_free, latex_like):
        score = judge_fully("1234567", answer)

        assert score.value in (0.0, 1.0, None)
        assert score.value != 1.0 or "1234567" in answer.replace(",", "").replace(" ", "")
