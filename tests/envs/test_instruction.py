"""`qwq/Instruction-v0`: its tasks, what it pays, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwq_env.envs.instruction import InstructionEnv
from qwq_env.envs.instruction_tasks import InstructionTaskSet
from qwq_env.errors import UsageError
from qwq_env.evaluation.cheats import audit_rewards, faults
from qwq_env.grading.instructions import INSTRUCTIONS, check_instructions
from qwq_env.task import ListTaskSet, Task

from ..published import read_rows, sample_and_whole

# A busy machine is no failure.
relaxed = settings(deadline=None)

SPLITS = ("train", "heldout")
TWO = {
    "key": "7",
    "prompt": "Name two colours without a comma, in 5 to 6 words.",
    "instruction_id_list": ["punctuation:no_comma", "count:word_count_range"],
    "kwargs": [{"N": None, "min_words": None}, {"N": None, "min_words": 5.0, "max_words": 6.0}],
}


def followed(task: Task, answer: str, rules: str = "reward") -> bool:
    ids, kwargs = task.metadata["instruction_id_list"], task.metadata["kwargs"]
    return bool(check_instructions(ids, kwargs, task.prompt, answer, rules=rules).prompt_loose)


def rows_file(folder: Path, *rows) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def paid(env: InstructionEnv, answer: str) -> tuple[float, dict]:
    env.reset(options={"index": 0})
    _, reward, terminated, _, info = env.step({"role": "assistant", "content": answer})
    env.close()

    assert terminated
    return reward, info


@relaxed
@given(st.integers(1, 5), st.sampled_from(SPLITS), st.integers(0, 2**31), st.integers(0, 5))
def test_the_answer_follows_and_the_prompt_does_not(difficulty, split, index, seed):
    tasks = InstructionTaskSet(seed=seed, difficulty=difficulty, split=split)
    task = tasks.task(index)

    assert followed(task, task.answer)
    assert followed(task, task.answer, "ifeval")
    assert not followed(task, task.prompt)
    assert len(task.metadata["instruction_id_list"]) == difficulty + 3
    assert set(task.metadata["instruction_id_list"]) <= set(INSTRUCTIONS)
    assert "{" not in task.prompt + task.answer
    assert tasks.find(task.id) == task


def test_the_splits_share_neither_wordings_nor_combinations():
    # Another seed and difficulty must not bring them together.
    train, heldout = (
        [tasks.task(index) for tasks in sets for index in range(60)]
        for sets in (
            [InstructionTaskSet(seed=seed, difficulty=seed) for seed in (1, 2)],
            [InstructionTaskSet(seed=seed, difficulty=seed, split="heldout") for seed in (1, 2)],
        )
    )
    rules = [
        {frozenset(task.metadata["instruction_id_list"]) for task in tasks}
        for tasks in (train, heldout)
    ]
    starts = [{task.prompt[:12] for task in tasks} for tasks in (train, heldout)]

    assert not rules[0] & rules[1]
    assert not starts[0] & starts[1]
    assert len(set().union(*(set().union(*part) for part in rules))) == 17


def test_no_text_is_paid_twice():
    tasks = [InstructionTaskSet().task(index) for index in range(16)]
    words = " ".join(sorted({word for task in tasks for word in task.answer.split()}))
    noise = random.Random(0)
    gibberish = ["".join(noise.choices("abc de*[]\n.", k=4_000)), words * 3, "a " * 99]

    for task in tasks:
        others = [other.answer for other in tasks if other is not task]
        assert not any(followed(task, text) for text in [*others, *gibberish])


@pytest.mark.parametrize("split", SPLITS)
def test_the_audit_finds_it_sound(split):
    assert faults(audit_rewards(InstructionEnv(split=split), tasks=12), 0.05) == []


@pytest.mark.parametrize(
    ("answer", "arguments", "reward"),
    [
        ("Blue and red are colours.", {}, 1.0),
        ("Blue, and red are colours.", {}, 0.0),
        ("Blue, and red are colours.", {"reward": "share"}, 0.5),
        ("Sure!\nBlue and red are colours.\nBye!", {}, 0.0),
        ("Sure!\nBlue and red are colours.\nBye!", {"loose": True}, 1.0),
        ("Blue, red.", {"reward": "share"}, 0.0),
        ("", {"reward": "share"}, 0.0),
    ],
)
def test_rows_of_both_benchmarks_are_paid(tmp_path, answer, arguments, reward):
    found, info = paid(InstructionEnv(rows_file(tmp_path, TWO), **arguments), answer)

    assert found == reward
    assert info["reward_components"] == {"rules": reward}


def test_a_task_is_solved_by_its_answer_and_a_row_by_nobody(tmp_path):
    env = InstructionEnv(difficulty=3)
    env.reset(options={"index": 0})
    (turn,) = env.solve(env.tasks.task(0))

    assert env.step(turn)[1] == 1.0
    row = InstructionEnv(rows_file(tmp_path, TWO))
    assert row.solve(row.tasks.task(0)) is None


def test_a_row_that_cannot_be_checked_is_left_out(tmp_path, caplog):
    verb = {**TWO, "instruction_id_list": ["words:start_verb"], "kwargs": [{}]}
    path = rows_file(tmp_path, TWO, verb)

    assert InstructionEnv(path).tasks.size == 1
    assert "1 of 2 rows left out, the first:" in caplog.text
    assert "rows.jsonl:2: instruction: 'words:start_verb' is not known here: it" in caplog.text
    with pytest.raises(UsageError, match=r"rows\.jsonl:2"):
        InstructionEnv(path, strict=True)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"prompt": "Go."}, "instruction_id_list: expected one"),
        ({**TWO, "instruction_id_list": []}, "instruction_id_list: expected one"),
        ({**TWO, "kwargs": [{}]}, "kwargs"),
        ({**TWO, "kwargs": [{}, {"min_words": "x"}]}, "min_words is 'x'"),
        ({**TWO, "prompt": ""}, "prompt"),
    ],
)
def test_rows_that_are_none_name_the_line(tmp_path, row, named):
    with pytest.raises(UsageError, match=rf"rows\.jsonl:1: .*{named}"):
        InstructionEnv(rows_file(tmp_path, row))


@pytest.mark.parametrize(
    "arguments",
    [
        {"reward": "some"},
        {"difficulty": 6},
        {"split": "test"},
        {"tasks": "instruction"},
    ],
)
def test_bad_arguments_name_themselves(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        InstructionEnv(**arguments)


def test_a_task_without_rules_is_refused():
    with pytest.raises(UsageError, match="task t: no instruction_id_list"):
        InstructionEnv(ListTaskSet([Task("t", "Go.", "")]))


@pytest.mark.parametrize("path", sample_and_whole("ifeval.jsonl", "data/qwq_eval/ifeval.jsonl"))
def test_ifeval_loads_as_it_is(path):
    env = pickle.loads(pickle.dumps(InstructionEnv(path, strict=True)))
    step = asyncio.run(env.begin(env.tasks.task(0)).step("</think>No."))

    assert env.tasks.size == len(read_rows(path))
    assert step.reward == 0.0
