"""The audit of rewards: it passes sound environments and catches those that pay cheats."""

from __future__ import annotations

import json

import gymnasium as gym
import pytest

from qwq_env.cli import main
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, ToolError
from qwq_env.evaluation.cheats import audit_rewards, faults, is_sound
from qwq_env.grading.score import Score
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool_set import ToolSet
from qwq_env.users import ScriptedUser

TASKS = ListTaskSet([Task(f"t{i}", f"Give {i * 37}.", str(i * 37)) for i in range(12)])


def audited(reward) -> dict[str, float]:
    env = ToolEnv(TASKS, [], Rubric([Component("reward", reward)]))
    return {paid.policy: paid.mean for paid in audit_rewards(env, tasks=12)}


def test_exact_match_is_sound():
    paid = audited(lambda final: float(final.answer == final.task.answer))

    assert paid.pop("oracle") == 1.0
    assert max(paid.values()) <= 0.05


def test_containment_pays_for_lists_and_prompts():
    paid = audited(lambda final: float(final.task.answer in final.answer))

    assert paid["list everything"] == 1.0
    assert paid["copy the prompt"] == 1.0


def test_grading_the_whole_text_pays_for_thinking():
    paid = audited(lambda final: float(final.task.answer in final.turns[-1].text))

    assert paid["answer in the thinking"] == 1.0


def test_counting_words_pays_for_characters_that_nobody_sees():
    paid = audited(lambda final: float(len(set(final.answer.split())) < 9 < len(final.answer) / 9))

    assert paid["unseen characters"] == 1.0


def test_constant_reward_is_caught():
    env = ToolEnv(TASKS, [], Rubric([Component("reward", lambda final: 1.0)]))
    results = audit_rewards(env, tasks=4)

    assert not is_sound(results, threshold=0.5)


def test_reward_that_never_pays_is_caught():
    env = ToolEnv(TASKS, [], Rubric([Component("reward", lambda final: 0.0)]))

    assert not is_sound(audit_rewards(env, tasks=4), threshold=0.5)


def test_oracle_that_cannot_be_graded_is_caught():
    def sometimes(final):
        right = final.answer == final.task.answer
        return Score.undecided("timeout") if right and final.task.id == "t3" else float(right)

    env = ToolEnv(TASKS, [], Rubric([Component("reward", sometimes)]))
    *_, oracle = results = audit_rewards(env, tasks=12)

    assert oracle.mean == 1.0
    assert oracle.undecided == 1
    assert not is_sound(results, threshold=0.5)


def test_what_was_never_decided_has_no_mean():
    env = ToolEnv(TASKS, [], Rubric([Component("reward", lambda final: Score.undecided("x"))]))
    results = audit_rewards(env, tasks=4)

    assert {paid.mean for paid in results if paid.policy != "unclosed thinking"} == {None}
    assert not is_sound(results, threshold=0.5)


@pytest.mark.parametrize("tasks", ["1", "0", "-3"])
def test_too_few_tasks(capsys, tasks):
    assert main(["check", "grader", "qwq/MathTool-v0", "--tasks", tasks]) == 2
    assert "expected 2 or more" in capsys.readouterr().err


def test_math_environment_is_sound(capsys):
    code = main(["check", "grader", "qwq/MathTool-v0", "--tasks", "24", "--json"])

    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["sound"]
    # A list of hundreds of numbers may be too much to look at; that is not paid either.
    undecided = {paid["policy"] for paid in report["paid"] if paid["undecided"]}
    assert undecided <= {"list everything"}


@pytest.mark.parametrize("env_id", ["qwq/MathTol-v0", "CartPole-v1"])
def test_environment_that_is_none(capsys, env_id):
    assert main(["check", "grader", env_id]) == 2
    assert "environment" in capsys.readouterr().err


NAMES = ["ann", "bob", "cleo", "dan"]


class Bank(ToolSet):
    """An account book."""

    blocking = False

    def start(self, task: Task) -> None:
        if task.metadata.get("broken"):
            raise InfrastructureError("no database")
        self.accounts = dict.fromkeys(NAMES, 100)

    def transfer(self, source: str, target: str, amount: int) -> str:
        """Move money from one account to another."""
        if source not in self.accounts or target not in self.accounts or amount < 1:
            raise ToolError("no such account, or no such amount")
        self.accounts[source] -= amount
        self.accounts[target] += amount
        return "done"

    def state(self) -> dict[str, int]:
        return self.accounts


def errand(number: int, **metadata: object) -> Task:
    source, target = NAMES[number % 4], NAMES[(number + 1) % 4]
    accounts = dict.fromkeys(NAMES, 100) | {source: 100 - 31 - number, target: 131 + number}
    metadata |= {"source": source, "target": target, "amount": 31 + number}
    prompt = f"Please move {31 + number} dollars from {source} to {target}."
    return Task(f"t{number}", prompt, accounts, metadata=metadata)


class BankEnv(ToolEnv):
    """Money is moved; paid by how the accounts stand at the end, and solved by calls alone."""

    def __init__(self, reward=None, *, limits: EpisodeLimits | None = None, **metadata) -> None:
        def right_state(final) -> float:
            return float(final.state["Bank"] == final.task.answer)

        tasks = ListTaskSet([errand(number, **metadata) for number in range(24)])
        rubric = Rubric([Component("state", reward or right_state)])
        super().__init__(tasks, [Bank], rubric, limits=limits)

    def solve(self, task: Task):
        arguments = {name: task.metadata[name] for name in ("source", "target", "amount")}
        function = {"name": "transfer", "arguments": arguments}
        call = {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}
        return [call, "</think>\n\nDone."]


class Desk(BankEnv):
    """A bank whose user says something after each answer."""

    user = ScriptedUser(["Are you sure?", "And what else?"])

    def reply(self, episode):
        return self.user.reply(episode)


class Chatty(BankEnv):
    """A bank whose user never ends."""

    def reply(self, episode):
        return "Go on."


def paid_for_any_transfer(final) -> float:
    return float(any(result.content == "done" for result in final.results))


def paid_for_calling(final) -> float:
    return float(len(final.results) > 1)


@pytest.mark.parametrize("kind", [BankEnv, Desk])
def test_an_environment_whose_actions_are_paid_is_sound(kind):
    results = audit_rewards(kind(), tasks=24)

    assert faults(results, 0.05) == []
    assert results[-1].mean == 1.0


@pytest.mark.parametrize(
    ("reward", "cheat"),
    [
        (paid_for_any_transfer, "random calls"),
        (paid_for_calling, "the same call again"),
        (lambda final: float(min(final.state["Bank"].values()) >= 0), "do nothing"),
    ],
)
@pytest.mark.parametrize("kind", [BankEnv, Desk])
def test_cheats_that_act_are_told(kind, reward, cheat):
    found = faults(audit_rewards(kind(reward), tasks=24), 0.05)

    assert any(fault.startswith(f"cheat {cheat}: ") for fault in found), found


def test_an_episode_without_end_is_cut_and_graded_if_that_is_wanted():
    assert faults(audit_rewards(Chatty(), tasks=2), 0.05) == ["oracle: 0.000, expected 1"]

    graded = Chatty(limits=EpisodeLimits(grade_truncated=True))
    assert faults(audit_rewards(graded, tasks=2), 0.05) == []


@pytest.mark.parametrize("most", [{"turns": 2}, {"tool_calls": 1}])
def test_cheats_that_act_stay_within_the_limits(most):
    def paid_for_one_call(final) -> float:
        return float(len(final.results) == 1)

    paid = audit_rewards(BankEnv(paid_for_one_call, limits=EpisodeLimits(**most)), tasks=4)

    assert {each.policy: each.mean for each in paid}["the same call again"] == 1.0


def test_what_our_machinery_loses_is_told_of_the_oracle():
    [fault] = faults(audit_rewards(BankEnv(broken=True), tasks=3), 0.05)

    assert fault.startswith("oracle: undecided in 3 of 3 (")
    assert "no database" in fault


class Unsolved(BankEnv):
    """Knows how to solve half of its tasks by calls."""

    def __init__(self) -> None:
        super().__init__(lambda final: float(len(final.results) == 1 or final.answer == "{}"))
        self.tasks = ListTaskSet([errand(1), Task("said", "Say {}.", {})])

    def solve(self, task: Task):
        return super().solve(task) if task.id == "t1" else None


def test_an_oracle_that_only_says_the_answer_is_told(capsys):
    without_tools = ToolEnv(TASKS, [], Rubric([Component("reward", lambda final: 1.0)]))
    gym.register("unsolved/Bank-v0", entry_point=Unsolved)

    assert [audit_rewards(env, tasks=2)[-1].printed for env in (without_tools, Unsolved())] == [
        0,
        1,
    ]
    main(["check", "grader", "unsolved/Bank-v0", "--tasks", "2"])
    assert "in 1 of 2 tasks the oracle only said the answer" in capsys.readouterr().out
    gym.registry.pop("unsolved/Bank-v0")


@pytest.fixture
def registered():
    ids = {"sound/Bank-v0": None, "any/Bank-v0": paid_for_any_transfer, "no/Bank-v0": lambda _: 0.0}
    for name, reward in ids.items():
        gym.register(name, entry_point=lambda reward=reward: BankEnv(reward))
    yield
    for name in ids:
        gym.registry.pop(name)


@pytest.mark.parametrize(
    ("env_id", "code", "said"),
    [
        ("sound/Bank-v0", 0, "only the oracle is paid"),
        ("any/Bank-v0", 1, "cheat random calls: "),
        ("any/Bank-v0", 1, ", expected at most 0.05"),
        ("no/Bank-v0", 1, "oracle: 0.000, expected 1"),
    ],
)
def test_the_last_line_says_what_failed(registered, capsys, env_id, code, said):
    assert main(["check", "grader", env_id, "--tasks", "24"]) == code
    assert said in capsys.readouterr().out.splitlines()[-1]


def test_the_report_says_what_failed(registered, capsys):
    assert main(["check", "grader", "no/Bank-v0", "--tasks", "4", "--json"]) == 1

    report = json.loads(capsys.readouterr().out)
    assert (report["sound"], report["failed"]) == (False, ["oracle: 0.000, expected 1"])
