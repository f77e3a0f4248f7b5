"""Every registered id made in Gymnasium's ways, alone and as a vector.

Its rules for one environment are held in tests/testing/test_library.py.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import time
import warnings

import gymnasium as gym
import numpy as np
import pytest

import qwq_env  # noqa: F401 - registers the environments
from qwq_env.env import ToolEnv
from qwq_env.envs.math import MathToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.reset_needed import ResetNeeded
from qwq_env.rubric import Component, Rubric
from qwq_env.spaces import TextSpace
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import Tool, tool
from qwq_env.vector import ToolVectorEnv


def calling(name: str, arguments: str) -> str:
    call = f'{{"name": "{name}", "arguments": {arguments}}}'
    return f"so\n</think>\n\n<tool_call>\n{call}\n</tool_call><|im_end|>"


IDS = [spec.id for spec in gym.registry.values() if spec.namespace == "qwq"]


@tool
async def nap() -> str:
    """Sleep a little."""
    await asyncio.sleep(0.25)
    return "rested"


class SlowEnv(ToolEnv):
    """An environment whose one tool takes its time."""

    def __init__(self) -> None:
        tasks = ListTaskSet([Task("t", "Rest.", "")])
        super().__init__(tasks, [nap], Rubric([Component("none", lambda final: 0.0)]))


@pytest.mark.parametrize("env_id", IDS)
def test_made_in_both_ways(env_id):
    with gym.make(env_id) as env, gym.make(f"qwq_env:{env_id}") as other:
        assert isinstance(env.unwrapped, ToolEnv)
        assert env.reset(seed=5)[0] == other.reset(seed=5)[0]


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point", None])
@pytest.mark.parametrize("env_id", IDS)
def test_make_vec(env_id, mode):
    with warnings.catch_warnings():
        # The interpreter warns of forking while our loop's thread runs; the child makes its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        envs = gym.make_vec(env_id, num_envs=3, vectorization_mode=mode)
        observations, infos = envs.reset(seed=4)
        following = envs.step(("x", "y", "z"))
        envs.close()
    single = [gym.make(env_id).reset(seed=4 + i) for i in range(3)]

    assert list(observations) == [observation for observation, _ in single]
    assert list(infos["task_id"]) == [info["task_id"] for _, info in single]
    assert following[2].all()


def test_vector_environment_overlaps_tools():
    envs = ToolVectorEnv(SlowEnv, 8)
    envs.reset(seed=0)
    call = '</think><tool_call>\n{"name": "nap", "arguments": {}}\n</tool_call>'
    start = time.perf_counter()
    observations, rewards, terminated, truncated, _ = envs.step([call] * 8)
    seconds = time.perf_counter() - start
    envs.close()

    assert seconds < 8 * 0.25 / 2
    assert all("rested" in observation for observation in observations)
    assert not terminated.any()
    assert not truncated.any()
    assert rewards.shape == (8,)


def test_vector_environment_resets_what_ended():
    envs = gym.make_vec("qwq/MathTool-v0", num_envs=2)
    first, _ = envs.reset(seed=0)
    call = calling("calculator", '{"expression": "1"}')
    _, _, ended, _, _ = envs.step(["</think>1", call])
    again, _, ended_now, _, infos = envs.step(["ignored", call])
    envs.close()

    assert ended.tolist() == [True, False]
    assert ended_now.tolist() == [False, False]
    assert again[0] != first[0]
    assert again[0].endswith("<think>\n")
    assert infos["task_id"].shape == (2,)


@pytest.mark.parametrize("mode", [None, "sync", "async", "vector_entry_point"])
def test_make_vec_takes_the_keywords_of_make(mode):
    call = calling("calculator", '{"expression": "1"}')
    envs = gym.make_vec(
        "qwq/MathTool-v0",
        num_envs=2,
        vectorization_mode=mode,
        max_episode_steps=2,
        disable_env_checker=True,
        render_mode="ansi",
    )
    envs.reset(seed=0)
    steps = [envs.step(["</think>1", call]), *(envs.step([call, call]) for _ in range(4))]
    pages = envs.render() if mode != "async" else ()
    envs.close()

    assert [step[2].tolist() for step in steps] == [[True, False]] + [[False, False]] * 4
    assert [step[3].tolist() for step in steps] == [
        [False, False],
        [False, True],
        [False, False],
        [True, False],
        [False, True],
    ]
    assert steps[1][0][1].count("<tool_response>") == 1
    assert all(isinstance(page, str) for page in pages)


@pytest.mark.parametrize("steps", [0, -2, 1.5, True])
def test_max_episode_steps_is_a_whole_number(steps):
    with pytest.raises(UsageError, match="max_episode_steps"):
        gym.make_vec("qwq/MathTool-v0", max_episode_steps=steps)


def test_minus_one_step_means_no_limit_and_a_limit_is_named():
    free = gym.make_vec("qwq/MathTool-v0", max_episode_steps=-1)
    bound = gym.make_vec("qwq/MathTool-v0", max_episode_steps=1)
    call = calling("calculator", '{"expression": "1"}')
    for envs in (free, bound):
        envs.reset(seed=0)
    truncated, cut = free.step([call])[3], bound.step([call])
    for envs in (free, bound):
        envs.close()

    assert (truncated.tolist(), cut[3].tolist()) == ([False], [True])
    assert cut[4]["outcome"]["reason"].tolist() == ["turns"]


def test_vector_environment_refuses_wrong_input():
    envs = gym.make_vec("qwq/MathTool-v0", num_envs=2)
    with pytest.raises(ResetNeeded):
        envs.step(["x", "y"])
    envs.reset()
    for actions in (["x"], "xy", None, ["x", None]):
        with pytest.raises(UsageError, match="actions"):
            envs.step(actions)
    for seed in ([1, 2, 3], 1.5):
        with pytest.raises(UsageError, match="seed"):
            envs.reset(seed=seed)

    # A refused step has moved no episode.
    assert envs.step(["x", "y"])[2].all()
    envs.close()


@pytest.mark.parametrize("seed", [np.int64(4), np.array([4, 5]), [4, 5]])
def test_vector_environment_takes_numpy_seeds(seed):
    envs = gym.make_vec("qwq/MathTool-v0", num_envs=2)
    _, infos = envs.reset(seed=seed)
    _, expected = envs.reset(seed=4)
    envs.close()

    assert infos["task_id"].tolist() == expected["task_id"].tolist()


def test_a_mask_resets_its_episodes_only():
    envs = gym.make_vec("qwq/MathTool-v0", num_envs=3)
    call = calling("calculator", '{"expression": "1"}')
    envs.reset(seed=0)
    before = envs.step([call] * 3)[0]
    mask = np.array([False, True, False])
    after, infos = envs.reset(seed=7, options={"reset_mask": mask})
    *_, going_on = envs.step([call] * 3)
    envs.close()

    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, True]
    assert infos["_task_id"].tolist() == mask.tolist()
    assert going_on["turns"].tolist() == [2, 1, 2]


def test_vector_environment_outlives_an_episode_that_cannot_begin():
    class Scarce(Tool):
        """Has no place for the second episode that asks."""

        name, description = "scarce", "Wait."
        parameters = {"type": "object", "properties": {}}  # noqa: RUF012 - a constant
        asked = 0

        def for_episode(self, task, seed):
            Scarce.asked += 1
            if Scarce.asked == 3:
                raise InfrastructureError("no place left")
            return self

        async def call(self, arguments):
            return ""

    tasks = ListTaskSet([Task("t", "1+1?", "2")])
    rubric = Rubric([Component("any", lambda final: 1.0)])
    envs = ToolVectorEnv(lambda: ToolEnv(tasks, [Scarce()], rubric), 2)
    envs.reset(seed=0)
    envs.step(["</think>2", calling("scarce", "{}")])
    _, rewards, terminated, _, info = envs.step(["", "</think>2"])
    observations, after, again, _, _ = envs.step(["", ""])
    envs.close()

    assert np.isnan(rewards[0]) and rewards[1] == 1.0
    assert terminated.tolist() == [True, True]
    assert info["outcome"]["detail"][0] == "no place left"
    assert after.tolist() == [0.0, 0.0] and not again.any()
    assert all(observations)


def test_vector_environment_outlives_one_lost_episode():
    @tool
    def gone() -> str:
        """Fail."""
        raise InfrastructureError("gone")

    tasks = ListTaskSet([Task("t", "Rest.", "")])
    rubric = Rubric([Component("one", lambda final: 1.0)])
    envs = ToolVectorEnv(lambda: ToolEnv(tasks, [gone], rubric), 2)
    envs.reset(seed=0)
    _, rewards, terminated, _, _ = envs.step([calling("gone", "{}"), "</think>1"])
    again, *_ = envs.step(["", ""])
    envs.close()

    assert np.isnan(rewards[0])
    assert rewards[1] == 1.0
    assert terminated.all()
    assert all(again)


def test_wrappers_and_options_pass_through():
    env = gym.make("qwq/MathTool-v0", tools=["calculator"], difficulty=2, render_mode="ansi")
    _, info = env.reset(options={"index": 3})
    env.step("</think>7")

    assert [entry["function"]["name"] for entry in info["tools"]] == ["calculator"]
    assert "terminated: answered" in env.render()
    env.close()


@pytest.mark.parametrize(
    "arguments", [{"tools": ["calc"]}, {"dialect": "qwk"}, {"tasks": "gsm"}, {"render_mode": "rgb"}]
)
def test_bad_arguments_name_themselves(arguments):
    with pytest.raises(UsageError):
        MathToolEnv(**arguments)


def test_text_space():
    space = TextSpace(seed=1)

    assert all(
        text in space for text in ("", "prose, with punctuation!", "\n", "漢", space.sample())
    )
    assert 3 not in space
    assert TextSpace(seed=1).sample() == TextSpace(seed=1).sample()
    assert pickle.loads(pickle.dumps(space)) == space
    assert TextSpace(10) != space


def test_import_is_light():
    heavy = "torch transformers trl sympy jsonschema httpx datasets accelerate math_verify"
    code = (
        f"import sys, qwq_env; print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_python_tool_keeps_its_names_over_turns():
    env = gym.make("qwq/MathTool-v0")
    env.reset(seed=0)
    env.step(calling("python", '{"code": "x = 6"}'))
    observation, _, terminated, _, _ = env.step(calling("python", '{"code": "x * 7"}'))
    env.close()

    assert "42" in observation
    assert not terminated
