import asyncio
import subprocess
import sys
import time

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.math import BadReference, MathGrader
from qwq_env.grading.math.response import reference_answer, response_answer

from ..published import read_rows, sample_and_whole


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("It is \\boxed{42}.", "42"),
        ("<think>\\boxed{41}</think> It is \\boxed{42}.", "42"),
        ("<think>\\boxed{42}</think> It is unclear.", None),
        ("<think>so \\boxed{42}", None),
        ("\\boxed{41} no, \\boxed{42}", "42"),
        ("\\boxed{41}. Final answer: 42", "42"),
        ("The final answer is 41. \\boxed{42}", "42"),
        ("48/2 = <<48/2=24>>24 clips.\n#### 24", "24"),
        ("The answer is $\\frac12$. I hope it is correct.", "\\frac12"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("so x is $3$ and y is $4$", "4"),
        ("about 1,000.99€", "1,000.99"),
        ("__import__('os').getpid()*0", None),
        ("", None),
        ("I do not know.", None),
        ("so x = 42 and \\boxed{42", None),
        ("With $d=90/n$ at hand. Therefore, there are 12 of these. I hope it is correct.", "12"),
        ("Thus the total grows by 30%.", "30%"),
        ("The answer is $42$ or $43$.", "42, 43"),
        ("The answer is $42$, since $6\\cdot 7=42$.", "42"),
        ("The answer is not $42$.", "not $42$"),
        ("I found $40$, $41$ and $42$", "40, 41, 42"),
        ("It may be 40, 41, 42", "40, 41, 42"),
        ("It may be 41 or 42", "41 or 42"),
        ("Surely it isn't 42", None),
        ("42 is not it", None),
        ("42? No.", None),
        ("\\framebox{42}", "42"),
    ],
)
def test_which_part_of_a_response_is_the_answer(response, answer):
    assert response_answer(response) == answer


@pytest.mark.parametrize(
    ("gold", "reference"),
    [
        ("so \\boxed{4}", "4"),
        ("\\boxed{4} and \\boxed{-1}", "4, -1"),
        ("$\\boxed{2}$, $\\boxed{3}$", "2, 3"),
        ("\\boxed{4} apples, later \\boxed{6}", "6"),
        ("so \\\\boxed{4}.", "4"),
        ("so \\boxed{4 \\text{ m}", "4 \\text{ m}"),
    ],
)
def test_which_part_of_a_reference_is_the_answer(gold, reference):
    assert reference_answer(gold) == reference


def test_boxed_only_accepts_nothing_else():
    with MathGrader(boxed_only=True) as grader:
        assert grader.grade_sync("42", "The answer is 42.", "response").reason == "no_answer"
        assert grader.grade_sync("42", "\\boxed{42}", "response").value == 1.0


async def test_a_grade_in_a_coroutine(grader):
    scores = await asyncio.gather(*(grader.grade("x+1", f"{n}+x") for n in range(4)))

    assert [score.value for score in scores] == [0.0, 1.0, 0.0, 0.0]


BOMBS = [
    "9^{9^{9^{9^9}}}", "10^{10^{10}}", "100000000!", "(10^{30})!", "\\sin(10^{10^{10}})",
    "\\sum_{n=1}^{10^{12}} \\frac1{n^2}", "\\prod_{k=1}^{10^8} k", "\\binom{10^{12}}{10^{11}}",
    "(" * 5_000 + "1" + ")" * 5_000, "{" * 5_000 + "2" + "}" * 5_000, "1+" * 9_000 + "1",
    "\\frac{1}{" * 1_000 + "2" + "}" * 1_000, "x^{" * 400 + "2" + "}" * 400, "1" * 19_000,
    "\\sqrt{" * 300 + "2" + "}" * 300, "\\{" * 300 + "1" + "\\}" * 300, ",".join("1" * 5_000),
    "(x+1)^{100000}", "\\left(" * 3_000, "$" * 9_001, "\\text{" * 3_000, "|" * 999, "-" * 9_999,
    "\\int_0^1 " * 50 + "x" + " dx" * 50, "\\text{a}" * 2_400 + "!",
    "\\begin{pmatrix}" * 200 + "1" + "\\end{pmatrix}" * 200, "1" * 200_000,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb[:20])
def test_nothing_that_a_model_writes_is_paid_or_runs_past_the_deadline(grader, bomb):
    began = time.monotonic()
    score = grader.grade_sync("42", f"\\boxed{{{bomb}}}", "response")

    assert score.value == 0.0
    assert time.monotonic() - began < 3 * grader.pool.settings.deadline_s


@pytest.mark.parametrize("answer", ["1" * 20_001, "x+" * 10_001 + "1", " \\pi" * 10_000])
def test_an_answer_longer_than_any_reference_is_wrong(grader, answer):
    score = grader.grade_sync("42", answer)

    assert (score.value, score.reason) == (0.0, "too_long")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", "\\int_0^1 x^{x^{x^{x}}}\\,dx"), ("5", "\\sum_{k=1}^{10^{10}} \\sin(k)"),
        ("5", "((10!)!)!"), ("x+1", "\\frac{d}{dx}\\int_0^x \\sin(t^t)e^{t^2}dt"),
        *((form.format("\\pi"), form.format("9^{9^{9^\\pi}}-9^{9^{9^\\pi}}+5"))
          for form in ("{}", "x={}", "{}, 2", "({},2)", "{}\\%", "[0,{})", "\\{{{},1\\}}", "{}+x")),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_no_answer_is_undecided_by_its_own_cost(grader, gold, answer):
    """Only what a reference costs alone, or our load, leaves a pair undecided."""
    assert grader.grade_sync(gold, answer).value == 0.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("2^{300000}", "4^{150000}"),
        ("\\sum_{n=1}^{10^{12}} \\frac{1}{n^2}", "1.6"), ("\\int_0^1 x^{x^{x^{x}}}\\,dx", "0.5"),
    ],
)  # fmt: skip
def test_a_reference_that_costs_too_much_stays_undecided(grader, gold, answer):
    assert grader.grade_sync(gold, answer).value is None


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').system('touch FILE')",
        "\\text{__import__('os').system('touch FILE')}",
        "open('FILE','w')",
        "().__class__.__base__.__subclasses__()",
        "\\write18{touch FILE}",
        "\\sqrt{open('FILE','w')}",
        "\\operatorname{eval}(\"open('FILE','w')\")",
    ],
)
def test_nothing_that_a_model_writes_is_executed(grader, tmp_path, code):
    path = tmp_path / "written"
    score = grader.grade_sync("42", code.replace("FILE", str(path)))

    assert score.value == 0.0
    assert not path.exists()


@pytest.mark.parametrize("gold", ["", "  ", "\\frac{", "$$", "\\unknowncommand{3}{", "\\boxed{}"])
def test_a_reference_that_cannot_be_graded_against_is_refused(grader, gold):
    with pytest.raises(BadReference):
        grader.validate_gold(gold)


def test_exact_numbers_need_neither_sympy_nor_a_process():
    program = (
        "import sys\n"
        "sys.modules['sympy'] = sys.modules['math_verify'] = sys.modules['mpmath'] = None\n"
        "from qwq_env.grading.math import MathGrader\n"
        "grader = MathGrader()\n"
        "assert grader.grade_sync('\\\\frac12', 'so \\\\boxed{0.5}', 'response').value == 1.0\n"
        "assert grader.grade_sync('(1,2)', '(1, 3)').value == 0.0\n"
        "assert not grader.pool.worker_pids()\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_extra_the_operator_is_told(monkeypatch, tmp_path):
    (tmp_path / "mpmath.py").write_text("raise ModuleNotFoundError('no mpmath')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with MathGrader() as grader, pytest.raises(UsageError, match="mpmath"):
        grader.grade_sync("x+1", "y+1")


@pytest.mark.parametrize("path", sample_and_whole("math_adversarial.jsonl", "vectors/math.jsonl"))
def test_the_labelled_rows(grader, path):
    rows = [row for row in read_rows(path) if not row["policy"] and not row.get("free_text")]
    scores = [grader.grade_sync(row["gold"], row["answer"], row["kind"]) for row in rows]
    paid = [score.value == 1.0 for score in scores]

    assert not [
        row["answer"][:80]
        for row, yes in zip(rows, paid, strict=True)
        if yes and not row["expected"] and row["source"] == "adversarial"
    ]
    right = sum(yes == row["expected"] for row, yes in zip(rows, paid, strict=True))
    assert right >= 0.99 * len(rows)
    assert not [score for score in scores if score.reason == "timeout"]


@pytest.mark.parametrize("path", sample_and_whole("gsm8k.jsonl", "data/gsm8k/test.jsonl"))
async def test_gsm8k_solutions_are_all_right(grader, path):
    rows = read_rows(path)
    scores = await asyncio.gather(
        *(
            grader.grade(row["answer"].rpartition("#### ")[2], row["answer"], "response")
            for row in rows
        )
    )

    assert [score.value for score in scores] == [1.0] * len(rows)
    wrong = [
        await grader.grade(str(number), rows[number]["answer"], "response")
        for number in range(min(100, len(rows)))
        if rows[number]["answer"].rpartition("#### ")[2] != str(number)
    ]
    assert {score.value for score in wrong} == {0.0}


def test_a_score_says_what_was_taken_for_the_answer(grader):
    response = "<think>\\boxed{41}</think> It is \\boxed{43}."

    assert grader.grade_sync("42", response, "response").extracted == "43"
    assert grader.grade_sync("42", "I do not know.", "response").extracted == ""
