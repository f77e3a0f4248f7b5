"""Tasks from files: what is read, and what is refused with the file and the line named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.random import default_rng

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task, TaskSet, load_jsonl

GOOD = '{"prompt": "1+1?", "answer": "2"}'


def test_both_forms_are_read_with_ids_of_their_lines(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(
        f'{GOOD}\r\n\n{{"question": "How many?", "answer": "Many.\\n#### 1,234"}}\n'
        '{"prompt": "x", "answer": 3, "id": null}\n{"prompt": "y", "answer": 0, "id": 7}\n'
    )
    tasks = load_jsonl(file)

    assert [task.id for task in tasks] == ["rows/1", "rows/3", "rows/4", "7"]
    assert [task.answer for task in tasks] == ["2", "1234", 3, 0]
    assert tasks.find("rows/3").prompt == "How many?"


def test_each_task_is_drawn_as_often_as_any_other():
    tasks = ListTaskSet([Task(str(number), "?", "") for number in range(10)])
    generator = np.random.default_rng(0)
    drawn = Counter(tasks.sample(generator).id for _ in range(2000))

    assert len(drawn) == 10
    assert all(150 <= count <= 250 for count in drawn.values())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"prompt": "x", "answer": NaN}', "NaN is no JSON value"),
        ('{"prompt": [{"role": "bot", "content": "x"}], "answer": "1"}', "role 'bot'; expected"),
        ('{"prompt": [{"content": "x"}], "answer": "1"}', "role None; expected"),
        ('{"prompt": [{"role": "user", "content": null}], "answer": "1"}', "role and content"),
        ('{"prompt": [], "answer": "1"}', "a text or a list of messages"),
    ],
)
def test_bad_row(tmp_path, row, words):
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{GOOD}\n{row}\n")
    with pytest.raises(UsageError, match=words) as error:
        load_jsonl(file, strict=True)

    assert f"{file}:2: " in str(error.value)


def test_an_id_that_is_there_twice_is_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "x", "answer": "1", "id": "a"}\n' * 2)
    with pytest.raises(UsageError, match=r"rows\.jsonl: tasks: two tasks share the id 'a'"):
        load_jsonl(file)


@pytest.mark.parametrize("tasks", [[], ["x"], [Task("a", "x", "1"), Task("a", "y", "2")]])
def test_list_of_what_are_no_tasks(tasks):
    with pytest.raises(UsageError, match="tasks"):
        ListTaskSet(tasks)


@pytest.mark.parametrize("value", [0, -1, "3", [], True, float("nan")])
@pytest.mark.parametrize("name", ["turns", "tool_calls", "tokens", "seconds"])
def test_limit_that_is_none(name, value):
    with pytest.raises(UsageError, match=f"limit {name}"):
        EpisodeLimits(**{name: value})


class Bare(TaskSet):
    """Gives tasks, and says nothing else."""

    def task(self, index: int) -> Task:
        return Task(f"n/{index}", f"{index}?", index)


class Endless(Bare):
    size = None


class Odd(Bare):
    size = 3

    def task(self, index):
        return {"prompt": "2+2?"}


def env_of(tasks) -> ToolEnv:
    return ToolEnv(tasks, [], Rubric([Component("any", lambda final: 1.0)]))


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", True])
def test_a_size_that_is_none_is_named(size):
    tasks = Bare()
    tasks.size = size

    with pytest.raises(UsageError, match=r"tasks: Bare, size: .*; expected a whole number above 0"):
        env_of(tasks)


@pytest.mark.parametrize(
    "use",
    [env_of, list, lambda tasks: tasks.find("n/1"), lambda tasks: tasks.sample(default_rng(0))],
)
def test_a_set_without_a_size_says_what_to_set(use):
    with pytest.raises(UsageError, match=r"tasks: Bare sets no size; expected self.size = "):
        use(Bare())


def test_an_endless_set_without_find_says_so_and_goes_without_it():
    env = env_of(Endless())
    env.reset(seed=0)

    with pytest.raises(UsageError, match=r"Endless is endless and has no find.*find_by_index"):
        env.reset(options={"task_id": "n/3"})


def test_what_is_no_task_is_named():
    with pytest.raises(UsageError, match=r"task: \{'prompt': '2\+2\?'\}; expected a Task"):
        env_of(Odd()).reset(seed=0)


def test_a_dataclass_may_be_a_set():
    @dataclass
    class Counted(Bare):
        size: int
        start: int = 0

    assert len(list(Counted(4))) == 4
