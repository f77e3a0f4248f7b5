"""The environment's contract: Gymnasium's rules, limits, errors, and what is paid."""

from __future__ import annotations

import asyncio
import math
import pickle
import time

import gymnasium as gym
import pytest

from qwq_env.env import ToolEnv
from qwq_env.errors import (
    EnvironmentClosed,
    InfrastructureError,
    ToolError,
    UsageError,
)
from qwq_env.grading.score import Score
from qwq_env.outcome import EpisodeLimits
from qwq_env.reset_needed import ResetNeeded
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import Tool, tool
from qwq_env.toolbox import ToolLimits


@tool(blocking=False)
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


@tool
async def sleep(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return "awake"


@tool
def broken(how: str) -> str:
    """Fail in the way asked for."""
    raise {
        "tool": ToolError("mend it"),
        "crash": KeyError("x"),
        "infra": InfrastructureError("gone"),
        "usage": UsageError("no key"),
    }[how]


def exact(final: FinalTurn) -> Score:
    return Score.right() if final.answer == final.task.answer else Score.wrong()


def undecided(final: FinalTurn) -> Score:
    return Score.undecided("timeout")


TASKS = ListTaskSet([Task(f"t{i}", f"What is {i}+{i}?", str(2 * i)) for i in range(50)])


def make(reward=exact, **arguments) -> ToolEnv:
    rubric = Rubric([Component("exact", reward)])
    return ToolEnv(TASKS, [add, sleep, broken], rubric, **arguments)


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def turn(*calls: str) -> str:
    return "hm\n</think>\n\n" + "".join(calls) + "<|im_end|>"


def test_transcript_is_prompt_turns_and_observations():
    env = make()
    prompt, info = env.reset(options={"task_id": "t2"})
    observation, reward, terminated, truncated, step_info = env.step(
        turn(call("add", '{"a": 2, "b": "2"}'))
    )

    assert prompt.endswith("What is 2+2?<|im_end|>\n<|im_start|>assistant\n<think>\n")
    assert info["task_id"] == "t2"
    assert [entry["function"]["name"] for entry in info["tools"]] == ["add", "sleep", "broken"]
    assert "<tool_response>\n4\n</tool_response>" in observation
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert step_info["results"] == [{"name": "add", "content": "4", "status": "ok", "kind": ""}]


@pytest.mark.parametrize(("answer", "paid"), [("4", 1.0), ("5", 0.0)])
def test_final_answer_decides(answer, paid):
    env = make()
    env.reset(options={"task_id": "t2"})
    observation, reward, terminated, truncated, info = env.step(
        f"so\n</think>\n\n{answer}<|im_end|>"
    )

    assert (observation, reward, terminated, truncated) == ("", paid, True, False)
    assert info["outcome"] == {"kind": "terminated", "reason": "answered", "detail": ""}
    assert info["reward_components"] == {"exact": paid}


def test_answer_in_the_thinking_earns_nothing():
    env = make()
    env.reset(options={"task_id": "t2"})
    _, reward, _, _, info = env.step("<think>\n4\n</think>\n\n<|im_end|>")

    assert reward == 0.0
    assert info["answer"] == ""


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (EpisodeLimits(turns=1), "turns"),
        (EpisodeLimits(tool_calls=1), "tool_calls"),
        (EpisodeLimits(tokens=5), "tokens"),
        (EpisodeLimits(seconds=1e-9, timed=True), "seconds"),
    ],
)
def test_each_limit_truncates_and_says_which(limits, limit):
    env = make(limits=limits)
    env.reset(seed=0)
    one = call("add", '{"a": 1, "b": 1}')
    _, reward, terminated, truncated, info = env.step(turn(one, one))

    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["outcome"]["reason"] == limit


@pytest.mark.parametrize("limits", [EpisodeLimits(turns=2), EpisodeLimits(tool_calls=2)])
def test_what_a_limit_allows_is_done(limits):
    env = make(limits=limits)
    env.reset(options={"task_id": "t2"})
    one = call("add", '{"a": 1, "b": 1}')
    observation, *_ = env.step(turn(one, one))
    _, reward, terminated, truncated, _ = env.step("</think>4")

    assert observation.count("<tool_response>") == 2
    assert (reward, terminated, truncated) == (1.0, True, False)


class Held(Tool):
    """Remembers the seeds that it was made with, and how often it was closed."""

    name, description = "held", "Hold."
    parameters = {"type": "object", "properties": {}}  # noqa: RUF012 - a constant

    def __init__(self):
        self.seeds, self.closed = [], 0

    def for_episode(self, task, seed):
        self.seeds.append(seed)
        return self

    async def call(self, arguments):
        return ""

    async def aclose(self):
        self.closed += 1


@pytest.mark.parametrize("end", ["</think>4", turn(call("held", "{}"))])
def test_tools_are_closed_when_the_episode_ends(end):
    held = Held()
    env = ToolEnv(TASKS, [held], Rubric([Component("exact", exact)]), limits=EpisodeLimits(turns=1))
    env.reset(seed=0)
    env.step(end)

    assert held.closed == 1


def test_tools_draw_anew_in_each_episode_and_alike_for_one_seed():
    held = Held()
    env = ToolEnv(TASKS, [held], Rubric([Component("exact", exact)]))
    for seed in (1, None, 1, 2):
        env.reset(seed=seed)
    first, following, again, other = held.seeds

    assert first == again
    assert len({first, following, other}) == 3


def test_nothing_that_an_episode_begins_with_holds_the_answer():
    task = Task("t", "What is it?", "the-reference", metadata={"why": "the-reference"})
    env = ToolEnv(ListTaskSet([task]), [add], Rubric([Component("exact", exact)]))

    assert "the-reference" not in repr(env.reset(seed=0))


def test_observation_that_fills_the_token_limit_truncates():
    env = make(limits=EpisodeLimits(tokens=40))
    env.reset(seed=0)
    _, _, _, truncated, info = env.step(turn(*[call("add", '{"a": 1, "b": 1}')]))

    assert truncated
    assert info["outcome"]["reason"] == "tokens"


def test_bad_calls_are_answered_in_order_and_counted():
    env = make()
    env.reset(seed=0)
    observation, _, terminated, _, info = env.step(
        turn(
            call("ad", "{}"),
            call("add", '{"a": 1, "b": 2}'),
            call("add", '{"a": 1}'),
            call("add", '{"a": 1, "b": 2, "c": 3}'),
            call("add", '{"a": 1, "b": "two"}'),
            call("broken", '{"how": "tool"}'),
            call("broken", '{"how": "crash"}'),
            "<tool_call>\n{nonsense}\n</tool_call>",
            "<tool_call>\n{",
        )
    )

    kinds = [result["kind"] for result in info["results"]]
    assert kinds == [
        "unknown_tool", "", "missing_argument", "extra_argument", "wrong_type", "tool_error",
        "crash", "malformed_json", "unclosed_tag",
    ]  # fmt: skip
    assert info["errors"] == {kind: 1 for kind in kinds if kind}
    assert not terminated
    assert "did you mean 'add'" in observation
    assert "mend it" in observation


def test_calls_of_a_turn_run_side_by_side():
    env = make()
    env.reset(seed=0)
    start = time.perf_counter()
    env.step(turn(*[call("sleep", '{"seconds": 0.3}')] * 4))

    assert time.perf_counter() - start < 4 * 0.3


def test_tool_deadline_is_an_observation():
    env = make(tool_limits=ToolLimits(seconds=0.05))
    env.reset(seed=0)
    observation, _, terminated, _, info = env.step(turn(call("sleep", '{"seconds": 30}')))

    assert not terminated
    assert info["results"][0]["kind"] == "timeout"
    assert "0.05 seconds" in observation


def test_infrastructure_failure_of_a_tool_ends_the_episode_without_a_reward():
    env = make()
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(
        turn(call("broken", '{"how": "infra"}'), call("add", '{"a": 1, "b": 1}'))
    )

    assert math.isnan(reward)
    assert terminated and not truncated
    assert info["outcome"] == {"kind": "failed", "reason": "infrastructure", "detail": "gone"}
    with pytest.raises(ResetNeeded):
        env.step(turn())
    env.reset(seed=0)


def test_infrastructure_failure_of_a_reward_ends_the_episode_without_a_reward():
    def unreachable(final: FinalTurn) -> Score:
        raise InfrastructureError("the judge is away")

    env = make(reward=unreachable)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step("</think>\n\n4")

    assert math.isnan(reward)
    assert terminated
    assert info["outcome"]["detail"] == "the judge is away"


def test_undecided_grade_is_not_a_reward_of_zero():
    env = make(reward=undecided)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step("</think>\n\n4")

    assert math.isnan(reward)
    assert terminated
    assert info["outcome"]["kind"] == "failed"


def test_reward_that_raises_ends_the_episode_without_a_reward(caplog):
    def buggy(final: FinalTurn) -> float:
        return {}[final.answer]

    env = make(reward=buggy)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step("</think>\n\n4")

    assert math.isnan(reward)
    assert terminated and not truncated
    assert info["outcome"] == {
        "kind": "failed", "reason": "undecided", "detail": "exact: crash (KeyError: '4')"
    }  # fmt: skip
    assert "in buggy" in caplog.text
    with pytest.raises(ResetNeeded):
        env.step("</think>\n\n4")


@pytest.mark.parametrize("text", ["</think>\n\n4", turn(call("broken", '{"how": "usage"}'))])
def test_what_the_operator_must_mend_is_raised_and_ends_the_episode(text):
    def misused(final):
        raise UsageError("mend it")

    env = make(reward=misused)
    env.reset(seed=0)

    with pytest.raises(UsageError):
        env.step(text)
    assert env.episode.outcome.reason == "usage"
    with pytest.raises(ResetNeeded):
        env.step(text)
    env.reset(seed=0)


def test_a_step_that_is_given_up_ends_the_episode():
    env = make()
    env.reset(seed=0)

    async def give_up():
        async with asyncio.timeout(0.1):
            await env.astep(turn(call("sleep", '{"seconds": 60}')))

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert env.episode.outcome.reason == "interrupted"
    with pytest.raises(ResetNeeded, match="interrupted"):
        env.step(turn())
    env.reset(seed=0)


def test_order_of_calls():
    env = make()
    with pytest.raises(ResetNeeded):
        env.step("x")
    env.reset(seed=0)
    env.step("</think>\n\n1")
    with pytest.raises(gym.error.ResetNeeded):
        env.step("x")
    env.close()
    env.close()
    with pytest.raises(EnvironmentClosed):
        env.reset()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tsk": 1}, "tsk"),
        ({"task_id": "nope"}, "nope"),
        ({"task_id": None}, "task_id"),
        ({"index": 99}, "expected 0 to 49"),
        ({"index": -1}, "expected 0 to 49"),
        ({"index": "3"}, "index"),
        ({"index": 1.5}, "index"),
        ({"task": "text"}, "task"),
        ({"task_id": "t1", "index": 1}, "expected one of them"),
        (["index"], "reset options"),
    ],
)
def test_bad_reset_options(options, words):
    with pytest.raises(UsageError, match=words):
        make().reset(options=options)


EXACT = Component("exact", exact)
WRAPPED = r'Rubric\(\[Component\("exact", exact\)\]\)'


@pytest.mark.parametrize(
    ("field", "value", "how"),
    [
        ("tasks", [Task("t", "1+1?", "2")], r"ListTaskSet\(tasks\)"),
        ("tasks", (Task("t", "1+1?", "2") for _ in range(2)), r"ListTaskSet\(tasks\)"),
        ("tasks", Task("t", "1+1?", "2"), r"ListTaskSet\(\[task\]\)"),
        ("tasks", "rows.jsonl", r"load_jsonl\('rows.jsonl'\)"),
        ("tasks", ListTaskSet, r"one that is made, ListTaskSet\(...\)"),
        ("tasks", None, "expected TaskSet$"),
        ("tools", add, r"such as \[add\]"),
        ("tools", ["add"], "expected a Tool"),
        ("tools", [len], "expected a Tool"),
        ("tools", [add, add], "share a name"),
        ("rubric", exact, WRAPPED),
        ("rubric", [exact], WRAPPED),
        ("rubric", lambda final: 1.0, r'Component\("reward", reward\)'),
        ("rubric", EXACT, r"Rubric\(\[component\]\)"),
        ("rubric", [EXACT], r"Rubric\(\[...\]\)"),
        ("limits", {"turns": 3}, "expected "),
        ("tool_limits", 5, "expected "),
        ("system_prompt", 3, "expected "),
    ],
)
def test_wrong_kind_of_argument_is_named_at_once_with_the_way_out(field, value, how):
    arguments = {"tasks": TASKS, "tools": [add], "rubric": Rubric([EXACT])}
    with pytest.raises(UsageError, match=f"^{field}: .*{how}"):
        ToolEnv(**{**arguments, field: value})


def test_seed_gives_the_episode():
    first, second = make(), make()
    tasks = [env.reset(seed=7)[1]["task_id"] for env in (first, second)]
    following = [env.reset()[1]["task_id"] for env in (first, second)]

    assert tasks[0] == tasks[1]
    assert following[0] == following[1]


def test_pickle_keeps_the_definition_and_the_random_state():
    env = make()
    env.reset(seed=3)
    copy = pickle.loads(pickle.dumps(env))

    assert copy.reset()[0] == env.reset()[0]
    with pytest.raises(ResetNeeded):
        pickle.loads(pickle.dumps(env)).step("x")


def test_works_inside_a_running_loop():
    async def inside():
        env = make()
        env.reset(seed=0)
        return env.step("</think>\n\n1")

    assert asyncio.run(inside())[2]


def test_render_modes():
    env = make(render_mode="html")
    env.reset(options={"task_id": "t2"})
    env.step("<script>alert(1)</script>\x1b[2J\n</think>\n\n4")
    page = env.render()
    env.render_mode = "ansi"

    assert "<script>" not in page
    assert "reward 1" in page
    assert "\x1b[2J" not in env.render()
