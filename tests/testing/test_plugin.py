"""The pytest plugin: three fixtures, and nothing at all for who uses none."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qwq_env.errors import UsageError
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.templates.template_env import Shelf, TemplateEnv
from qwq_env.testing.fixtures import play, scripted_policy, toolboxes
from qwq_env.turn import ToolCall

from .broken import SoundEnv

ROOT = Path(__file__).parents[2]

USER = """
import sys

def test_an_unused_plugin_imports_nothing():
    assert not [name for name in sys.modules if name.startswith(("qwq_env.", "gymnasium"))]
    assert "qwq_env" not in sys.modules

def test_fixtures(toolbox, play, scripted_policy):
    from qwq_env import ToolCall
    from qwq_env.templates.template_env import Shelf, TemplateEnv

    env = TemplateEnv()
    task = env.tasks.task(4)
    assert toolbox(Shelf, task=task).call("count").content == "5"
    assert play(env, [ToolCall("add", {"number": 8}), "That is all."], index=4).reward == 1.0
    assert scripted_policy([ToolCall("count", {})]).codec.eos_token_id > 255
"""


def test_the_plugin_gives_fixtures_and_costs_nothing_unused(tmp_path):
    (tmp_path / "test_user.py").write_text(USER)
    path = os.pathsep.join([str(ROOT / ".package"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "qwq_env_pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip

    assert "2 passed" in done.stdout, done.stdout


def test_a_toolbox_keeps_its_state_and_is_closed():
    closed = []

    class Watched(Shelf):
        def aclose(self):
            closed.append(self.cups)

    with toolboxes() as toolbox:
        box = toolbox(Watched, task=TemplateEnv().tasks.task(4), seed=3)
        told = [box.call("add", number=2).status, box.call("add", number=0).status]
        several = box.calls(ToolCall("count", {}), ToolCall("nothing", {}))

        assert told == ["ok", "tool_error"]
        assert [each.kind for each in several] == ["", "unknown_tool"]
        assert box.state() == {"Watched": 7} and not closed
    assert closed == [7]


def test_an_episode_is_played_by_texts_calls_and_messages():
    message = {"role": "assistant", "content": "That is all."}
    calls = [ToolCall("count", {}), ToolCall("add", {"number": 8})]
    played = play(TemplateEnv(), [calls, message, "never said"], index=4)

    assert (played.reward, played.outcome, played.answer) == (1.0, "answered", "That is all.")
    assert [result["content"] for result in played.results] == ["5", "done"]
    assert [m["role"] for m in played.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]


@pytest.mark.parametrize("dialect", ["qwq", "qwq-direct", "react"])
def test_a_scripted_policy_calls_in_each_dialect(dialect):
    env = SoundEnv(dialect=dialect)
    task = env.tasks.task(3)
    final = task.answer if dialect != "qwq" else f"</think>{task.answer}"
    policy = scripted_policy([ToolCall("echo", {"text": "hi"}), final], dialect)
    engine = Engine(env, policy, policy.codec)
    [trajectory] = asyncio.run(engine.run([Assignment(task, "e", 0)]))

    assert (trajectory.reward, trajectory.counts) == (1.0, {"ok": 1})
    assert "hi" in policy.codec.decode(trajectory.ids)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda: play(TemplateEnv(), "That is all."), "moves: .* alone; expected a list"),
        (lambda: play(TemplateEnv(), [7]), "move: 7; expected a text, a ToolCall"),
        (lambda: play(TemplateEnv(), ["x"], indx=3), "reset option: 'indx'"),
        (lambda: scripted_policy([ToolCall("look", {})], "fenced"), "this dialect writes 'python'"),
    ],
)
def test_moves_that_are_none_are_named(use, words):
    with pytest.raises(UsageError, match=words):
        use()
