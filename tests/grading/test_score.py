import pytest

from qwq_env.grading.score import Score


def test_undecided_has_no_value_and_is_not_zero():
    score = Score.undecided("timeout", "5 s")

    assert score.value is None
    assert not score.decided
    assert score != Score.wrong("timeout", "5 s")


def test_right_and_wrong_are_decided():
    assert (Score.right().value, Score.wrong().value) == (1.0, 0.0)
    assert Score.right().decided and Score.wrong().decided


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_partial_score_is_a_number(value):
    with pytest.raises(ValueError, match="finite"):
        Score.partial(value, "some")


def test_it_imports_nothing_of_the_library():
    import ast
    import inspect

    from qwq_env.grading import score

    names = [
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(score)))
        if isinstance(node, ast.ImportFrom)
    ]

    assert names == ["dataclasses"]
