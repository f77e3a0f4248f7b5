"""Any registered environment can be trained in; what it does not take is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.rollout.store import read_episodes
from qwq_env.training.environments import environments
from qwq_env.training.recipe import EnvironmentRecipe, Recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny.yaml"
SMALL = [
    "cold_start.steps=2", "cold_start.batch=4", "cold_start.transcripts=32",
    "grpo.steps=1", "grpo.episodes=8",
    "grpo.max_completion_tokens=40", "evaluation.tasks=4", "evaluation.samples=1",
]  # fmt: skip
MODULE = """\
import gymnasium
from qwq_env.env import ToolEnv
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task, TaskSet
from qwq_env.tool import tool

@tool(blocking=False)
def look() -> str:
    "Look."
    return "seen"

class Own(ToolEnv):
    def __init__(self, count=20, render_mode=None):
        tasks = ListTaskSet([Task(f"t{i}", f"Say {i}", str(i)) for i in range(count)])
        rubric = Rubric([Component("match", lambda f: float(f.answer == f.task.answer))])
        super().__init__(tasks, [look], rubric, render_mode=render_mode)

class Numbers(TaskSet):
    size = None
    def task(self, index):
        return Task(f"n{index}", f"Say {index}", str(index))
    def find(self, task_id):
        return self.task(int(task_id[1:]))

class Endless(Own):
    def __init__(self, render_mode=None):
        super().__init__(render_mode=render_mode)
        self.tasks = Numbers()

gymnasium.register("own/Say-v0", entry_point=Own)
gymnasium.register("own/Endless-v0", entry_point=Endless)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_say.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_say:own/Say-v0"


def of(count: int = 4, **environment) -> Recipe:
    recipe = Recipe(environment=EnvironmentRecipe(**environment))
    return replace(recipe, evaluation=replace(recipe.evaluation, tasks=count))


def trains_a_step(runs: Path, *arguments: str) -> list:
    code = main(["train", str(RECIPE), "--runs", str(runs), *SMALL, *arguments])

    summary = json.loads((runs / "tiny" / "summary.json").read_text())
    assert code == 0
    assert summary["steps"] == 1
    return list(read_episodes(runs / "tiny" / "episodes.jsonl"))


def test_a_mixture_trains_a_step_and_tells_of_its_members(tmp_path):
    math = "{id: qwq/MathTool-v0, tools: [calculator], difficulty: [1, 2]}"
    members = f"environment.arguments.members={{math: {math}, words: qwq/General-v0}}"
    arguments = ["environment.id=qwq/Mixture-v0", members, "grpo.context=2000"]
    episodes = trains_a_step(tmp_path, *arguments, "grpo.save_steps=1")
    run = tmp_path / "tiny"
    told = json.loads((run / "summary.json").read_text())["accuracy_by_member"]
    [progress] = run.glob("checkpoints/checkpoint-1/curriculum.json")

    assert {episode.task_id.split("/")[0] for episode in episodes} == {"math", "words"}
    assert told.keys() == {"math", "words"}
    assert all(rates.keys() == {"cold", "trained", "greedy"} for rates in told.values())
    assert json.loads(progress.read_text())["math"]["level"] == 0


def test_an_environment_that_a_user_registers_trains_a_step(tmp_path, own):
    arguments = [f"environment.id={own}", "environment.arguments.count=12"]
    episodes = trains_a_step(tmp_path, *arguments)

    assert {int(episode.task_id[1:]) for episode in episodes} <= set(range(12))


def test_the_example_trains_a_step(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(RECIPE.parents[1] / "examples")
    episodes = trains_a_step(tmp_path, "environment.id=own_environment:example/Capitals-v0")

    assert {episode.task_id for episode in episodes} <= {"France", "Peru", "Kenya"}


def test_what_is_left_unsaid_is_the_environments_own():
    train, heldout = environments(of(id="qwq/General-v0"))

    assert train.settings.tools == heldout.settings.tools == ()
    assert train.settings.limits.turns == 4


def test_endless_tasks_without_splits_are_held_out_by_place(own):
    train, heldout = environments(of(count=3, id="own_say:own/Endless-v0"))
    first = [train.tasks.task(index) for index in range(5)]

    assert train.tasks.size is None
    assert heldout.tasks.size == 3
    assert {task.prompt for task in first}.isdisjoint(task.prompt for task in heldout.tasks)
    assert train.tasks.find(first[2].id) == first[2]


@pytest.mark.parametrize("env_id", ["qwq/MathTool-v0", "qwq/General-v0"])
def test_endless_tasks_with_splits_keep_them(env_id):
    train, heldout = environments(of(id=env_id))

    assert (train.tasks.split, heldout.tasks.split) == ("train", "heldout")


def test_a_mixture_trains_and_evaluates_in_its_members_splits(own):
    ladder = {"id": "qwq/MathTool-v0", "difficulty": [1, 2], "limits": {"turns": 3}}
    members = {"math": ladder, "own": {"id": own, "weight": 2}}
    wanted = {"id": "qwq/Mixture-v0", "arguments": {"members": members}, "turns": 6}
    train, heldout = environments(of(**wanted))
    episodes = [train.begin(train.tasks.task(index)) for index in range(60)]
    held_out = {heldout.tasks.task(index).id for index in range(60)}

    assert {e.task_id[:2]: e.settings.limits.turns for e in episodes} == {"ma": 3, "ow": 6}
    assert not {e.task_id for e in episodes} & held_out
    assert {task_id.split("/")[3] for task_id in held_out if task_id[0] == "m"} == {"heldout"}


def test_finite_tasks_are_cut_in_two(own):
    train, heldout = environments(of(id=own))

    assert [task.id for task in train.tasks] == [f"t{i}" for i in range(16)]
    assert [task.id for task in heldout.tasks] == [f"t{i}" for i in range(16, 20)]


def test_fewer_tasks_than_a_step_asks_are_refused(own):
    with pytest.raises(UsageError, match=r"6 to train on, for the last 4 are held out .*8 or more"):
        environments(of(id=own, arguments={"count": 10}))


def test_few_tasks_of_which_none_is_held_out_are_only_counted(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "1+1?", "answer": "2"}\n')
    recipe = of(id="qwq/MathTool-v0", tasks=str(rows), heldout_tasks=str(rows))
    with pytest.raises(UsageError, match=r"tasks: 1 to train on; expected 8 or more"):
        environments(recipe)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"id": "qwq/Mixture-v0", "difficulty": 2}, "'difficulty' is not known"),
        ({"id": "qwq/General-v0", "arguments": {"weigth": 2}}, "did you mean 'weight'"),
        ({"arguments": {"difficulty": 2}}, r"expected it as environment\.difficulty"),
        ({"id": "qwq/General-v0", "tasks": "arithmetic"}, "expected 'instructions'"),
        ({"id": "nowhere:own/Say-v0"}, "nowhere"),
    ],
)
def test_what_an_environment_does_not_take_is_refused(environment, words):
    with pytest.raises(UsageError, match=words):
        environments(of(**environment))


def test_what_the_users_environment_does_not_take_is_refused(own):
    with pytest.raises(UsageError, match=r"'coumt'.*did you mean 'count'"):
        environments(of(id=own, arguments={"coumt": 2}))
    with pytest.raises(UsageError, match="'tasks' is not known"):
        environments(of(id=own, tasks="more.jsonl"))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("environment.dificulty=2", ["environment.dificulty", "did you mean 'difficulty'"]),
        ("environment.arguments=3", ["environment.arguments", "expected names and values"]),
        ("environment.dialect=react", ["dialect", "does not read the teacher's calls"]),
    ],
)
def test_a_key_that_is_none_is_one_line(tmp_path, capsys, argument, words):
    code = main(["train", str(RECIPE), "--runs", str(tmp_path / "runs"), argument])

    error = capsys.readouterr().err
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert all(word in error for word in words), error
    assert not (tmp_path / "runs").exists()


def test_rows_that_stand_there_twice_are_not_trained_on_and_held_out(tmp_path, caplog):
    rows = [json.dumps({"prompt": f"{n} + 1?", "answer": str(n + 1)}) + "\n" for n in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join([*rows, *rows[:10]]))
    train, heldout = environments(of(count=20, tasks=str(path)))
    held = {task.prompt for task in heldout.tasks}

    assert len(held) == heldout.tasks.size == 20
    assert train.tasks.size == 20 and held.isdisjoint(task.prompt for task in train.tasks)
    assert "10 rows say again what is held out" in caplog.text
    path.write_text(rows[0] * 40)
    with pytest.raises(UsageError, match="all 20 to train on are among the 20 that are held out"):
        environments(of(count=20, tasks=str(path)))
