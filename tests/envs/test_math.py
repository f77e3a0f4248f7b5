"""What `qwq/MathTool-v0` pays."""

import json

import pytest

from qwq_env.envs.math import MathToolEnv


def paid(env: MathToolEnv, answer: str) -> float:
    env.reset(options={"index": 0})
    _, reward, terminated, _, _ = env.step(f"So.\n</think>\n\n\\boxed{{{answer}}}")
    env.close()

    assert terminated
    return reward


def test_the_operation_in_the_box_is_not_paid():
    env = MathToolEnv()
    task = env.tasks.task(0)

    assert paid(env, task.answer) == 1.0
    assert paid(MathToolEnv(), task.steps[0]) == 0.0


@pytest.mark.parametrize("steps", ["see the solution", 3, ["2^{1/2}"]])
def test_a_column_of_a_file_changes_no_rule(tmp_path, steps):
    row = {"prompt": "Rationalise.", "answer": "\\frac{\\sqrt2}{2}", "steps": steps}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")

    assert paid(MathToolEnv(file), "\\frac{\\sqrt{2}}{2}") == 1.0
