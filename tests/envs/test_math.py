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


def ended(answer: str, **settings: str) -> tuple[float, dict]:
    env = MathToolEnv(**settings)
    env.reset(options={"index": 0})
    answer = answer.format(box=f"\\boxed{{{env.tasks.task(0).answer}}}")
    _, reward, terminated, _, info = env.step(answer)
    env.close()

    assert terminated
    return reward, info


def test_an_answer_that_never_closes_the_thinking_is_not_paid():
    reward, info = ended("That is the answer is {box}<|im_end|>")

    assert (reward, info["answer"], info["outcome"]["reason"]) == (0.0, "", "unclosed_thinking")
    assert info["reward_reasons"] == {"accuracy": "unclosed_thinking"}
    assert ended("So.\n</think>\n\n{box}<|im_end|>")[0] == 1.0


def test_models_that_do_not_think_are_evaluated_by_name():
    reward, info = ended("That is the answer is {box}<|im_end|>", dialect="qwq-direct")

    assert (reward, info["outcome"]["reason"]) == (1.0, "answered")


@pytest.mark.parametrize("steps", ["see the solution", 3, ["2^{1/2}"]])
def test_a_column_of_a_file_changes_no_rule(tmp_path, steps):
    row = {"prompt": "Rationalise.", "answer": "\\frac{\\sqrt2}{2}", "steps": steps}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")

    assert paid(MathToolEnv(file), "\\frac{\\sqrt{2}}{2}") == 1.0
