"""Stored episodes of the engine, scored again from their file as `qwq grade` does it."""

import asyncio
import json

import pytest

from qwq_env.cli import main
from qwq_env.envs.general import GeneralEnv
from qwq_env.envs.math import MathToolEnv
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rollout.store import EpisodeStore

MATH = [
    {"prompt": "What is 7 and 5, and 0? Box it.", "answer": "12"},
    {"prompt": "Which day? Box it.", "answer": "\\text{Monday}", "id": "day"},
]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def stored(env, codec, path, answers):
    """The file of one episode for each task and answer."""
    with EpisodeStore(path) as store:
        for number, answer in enumerate(answers):
            policy = ScriptedPolicy(codec, [answer])
            tasks = [env.tasks.task(index) for index in range(env.tasks.size)]
            games = [Assignment(task, f"{number}-{task.id}", number) for task in tasks]
            for trajectory in asyncio.run(Engine(env, policy, codec).run(games)):
                store.append(trajectory, step=number)
    return path


def graded(tmp_path, kind, episodes, *options):
    out = tmp_path / "out.jsonl"
    assert main(["grade", kind, str(episodes), "--out", str(out), *options]) == 0
    return read(out)


ANSWERS = [
    "seven and five\n</think>\n\nIt is \\boxed{12}.<|im_end|>",
    "\\boxed{12}\n</think>\n\nI forgot.<|im_end|>",
    "well\n</think>\n\nThe answer is 12.<|im_end|>",
    "well\n</think>\n\n\\boxed{Monday}<|im_end|>",
]


def test_math_episodes_get_the_reward_that_they_were_paid(tmp_path, codec):
    env = MathToolEnv(tasks=written(tmp_path / "tasks.jsonl", MATH))
    episodes = stored(env, codec, tmp_path / "episodes.jsonl", ANSWERS)
    rows = graded(tmp_path, "math", episodes)

    assert [row["score"] for row in rows] == [row["reward"] for row in read(episodes)]
    assert sum(row["score"] for row in rows) == 2
    bare = [{key: row[key] for key in row if key not in ("score", "reason")} for row in rows]
    assert bare == read(episodes)


def test_an_episode_without_an_outcome_of_its_own_is_not_graded(tmp_path, codec):
    env = MathToolEnv(
        tasks=written(tmp_path / "tasks.jsonl", MATH[:1]), limits=EpisodeLimits(tokens=8)
    )
    [cut] = read(stored(env, codec, tmp_path / "cut.jsonl", ANSWERS[:1]))
    ended = [
        {**cut, "answer": "\\boxed{12}"},
        {**cut, "outcome": {"kind": "failed", "reason": "infrastructure"}, "reward": None},
        {**cut, "outcome": {"kind": "failed", "reason": "undecided"}, "answer": "\\boxed{12}"},
    ]
    rows = graded(tmp_path, "math", written(tmp_path / "episodes.jsonl", ended))

    assert cut["outcome"]["kind"] == "truncated"
    found = [(row["score"], row["reason"]) for row in rows]
    assert found == [(0.0, "truncated"), (None, "lost"), (1.0, "equal")]


def test_a_damaged_episode_is_passed_over_by_its_line(tmp_path, codec, capsys):
    env = MathToolEnv(tasks=written(tmp_path / "tasks.jsonl", MATH[:1]))
    [first, second] = read(stored(env, codec, tmp_path / "whole.jsonl", ANSWERS[:2]))
    file = written(tmp_path / "episodes.jsonl", [{**first, "spans": "12 of them"}, second])

    damaged, sound = graded(tmp_path, "math", file)
    assert (damaged["score"], sound["reason"]) == (None, "no_answer")
    assert f"{file}:1: row: a damaged episode (" in capsys.readouterr().err


def test_instructions_come_from_the_task_file(tmp_path, codec, capsys):
    tasks = [
        {
            "prompt": "Write.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
            "id": identity,
        }
        for identity in (None, "second")
    ]
    file = written(tmp_path / "tasks.jsonl", tasks)
    answers = ["hm\n</think>\n\nNo commas.<|im_end|>", "hm\n</think>\n\nOne, two.<|im_end|>"]
    env = GeneralEnv(tasks=file)
    episodes = stored(env, codec, tmp_path / "episodes.jsonl", answers)
    rows = graded(tmp_path, "instructions", episodes, "--tasks", str(file))

    assert [row["score"] for row in rows] == [row["reward"] for row in read(episodes)]
    assert [row["score"] for row in rows] == [1.0, 1.0, 0.0, 0.0]
    other = written(tmp_path / "other.jsonl", tasks[1:])
    options = ["--tasks", str(other), "--out", str(tmp_path / "x")]
    assert main(["grade", "instructions", str(episodes), *options]) == 2
    assert f"{episodes}:1: task_id: 'tasks/1' is no task of {other}" in capsys.readouterr().err


@pytest.mark.parametrize("torn", [b"", b'{"gold"'])
def test_a_run_over_episodes_is_continued(tmp_path, codec, torn):
    env = MathToolEnv(tasks=written(tmp_path / "tasks.jsonl", MATH))
    episodes = stored(env, codec, tmp_path / "episodes.jsonl", ANSWERS)
    graded(tmp_path, "math", episodes)
    out = tmp_path / "out.jsonl"
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]) + torn)

    assert len(graded(tmp_path, "math", episodes, "--resume")) == 8
    assert out.read_bytes() == whole
