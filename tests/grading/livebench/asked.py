"""Questions of LiveBench's form for the tests of its judges."""

from __future__ import annotations

from typing import Any

AMC = r"Which is it? $\textbf{(A) }12 \qquad\textbf{(B) }~34~\qquad\textbf{(C)}5/6\qquad$"

TASKS: dict[str, dict[str, Any]] = {
    "AMPS_Hard": {"category": "math", "ground_truth": "\\frac{x^2}{2}"},
    "math_comp": {"category": "math", "ground_truth": "B", "subtask": "amc_12a", "turns": [AMC]},
    "olympiad": {"category": "math", "ground_truth": "5,22,3,7"},
    "web_of_lies_v2": {"category": "reasoning", "ground_truth": "no, yes, yes"},
    "zebra_puzzle": {
        "category": "reasoning",
        "ground_truth": "1, film-making, police-officer, red",
    },
    "spatial": {"category": "reasoning", "ground_truth": "3"},
    "connections": {"category": "language", "ground_truth": "a,b,c,d,e,f,g,h"},
    "plot_unscrambling": {
        "category": "language",
        "ground_truth": "A man walks. He sees a dog. It barks loudly. They run home.",
    },
    "typos": {"category": "language", "ground_truth": "We show it. Twice."},
    "cta": {"category": "data_analysis", "ground_truth": "Post Code"},
    "tablejoin": {"category": "data_analysis", "ground_truth": "{'a': 'x', 'b': 'y', 'c': 'z'}"},
    "tablereformat": {
        "category": "data_analysis",
        "ground_truth": "id,name\n1,a b\n2,\n",
        "turns": ["Please convert the Input Table from JSON format to CSV format. Only the table."],
    },
    "simplify": {
        "category": "instruction_following",
        "instruction_id_list": ["startend:quotation", "detectable_format:number_bullet_lists"],
        "kwargs": [{"num_bullets": None}, {"num_bullets": 2}],
    },
    "LCB_generation": {
        "category": "coding",
        "public_test_cases": '[{"input": "2 3", "output": "5", "testtype": "stdin"}]',
        "private_test_cases": '[{"input": "2 -2", "output": "0", "testtype": "stdin"}]',
        "original_json": {"metadata": "{}"},
    },
    "coding_completion": {
        "category": "coding",
        "public_test_cases": '[{"input": "3", "output": "6", "testtype": "functional"}]',
        "private_test_cases": "[]",
        "original_json": {"metadata": '{"func_name": "twice"}'},
        "partial_solution": "class Solution:\n    def twice(self, n: int) -> int:",
    },
}
"""One question of each task; the four of instruction following have the same form."""


def question(task: str, **columns: Any) -> dict[str, Any]:
    """Return the question of a task with some of its columns changed."""
    common = {
        "question_id": task, "task": task, "turns": ["?"], "livebench_release_date": "2024-11-25",
        "subtask": task,
    }  # fmt: skip
    return {**common, **TASKS[task], **columns}
