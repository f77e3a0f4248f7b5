"""What a response gives as its answer: boxes, choices, ordinals, emphasis, money, numbers in prose.

Which text is taken is told by which reference it is right for.
"""

import pytest

BOXES = [
    ("12", "It is \\boxed{12}. I put it inside \\boxed{}.", 1),
    ("12", "It is \\boxed{12}, inside \\boxed{\\ }, \\boxed{...} or \\boxed{\\ldots}.", 1),
    ("5", "I put it inside \\boxed{}.", 0),
    ("3, 5, 7", "\\boxed{3}, \\boxed{5}, \\boxed{7}", 1),
    ("3, 5, 7", "The roots are $\\boxed{3}$, $\\boxed{5}$ and $\\boxed{7}$.", 1),
    ("3, 5", "\\[\\boxed{3}\\quad\\text{and}\\quad\\boxed{5}\\]", 1),
    ("3, 5", "\\[\\boxed{3}\\]\nand\n\\[\\boxed{5}\\]", 1),
    ("(1,2),(2,1)", "These are \\boxed{(1,2)}, \\boxed{(2,1)}", 1),
    ("\\pm 2", "\\boxed{2}, \\boxed{-2}", 1),
    ("3, 5", "First \\boxed{4}. No: \\boxed{3}, \\boxed{5}", 1),
    ("3, 5", "\\boxed{3}\n\n\\boxed{5}", 0),
    ("3, 5", "\\boxed{3} no, \\boxed{5}", 0),
    ("3, 5", "\\boxed{3, 5}", 1),
    # Where one answer is asked for, the last box is the answer.
    ("5", "\\boxed{3}, \\boxed{5}", 1),
    ("3", "\\boxed{3}, \\boxed{5}", 0),
    ("5", "\\boxed{\\frac{10}{2}} = \\boxed{5}", 1),
    ("42", "\\boxed{41} no, \\boxed{42}", 1),
]


@pytest.mark.parametrize(("gold", "response", "value"), BOXES)
@pytest.mark.parametrize("kind", ["response", "boxed"])
def test_boxes(grader, gold, response, value, kind):
    assert grader.grade_sync(gold, response, kind).value == value


ORDINALS = [
    "12^{\\text{th}}", "12th", "12^{th}", "12\\text{th}", "12^{\\mathrm{th}}", "12^\\text{th}",
    "12\\textsuperscript{th}", "\\text{12th}", "12\\text{ th}", "12^{\\text{th}}\\text{ day}",
]  # fmt: skip


@pytest.mark.parametrize("ordinal", ORDINALS)
def test_an_ordinal_is_its_number(grader, ordinal):
    assert grader.grade_sync("12", ordinal).value == 1.0
    assert grader.grade_sync(ordinal, "12").value == 1.0
    assert grader.grade_sync(ordinal, "13").value == 0.0


@pytest.mark.parametrize(
    ("gold", "answer"), [("21", "21^{st}"), ("2", "2nd"), ("113", "113th"), ("2^{th}", "2^{ht}")]
)
def test_an_ordinal_ends_as_its_number_does(grader, gold, answer):
    assert grader.grade_sync(gold, answer).value == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "E: the last one",
        "\\text{E: 12}",
        "\\textbf{(E): }12",
        "E:\\text{ the sum}",
        "(E): both",
        "E.",
    ],
)
def test_a_choice_with_its_text(grader, answer):
    assert grader.grade_sync("E", answer).value == 1.0
    assert grader.grade_sync("(E)", f"\\boxed{{{answer}}}", "response").value == 1.0
    assert grader.grade_sync("D", answer).value == 0.0


PROSE = [
    *(("73", f"The result is {marked}") for marked in
      ("**73**", "*73*", "__73__", "_73_", "***73***", "**73.**", "`73`",
       "**73** apples", "**$73**")),
    ("70000", "The result is **$70,000**."), ("70000", "We get *$70,000* in all"),
    ("\\frac12", "It comes out as **1/2**."), ("-3", "It is __-3__."), ("73", "**It is 73**"),
    ("18", "She pays $5 and gets $23, which leaves $18."),
    ("18", "First $5, then $10 and finally $18"), ("18", "It costs $5 each for $n$, so $18$."),
    ("18.50", "He has $20 and pays $1.50, so he keeps $18.50."),
    ("9", "The value of $x^2$ at three is 9."), ("12", "The area $A$ is 12 square units."),
    ("12", "For \\(n=3\\) the sum equals 12."), ("4", "so $x=4$ in step 3."),
    ("5", "so x is $3$ and y is $5$"), ("12", "It is $3\\cdot 4$, which makes $12$."),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "response"), PROSE)
def test_an_answer_in_prose(grader, gold, response):
    assert grader.grade_sync(gold, response, "response").value == 1.0


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("234", "It is 2*3*4"), ("9", "The value of $x^2$ is not 9."),
        ("5", "She pays $5 and gets $23."),
        ("x^2", "The value of $x^2$ at three is 9."),
    ],
)  # fmt: skip
def test_what_is_no_answer_in_prose(grader, gold, response):
    assert grader.grade_sync(gold, response, "response").value == 0.0
