"""Reference answers that are refused when a task set or a file of answers is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.cli import main
from qwq_env.envs.math import MathToolEnv
from qwq_env.errors import UsageError
from qwq_env.grading.math import BadReference, check_gold
from qwq_env.task import ListTaskSet, Task

BROKEN = [
    "\\frac", "\\frac{1}", "\\frac{1}{", "\\frac{}{2}", "\\sqrt", "\\sqrt[3]", "\\sqrt{ }", "x^",
    "2_", "}{", "x_{1", "\\text{foo", "42, \\frac", "odd \\frac", "\\text{a}\\binom{n}",
    "\\begin{pmatrix}1\\\\2", "\\begin{matrix}1\\end{pmatrix}", "$$", "\\boxed{}", "", "1" * 20_001,
]  # fmt: skip
UNREADABLE = ["1/0", "\\frac{1}{0}", "1 +", "1 2 3", "\\unknowncommand{3}", "(1, 2", "\\infty+"]
WORDS = [
    "Monday", "\\text{Monday}", "False", "hello world foo", "B", "(B)", "B)", "A, C", "odd $n$",
    "\\text{No solution}", "10:30 AM", "日曜日", "The midpoints form a regular hexagon.",
]  # fmt: skip
SOUND = [
    "\\frac12", "\\frac\\pi2", "\\sqrt2", "\\sqrt[3]{x}", "x^2", "x^-1", "a_{n}", "[1,2)",
    "\\{1,2\\}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "-\\infty", "\\frac{NO}{BO}=\\frac12",
    "5\\%", "45^\\circ", "204_5", "\\$5", "\\int_0^1 x\\,dx", "x \\in \\mathbb{R}",
]  # fmt: skip


def short(gold):
    return repr(gold)[:24]


@pytest.mark.parametrize("gold", BROKEN + UNREADABLE, ids=short)
def test_refused_when_a_task_set_loads(grader, gold):
    with pytest.raises(BadReference, match="cannot be graded against"):
        grader.validate_gold(gold)


pieces = st.sampled_from(
    [*"{}()[]|^_!,;:=<>$%& ab1.", "\\frac", "\\sqrt", "\\text{", "\\cr", "\\\\", "\\infty",
     "\\cup", "\\begin{pmatrix}", "\\end{pmatrix}", "\\{", "\\}", "\\sum", "\\pm", "word", "日",
     "\\in", "\\pi"]
)  # fmt: skip


@given(st.lists(pieces, max_size=14).map("".join))
def test_whatever_a_reference_is_it_is_usable_or_refused(gold):
    try:
        check_gold(gold)
    except BadReference as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("gold", WORDS + SOUND)
def test_usable(grader, gold):
    grader.validate_gold(gold)
    check_gold(gold)

    assert grader.grade_sync(gold, gold).value == 1.0
    assert grader.grade_sync(gold, "another one").value == 0.0


@pytest.mark.parametrize("gold", BROKEN, ids=short)
def test_a_broken_one_in_a_file_leaves_its_own_row_undecided(tmp_path, gold):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows = [{"gold": gold, "answer": "2"}, {"gold": "1", "answer": "1"}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = main(["grade", "math", str(source), "--out", str(out)])

    assert code == 0
    first, second = map(json.loads, out.read_text().splitlines())
    assert (first["score"], first["reason"]) == (None, "bad_reference")
    assert second["score"] == 1.0


@pytest.mark.parametrize("gold", [None, True, float("nan"), float("inf"), ["4"]], ids=short)
def test_strictly_no_file_is_graded_against_what_is_no_text(tmp_path, capsys, gold):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows = [{"gold": "1", "answer": "1"}, {"gold": gold, "answer": "2"}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = main(["grade", "math", str(source), "--out", str(out), "--strict"])

    assert code == 2
    error = capsys.readouterr().err
    assert f"{source}:2: gold: " in error and error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("answer", ["\\frac", "1/0", True, ["4"]])
def test_tasks_with_it_are_refused_with_their_place(tmp_path, answer):
    source = tmp_path / "rows.jsonl"
    rows = [{"prompt": "x", "answer": "Monday"}, {"prompt": "x", "answer": answer}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))

    with pytest.raises(UsageError, match=r"rows\.jsonl:2: answer: "):
        MathToolEnv(tasks=source, strict=True)
    with pytest.raises(UsageError, match="task b: answer: "):
        MathToolEnv(tasks=ListTaskSet([Task("a", "x", "1"), Task("b", "x", answer)]))


def test_what_is_sound_and_unreadable_is_never_called_wrong(grader):
    score = grader.grade_sync("\\unknown{3}", "x+1")

    assert (score.value, score.reason) == (None, "bad_reference")
    assert grader.grade_sync("\\unknown{3}", "$\\unknown{3}$").value == 1.0
