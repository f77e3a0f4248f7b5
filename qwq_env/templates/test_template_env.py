"""Tests of `own/TemplateEnv-v0`: `python -m pytest test_template_env.py`."""

import gymnasium
from gymnasium.utils.env_checker import check_env

from qwq_env.evaluation import audit_rewards, faults
from qwq_env.templates.template_env import TemplateEnv


def test_gymnasium_has_nothing_to_say() -> None:
    check_env(gymnasium.make("own/TemplateEnv-v0").unwrapped)


def test_an_episode() -> None:
    env = TemplateEnv()
    _, info = env.reset(options={"index": 4})
    assert {each["function"]["name"] for each in info["tools"]} == {"add", "count"}

    for turn in env.solve(env.tasks.task(4)):
        _, reward, terminated, _, info = env.step(turn)
    assert (reward, terminated) == (1.0, True)


def test_a_call_that_is_wrong_is_an_observation() -> None:
    env = TemplateEnv()
    env.reset(seed=0)
    call = {"function": {"name": "add", "arguments": {"number": 0}}}
    observation, *_ = env.step({"role": "assistant", "tool_calls": [call]})

    assert "expected 1 or more" in observation


def test_only_who_solves_the_task_is_paid() -> None:
    assert faults(audit_rewards(TemplateEnv(), tasks=16), threshold=0.05) == []
