"""One contract, whoever plays: Gym loop, vector, engine on tokens and on messages, audit."""

from __future__ import annotations

import asyncio
import math
import pickle
from dataclasses import replace

import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.checked_tools import checked_tools
from qwq_env.env import ToolEnv
from qwq_env.episode import Episode
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.evaluation.cheats import audit_rewards
from qwq_env.evaluation.heldout import evaluate
from qwq_env.outcome import EpisodeLimits
from qwq_env.reset_needed import ResetNeeded
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import ToolResult
from qwq_env.tool_set import ToolSet
from qwq_env.turn import ToolCall
from qwq_env.vector import ToolVectorEnv


class Counter(ToolSet):
    """Counts up, from where the task says."""

    blocking = False

    def start(self, task: Task) -> None:
        self.count = task.metadata["from"]

    def add(self, by: int) -> ToolResult:
        """Count up."""
        self.count += by
        return ToolResult("the answer is 1", {"count": self.count})

    def state(self) -> int:
        return self.count


def right_state(final: FinalTurn) -> float:
    assert not final.results or final.results[-1].metadata["count"] == final.state["Counter"]
    return float(final.state["Counter"] == final.task.answer)


TASKS = ListTaskSet(
    [Task(f"t{i}", f"Add 1 to {i}.", i + 1, metadata={"from": i}) for i in range(600)]
)


def make(reward=right_state, **arguments) -> ToolEnv:
    return ToolEnv(TASKS, [Counter], Rubric([Component("state", reward)]), **arguments)


CALL = '</think><tool_call>\n{"name": "add", "arguments": {"by": 1}}\n</tool_call><|im_end|>'
DONE = "</think>Done.<|im_end|>"
NATIVE = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "add", "arguments": '{"by": 1}'},
}


class Adder(ChatModel):
    """Adds 1, then says so."""

    async def reply(self, messages, tools, **arguments):
        if messages[-1]["role"] == "tool":
            return ChatReply("", "Done.")
        return ChatReply("", "", (ToolCall("add", {"by": 1}),), (NATIVE,))


def gym_loop(env, codec) -> list[float]:
    rewards = []
    for index in range(3):
        env.reset(options={"index": index})
        env.step(CALL)
        rewards.append(env.step(DONE)[1])
    return rewards


def messages_loop(env, codec) -> list[float]:
    rewards = []
    for index in range(3):
        _, info = env.reset(options={"index": index})
        messages = info["messages"]
        for action in (
            {"role": "assistant", "content": None, "tool_calls": [NATIVE]},
            {"role": "assistant", "content": [{"type": "text", "text": "Done."}]},
        ):
            _, reward, *_, info = env.step(action)
            messages += info["messages"]
        assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant"]
        assert messages[2]["tool_call_id"] == "call00001"
        rewards.append(reward)
    return rewards


def vector(env, codec) -> list[float]:
    envs = ToolVectorEnv(lambda: make_like(env), 3)
    envs.reset(seed=0)
    message = {"role": "assistant", "content": "", "tool_calls": [NATIVE]}
    envs.step([CALL, message, CALL])
    return list(envs.step([DONE, DONE, {"role": "assistant", "content": "Done."}])[1])


def make_like(env):
    made = type(env)(TASKS, [Counter], env.settings.rubric)
    made.settings = replace(env.settings, reply=made.settings.reply)
    return made


def engine_on_tokens(env, codec) -> list[float]:
    def script(context: str) -> str:
        return DONE if "<tool_response>" in context else CALL

    assignments = [Assignment(TASKS.task(i), f"e{i}", i) for i in range(600)]
    engine = Engine(env, ScriptedPolicy(codec, script), codec)
    return [t.reward for t in asyncio.run(engine.run(assignments))]


def engine_on_messages(env, codec) -> list[float]:
    assignments = [Assignment(TASKS.task(i), f"e{i}", i) for i in range(600)]
    return [t.reward for t in asyncio.run(Engine(env, Adder()).run(assignments))]


def evaluation(env, codec) -> list[float]:
    return [t.reward for t in evaluate(env, Adder(), None, size=4, play=PlaySettings())]


PLAYERS = [gym_loop, messages_loop, vector, engine_on_tokens, engine_on_messages, evaluation]


@pytest.mark.parametrize("play", PLAYERS)
def test_every_player_pays_by_the_state_and_mixes_none_up(play, codec):
    rewards = play(make(), codec)

    assert len(rewards) >= 3 and set(rewards) == {1.0}


class Begun(ToolEnv):
    """Begins with another rubric, tools of its own, and a note of the seed."""

    def begin(self, task: Task, *, seed: int = 0) -> Episode:
        rubric = Rubric([Component("half", lambda final: 0.5 * right_state(final))])
        settings = replace(self.settings, rubric=rubric, tools=checked_tools([Counter]))
        return Episode(task, settings, seed=seed)


@pytest.mark.parametrize("play", PLAYERS)
def test_what_a_subclass_does_in_begin_holds_for_every_player(play, codec):
    env = Begun(TASKS, [Counter], Rubric([Component("never", lambda final: math.nan)]))

    assert set(play(env, codec)) == {0.5}


def test_what_a_subclass_does_in_begin_holds_in_an_audit():
    env = Begun(TASKS, [Counter], Rubric([Component("never", lambda final: math.nan)]))

    assert all((paid.mean, paid.undecided) == (0.0, 0) for paid in audit_rewards(env, tasks=2))


def test_an_audit_of_an_environment_that_replies_comes_to_an_end():
    class Endless(ToolEnv):
        def reply(self, episode):
            return "Go on."

    rubric = Rubric([Component("state", right_state)])
    env = Endless(TASKS, [Counter], rubric, limits=EpisodeLimits(turns=3))

    assert all((paid.mean, paid.undecided) == (0.0, 0) for paid in audit_rewards(env, tasks=2))


def test_a_tool_cannot_earn_by_printing():
    def says_the_answer(final: FinalTurn) -> float:
        return float(
            any("answer is 1" in t for t in (final.answer, *(t.text for t in final.turns)))
        )

    env = make(reward=says_the_answer)
    env.reset(options={"index": 0})
    observation = env.step(CALL)[0]
    _, reward, _, _, info = env.step(DONE)

    assert "the answer is 1" in observation
    assert (reward, info["answer"]) == (0.0, "Done.")


def test_a_final_turn_of_before_is_read_as_ever():
    final = FinalTurn(TASKS.task(0), "Done.", ())

    assert (final.results, dict(final.state)) == ((), {})


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (7, "action: int; expected the turn's text or an assistant message"),
        ({"role": "user", "content": "Hi"}, "action, role: 'user'"),
        ({"role": "assistant", "content": 7}, "action, content: 7"),
        ({"role": "assistant", "content": [{"type": "image_url"}]}, "action, content"),
        ({"role": "assistant", "tool_calls": [{"name": "add"}]}, "one with a function"),
        ({"role": "assistant", "tool_calls": "add"}, "action, tool_calls"),
        ({"role": "assistant", "reasoning_content": ["x"]}, "action, reasoning_content"),
    ],
)
def test_what_is_no_action_is_refused_and_costs_no_turn(action, words):
    env = make()
    env.reset(options={"index": 0})
    with pytest.raises(UsageError, match=words):
        env.step(action)

    env.step(CALL)
    assert env.step(DONE)[1] == 1.0


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ({"name": "add", "arguments": '{"by": 1}'}, ""),
        ({"name": "add", "arguments": {"by": 1}}, ""),
        ({"name": "add", "arguments": "{by"}, "malformed_json"),
        ({"name": "add", "arguments": None}, "missing_argument"),
        ({"name": None, "arguments": "{}"}, "missing_name"),
        ({"name": "ad", "arguments": "{}"}, "unknown_tool"),
    ],
)
def test_what_the_model_got_wrong_in_a_message_goes_to_the_model(function, kind):
    env = make()
    env.reset(options={"index": 0})
    message = {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}
    *_, info = env.step(message | {"reasoning_content": "I add."})
    own, result = info["messages"]

    assert info["results"][0]["kind"] == kind
    assert own["tool_calls"][0]["id"] == result["tool_call_id"] == "call00000"
    assert env.episode.turns[0].thinking == "I add."


def test_a_text_gives_its_messages_too():
    env = make()
    env.reset(options={"index": 0})
    *_, info = env.step("I add.</think>Wait." + CALL.removeprefix("</think>"))
    own, result = info["messages"]

    assert (own["content"], own["reasoning_content"]) == ("Wait.", "I add.")
    assert own["tool_calls"][0]["function"] == NATIVE["function"] | {"arguments": '{"by": 1}'}
    assert result == {
        "role": "tool", "tool_call_id": "call00000", "name": "add", "content": "the answer is 1",
    }  # fmt: skip


@pytest.mark.parametrize(("graded", "paid"), [(False, 0.0), (True, 1.0)])
@pytest.mark.parametrize("bound", [{"turns": 2}, {"tool_calls": 1}, {"tokens": 60}])
def test_a_truncated_episode_may_be_paid_for_what_was_reached(graded, paid, bound):
    env = make(limits=EpisodeLimits(**bound, grade_truncated=graded))
    env.reset(options={"index": 0})
    env.step("</think>Nearly." + CALL.removeprefix("</think>"))
    _, reward, terminated, truncated, info = env.step(CALL)

    assert (reward, terminated, truncated) == (paid, False, True)
    assert (info["answer"], info["turns"]) == ("Nearly.", 2)
    assert info["reward_components"] == ({"state": paid} if graded else {})
    assert info["outcome"]["reason"] == next(iter(bound))
    assert (
        info["limits"] == {"turns": 16, "tool_calls": 32, "tokens": None, "seconds": None} | bound
    )


@pytest.mark.parametrize(
    ("timed", "kind", "reward"), [(False, "failed", None), (True, "truncated", 1.0)]
)
def test_wall_time_is_ours_unless_the_task_is_timed(codec, timed, kind, reward):
    async def script(context: str) -> str:
        if "<tool_response>" in context:
            await asyncio.sleep(60)
        return CALL

    limits = EpisodeLimits(seconds=1.5, grade_truncated=True, timed=timed)
    engine = Engine(make(limits=limits), ScriptedPolicy(codec, script), codec)
    [trajectory] = asyncio.run(engine.run([Assignment(TASKS.task(0), "e", 0)]))

    assert (trajectory.outcome.kind, trajectory.outcome.reason) == (kind, "seconds")
    assert trajectory.reward == reward


class Odd(Counter):
    def state(self) -> object:
        return {1: "a key that is no text"}


class Gone(Counter):
    async def state(self) -> object:
        raise InfrastructureError("the database is gone")


@pytest.mark.parametrize(
    ("kind", "reason", "words"), [(Odd, "state", "the key 1"), (Gone, "infrastructure", "gone")]
)
def test_a_state_that_cannot_be_told_loses_the_episode(kind, reason, words):
    env = ToolEnv(TASKS, [kind], Rubric([Component("state", lambda final: 1.0)]))
    env.reset(options={"index": 0})
    _, reward, terminated, _, info = env.step(DONE)

    assert math.isnan(reward) and terminated
    assert info["outcome"]["reason"] == reason and words in info["outcome"]["detail"]


@pytest.mark.parametrize("field", ["timed", "grade_truncated"])
def test_a_limit_that_is_no_truth_value_is_refused(field):
    with pytest.raises(UsageError, match=field):
        EpisodeLimits(**{field: "yes"})


class Talking(ToolEnv):
    """Replies once with its own word."""

    word = "Go on."

    def reply(self, episode):
        return self.word if len(episode.turns) < 2 else None


def test_a_pickled_environment_replies_for_itself():
    env = Talking(TASKS, [Counter], Rubric([Component("state", right_state)]))
    copy = pickle.loads(pickle.dumps(env))
    copy.word = "Stop."
    for each in (env, copy):
        each.reset(options={"index": 0})

    assert [each.step(DONE)[0].count(each.word) for each in (env, copy)] == [1, 1]
    assert copy.settings.tools[0].name == "add"
    assert [each.step(CALL)[1] for each in (env, copy)] == [0.0, 0.0]
    assert [each.step(DONE)[1] for each in (env, copy)] == [1.0, 1.0]


def test_an_episode_that_does_not_begin_leaves_none_to_be_stepped():
    class Unbegun(ToolEnv):
        def begin(self, task, *, seed=0):
            if task.id == "t1":
                raise InfrastructureError("no place left")
            return super().begin(task, seed=seed)

    env = Unbegun(TASKS, [Counter], Rubric([Component("state", right_state)]))
    env.reset(options={"index": 0})
    with pytest.raises(InfrastructureError, match="no place left"):
        env.reset(options={"index": 1})
    with pytest.raises(ResetNeeded):
        env.step(CALL)


class Silent(ToolSet):
    """Says nothing of its end."""

    def go(self) -> str:
        """Go."""
        return "gone"


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda state: state["Silent"], r"final.state\['Silent'\]: Silent has no state\(\)"),
        (lambda state: state.get("Silent"), "Silent has no state"),
        (
            lambda state: state["Countr"],
            r"no such tool set \(did you mean 'Counter'\?\).*: Counter",
        ),
        (lambda state: state["counter"], "'counter'.*: no such tool set .*there are: Counter"),
    ],
)
def test_a_state_that_nobody_tells_is_not_a_silent_zero(read, words):
    def reward(final: FinalTurn) -> float:
        return float(read(final.state) == final.task.answer)

    env = ToolEnv(TASKS, [Counter, Silent], Rubric([Component("state", reward)]))
    env.reset(options={"index": 0})
    with pytest.raises(UsageError, match=words):
        env.step(DONE)

    assert env.episode.outcome.reason == "usage"


def test_a_state_is_a_mapping_of_those_that_tell_it():
    def reward(final: FinalTurn) -> float:
        assert final.state.get("Elsewhere", 5) == 5 and "Silent" not in final.state
        return float(pickle.loads(pickle.dumps(final.state)) == {"Counter": final.state["Counter"]})

    env = ToolEnv(TASKS, [Counter, Silent], Rubric([Component("state", reward)]))
    env.reset(options={"index": 0})

    assert env.step(DONE)[1] == 1.0
