"""Scores worked out by hand from the public rules, task by task."""

from __future__ import annotations

import pytest

from qwq_env.grading.livebench.judge import judge

from .asked import question

OLD = {"livebench_release_date": "2024-06-24"}
AIME = {"subtask": "aime_i_2024", "ground_truth": "025"}
SHAPE = {"ground_truth": "tetrahedra"}
ONE = {**OLD, "ground_truth": "three"}
MOVIES = {**OLD, "ground_truth": "romance movies"}

CASES = [
    ("web_of_lies_v2", {}, "so <solution>no, yes, yes</solution>", 1),
    ("web_of_lies_v2", {}, "so </solution>no, yes, yes</solution>", 1),
    ("web_of_lies_v2", {}, "**no**, then **Yes, yes.**", 1),
    ("web_of_lies_v2", {}, "it is $\\boxed{no, yes, yes}$", 1),
    ("web_of_lies_v2", {}, "no, yes, yes or maybe yes, yes, yes", 0),
    ("web_of_lies_v2", {}, "<think>no, yes, yes</think> who knows", 0),
    ("zebra_puzzle", {}, "<solution>1, film making, Police-Officer, red</solution>", 1),
    ("zebra_puzzle", {}, "<solution>1, film making, clerk, blue</solution>", 0.25),
    ("zebra_puzzle", {}, "thus\nposition 1, cooking, clerk, blue", 0.125),
    ("zebra_puzzle", {}, "\\boxed{\\text{1, film making, police officer, red}}", 1),
    ("zebra_puzzle", {}, "1", 0),
    ("zebra_puzzle", ONE, "it is ***3***", 1),
    ("zebra_puzzle", ONE, "it is Three.", 1),
    ("zebra_puzzle", MOVIES, "***Romance***", 1),
    ("zebra_puzzle", ONE, "***four*** three", 0),
    ("spatial", {}, "**three** or **4** or **5**", 1),
    ("spatial", {}, "**3** or **4** or **5** or **6**", 0),
    ("spatial", {}, "\\boxed{\\textbf{3}}", 1),
    ("spatial", SHAPE, "**two tetrahedra**", 1),
    ("spatial", SHAPE, "**a square and two tetrahedra**", 0),
    ("math_comp", {}, "so BBBBB", 1),
    ("math_comp", {}, "AAAABBBBCCCCDDDDEEEE", 1),
    ("math_comp", {}, "<solution>bb</solution>", 1),
    ("math_comp", {}, "$\\boxed{\\text{B}}$", 1),
    ("math_comp", {}, "the answer is 34", 1),
    ("math_comp", {}, "the answer is (b), as shown", 1),
    ("math_comp", {}, "either (A) or (B)", 0),
    ("math_comp", AIME, "025", 1),
    ("math_comp", AIME, "025" + "." * 50, 0),
    ("AMPS_Hard", {}, "so $\\boxed{f = \\dfrac{1}{2} x^2 + C}$", 1),
    ("AMPS_Hard", {}, "so $f = \\frac{1}{2} x^2$.", 1),
    ("AMPS_Hard", {}, "so \\frac{x^2}{2}.", 1),
    ("AMPS_Hard", {}, "so $\\boxed{x^2}$", 0),
    ("AMPS_Hard", {}, "so $\\boxed{\\frac{x}}$", 0),
    ("AMPS_Hard", {"ground_truth": "\\frac{1}{3}"}, "\\boxed{0.3334}", 1),
    ("olympiad", {}, "Answer: 5, 22, 3, 7", 1),
    ("olympiad", {}, "**Answer:**\n5, 22, 7, 3", 0.5),
    ("olympiad", {}, "Answer: <expression 5>, 22", 0.5),
    ("olympiad", {}, "$\\boxed{5, 22, 3}$", 0.75),
    ("olympiad", {}, "I say\n5, 22, 3, 7, 1", 0.8),
    ("olympiad", {}, "none", 0),
    ("connections", {}, "<solution>d, c, b, a, H, g, f, e</solution>", 1),
    ("connections", {}, "<solution>a, b, c, d,\n e, f, g, x</solution>", 0.5),
    ("connections", {}, "<solution>a,b,c,e</solution><solution>e,f,g,h</solution>", 0.5),
    ("connections", {}, "\\boxed{\\text{a, b, c, d, e, f, g, h}}", 1),
    ("connections", {}, "**a,b,c,d,e,f,g,h**", 0),
    ("connections", OLD, "**a,b,c,d,e,f,g,h**", 1),
    ("connections", OLD, "**a,b,c,e** **a, b, c, d**", 0.5),
    ("plot_unscrambling", {}, "A man walks. He sees a dog. It barks loudly. They run home.", 1),
    ("plot_unscrambling", {}, "A man walks. They run home. He sees a dog. It barks loudly.", 0.5),
    (
        "plot_unscrambling",
        {},
        "<PLOT_SUMMARY>A man walked. He saw a dog. It barks. They ran.",
        1,
    ),
    ("plot_unscrambling", {}, "<PLOT_SUMMARY></PLOT_SUMMARY> A man walks. He sees a dog.", 0),
    ("typos", {}, "Here: <solution>\n</solution><solution>We show it. Twice.</solution>", 1),
    ("typos", {}, "the text is --- We show it. Twice. --- as asked", 1),
    ("typos", {}, "We show it.\nTwice.", 1),
    ("typos", {}, "<solution>We shwo it. Twice.</solution> We show it. Twice.", 0),
    ("cta", {}, "The class is: 'post-code'.", 1),
    ("cta", {}, "\\boxed{\\text{Post Code}}", 1),
    ("cta", {}, "Post Code, I think", 0),
    ("tablejoin", {}, "{'a': 'x', 'b': 'y', 'c': 'z'}", 1),
    ("tablejoin", {}, '```json\n{"a": "x", "b": null}\n```', 0.5),
    ("tablejoin", {}, "```python\n{'a': 'q', 'd': 'x'}\n```", 0),
    ("tablejoin", {}, "<solution>{'a': 'x', 'b': 'q'}</solution>", 0.4),
    ("tablejoin", {}, "[1]", 0),
    ("tablereformat", {}, "```csv\nname,id\na b,1.0\n,2\n```", 1),
    ("tablereformat", {}, "Here is the table:\nid,name\n1,a b\n2,\n", 1),
    ("tablereformat", {}, "Sure.\nid,name\n1,a b\n2,\nHope, it, is, right", 1),
    ("tablereformat", {}, "id,name\n2,\n1,a b\n", 0),
    ("simplify", {}, '"* one\n* two"', 0.25),
    ("simplify", {}, '"Two:\n* one\n* two"', 1),
    ("simplify", {}, "", 0),
    ("simplify", {"livebench_release_date": "2025-11-25"}, '<solution>"\n* a\n* b"</solution>.', 1),
]


@pytest.mark.parametrize(("task", "columns", "answer", "score"), CASES)
def test_a_score_is_what_the_public_rules_make_it(task, columns, answer, score):
    verdict = judge(question(task, **columns), answer)

    assert verdict.value == pytest.approx(score)
    assert verdict.reason


@pytest.mark.parametrize(
    ("form", "truth", "answer"),
    [
        ("TSV", "id\tname\n1\ta\n", "id\tname\n1\ta\nand, done\twith\tit\n"),
        ("JSON", '{"4": {"id": 1, "name": "a"}}', '[{"id": 1.0, "name": "a "}]'),
        ("JSONL", '{"id": 1, "name": "a"}', 'Rows:\n{"name": "a", "id": 1}\n'),
        (
            "HTML",
            "<table><tr><th>id</th><th>name</th></tr><tr><td>1</td><td>a &amp; b</td></tr></table>",
            "<table><thead><tr><th>id<th>name</thead><tr><td>1<td>a\n & b</table>",
        ),
        ("Markdown", "| id | name |\n|:--|:--|\n| 1 | a |", "| id | name |\n|---|---|\n| 1 | a |"),
    ],
)
def test_tables_are_read_in_every_format(form, truth, answer):
    command = f"Please convert the Input Table from CSV format to {form} format."
    first = question("tablereformat", turns=[command], ground_truth=truth)
    second = {**first, "livebench_release_date": "2025-04-25"}
    second["turns"] = [f"Source Format: CSV\nTarget Format: {form}\n"]
    same = (
        [first, second] if form != "Markdown" else [second]
    )  # its ruled line differs in the first

    assert [judge(one, answer).value for one in same] == [1.0] * len(same)
    assert [judge(one, answer.replace("1", "2")).value for one in same] == [0.0] * len(same)


def test_a_question_that_cannot_be_used_is_undecided_and_a_strange_answer_is_wrong():
    lost = [("olympiad", "five"), ("tablejoin", "{"), ("cta", 3), ("tablereformat", "")]
    verdicts = [judge(question(task, ground_truth=truth), "5, 6") for task, truth in lost]
    strange = [("olympiad", "answer:²,²"), ("cta", "\\boxed{"), ("spatial", "\\boxed5 {3}")]

    assert [verdict.value for verdict in verdicts] == [None] * len(lost)
    assert {verdict.reason for verdict in verdicts} == {"unusable_question"}
    formula = judge(question("AMPS_Hard", ground_truth="\\frac{"), "\\boxed{1}")
    assert (formula.value, formula.reason) == (None, "unreadable_reference")
    assert [judge(question(task), answer).value for task, answer in strange] == [0.0] * 3


@pytest.mark.parametrize(
    ("task", "piece"),
    [
        *(("web_of_lies_v2", piece) for piece in ("<solution>", "<solution>\n", "**")),
        *(("zebra_puzzle", piece) for piece in ("</solution>", "\\boxed{")),
        *(("math_comp", piece) for piece in ("<solution>", "(")),
        *(("olympiad", piece) for piece in ("answer:\n", "1,")),
        *(("connections", piece) for piece in ("<solution>\n", "a,")),
        *(("typos", piece) for piece in (" --- ", "a")),
        *(("plot_unscrambling", piece) for piece in ("<PLOT_SUMMARY>", "a ", "a.")),
        *(("tablejoin", piece) for piece in ("```", "{'a':", "\\boxed{\\text{'")),
        ("spatial", "**"),
        ("cta", "\\boxed{"),
        ("simplify", "* " * 9),
    ],
)
def test_a_megabyte_of_marks_is_judged_in_passing(task, piece):
    verdict = judge(question(task), piece * (1_000_000 // len(piece)))

    assert verdict.value is not None and verdict.value < 1
