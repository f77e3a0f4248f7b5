"""What `qwq/MathTool-v0` pays."""

import json

import pytest

from qwq_env.envs.math import MathToolEnv
from qwq_env.task import ListTaskSet, Task


def paid(env: MathToolEnv, answer: str) -> float:
    env.reset(options={"index": 0})
    _, reward, terminated, _, _ = env.step(f"So.\n</think>\n\n\\boxed{{{answer}}}")
    env.close()

    assert terminated
    return reward


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4, 5])
def test_the_operation_in_the_box_is_not_paid(difficulty):
    env = MathToolEnv(difficulty=difficulty)
    task = env.tasks.task(0)
    operation = task.steps[0]
    for number, step in enumerate(task.steps[1:]):
        operation = step.replace(f"{{{number}}}", f"({operation})")

    assert paid(env, task.answer) == 1.0
    assert paid(MathToolEnv(difficulty=difficulty), operation) == 0.0


@pytest.mark.parametrize("words", ["{0}", "I think {0}", "**{0}**", "The answer is ${0}$."])
def test_an_answer_without_a_box_is_not_paid(words):
    env = MathToolEnv()
    env.reset(options={"index": 0})
    answer = env.tasks.task(0).answer
    _, reward, terminated, _, info = env.step(f"So.\n</think>\n\n{words.format(answer)}")
    env.close()

    assert (reward, terminated) == (0.0, True)
    assert info["reward_reasons"] == {"accuracy": "no_answer"}


RESTATED = [
    ("What is $48+\\frac{48}{2}$?", "72", "48+\\frac{48}{2}"),
    ("What is $\\gcd(123456, 7890)$?", "6", "\\gcd(123456, 7890)"),
    ("Simplify $\\sqrt{117}$.", "3\\sqrt{13}", "\\sqrt{117}"),
    ("Simplify \\(\\sqrt {117}\\).", "3\\sqrt{13}", "\\sqrt{117}"),
    ("What is √144?", "12", "\\sqrt{144}"),
    ("What is $2^{10}$?", "1024", "2^{10}"),
    ("Factor $x^2-1$.", "(x-1)(x+1)", "x^2-1"),
    ("Expand $(x+1)^2$.", "x^2+2x+1", "(x+1)^2"),
    ("Solve $2x=10$.", "x=5", "2x=10"),
    ("Factor $x^2+2x$.", "x(x+2)", "x^2+2x"),
    ("What is $\\int_0^1 x^2\\,dx$?", "\\frac13", "\\int_0^1 x^2\\,dx"),
]
GIVEN = [
    ("Solve for $0\\le x\\le\\frac{\\pi}{2}$.", "\\pi/2", "\\frac{\\pi}{2}"),
    ("Is it $\\sqrt3/2$ or more?", "\\frac{\\sqrt{3}}{2}", "\\sqrt3/2"),
    ("A car at 10 m/s brakes.", "10\\text{ m/s}", "10 m/s"),
    ("A field of $20\\text{ cm}^2$.", "20", "20\\text{ cm}^2"),
    ("Which of $(2,-3)$ and $(1,1)$?", "x=2, y=-3", "(2,-3)"),
    ("Its domain is $(-\\infty,3)$.", "x<3", "(-\\infty,3)"),
    ("a) $x+1$, b) $x+2$", "1+x", "x+1"),
    ("Let $f(x)=x^2+1$.", "x^2+1", "f(x)=x^2+1"),
    ("Let $y=2x+1$.", "y=2x+1", "2x+1"),
    ("Which is more, $\\frac12$ or $0.4$?", "0.5", "\\frac12"),
    ("Write $x^2-1$ for $f(x)$.", "x^2-1", "x^2-1"),
    ("Is $\\angle A=30^\\circ$ or more?", "30", "30^\\circ"),
    ("Let $x=5$. What is $x$?", "5", "x=5"),
    ("Simplify $\\sqrt{117}$.", "3\\sqrt{13}", "\\sqrt{13}\\cdot 3"),
]


@pytest.mark.parametrize(
    ("prompt", "gold", "answer", "reward"),
    [(*row, 0.0) for row in RESTATED] + [(*row, 1.0) for row in GIVEN],
)
def test_an_expression_of_the_task_is_no_answer_to_it(prompt, gold, answer, reward):
    assert paid(MathToolEnv(ListTaskSet([Task("t", prompt, gold)])), answer) == reward


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


@pytest.mark.parametrize("difficulty", range(1, 6))
def test_a_task_is_solved_by_calls_of_the_calculator(difficulty):
    env = MathToolEnv(difficulty=difficulty)
    for index in range(20):
        task = env.tasks.task(index)
        env.reset(options={"task_id": task.id})
        *calls, last = env.solve(task)
        for call in calls:
            assert "Error" not in env.step(call)[0]
        assert len(calls) == len(task.steps)
        assert env.step(last)[1] == 1.0
    assert MathToolEnv(tools=["python"]).solve(task) is None
