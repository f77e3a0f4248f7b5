"""Environments side by side: whose task it is decides the tools, the reward and the limits."""

from __future__ import annotations

import json
import pickle
from collections import Counter

import gymnasium as gym
import numpy as np
import pytest

from qwq_env import portal
from qwq_env.env import ToolEnv
from qwq_env.envs.curriculum import Curriculum
from qwq_env.envs.mixture import MixtureEnv
from qwq_env.envs.mixture_tasks import quotas
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.evaluation.cheats import audit_rewards, faults
from qwq_env.evaluation.summary import summarize_evaluation
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.vector import ToolVectorEnv


@tool(blocking=False)
def look() -> str:
    """Look."""
    return "seen"


def same(final) -> float:
    return float(final.answer == final.task.answer)


class Own(ToolEnv):
    """Says a number; its reward and replies know its tasks by their own ids."""

    def __init__(self, count=4, first=0, *, tools=(), split="all", **options):
        if first < 0:
            raise ValueError("no number below 0")
        tasks = [Task(f"t{n}", f"Say {n}.", str(n)) for n in range(first, first + count)]
        rubric = Rubric([Component("same", self.judge)])
        super().__init__(ListTaskSet(tasks), tools, rubric, **options)

    def judge(self, final) -> float:
        return same(final) * (self.tasks.find(final.task.id) is not None)


class Asks(Own):
    """Asks once whether that is sure."""

    def reply(self, episode):
        assert episode.task.id.startswith("t")
        return "Sure?" if len(episode.turns) == 1 else None


@pytest.fixture(scope="module", autouse=True)
def registered():
    gym.register("own/Own-v0", entry_point=Own, disable_env_checker=True)
    yield
    gym.registry.pop("own/Own-v0")


LADDER = {"id": "qwq/MathTool-v0", "tools": ["calculator"], "difficulty": [1, 2, 3]}


def played(env, task_id: str, *turns):
    prompt, first = env.reset(options={"task_id": task_id})
    for turn in turns:
        _, reward, _, _, info = env.step(turn)
    return prompt, first, reward, info


def test_each_task_has_its_members_tools_reward_replies_and_limits():
    asks = Asks(limits=EpisodeLimits(turns=3), system_prompt="Be sure.")
    env = MixtureEnv({"plain": Own(tools=[look]), "asks": asks}, system_prompt="Hello.")
    plain = played(env, "plain/t2", "</think>\n\n2")
    asked = played(env, "asks/t3", "</think>\n\n3", "</think>\n\n3")

    assert [entry["function"]["name"] for entry in plain[1]["tools"]] == ["look"]
    assert asked[1]["tools"] == [] and "Hello.\n\nBe sure." in asked[0]
    assert (plain[2], asked[2]) == (1.0, 1.0)
    assert plain[3]["reward_components"] == {"plain/same": 1.0}
    assert asked[3]["reward_components"] == {"asks/same": 1.0}
    assert (plain[3]["limits"]["turns"], asked[3]["limits"]["turns"]) == (16, 3)
    assert [each[3]["member"] for each in (plain, asked)] == ["plain", "asks"]
    assert [each[1]["member"] for each in (plain, asked)] == ["plain", "asks"]
    assert plain[3]["task_id"] == "plain/t2"


def test_limits_of_the_mixture_bound_those_of_the_members():
    env = MixtureEnv([Own(limits=EpisodeLimits(turns=3)), Own()], limits=EpisodeLimits(turns=8))
    turns = {name: played(env, f"{name}/t0", "")[3]["limits"]["turns"] for name in env.members}

    assert turns == {"Own": 3, "Own-2": 8}
    assert env.members["Own"].settings.limits.turns == 3


def test_members_without_a_name_get_one_of_their_own():
    gym.register("own/My-Own-v0", entry_point=Own, disable_env_checker=True)
    env = MixtureEnv(["own/My-Own-v0", ("own/My-Own-v0", 2), {"id": "own/Own-v0"}, Own(), Own()])
    gym.registry.pop("own/My-Own-v0")

    assert list(env.members) == ["My-Own", "My-Own-2", "Own", "Own-2", "Own-3"]
    assert env.tasks.size == 20


def test_shares_are_exact_and_each_member_gives_its_tasks_in_turn():
    env = MixtureEnv({"a": (Own(50), 3), "b": (Own(50), 1)}, repeat=True)
    ids = [env.tasks.task(index).id for index in range(64)]

    assert Counter(task_id[0] for task_id in ids) == {"a": 48, "b": 16}
    assert [i for i in ids if i[0] == "b"] == [f"b/t{n}" for n in range(16)]
    assert ids == [env.tasks.task(index).id for index in range(64)]
    other = MixtureEnv({"a": (Own(50), 3), "b": (Own(50), 1)}, repeat=True, task_seed=1)
    assert ids != [other.tasks.task(index).id for index in range(64)]


@pytest.mark.parametrize(
    "weights", [(1,), (1, 1), (1, 2, 4), (0.7, 0.2, 0.1), (1 / 3, 2 / 3), (1, 1e6), (0.123457, 0.9)]
)
def test_a_block_has_the_shares(weights):
    counts = np.array(quotas(tuple(weights)))
    shares = np.array(weights) / sum(weights)

    assert counts.min() >= 1
    assert np.abs(counts / counts.sum() - shares).max() <= 1e-4


def test_reset_draws_by_weight_whatever_the_sizes():
    env = MixtureEnv({"few": (Own(2), 3), "many": (Own(500), 1)})
    generator = np.random.default_rng(0)
    drawn = Counter(env.tasks.sample(generator).id.partition("/")[0] for _ in range(2000))

    assert abs(drawn["few"] / 2000 - 0.75) < 0.04


def test_finite_members_come_once_each_and_with_an_endless_one_again():
    once = MixtureEnv({"a": Own(3), "b": Own(40)})
    mixed = MixtureEnv({"a": Own(3), "math": "qwq/MathTool-v0"})

    assert once.tasks.size == 43 == len({task.id for task in once.tasks})
    assert mixed.tasks.size is None
    assert Counter(mixed.tasks.task(i).id for i in range(64))["a/t1"] == 11


def test_every_task_is_found_again_by_its_id():
    env = MixtureEnv({"a": Own(), "ladder": LADDER})

    for task in (env.tasks.task(index) for index in range(20)):
        assert env.tasks.find(task.id) == task
    assert env.tasks.find("ladder/arithmetic/3/train/0/7").metadata["difficulty"] == 3
    for unknown in ("a/t9", "b/t0", "t0", "ladder/arithmetic/4/train/0/7", ""):
        with pytest.raises(KeyError):
            env.tasks.find(unknown)


def test_a_mixture_of_mixtures_names_all():
    inner = MixtureEnv({"one": Own(), "two": Asks()})
    env = MixtureEnv({"in": inner, "out": Own()})
    *_, info = played(env, "in/two/t1", "</think>\n\n1", "</think>\n\n1")

    assert info["reward_components"] == {"in/two/same": 1.0}
    assert (info["task_id"], info["member"]) == ("in/two/t1", "in")
    assert audit_rewards(env, tasks=8)[-1].members == {"in/one": 1.0, "in/two": 1.0, "out": 1.0}


def test_a_task_of_no_member_is_refused():
    env = MixtureEnv({"a": Own()})
    with pytest.raises(UsageError, match=r"'t0' is of no member; expected member/id, of a"):
        env.reset(options={"task": Task("t0", "?", "")})
    with pytest.raises(UsageError, match="no task"):
        env.reset(options={"task_id": "b/t0"})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "none; expected at least one"),
        ("qwq/MathTool-v0", "expected names and members"),
        ({"a/b": Own()}, "expected a name without '/'"),
        ({"a": 3}, "member a: 3; expected an id"),
        ({"a": {"weight": 2}}, "member a: id: None; expected that of"),
        ({"a": "qwq/MathTol-v0"}, r"member a: environment: .*MathTool"),
        ({"a": {"id": "qwq/MathTool-v0", "difficulty": 9}}, "member a: difficulty: 9; expected"),
        ({"a": {"id": "qwq/MathTool-v0", "dificulty": 1}}, "member a: .*did you mean 'difficulty'"),
        ({"a": {"id": "own/Own-v0", "first": -1}}, "member a: ValueError: no number below 0"),
        ({"a": {"id": "own/Own-v0", "limits": {"turn": 1}}}, "member a: limits: 'turn'.*'turns'"),
        ({"a": {"id": "nowhere:own/Own-v0"}}, "member a: .*nowhere"),
        ({"a": {"id": "CartPole-v1"}}, "member a: .*no ToolEnv"),
        ({"a": (Own(), 0)}, "member a: weight: 0; expected a finite number above 0"),
        ({"a": (Own(), float("inf"))}, "member a: weight: inf"),
        ({"a": (Own(), "2")}, "member a: weight: '2'"),
        ({"a": {**LADDER, "weight": [1, 2]}}, "weight: .*one for each difficulty"),
        ({"a": {**LADDER, "difficulty": []}}, "member a: difficulty: no level"),
        ({"a": Own(), "b": Own(dialect="react")}, r"a: qwq, b: react\); expected dialect="),
    ],
)
def test_what_cannot_be_a_member_is_named(members, words):
    with pytest.raises(UsageError, match=words):
        MixtureEnv(members)


def test_machinery_that_fails_is_named_too():
    def fail(**arguments):
        raise InfrastructureError("no server")

    gym.register("own/Fail-v0", entry_point=fail, disable_env_checker=True)
    with pytest.raises(InfrastructureError, match="member b: no server"):
        MixtureEnv({"a": Own(), "b": "own/Fail-v0"})
    gym.registry.pop("own/Fail-v0")


def test_one_dialect_is_spoken_and_members_stay_as_they_were():
    given = Own(dialect="react")
    env = MixtureEnv([given, Own()], dialect="tags")
    env.reset(options={"task_id": "Own/t1"})

    assert env.episode.settings.dialect.name == "tags" == env.settings.dialect.name
    assert given.settings.dialect.name == "react" == MixtureEnv([given]).settings.dialect.name


def test_the_splits_share_no_task_whatever_the_members_know():
    members = {"math": "qwq/MathTool-v0", "file": "own/Own-v0", "given": Own(9)}
    train, heldout = (
        {task.prompt for task in (env.tasks.task(i) for i in range(60))}
        for env in (MixtureEnv(members, split=split) for split in ("train", "heldout"))
    )

    assert not train & heldout
    assert {"Say 0.", "Say 4.", "Say 8."} <= heldout and {"Say 1.", "Say 7."} <= train
    with pytest.raises(UsageError, match="member one: tasks: 1; expected 2 or more"):
        MixtureEnv({"one": Own(1)}, split="train")


def test_every_mixture_can_be_pickled_and_stepped_side_by_side():
    env = pickle.loads(pickle.dumps(MixtureEnv({"a": Own(), "asks": Asks()})))
    envs = ToolVectorEnv(lambda: MixtureEnv({"a": Own(), "asks": Asks()}), 6)
    observations, infos = envs.reset(seed=3)
    *_, ended = envs.step(["</think>\n\n1"] * 6)
    singles = [env.reset(seed=3 + index) for index in range(6)]
    envs.close()

    assert list(observations) == [prompt for prompt, _ in singles]
    assert list(infos["member"]) == [info["member"] for _, info in singles]
    assert set(infos["member"]) == {"a", "asks"}
    assert [m == "a" for m in ended["member"]] == [bool(each) for each in ended["_outcome"]]


def test_a_member_that_pays_cheats_is_not_hidden_by_the_others():
    class Lax(Own):
        def judge(self, final) -> float:
            return 1.0

    sound = audit_rewards(MixtureEnv({"a": Own(), "b": Asks()}), tasks=8)
    lax = faults(
        audit_rewards(MixtureEnv({"a": (Own(60), 59), "lax": (Lax(1), 1)}), tasks=61), 0.05
    )

    assert faults(sound, 0.05) == []
    assert "cheat do nothing in lax: 1.000, expected at most 0.05" in lax
    assert not any("in a:" in fault for fault in lax)


def test_episodes_of_the_engine_are_named_and_told_by_member(codec):
    env = MixtureEnv({"a": Own(tools=[look]), "b": Own()})
    policy = ScriptedPolicy(codec, ["</think>\n\n1"])
    assignments = [Assignment(task, task.id, 0) for task in env.tasks]
    trajectories = portal.run(Engine(env, policy, codec).run(assignments))
    summary = summarize_evaluation(trajectories, env.members)

    assert [t.task_id for t in trajectories] == [task.id for task in env.tasks]
    assert all(set(t.scores) == {f"{t.task_id[0]}/same"} for t in trajectories)
    assert {name: mean.value for name, mean in summary.members.items()} == {"a": 0.25, "b": 0.25}
    only_a = [t for t in trajectories if t.task_id[0] == "a"]
    assert summarize_evaluation(only_a, env.members).members["b"] is None


WINDOW = Curriculum(window=4, up=0.75, down=0.5)


def climb(env: MixtureEnv, rewards, level: int = 1) -> int:
    for number, reward in enumerate(rewards):
        env.record(f"ladder/arithmetic/{level}/train/0/{number}", reward)
    return env.progress()["ladder"]["level"]


def test_a_curriculum_follows_the_pass_rate_up_and_down():
    env = MixtureEnv({"ladder": {**LADDER, "weight": [1, 3, 1]}, "a": Own()}, curriculum=WINDOW)
    before = [env.tasks.task(index).id for index in range(64)]

    assert climb(env, [1.0, 1.0, None, float("nan"), 0.0]) == 0  # three were graded
    assert climb(env, [1.0]) == 1
    after = [env.tasks.task(index) for index in range(64)]
    assert {task.metadata["difficulty"] for task in after if task.metadata} == {2}
    assert Counter(task.id[0] for task in after) == {"l": 48, "a": 16}
    assert Counter(task_id[0] for task_id in before) == {"l": 32, "a": 32}
    assert climb(env, [1.0] * 8, level=1) == 1  # begun before the level changed
    assert climb(env, [1.0, 0.0, 0.0, 1.0], level=2) == 1  # between the bounds
    assert climb(env, [0.0], level=2) == 0
    assert [env.tasks.task(index).id for index in range(64)] == before
    assert climb(env, [0.0] * 9) == 0  # the lowest


def test_without_records_nothing_moves_and_a_member_without_levels_needs_none():
    env = MixtureEnv({"ladder": LADDER, "a": Own()})
    env.record("a/t1", 1.0)

    assert env.progress() == {"ladder": {"level": 0, "recent": []}}
    with pytest.raises(UsageError, match="of no member"):
        env.record("b/t1", 1.0)


def test_a_curriculum_goes_on_where_its_state_was_taken():
    members = {"ladder": LADDER, "a": Own()}
    env, other = (MixtureEnv(members, curriculum=WINDOW) for _ in range(2))
    climb(env, [1.0] * 5)
    climb(env, [1.0, 0.0], level=2)
    other.restore(json.loads(json.dumps(env.progress())))
    copied = pickle.loads(pickle.dumps(env))
    for each in (env, other, copied):
        climb(each, [1.0, 1.0], level=2)

    assert env.progress() == other.progress() == copied.progress()
    assert env.progress()["ladder"]["level"] == 2
    assert [env.tasks.task(i) for i in range(20)] == [other.tasks.task(i) for i in range(20)]


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"b": {"level": 0, "recent": []}},
        {"ladder": {"level": 3, "recent": []}},
        {"ladder": {"level": True, "recent": []}},
        {"ladder": {"level": 0, "recent": [1]}},
        {"ladder": []},
    ],
)
def test_a_state_of_another_mixture_is_refused(state):
    env = MixtureEnv({"ladder": LADDER})
    with pytest.raises(UsageError, match="progress"):
        env.restore(state)
    assert env.progress() == {"ladder": {"level": 0, "recent": []}}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"windw": 3}, "did you mean 'window'"),
        ({"window": 0}, "window: 0; expected"),
        ({"up": 1.5}, "up: 1.5; expected a share"),
        ({"up": 0.3, "down": 0.3}, "down: 0.3; expected less than up"),
        ({"passing": 0}, "passing: 0"),
        (3, "expected a Curriculum"),
    ],
)
def test_bad_curricula_are_named(given, words):
    with pytest.raises(UsageError, match=words):
        MixtureEnv({"a": Own()}, curriculum=given)
