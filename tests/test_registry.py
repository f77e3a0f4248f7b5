"""From an id, or `module:id`, to an environment; and what is refused."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("name", ["qwq/MathTol-v0", "no_such_module:x/Y-v0", "CartPole-v1", ""])
def test_an_id_that_is_none(name):
    with pytest.raises(UsageError, match="environment"):
        make_environment(name)
