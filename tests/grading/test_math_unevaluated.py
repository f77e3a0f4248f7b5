"""A number has to be given: the computation that would give it is no answer."""

import pytest

COMPUTATIONS = [
    ("6", "\\gcd(12,18)"), ("6", "\\text{lcm}(2,3)"), ("6", "\\max\\{6,1\\}"), ("6", "min(6,9)"),
    ("72", "48+\\frac{48}{2}"), ("72", "48+24"), ("24", "48/2"), ("24", "\\frac{48}{2}"),
    ("5", "2+3"), ("5", "(2+3)"), ("5", "\\text{2+3}"), ("42", "6\\cdot 7"), ("42", "6(7)"),
    ("42", "6 \\times 7 \\text{ apples}"), ("1023", "2^{10}-1"), ("9", "(1+2)^2"),
    ("24", "2^3\\cdot 3"),
    ("5", "x=2+3"), ("x=5", "x=2+3"), ("x=5", "2+3"), ("\\{5,6\\}", "\\{2+3,6\\}"),
    ("5, 6", "2+3, 6"), ("(5,6)", "(2+3, 6)"), ("[0,5)", "0\\le x<2+3"), ("24", "48:2"),
    ("5\\%", "2+3\\%"),
    ("\\begin{pmatrix}5\\\\6\\end{pmatrix}", "\\begin{pmatrix}2+3\\\\6\\end{pmatrix}"),
    ("120", "5!"), ("120", "\\binom{10}{3}"), ("5050", "\\sum_{k=1}^{100} k"),
    ("6", "\\prod_{k=1}^3 k"),
    ("\\frac13", "\\int_0^1 x^2\\,dx"), ("1", "\\lim_{x\\to0}\\frac{\\sin x}{x}"),
    ("-2", "\\det\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
    ("-2", "\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}"),
    ("11", "\\begin{pmatrix}1&2\\end{pmatrix}\\begin{pmatrix}3\\\\4\\end{pmatrix}"),
    ("3", "\\lfloor\\pi\\rfloor"), ("4", "\\lceil\\pi\\rceil"), ("8", "|-8|"), ("5", "|3+4i|"),
    ("3", "\\log_2 8"), ("\\frac12", "\\sin 30^\\circ"), ("2", "\\ln e^2"), ("1", "e^{0}"),
    ("-1", "i^2"),
    ("\\frac{\\pi}{4}", "\\arctan 1"), ("\\frac{\\sqrt2}{2}", "\\cos 45^\\circ"), ("3", "z+3-z"),
    ("0", "y^3-y^3"),
    ("2", "\\sqrt2\\cdot\\sqrt2"), ("3", "\\frac{-1+\\sqrt{49}}{2}"), ("5\\sqrt7", "(2+3)\\sqrt7"),
    ("\\frac{\\pi^2}{6}", "\\sum_{n=1}^{\\infty}\\frac{1}{n^2}"), ("6\\pi", "2\\cdot3\\pi"),
    ("72.5", "48+\\frac{49}{2}"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer"), COMPUTATIONS, ids=repr)
def test_a_computation_is_no_answer(grader, gold, answer):
    assert grader.grade_sync(gold, f"\\boxed{{{answer}}}", "response").value == 0.0


ANSWERS = [
    ("\\frac73", "\\frac{14}{6}"), ("\\frac73", "2\\frac13"), ("\\frac73", "2 1/3"),
    ("0.75", "3/4"),
    ("300000000", "3\\times10^8"), ("0.0015", "1.5\\cdot10^{-3}"), ("1024", "2^{10}"),
    ("12", "\\sqrt{144}"),
    ("\\frac{625}{7776}", "\\frac{5^4}{6^5}"), ("\\frac{1}{32}", "2^{-5}"), ("4", "8^{2/3}"),
    ("24", "2\\text{ dozen}"),
    ("2\\sqrt3+1", "1+\\sqrt{12}"), ("\\frac{1+\\sqrt5}{2}", "\\frac12+\\frac{\\sqrt5}{2}"),
    ("4\\pi", "\\frac{8\\pi}{2}"), ("1-\\frac{\\pi}{4}", "\\frac{4-\\pi}{4}"), ("e^2", "\\exp(2)"),
    ("3+4i", "4i+3"), ("e^{i\\pi/3}", "\\frac12+\\frac{\\sqrt3}{2}i"), ("x=5", "5"),
    ("72", "48+24=72"),
    ("72", "72=48+24"), ("120", "5!=120"),
    ("\\frac{1+\\sqrt5}{2}, \\frac{1-\\sqrt5}{2}", "\\frac{1\\pm\\sqrt5}{2}"),
    ("75\\%", "\\frac34"), ("7", "-(-7)"), ("5", "\\frac{5}{1}"), ("5", "5/1"),
    # What the reference leaves to be computed, an answer may leave.
    ("\\binom{10}{3}", "\\binom{10}{7}"), ("99!", "99\\cdot 98!"),
    ("2^3\\cdot3^2", "3^2\\cdot 2^3"),
    ("\\log_2 3", "\\frac{\\ln3}{\\ln2}"), ("\\arctan 2", "\\tan^{-1}2"), ("2^{10}-1", "1023"),
    ("\\int_0^1 x\\,dx", "\\frac12"), ("\\lfloor n/2\\rfloor", "\\lfloor\\frac n2\\rfloor"),
    # And where it is no number, a computation may be the shorter form.
    ("2^n-1", "\\sum_{k=0}^{n-1}2^k"), ("\\frac{n(n+1)}{2}", "\\binom{n+1}{2}"), ("5x", "(2+3)x"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer"), ANSWERS, ids=repr)
def test_the_forms_of_references_are_answers(grader, gold, answer):
    assert grader.grade_sync(gold, f"\\boxed{{{answer}}}", "response").value == 1.0


def test_it_is_told_apart_from_another_number(grader):
    assert grader.grade_sync("5", "2+3").reason == "unevaluated"
    assert grader.grade_sync("5", "6").reason == "different"
