"""The audit of rewards: it passes sound environments and catches those that pay cheats."""

from __future__ import annotations

import json

import pytest

from qwq_env.cli import main
from qwq_env.env import ToolEnv
from qwq_env.evaluation.cheats import audit_rewards, is_sound
from qwq_env.grading.score import Score
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task

TASKS = ListTaskSet([Task(f"t{i}", f"Give {i * 37}.", str(i * 37)) for i in range(12)])


def audited(reward) -> dict[str, float]:
    env = ToolEnv(TASKS, [], Rubric([Component("reward", reward)]))
    return {paid.policy: paid.mean for paid in audit_rewards(env, tasks=12)}


def test_exact_match_is_sound():
    paid = audited(lambda final: float(final.answer == final.task.answer))

    assert paid.pop("oracle") == 1.0
    assert max(paid.values()) <= 0.05


def test_containment_pays_for_lists_and_prompts():
    paid = audited(lambda final: float(final.task.answer in final.answer))

    assert paid["list everything"] == 1.0
    assert paid["copy the prompt"] == 1.0


def test_grading_the_whole_text_pays_for_thinking():
    paid = audited(lambda final: float(final.task.answer in final.turns[-1].text))

    assert paid["answer in the thinking"] == 1.0


def test_counting_words_pays_for_characters_that_nobody_sees():
    paid = audited(lambda final: float(len(set(final.answer.split())) < 9 < len(final.answer) / 9))

    assert paid["unseen characters"] == 1.0


def test_constant_reward_is_caught():
    env = ToolEnv(TASKS, [], Rubric([Component("reward", lambda final: 1.0)]))
    results = audit_rewards(env, tasks=4)

    assert not is_sound(results, threshold=0.5)


def test_reward_that_never_pays_is_caught():
    env = ToolEnv(TASKS, [], Rubric([Component("reward", lambda final: 0.0)]))

    assert not is_sound(audit_rewards(env, tasks=4), threshold=0.5)


def test_oracle_that_cannot_be_graded_is_caught():
    def sometimes(final):
        right = final.answer == final.task.answer
        return Score.undecided("timeout") if right and final.task.id == "t3" else float(right)

    env = ToolEnv(TASKS, [], Rubric([Component("reward", sometimes)]))
    *_, oracle = results = audit_rewards(env, tasks=12)

    assert oracle.mean == 1.0
    assert oracle.undecided == 1
    assert not is_sound(results, threshold=0.5)


def test_what_was_never_decided_has_no_mean():
    env = ToolEnv(TASKS, [], Rubric([Component("reward", lambda final: Score.undecided("x"))]))
    results = audit_rewards(env, tasks=4)

    assert {paid.mean for paid in results if paid.policy != "unclosed thinking"} == {None}
    assert not is_sound(results, threshold=0.5)


@pytest.mark.parametrize("tasks", ["1", "0", "-3"])
def test_too_few_tasks(capsys, tasks):
    assert main(["check", "grader", "qwq/MathTool-v0", "--tasks", tasks]) == 2
    assert "expected 2 or more" in capsys.readouterr().err


def test_math_environment_is_sound(capsys):
    code = main(["check", "grader", "qwq/MathTool-v0", "--tasks", "24", "--json"])

    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["sound"]
    # A list of hundreds of numbers may be too much to look at; that is not paid either.
    undecided = {paid["policy"] for paid in report["paid"] if paid["undecided"]}
    assert undecided <= {"list everything"}


@pytest.mark.parametrize("env_id", ["qwq/MathTol-v0", "CartPole-v1"])
def test_environment_that_is_none(capsys, env_id):
    assert main(["check", "grader", env_id]) == 2
    assert "environment" in capsys.readouterr().err
