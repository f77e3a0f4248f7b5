"""`qwq/General-v0`: rules that pay, reward models on top, and what is refused at the start."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import re
from pathlib import Path

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwq_env.envs.general import GeneralEnv
from qwq_env.envs.general_tasks import InstructionTaskSet
from qwq_env.envs.reward_models import make_reward_model
from qwq_env.errors import UsageError
from qwq_env.evaluation.cheats import audit_rewards, is_sound
from qwq_env.grading.instructions import INSTRUCTIONS, check_instructions
from qwq_env.grading.reward import RewardModel
from qwq_env.grading.reward.judge import Judge
from qwq_env.grading.reward.pairwise import PairwiseJudge
from qwq_env.grading.score import Score

from ..published import read_rows, sample_and_whole

# A busy machine is no failure.
relaxed = settings(deadline=None)

THOUGHT = "I like Blue.\n</think>\n\n"


class Fixed(RewardModel):
    """Gives every answer the same score and remembers the candidates."""

    def __init__(self, score: Score, bounded: bool = True):
        self.given, self.bounded, self.seen = score, bounded, []

    async def score(self, items):
        self.seen += items
        return [self.given for _ in items]


def rows_file(folder: Path, *rows) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


NO_COMMA = {
    "prompt": "Name two colours without a comma.",
    "instruction_id_list": ["punctuation:no_comma"],
    "kwargs": [{"num_words": None}],
}
OPEN = {"prompt": "Name a colour.", "answer": "Red."}


def played(env: GeneralEnv, answer: str):
    """The reward and the info of one answer to the first task."""
    env.reset(options={"index": 0})
    _, reward, terminated, _, info = env.step(THOUGHT + answer)
    env.close()
    assert terminated
    return reward, info


LEVELS, SPLITS = st.integers(1, 3), st.sampled_from(["train", "heldout"])


@relaxed
@given(st.integers(0, 2**31), st.integers(0, 5), LEVELS, SPLITS)
def test_the_answer_follows_and_the_prompt_does_not(index, seed, difficulty, split):
    tasks = InstructionTaskSet(seed=seed, difficulty=difficulty, split=split)
    task = tasks.task(index)
    ids, kwargs = task.metadata["instruction_id_list"], task.metadata["kwargs"]

    for rules in ("ifeval", "reward"):
        assert check_instructions(ids, kwargs, task.prompt, task.answer, rules=rules).prompt_strict
    assert not check_instructions(ids, kwargs, task.prompt, task.prompt).prompt_loose
    assert tasks.find(task.id) == task
    assert set(ids) <= set(INSTRUCTIONS)


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize(("difficulty", "rules"), [(1, 11), (2, 11), (3, 12)])
def test_tasks_differ_and_cover_many_rules(difficulty, rules, split):
    chosen = InstructionTaskSet(difficulty=difficulty, split=split)
    tasks = [chosen.task(index) for index in range(200)]
    asked = [task.metadata["instruction_id_list"] for task in tasks]

    assert len({task.prompt for task in tasks}) == 200
    assert len({name for names in asked for name in names}) == rules
    # Two keywords, a length and a layout; beside them as many as the difficulty says.
    assert {len(names) for names in asked} == {3 + difficulty + (difficulty == 3)}


def test_the_splits_share_no_topic_and_no_wording():
    train, heldout = (
        [InstructionTaskSet(split=split).task(index).prompt for index in range(200)]
        for split in ("train", "heldout")
    )
    topics = [{re.split(r" (?:on|about) |\. ", text, maxsplit=2)[1] for text in texts}
              for texts in (train, heldout)]  # fmt: skip

    assert len(topics[0]) > 15 and len(topics[1]) > 4 and not topics[0] & topics[1]
    assert all("Write a short note" in text and "Use the words" in text for text in train)
    assert not any("Write a short note" in text or "Use the words" in text for text in heldout)


def test_bad_settings_and_ids_of_others_are_refused():
    tasks = [InstructionTaskSet().task(0)]
    with pytest.raises(UsageError, match="difficulty: 4; expected 1 to 3"):
        GeneralEnv(difficulty=4)
    with pytest.raises(KeyError):
        InstructionTaskSet(seed=1).find(tasks[0].id)
    with pytest.raises(IndexError):
        InstructionTaskSet().task(-1)


def test_other_answers_do_not_follow():
    tasks = [InstructionTaskSet().task(index) for index in range(60)]
    paid = sum(
        bool(
            check_instructions(
                task.metadata["instruction_id_list"],
                task.metadata["kwargs"],
                task.prompt,
                other.answer,
            ).prompt_loose
        )
        for task in tasks
        for other in tasks
        if other is not task
    )

    assert paid == 0


def test_a_reward_model_that_loves_everything_pays_no_cheat():
    env = GeneralEnv(reward_model=Fixed(Score.right()), tools=["calculator"])
    results = audit_rewards(env, tasks=16)

    assert not any(paid.mean for paid in results[:-1])
    assert results[-1].mean == 1.5
    assert is_sound(results, 0.05)


def test_rules_alone_pay():
    env = gym.make("qwq/General-v0").unwrapped
    env.reset(options={"index": 3})
    answer = env.episode.task.answer
    _, reward, _, _, info = env.step(THOUGHT + answer)

    assert reward == 1.0
    assert info["reward_components"] == {"rules": 1.0}
    assert pickle.loads(pickle.dumps(env)).reset(seed=1)[0] == env.reset(seed=1)[0]


@pytest.mark.parametrize(("value", "reward"), [(0.0, 1.0), (0.8, 1.2), (1.0, 1.25)])
def test_the_reward_model_adds_to_the_rules(tmp_path, value, reward):
    model = Fixed(Score.partial(value, "judged"))
    env = GeneralEnv(rows_file(tmp_path, NO_COMMA), reward_model=model, weight=0.25)
    paid, info = played(env, "Blue and red.")

    assert paid == pytest.approx(reward)
    assert info["reward_components"] == {"rules": 1.0, "reward_model": value}
    assert [(c.prompt, c.answer, c.reference) for c in model.seen] == [
        (NO_COMMA["prompt"], "Blue and red.", "")
    ]


def test_a_broken_rule_pays_nothing_and_the_model_is_not_asked(tmp_path):
    model = Fixed(Score.right())
    paid, info = played(
        GeneralEnv(rows_file(tmp_path, NO_COMMA), reward_model=model), "Blue, and red."
    )

    assert paid == 0.0
    assert model.seen == []
    assert info["reward_reasons"] == {"rules": "not_followed"}


def test_an_undecided_model_loses_the_episode_and_never_pays_zero(tmp_path):
    model = Fixed(Score.undecided("unparsed"))
    paid, info = played(GeneralEnv(rows_file(tmp_path, OPEN), reward_model=model), "Blue.")

    assert math.isnan(paid)
    assert info["outcome"]["kind"] == "failed"


def test_logits_are_squashed(tmp_path):
    model = Fixed(Score.partial(-1e6, "scored"), bounded=False)
    paid, info = played(GeneralEnv(rows_file(tmp_path, NO_COMMA), reward_model=model), "Blue.")

    assert paid == 1.0
    assert info["reward_components"]["reward_model"] == 0.0


def test_a_blank_answer_to_an_open_task_earns_nothing(tmp_path):
    model = Fixed(Score.right())
    paid, _ = played(GeneralEnv(rows_file(tmp_path, OPEN), reward_model=model), " \n")

    assert paid == 0.0
    assert model.seen == []


def test_the_reference_is_shown_only_where_asked_for(tmp_path):
    hidden, shown = Fixed(Score.right()), Fixed(Score.right())
    played(GeneralEnv(rows_file(tmp_path, OPEN), reward_model=hidden), "Blue.")
    played(GeneralEnv(rows_file(tmp_path, OPEN), reward_model=shown, reference=True), "Blue.")

    assert (hidden.seen[0].reference, shown.seen[0].reference) == ("", "Red.")


def test_loose_forgives_a_preamble(tmp_path):
    row = NO_COMMA | {"instruction_id_list": ["startend:quotation"]}
    answer = 'Sure!\n"Blue."'
    strict, _ = played(GeneralEnv(rows_file(tmp_path, row)), answer)
    loose, _ = played(GeneralEnv(rows_file(tmp_path, row), loose=True), answer)

    assert (strict, loose) == (0.0, 1.0)


def test_long_answers_are_checked_in_a_worker(tmp_path):
    row = NO_COMMA | {
        "instruction_id_list": ["length_constraints:number_sentences"],
        "kwargs": [{"num_sentences": 3, "relation": "at least"}],
    }
    path = rows_file(tmp_path, row)

    assert played(GeneralEnv(path), "Yes. It is so. " * 2_000)[0] == 1.0
    assert played(GeneralEnv(path), "yes " * 30_000)[0] == 0.0


def test_conversations(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "A colour?"},
    ]
    model = Fixed(Score.right())
    env = GeneralEnv(rows_file(tmp_path, {"prompt": messages}), reward_model=model)
    played(env, "Blue.")

    assert model.seen[0].messages() == [("system", "Be brief."), ("user", "A colour?")]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (OPEN, "no instruction_id_list and no reward_model"),
        (NO_COMMA | {"instruction_id_list": ["punctuation:no_coma"]}, "rows.jsonl:1.*did you mean"),
        (NO_COMMA | {"kwargs": [{}, {}]}, "rows.jsonl:1.*kwargs"),
        (NO_COMMA | {"kwargs": "x"}, "rows.jsonl:1.*list"),
        (NO_COMMA | {"kwargs": [3]}, "rows.jsonl:1.*object"),
        ({"prompt": 3}, "rows.jsonl:1.*prompt"),
        ({"prompt": [{"role": "user"}]}, "rows.jsonl:1.*prompt"),
        ({}, "rows.jsonl:1.*prompt"),
    ],
)
def test_rows_that_cannot_be_graded_are_refused_when_they_load(tmp_path, row, named):
    with pytest.raises(UsageError, match=named):
        GeneralEnv(rows_file(tmp_path, row))


@pytest.mark.parametrize(
    "arguments", [{"tasks": "instruction"}, {"weight": 0}, {"reward_model": "juge:x"}]
)
def test_bad_arguments_name_themselves(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        GeneralEnv(**arguments)


def test_a_judge_of_pairs_has_no_place_in_an_episode():
    with pytest.raises(UsageError, match="group"):
        GeneralEnv(reward_model=PairwiseJudge(None))


@pytest.mark.parametrize(
    ("name", "url", "model"),
    [
        ("judge:http://host:8000/v1:Qwen/QwQ-32B", "http://host:8000/v1", "Qwen/QwQ-32B"),
        ("judge:https://host/v1:qwen:7b", "https://host/v1", "qwen:7b"),
        ("judge:http://[::1]:8000:m", "http://[::1]:8000", "m"),
    ],
)
def test_judges_by_name(name, url, model):
    judge = make_reward_model(name)

    assert isinstance(judge, Judge)
    assert (judge.examiner.base_url, judge.examiner.model) == (url, model)
    assert make_reward_model(name) is judge


@pytest.mark.parametrize(
    "name", ["judge:host:m", "vllm:http://h:8", "nowhere", "judge:http://h:8:", "judge:http://h:8"]
)
def test_names_that_are_none(name):
    with pytest.raises(UsageError, match="reward_model"):
        make_reward_model(name)


@pytest.mark.parametrize("path", sample_and_whole("ifeval.jsonl", "data/qwq_eval/ifeval.jsonl"))
def test_published_rows_load_as_they_are(path):
    env = GeneralEnv(path)
    rows = len(read_rows(path))
    rewards = [
        asyncio.run(env.begin(env.tasks.task(index)).step("</think>No.")).reward
        for index in range(0, rows, max(1, rows // 27))
    ]

    assert env.tasks.size == rows
    assert set(rewards) <= {0.0, 1.0}
    assert sum(rewards) < len(rewards) / 2


@pytest.mark.parametrize(
    "odd",
    [
        {"kwargs": [None]}, {"kwargs": [[]]}, {"kwargs": {"a": 1}}, {"kwargs": "x"}, {"kwargs": 3},
        {"kwargs": [{}, {}]}, {"kwargs": [{"num_words": None, "relation": None}]},
        {"kwargs": [{"num_words": [3], "relation": {}}]}, {"instruction_id_list": "x"},
        {"instruction_id_list": [["x"]]}, {"instruction_id_list": [None]},
        {"instruction_id_list": {"x": 1}}, {"instruction_id_list": 3},
        {"instruction_id_list": ["\x1b[2J" * 9999]},
    ],
    ids=lambda odd: str(odd)[:40],
)  # fmt: skip
def test_rules_that_are_none_name_the_line(tmp_path, odd):
    ids = ["length_constraints:number_words"]
    row = {"prompt": "p", "instruction_id_list": ids, "kwargs": [{}], **odd}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: ") as error:
        GeneralEnv(tasks=file)

    assert str(error.value).isprintable()
    assert len(str(error.value)) < len(str(tmp_path)) + 1500
