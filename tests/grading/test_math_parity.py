import pytest

from qwq_env.grading.math.parity import qwq_answer, qwq_same_number


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("a\n</think>\n\nIt is \\boxed{73}.", "73"),
        ("\\boxed{1}\n</think>\n\nb\n</think>\n\n\\boxed{2}", "2"),
        ("still thinking of \\boxed{73}", "73"),
        ("\\boxed{\\frac{1}{2}", "\\frac{1}{2}"),
        ("The answer is 73", "73"),
        ("1,073 or 2.5", "2.5"),
        ("none", ""),
    ],
)
def test_the_answer_that_qwqs_evaluation_takes(response, answer):
    assert qwq_answer(response) == answer


@pytest.mark.parametrize(
    ("answer", "same"),
    [("73", True), ("7300", True), ("0.73", True), ("73.001", True), ("74", False), ("x", None)],
)
def test_numbers_are_the_same_up_to_a_hundred_and_a_ten_thousandth(answer, same):
    assert qwq_same_number(answer, "73") is same
