"""From an id, or `module:id`, to an environment; and what is refused."""

from __future__ import annotations

import copy
import inspect
from functools import partial

import gymnasium as gym
import pytest

from qwq_env.env import ToolEnv
from qwq_env.envs.math import MathToolEnv
from qwq_env.errors import UsageError
from qwq_env.registry import make_environment

MODULE = """\
import gymnasium
from qwq_env.envs.math import MathToolEnv

class Plain(MathToolEnv):
    def __init__(self, difficulty=1, render_mode=None):
        super().__init__(difficulty=difficulty, render_mode=render_mode)

gymnasium.register("own/Plain-v0", entry_point=Plain)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_environments.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_environments"


def test_an_id_gives_the_bare_environment():
    assert type(make_environment("qwq/MathTool-v0", {"difficulty": 2})) is MathToolEnv


def test_a_module_before_the_id_is_imported(module):
    environment = make_environment(f"{module}:own/Plain-v0", {"difficulty": 2})

    assert environment.reset(options={"index": 0})[1]["task_id"].startswith("arithmetic/2/")


def test_what_the_class_does_not_take_is_named(module):
    with pytest.raises(UsageError, match=r"own/Plain-v0: 'dialect' is not known; known: diff"):
        make_environment(f"{module}:own/Plain-v0", {"dialect": "qwq"})


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("max_turns", "limits=EpisodeLimits(turns=...)"),
        ("max_steps", "limits=EpisodeLimits(turns=...)"),
        ("max_tool_calls", "limits=EpisodeLimits(tool_calls=...)"),
        ("timeout", "limits=EpisodeLimits(seconds=...)"),
        ("max_tokens", "limits=EpisodeLimits(tokens=...)"),
        ("dificulty", "'difficulty'"),
        ("toolset", "'tools'"),
    ],
)
def test_an_argument_that_is_none_names_what_was_meant(argument, hint):
    makers = (
        partial(gym.make, "qwq/MathTool-v0"),
        partial(gym.make_vec, "qwq/MathTool-v0", 2),
        MathToolEnv,
        lambda **arguments: make_environment("qwq/MathTool-v0", arguments),
    )
    for make in makers:
        with pytest.raises(UsageError) as error:
            make(**{argument: 1})

        assert f"{argument!r} is not known (did you mean {hint}?); known: tasks, " in str(
            error.value
        )


def test_a_class_still_tells_its_arguments():
    assert list(inspect.signature(ToolEnv).parameters)[:3] == ["tasks", "tools", "rubric"]
    assert "difficulty" in inspect.signature(MathToolEnv).parameters
    assert copy.copy(MathToolEnv()).tasks is not None


@pytest.mark.parametrize("name", ["mine/Bank-v0", "Bank-v0", "qwq/Mine-v7"])
def test_an_id_of_a_module_that_is_not_imported_says_how_to(name):
    with pytest.raises(UsageError, match=f"name that in front: MODULE:{name}$"):
        make_environment(name)


@pytest.mark.parametrize("name", [":x/Y-v0", ".own:x/Y-v0", "a b:x/Y-v0", "no_such_module:x/Y-v0"])
def test_a_module_that_is_none(name):
    with pytest.raises(UsageError, match=r"^environment: ") as error:
        make_environment(name)

    assert "MODULE:" not in str(error.value)


@pytest.mark.parametrize("name", ["qwq/MathTol-v0", "no_such_module:x/Y-v0", "CartPole-v1", ""])
def test_an_id_that_is_none(name):
    with pytest.raises(UsageError, match="environment"):
        make_environment(name)
