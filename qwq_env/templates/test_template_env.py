"""Tests of `own/TemplateEnv-v0`: `python -m pytest test_template_env.py`."""

from qwq_env import testing
from qwq_env.templates.template_env import TemplateEnv


class TestSound(testing.EnvConformance):
    """Gymnasium's rules, seeds, tokens, leaks, cheats: see its docstring."""

    def make(self) -> TemplateEnv:
        return TemplateEnv()


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
