"""`qwq/Retail-v0`: the shop of our own with its scripted customer, and tau2-bench's form."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.envs.retail.environment import RetailEnv
from qwq_env.envs.retail.shop import ShopTaskSet
from qwq_env.envs.retail.tasks import Tau2TaskSet, user_instructions
from qwq_env.envs.retail.tools import WRITERS, RetailTools
from qwq_env.errors import ToolError, UsageError
from qwq_env.evaluation.cheats import audit_rewards
from qwq_env.outcome import EpisodeLimits
from qwq_env.task import Task
from qwq_env.users import ChatUser
from tests.published import SAMPLES, sample_and_whole

SAMPLE = SAMPLES / "tau2_retail"
FOLDERS = sample_and_whole("tau2_retail", "data/tau2_retail")
SHOPS = [(difficulty, split) for difficulty in (1, 2, 3) for split in ("train", "heldout")]


def play(env: RetailEnv, index: int, turns: Sequence[Any]) -> tuple[float, dict[str, Any]]:
    """Return what the turns are paid and the last info; the episode must end with the last one."""
    env.reset(seed=0, options={"index": index})
    for number, turn in enumerate(turns, start=1):
        _, reward, terminated, truncated, info = env.step(turn)
        assert (terminated or truncated) == (number == len(turns)), (number, len(turns))
    return reward, info


def call(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}


def say(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": words}


def called(turn: dict[str, Any]) -> str:
    """Return the name of the tool that a turn calls, or ""."""
    return turn["tool_calls"][0]["function"]["name"] if turn.get("tool_calls") else ""


def last_change(tasks: Tau2TaskSet, task: Task) -> int | None:
    """Return the number of the last gold action that changes anything, None if none does."""
    tools, last = opened(tasks, task), None
    before = json.dumps(tools.state())
    for number, action in enumerate(task.metadata["actions"]):
        with contextlib.suppress(ToolError):
            getattr(tools, action["name"])(**action["arguments"])
        after = json.dumps(tools.state())
        last, before = (last if after == before else number), after
    return last


def opened(tasks: ShopTaskSet | Tau2TaskSet, task: Task) -> RetailTools:
    tools = RetailTools(tasks)
    tools.start(task)
    return tools


@pytest.mark.parametrize(("difficulty", "split"), SHOPS)
def test_whoever_keeps_the_policy_is_paid(difficulty: int, split: str) -> None:
    env = RetailEnv(difficulty=difficulty, split=split)
    for index in range(24):
        reward, info = play(env, index, env.solve(env.tasks.task(index)))

        assert reward == 1.0, (index, info["reward_reasons"])
        assert not info["errors"]


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_nothing_changes_without_a_yes(difficulty: int) -> None:
    env = RetailEnv(difficulty=difficulty)
    for index in range(16):
        task = env.tasks.task(index)
        turns = list(env.solve(task))
        changing = [turn for turn in turns if called(turn) in WRITERS]
        if not changing:
            continue
        # The right call, before the customer has been asked.
        env.reset(options={"index": index})
        for turn in [*turns[:2], *changing]:
            env.step(turn)
        ended, reward, info = False, 0.0, {}
        while not ended:
            _, reward, ended, _, info = env.step(say("Done. It cannot be undone."))

        assert reward == 0.0
        assert env.episode is not None
        assert {"consent", "said", "database"} & info["reward_components"].keys()


def test_the_right_call_unasked_is_named() -> None:
    env = RetailEnv()
    index, change = next(
        (index, turn)
        for index in range(50)
        for turn in env.solve(env.tasks.task(index))
        if called(turn) in WRITERS
    )
    turns = env.solve(env.tasks.task(index))
    reward, info = play(env, index, [*turns[:2], change, *[say("Done.")] * 4])

    assert reward == 0.0
    assert info["reward_reasons"] == {"database": "equal", "said": "said", "consent": "unasked"}


def test_one_who_changes_their_mind_gets_what_they_want_last() -> None:
    env = RetailEnv(difficulty=2)
    index, wish = next(
        (index, wish)
        for index in range(50)
        for wish in env.tasks.task(index).metadata["script"]["wishes"]
        if wish.get("second")
    )
    turns = list(env.solve(env.tasks.task(index)))
    env.reset(options={"index": index})
    said = [step[0] for turn in turns for step in [env.step(turn)]]
    asked = [number for number, text in enumerate(said) if wish["second"] in text]

    assert len(asked) == 1
    assert "Yes, please do that" in said[asked[0] + 1]


def test_a_customer_leaves_an_agent_who_gets_nowhere() -> None:
    env = RetailEnv(limits=EpisodeLimits(turns=9))
    reward, info = play(env, 0, [say("Hm.")] * 5)

    assert reward == 0.0
    assert info["outcome"]["reason"] == "answered"


def test_a_customer_is_not_fooled_by_another_name() -> None:
    env = RetailEnv()
    task = env.tasks.task(0)
    [other, *_] = [
        user for name, user in env.tasks.database(task).users.items()
        if name != task.metadata["script"]["user_id"]
    ]  # fmt: skip
    env.reset(options={"index": 0})
    env.step(call("find_user_id_by_email", email=other["email"]))
    observation, *_ = env.step(say("How can I help you?"))

    assert task.metadata["script"]["identity"] in observation


def test_a_shop_is_the_same_wherever_it_is_made() -> None:
    tasks = ShopTaskSet(seed=3, difficulty=2, split="heldout")
    task = tasks.task(5)
    copy = pickle.loads(pickle.dumps(tasks))

    assert copy.find(task.id) == task == ShopTaskSet(seed=3, difficulty=2, split="heldout").task(5)
    assert copy.database(task).orders == tasks.database(task).orders
    assert task.id == "retail/2/heldout/3/5"
    assert task.prompt == (
        "Hi there! My order with the umbrella has come. I want to exchange the umbrella for one"
        " with canopy clear, the rest as it is."
    )
    assert json.loads(json.dumps(task.metadata)) == task.metadata


def words_of(value: Any) -> Iterator[str]:
    """Yield names and numbers of records and tasks: capitalised words, and what has digits."""
    yield from re.findall(r"[#\w.]*\d[\w.]*\d|[A-Z][a-z]+\.?[A-Z]?\w*", json.dumps(value))


def test_the_splits_share_no_names_and_no_numbers() -> None:
    found: dict[str, set[str]] = {}
    for split in ("train", "heldout"):
        tasks = ShopTaskSet(difficulty=3, split=split)
        databases = [tasks.database(tasks.task(index)) for index in range(60)]
        records = [[data.users, data.orders, data.products] for data in databases]
        found[split] = set(words_of(records))
        found[split] -= {"Apt"}  # what every address has

    assert len(found["train"]) > 1000
    assert not found["train"] & found["heldout"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_gold_actions_are_paid_and_nothing_less(folder: Path) -> None:
    env = RetailEnv(folder, split="base")
    changing = 0
    for index, task in enumerate(env.tasks):
        turns = list(env.solve(task))

        assert play(env, index, turns)[0] == 1.0, task.id
        last = last_change(env.tasks, task)
        if last is not None:
            changing += 1
            assert play(env, index, turns[:last] + turns[last + 1 :])[0] == 0.0, task.id
        if task.metadata["communicate_info"]:
            assert play(env, index, [*turns[:-1], say("All is done.")])[0] == 0.0, task.id
        assert play(env, index, [*turns[:-1], say(" \n")])[0] == 0.0, task.id
        assert play(env, index, turns[-1:])[0] == (0.0 if last is not None else 1.0), task.id

    # Of 114, ten have nothing to change, and the gold action of one is refused.
    assert changing == {3: 3, 114: 103}[len(list(env.tasks))]


class Lines(ChatModel):
    """Says its lines, and keeps what it heard last."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.heard: list[Any] = []

    async def reply(self, messages: Any, tools: Any, **settings: Any) -> ChatReply:
        self.heard = list(messages)
        return ChatReply("", self.lines.pop(0))


def test_a_model_plays_the_customer() -> None:
    model = Lines("Visa, please.", "###STOP###")
    user = ChatUser(model, user_instructions)
    env = RetailEnv(SAMPLE, split="test", user=user)
    task = env.tasks.find("40")
    _, info = env.reset(options={"task_id": "40"})
    observation, *_ = env.step(say("What can I do for you?"))
    for turn in env.solve(task):
        _, reward, ended, *_ = env.step(turn)

    assert info["messages"][1] == {"role": "user", "content": "Hello, I need some help, please."}
    assert "Visa, please." in observation
    assert (ended, reward) == (True, 1.0)
    assert "isabella.lopez3271@example.com" in model.heard[0]["content"]
    assert [message["content"] for message in model.heard[2:5]] == [
        "Hello, I need some help, please.", "What can I do for you?", "Visa, please."
    ]  # fmt: skip


def test_a_system_prompt_stands_before_the_policy() -> None:
    env = RetailEnv(SAMPLE, split="base", system_prompt="Be brief.")
    system = env.reset()[1]["messages"][0]["content"]

    assert system.startswith("Be brief.\n\n# Retail agent policy")


@pytest.mark.parametrize("arguments", [{"difficulty": 3}, {"tasks": SAMPLE, "split": "base"}])
def test_random_policies_raise_nothing(arguments: dict[str, Any]) -> None:
    env = gym.make("qwq/Retail-v0", **arguments).unwrapped
    chance = random.Random(5)
    tools = list(env.settings.tools)
    for number in range(50):
        env.reset(seed=number)
        ended = False
        while not ended:
            tool = chance.choice(tools)
            known = env.tasks.database(env.episode.task)
            texts = [*known.users, *known.orders, *known.variants, "", "yes", "no longer needed"]
            values = {
                name: [chance.choice(texts)] if schema["type"] == "array" else chance.choice(texts)
                for name, schema in tool.parameters["properties"].items()
            }
            turn = call(tool.name, **values) if chance.random() < 0.8 else say(chance.choice(texts))
            _, reward, terminated, truncated, _ = env.step(turn)
            ended = terminated or truncated

        assert reward in (0.0, 1.0)
    env.close()


def test_cheats_are_not_paid() -> None:
    for difficulty in (1, 2, 3):
        *cheats, _ = audit_rewards(RetailEnv(difficulty=difficulty), tasks=8)

        assert all(not paid.mean for paid in cheats)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": "nowhere"}, "tasks: 'nowhere'; expected 'shop', a folder"),
        ({"tasks": 3}, "tasks: 3"),
        ({"user": "me"}, "user: 'me'; expected one with reply"),
        ({"difficulty": 4}, "difficulty: 4; expected 1 to 3"),
        ({"split": "test"}, "split: 'test' is not known"),
        ({"tasks": SAMPLE}, "split: 'train' of .* holds no task"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RetailEnv(**arguments)


def test_a_task_of_another_shop_is_refused() -> None:
    with pytest.raises(KeyError):
        ShopTaskSet().find("retail/1/train/1/0")
    with pytest.raises(UsageError, match="is not of this shop"):
        ShopTaskSet().database(Task("retail/2/train/0/1", "", ""))
