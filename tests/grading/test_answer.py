import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.grading.answer import SEARCH_WINDOW, final_answer_text, find_last_box, last_boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("no thought", "no thought"),
        ("<think>a</think> b", " b"),
        ("a</think> b", " b"),
        ("<think>a</think> b </think> c", " c"),
        ("<think>never ends \\boxed{1}", ""),
        ("x</think> y <think> z \\boxed{1}", " y "),
        ("", ""),
    ],
)
def test_the_answer_stands_after_the_thinking(text, answer):
    assert final_answer_text(text) == answer


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("\\boxed{42}", "42"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\{1, 2}", "\\{1, 2"),
        ("\\fbox{7}", "7"),
        ("\\boxed{\\boxed{3}}", "3"),
        ("\\boxed{ $\\boxed{3}$ }", "3"),
        ("\\boxed{a \\boxed{3} b}", "a \\boxed{3} b"),
        ("\\boxed 5", "5"),
        ("$\\boxed 12$ ok", "12"),
        ("\\boxed{5} and \\boxed{6", "5"),
        ("a } stray { \\boxed{5}", "5"),
        ("\\boxed  {5}", "5"),
        ("\\boxedness{5}", None),
        ("\\boxed", None),
        ("\\boxed{5", None),
        ("", None),
        ("boxed{5}", None),
        ("\\boxed{}", ""),
    ],
)
def test_the_last_complete_box_counts(text, content):
    assert last_boxed(text) == content


@given(st.text(alphabet="ab {}$\\", max_size=30), st.text(alphabet="xy 12+", max_size=10))
def test_a_complete_box_at_the_end_is_found_whatever_stands_before(before, content):
    assert last_boxed(before + " \\boxed{" + content + "}") == content.strip()


@pytest.mark.parametrize(
    "piece", ["\\boxed{", "\\boxed{}", "\\boxed ", "{\\", "}{", "\\boxed{\\boxed"]
)
def test_the_cost_grows_no_faster_than_the_text(piece):
    def seconds(repetitions: int) -> float:
        began = time.process_time()
        find_last_box(piece * repetitions + "}" * repetitions)
        return time.process_time() - began

    small = min(seconds(2_000) for _ in range(3))
    large = seconds(50_000)

    assert large < 250 * small + 0.05  # a quadratic cost would be 625 times


def test_only_the_end_of_a_long_text_is_searched():
    assert last_boxed("\\boxed{1}" + " " * SEARCH_WINDOW) is None
