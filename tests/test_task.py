"""Tasks from files: what is read, and what is refused with the file and the line named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from qwq_env.errors import UsageError
from qwq_env.outcome import EpisodeLimits
from qwq_env.task import ListTaskSet, Task, load_jsonl

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
