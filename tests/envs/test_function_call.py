"""`qwq/FunctionCall-v0`: what is paid, in procedural tasks and in BFCL's rows."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Sequence
from typing import Any

import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.dialect.codec import TokenCodec
from qwq_env.envs.function_call.environment import FunctionCallEnv
from qwq_env.envs.function_call.procedural import FunctionCallTaskSet
from qwq_env.evaluation.cheats import audit_rewards, faults
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.audit import RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.task import ListTaskSet, Task
from qwq_env.turn import ToolCall
from tests.published import SAMPLES

ROWS = SAMPLES / "bfcl.jsonl"
SETS = [(difficulty, split) for difficulty in (1, 2, 3) for split in ("train", "heldout")]
SHELVES = {"A1": {"lamp": 4, "mug": 2}, "B2": {"rope": 7}}
DOTTED = [
    {"name": name, "description": "Do it.", "parameters": {"type": "dict", "properties": {}}}
    for name in ("math.area", "math_area", "math.side")
]


def play(env: FunctionCallEnv, task: Task, turns: Sequence[Any]) -> tuple[float, dict[str, Any]]:
    """Return what the turns are paid and the last info; the episode must end with the last one."""
    env.reset(seed=0, options={"task": task})
    for number, turn in enumerate(turns, start=1):
        _, reward, terminated, truncated, info = env.step(turn)
        assert (terminated or truncated) == (number == len(turns)), (task.id, number, len(turns))
    return reward, info


def call(*calls: tuple[str, Any]) -> dict[str, Any]:
    made = [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
    return {"role": "assistant", "content": None, "tool_calls": made}


def say(words: str = "That is done.") -> dict[str, Any]:
    return {"role": "assistant", "content": words}


def asked(gold: list[Any], functions: list[Any]) -> Task:
    return Task("t", "Go.", "", metadata={"function": functions, "ground_truth": gold})


def stock(*gold: list[str]) -> Task:
    metadata = {
        "involved_classes": ["StockRoom"],
        "initial_config": {"StockRoom": {"shelves": SHELVES}},
        "ground_truth": list(gold),
        "follow_ups": [[{"role": "user", "content": f"Then do {turn}."}] for turn in gold[1:]],
    }
    return Task("s", f"Do {gold[0]}.", "", metadata=metadata)


@pytest.fixture(scope="module")
def published() -> FunctionCallEnv:
    return FunctionCallEnv(ROWS, strict=True)


@pytest.mark.parametrize(("difficulty", "split"), SETS)
def test_the_gold_calls_are_paid_and_one_less_is_not(difficulty: int, split: str) -> None:
    env = FunctionCallEnv(difficulty=difficulty, split=split)
    for index in range(8):
        task = env.tasks.task(index)
        turns = list(env.solve(task))
        assert play(env, task, turns)[0] == 1.0, task.id
        calling = [number for number, turn in enumerate(turns) if turn.get("tool_calls")]
        if calling:
            *kept, _ = turns[calling[-1]]["tool_calls"]
            fewer = [{**turns[calling[-1]], "tool_calls": kept}] if kept else []
            rest = turns[calling[-1] + 1 :]
            less = [*turns[: calling[-1]], *(fewer or ([] if rest else [say()])), *rest]
            assert play(env, task, less)[0] == 0.0, task.id


def test_no_cheat_is_paid() -> None:
    assert faults(audit_rewards(FunctionCallEnv(difficulty=2), tasks=16), 0.05) == []


def test_every_kind_is_there_and_nothing_fits_in_few() -> None:
    for difficulty in (1, 2, 3):
        tasks = FunctionCallTaskSet(difficulty=difficulty)
        kinds = [tasks.task(index).metadata["category"] for index in range(100)]

        assert len(set(kinds)) == 6
        assert kinds.count("irrelevance") <= 10  # one in 25


def test_a_task_is_the_same_wherever_it_is_made() -> None:
    tasks = FunctionCallTaskSet(seed=3, difficulty=3, split="heldout")
    for index in range(12):
        task = tasks.task(index)

        assert pickle.loads(pickle.dumps(tasks)).find(task.id) == task
        assert json.loads(json.dumps(task.metadata)) == task.metadata
    assert tasks.task(5).id == "library/3/heldout/3/5"


def test_the_splits_share_no_wording() -> None:
    found = {}
    for split in ("train", "heldout"):
        tasks = [FunctionCallTaskSet(split=split).task(index) for index in range(120)]
        said = " ".join(task.prompt for task in tasks).split()
        found[split] = {tuple(said[start : start + 4]) for start in range(len(said) - 3)}

    assert len(found["train"]) > 500
    assert len(found["train"] & found["heldout"]) < 10


def test_published_rows_are_paid_for_their_answers_only(published: FunctionCallEnv) -> None:
    for task in published.tasks:
        gold = published.solve(task)
        assert play(published, task, gold)[0] == 1.0, task.id
        if calls := gold[0].get("tool_calls"):
            fewer = [{**gold[0], "tool_calls": calls[1:]}] if calls[1:] else [say("NO FUNCTION: f")]
            assert play(published, task, fewer)[0] == 0.0, task.id
            assert play(published, task, [call(*[("f", {})] * 3)])[0] == 0.0, task.id
        assert play(published, task, [say()])[0] == 0.0, task.id


def test_the_first_turn_with_calls_is_the_last(published: FunctionCallEnv) -> None:
    _, info = play(published, published.tasks.task(0), published.solve(published.tasks.task(0)))

    assert info["outcome"]["kind"] == "terminated"
    assert info["results"][0]["content"] == "Recorded."
    assert [message["role"] for message in info["messages"]] == ["assistant", "tool"]


def test_one_turn_is_enough_for_calls_that_decide() -> None:
    env = FunctionCallEnv(ROWS, limits=EpisodeLimits(turns=1))
    reward, info = play(env, env.tasks.task(0), env.solve(env.tasks.task(0)))

    assert (reward, info["outcome"]["reason"]) == (1.0, "answered")


class Calls(ChatModel):
    """Calls one function, and says nothing."""

    async def reply(self, messages: Any, tools: Any, **settings: Any) -> ChatReply:
        call = ToolCall("legal_case_fetch", {"case_id": "R vs Adams", "details": True})
        return ChatReply("", "", (call,))


@pytest.mark.parametrize("chat", [False, True])
def test_calls_decide_in_the_engine_too(
    published: FunctionCallEnv, codec: TokenCodec, chat: bool
) -> None:
    task = published.tasks.find("simple_python_172")
    written = {"name": "legal_case_fetch", "arguments": {"case_id": "R vs Adams", "details": True}}
    turn = f"hm\n</think>\n\n<tool_call>\n{json.dumps(written)}\n</tool_call><|im_end|>"
    policy = RecordingPolicy(ScriptedPolicy(codec, [turn]))
    engine = Engine(published, Calls()) if chat else Engine(published, policy, codec)
    [trajectory] = asyncio.run(engine.run([Assignment(task, "e", 0)]))

    assert trajectory.reward == 1.0
    assert trajectory.outcome.to_json() == {
        "kind": "terminated",
        "reason": "answered",
        "detail": "",
    }
    if not chat:
        assert audit(trajectory, policy.take("e")) == []
        assert "tool" not in trajectory.tokens


@pytest.mark.parametrize(
    ("words", "paid"),
    [
        ("NO FUNCTION: music_theory.get_blues_scale", True),
        ("It was Beethoven.\n**NO FUNCTION: `music_theory_get_blues_scale`.**\n", True),
        ("NO FUNCTION: get_composer", False),
        ("NO FUNCTION: ", False),
        ("NO FUNCTION: music_theory.get_blues_scale\nIt was Beethoven.", False),
        ("music_theory.get_blues_scale", False),
        ("Beethoven.", False),
        ("", False),
        (
            '[music_theory.get_blues_scale(key="C")]\nNO FUNCTION: music_theory.get_blues_scale',
            False,
        ),
    ],
)
def test_declining_has_a_form(published: FunctionCallEnv, words: str, paid: bool) -> None:
    task = published.tasks.find("irrelevance_175")

    assert play(published, task, [say(words)])[0] == float(paid)


@pytest.mark.parametrize(("words", "paid"), [("Beethoven.", 1.0), (" \n", 0.0)])
def test_without_the_form_any_answer_is_paid(words: str, paid: float) -> None:
    env = FunctionCallEnv(ROWS, statement=False)

    assert play(env, env.tasks.find("irrelevance_175"), [say(words)])[0] == paid
    assert "NO FUNCTION" not in env.reset(options={"task_id": "irrelevance_175"})[0]


def test_a_call_where_none_is_wanted_is_not_paid(published: FunctionCallEnv) -> None:
    task = published.tasks.find("irrelevance_175")
    turn = {**call(("music_theory_get_blues_scale", {"key": "C"})), "content": "NO FUNCTION: x"}

    assert play(published, task, [turn])[0] == 0.0


@pytest.mark.parametrize(
    "arguments", ['{"case_id": "R vs Adams", "details": tru', "[1]", "5", "{}"]
)
def test_what_is_no_call_is_not_paid(published: FunctionCallEnv, arguments: str) -> None:
    task = published.tasks.find("simple_python_172")

    assert play(published, task, [call(("legal_case_fetch", arguments))])[0] == 0.0


@pytest.mark.parametrize("name", ["legal_case.fetch", "legal_case_fetch"])
def test_a_name_with_a_dot_may_be_written_without(published: FunctionCallEnv, name: str) -> None:
    task = published.tasks.find("simple_python_172")
    arguments = {"case_id": "R vs Adams", "details": True}
    _, info = published.reset(options={"task": task})

    assert [tool["function"]["name"] for tool in info["tools"]] == ["legal_case_fetch"]
    assert play(published, task, [call((name, arguments))])[0] == 1.0
    assert play(published, task, [call((name, json.dumps(arguments)))])[0] == 1.0


def test_names_that_would_be_one_without_dots_keep_them() -> None:
    gold = [{"math.area": {}}]
    env = FunctionCallEnv(ListTaskSet([asked(gold, DOTTED)]))
    _, info = env.reset()

    names = [tool["function"]["name"] for tool in info["tools"]]
    assert names == ["math.area", "math_area", "math_side"]
    assert play(env, env.tasks.task(0), env.solve(env.tasks.task(0)))[0] == 1.0
    assert play(env, env.tasks.task(0), [call(("math_area", {}))])[0] == 0.0


def test_types_of_documents_become_those_of_json_schema() -> None:
    properties = {
        "point": {"type": "tuple", "items": {"type": "float"}},
        "any": {"type": "any"},
        "type": {"type": "dict", "properties": {"type": {"type": "float"}}, "required": True},
    }
    document = {"name": "f", "parameters": {"type": "dict", "properties": properties}}
    gold = [{"f": {"point": [[1.5]], "any": ["x"], "type": [{"type": [2.0]}]}}]
    env = FunctionCallEnv(ListTaskSet([asked(gold, [document])]))
    _, info = env.reset()

    assert info["tools"][0]["function"]["parameters"]["properties"] == {
        "point": {"type": "array", "items": {"type": "number"}},
        "any": {},
        "type": {"type": "object", "properties": {"type": {"type": "number"}}},
    }
    assert play(env, env.tasks.task(0), env.solve(env.tasks.task(0)))[0] == 1.0


ADD, LIST, MOVE = (
    "add_items(item='mug', shelf='B2', count=3)",
    "list_shelf(shelf='B2')",
    "move_items('lamp', 'A1', 'B2', 4)",
)
_ADD = ("add_items", {"item": "mug", "shelf": "B2", "count": 3})
_LIST = ("list_shelf", {"shelf": "B2"})
_MOVE = ("move_items", {"item": "lamp", "source": "A1", "target": "B2", "count": 4})


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([call(_ADD), say(), call(_LIST, _MOVE), say()], "match"),
        ([call(("add_items", {**_ADD[1], "count": "3"})), say(), call(_LIST), call(_MOVE), say()],
         "match"),
        ([call(_LIST, _ADD, ("find_item", {"item": "mug"})), say(), call(_LIST, _MOVE), say()],
         "match"),
        ([call(_ADD), say(), call(_MOVE), say()], "missing_response"),
        ([call(_ADD), say(), call(_MOVE, _LIST), say()], "missing_response"),
        ([call(_ADD, _MOVE), say(), call(_LIST), say()], "wrong_state"),
        ([call(_ADD), call(_ADD), say(), call(_LIST, _MOVE), say()], "wrong_state"),
        ([say(), call(_ADD), say()], "no_calls"),
        ([call(("add_items", {})), say(), call(_LIST, _MOVE), say()], "no_calls"),
        ([say("add_items(item='mug', shelf='B2', count=3)"), say()], "no_calls"),
    ],
)  # fmt: skip
def test_a_stock_room_is_judged_after_each_request(turns: list[Any], reason: str) -> None:
    task = stock([ADD], [LIST, MOVE])
    env = FunctionCallEnv(ListTaskSet([task]))
    reward, info = play(env, task, turns)

    assert info["reward_reasons"] == {"calls": reason}
    assert reward == float(reason == "match")


def test_a_user_follows_up_and_the_state_is_each_episodes_own() -> None:
    task = stock([ADD], [LIST])
    env = FunctionCallEnv(ListTaskSet([task]))
    for _ in range(2):
        env.reset()
        env.step(call(_ADD))
        observation, *_ = env.step(say())
        *_, info = env.step(call(_LIST))

        assert "Then do" in observation
        assert json.loads(info["results"][0]["content"]) == {"rope": 7, "mug": 3}


def test_an_episode_that_is_cut_is_not_paid() -> None:
    env = FunctionCallEnv(ListTaskSet([stock([ADD])]))
    env.reset()
    for _ in range(50):
        *_, info = env.step(call(_LIST))

    assert info["outcome"] == {"kind": "truncated", "reason": "turns", "detail": ""}
