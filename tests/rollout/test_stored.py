"""Stored episodes: nothing is lost on the way to disk, and a person can read what is there."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import re
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from qwq_env import Component, EpisodeLimits, ListTaskSet, Rubric, Task, ToolEnv, tool
from qwq_env.columns import pack_floats, pack_ids, pack_mask, unpack_floats, unpack_ids, unpack_mask
from qwq_env.errors import UsageError
from qwq_env.grading.score import Score
from qwq_env.outcome import Outcome
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rollout.store import EpisodeStore, read_episodes
from qwq_env.rollout.stored import StoredRun
from qwq_env.segments import Block, Segment
from qwq_env.trajectory import PhaseSeconds, Span, TrainingRow, Trajectory, step_of

VERSION_3 = Path(__file__).parents[1] / "data" / "rows-of-version-3"


@tool
def add(a: int, b: int) -> str:
    """Add two numbers, however many words that takes: long enough that it is worth to share it."""
    return f"sum € {a + b}"


def call(arguments: str) -> str:
    return f'<tool_call>\n{{"name": "add", "arguments": {arguments}}}\n</tool_call>'


RIGHT, LACKING, MALFORMED = call('{"a": 1, "b": 2}'), call('{"a": 1}'), call('{"a": 1')
TURNS = (
    f"Let me see €\n</think>\n\nI add. {RIGHT}\n{LACKING}<|im_end|>",
    f"Hm\n</think>\n\n{MALFORMED}<|im_end|>",
    "So\n</think>\n\nIt is 3.<|im_end|>",
)


def judged(final) -> Score:
    return Score(1.0, "equal", "the same number", extracted="3")


ENV = ToolEnv(
    ListTaskSet([Task("t/0", "How much is 1 + 2?", "3")]), [add],
    Rubric([Component("right", judged)]), system_prompt="Be brief.",
    limits=EpisodeLimits(turns=5),
)  # fmt: skip


def played(codec, *, env=ENV, turns=TURNS, thinking="keep") -> Trajectory:
    engine = Engine(env, ScriptedPolicy(codec, list(turns)), codec,
                    play=PlaySettings(thinking=thinking))  # fmt: skip
    [trajectory] = asyncio.run(engine.run([Assignment(env.tasks.task(0), "0-0.0.0", 7)]))
    return trajectory


@pytest.fixture
def stored(codec, tmp_path):
    """A store with one played episode, opened again."""
    with EpisodeStore(tmp_path / "episodes.jsonl", codec) as store:
        store.append(played(codec), phase="grpo", step=4)
    return StoredRun.open(tmp_path)


FLOATS = {
    "of single precision": array("f", [-0.1, -1e-30, -17.5]).tolist(),
    "of double precision": [-0.1, -1e-300, math.pi],
    "infinite": [-math.inf, 0.0],
    "none": [],
}


@pytest.mark.parametrize("values", FLOATS.values(), ids=FLOATS)
def test_log_probabilities_come_back_as_they_were(values):
    assert unpack_floats(pack_floats(values)) == values


def test_not_a_number_comes_back_as_none():
    assert math.isnan(unpack_floats(pack_floats([math.nan]))[0])


@pytest.mark.parametrize("mask", [[], [1], [0], [1, 1, 0, 1], [0, 0, 1], [1, 0] * 50])
def test_masks_and_ids_come_back_as_they_were(mask):
    ids = [7**place % 151_936 for place in range(len(mask))]

    assert unpack_mask(pack_mask(mask)) == mask
    assert unpack_ids(pack_ids(ids)) == ids


def bare(ids, mask, logprobs, *, prompt=1, earlier=()) -> Trajectory:
    return Trajectory(
        "t", "e", 1, ids, prompt, mask, logprobs, [Span(0, prompt, "task")], Outcome.answered(),
        1.0, earlier=list(earlier),
    )  # fmt: skip


@pytest.mark.parametrize(
    "trajectory",
    [
        bare([1, 2, 3], [1, 0], [-0.5, 0.0]),
        bare([1, 2, 3], [1, 0], [-0.5, -0.7]),  # a number on what nobody sampled
        bare([1, 2, 3], [1, 1], [-0.5]),  # unpaired
        bare([1, 2, 3], [2, 0], [-0.5, 0.0]),  # no mask of ours
        bare([2**40, 2], [1], [-0.5]),
        bare([], [], [], prompt=0),
        bare([1, 2], [1], [-0.1], earlier=[TrainingRow([1, 5], 1, [1], [-1e-9])]),
    ],
)
def test_a_row_is_read_back_to_an_equal_trajectory(trajectory):
    row = json.loads(json.dumps(trajectory.to_json()))

    assert Trajectory.from_json(row) == trajectory


@pytest.mark.parametrize("thinking", ["keep", "strip"])
def test_a_played_episode_comes_back_whole_and_is_trained_on_alike(codec, tmp_path, thinking):
    trajectory = played(codec, thinking=thinking)
    with EpisodeStore(tmp_path / "episodes.jsonl", codec) as store:
        store.append(trajectory, phase="grpo", step=4)
        again = store.played(phase="grpo")

    assert again == {"0-0.0.0": trajectory}
    assert again["0-0.0.0"].rows == trajectory.rows
    assert list(read_episodes(tmp_path / "episodes.jsonl", step=4)) == [trajectory]


def test_a_row_takes_less_than_twenty_bytes_a_token(codec, tmp_path):
    """Of random tokens, which nothing compresses, with four letters each."""
    draw = random.Random(0)
    trajectory = played(codec)
    count = 4000
    sampled = array("f", [-draw.expovariate(1) for _ in range(count)]).tolist()
    text = "".join(draw.choice("abcdefgh \n") for _ in range(4 * count))
    block = trajectory.transcript[1]._replace(
        segments=(trajectory.transcript[1].segments[0]._replace(text=text),)
    )
    long = replace(
        trajectory, ids=[draw.randrange(151_936) for _ in range(count + 1)], prompt_length=1,
        mask=[1] * count, logprobs=sampled, transcript=[block],
    )  # fmt: skip
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        store.append(long)

    assert (tmp_path / "episodes.jsonl").stat().st_size < 20 * count


ODD = {
    "as most are": {},
    "with a detail": {"outcome": Outcome.answered("late")},
    "cut": {"outcome": Outcome.cut("tokens"), "answer": "", "reward": 0.0, "right": False},
    "lost": {"outcome": Outcome.lost("gone"), "reward": None, "right": False},
    "paid in part": {"reward": 0.5, "right": True},
    "paid, and wrong": {"reward": 1.0, "right": False},
    "nobody asked": {"right": None},
    "another answer": {"answer": "4"},
    "no answer": {"answer": ""},
    "nobody spoke": {"transcript": [], "answer": "It is 3."},
    "no seconds": {"seconds": PhaseSeconds()},
    "a user's seconds": {"seconds": PhaseSeconds(user=1.5)},
    "no tokens": {"tokens": {}},
    "a user's tokens": {"tokens": {"user": 3}},
    "none of a tool": {"tokens": {"policy": 3, "tool": 0}},
    "tokens of others": {"tokens": {"judge": 3}},
    "no spans": {"spans": []},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_what_a_row_leaves_out_comes_back(codec, tmp_path, changes):
    """Whether or not it is what most rows have."""
    trajectory = replace(played(codec), **changes)
    path = tmp_path / "episodes.jsonl"
    with EpisodeStore(path, codec) as store:
        store.append(trajectory)
    [episode] = StoredRun.open(path).episodes()
    head = {k: v for k, v in trajectory.to_json().items() if k in episode.head}

    assert [*read_episodes(path)] == [episode.trajectory] == [trajectory]
    assert {key: episode.head[key] for key in head} == head
    assert (episode.right, episode.outcome) == (
        None if trajectory.reward is None else trajectory.is_right, trajectory.outcome,
    )  # fmt: skip


@pytest.mark.parametrize(
    "spans",
    [
        [Span(0, 1, "task"), Span(1, 4, "answer")],  # not as the mask has it
        [Span(0, 2, "task"), Span(2, 4, "tool")],  # the prompt is shorter
        [Span(0, 1, "task"), Span(2, 4, "tool")],  # with a gap
        [Span(0, 1, "tool"), Span(1, 3, "user"), Span(3, 4, "thinking")],
        [Span(0, 1, "judge")],
    ],
)
def test_a_mask_that_the_spans_do_not_tell_comes_back(tmp_path, spans):
    odd = replace(bare([1, 2, 3, 4], [0, 0, 1], [0.0, 0.0, -0.5]), spans=spans)
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        store.append(odd)

    assert [*read_episodes(tmp_path / "episodes.jsonl")] == [odd]


@pytest.mark.parametrize("spans", ["p", "1x", "29p2h ", "-1p"])
def test_spans_that_are_none_are_damage(codec, tmp_path, spans):
    path = rows_of(codec, tmp_path, count=1)
    path.write_text(re.sub(r'"spans":"\w+"', f'"spans":"{spans}"', path.read_text()))
    [episode] = StoredRun.open(tmp_path).episodes()

    with pytest.raises(UsageError, match=r"episodes.jsonl:1: not an episode: ValueError: spans '"):
        _ = episode.trajectory


def test_what_is_shared_while_somebody_reads_is_read(codec, tmp_path):
    path = rows_of(codec, tmp_path, count=1)
    reading = read_episodes(path)
    next(reading)
    later = replace(played(codec), transcript=[Block("model", (Segment("markup", "<a new one>"),))])
    with EpisodeStore(path) as store:
        store.append(later)

    assert next(reading).transcript == later.transcript


def test_a_policy_that_makes_up_marks_fills_no_memory(codec, tmp_path):
    """What is no mark of the dialect's stands in its row, once there are too many."""
    marks = [Segment("markup", f"<mark number {n}>") for n in range(600)]
    odd = replace(played(codec), transcript=[Block("model", tuple(marks))], answer="")
    path = tmp_path / "episodes.jsonl"
    with EpisodeStore(path) as store:
        store.append(odd)
        store.append(odd)

    assert 200 <= len(path.with_suffix(".texts").read_text().splitlines()) <= 256
    assert [*read_episodes(path)] == [odd, odd]


def test_rows_of_version_3_are_read_beside_new_ones(tmp_path):
    """As they were written then; so a run goes on that was begun before."""
    path = tmp_path / "episodes.jsonl"
    for file in VERSION_3.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = [*read_episodes(path)]
    with EpisodeStore(path) as store:
        for trajectory in before:
            store.append(trajectory, phase="trained")
    old, new = (StoredRun.open(path).episodes(phase=phase) for phase in ("grpo", "trained"))

    assert [e.trajectory.answer[-8:] for e in old] == ["ed{1094}", "_call>8}", ""]
    assert [e.failure for e in old] == ["", "tokens", "infrastructure"]
    assert [e.trajectory for e in new] == [e.trajectory for e in old] == before
    assert [[*e.segments] for e in new] == [[*e.segments] for e in old]
    assert {s.text for e in old for s in e.segments} >= {"I should use the calculator.", "1094"}


def test_rows_of_version_1_are_read(codec, tmp_path):
    trajectory = replace(played(codec), transcript=[], reasons={}, environment="")
    row = {name: getattr(trajectory, name) for name in trajectory.__dataclass_fields__}
    for later in ("transcript", "reasons", "environment"):
        del row[later]
    row["outcome"], row["seconds"] = trajectory.outcome.to_json(), trajectory.seconds._asdict()
    (tmp_path / "episodes.jsonl").write_text(json.dumps(row) + "\n")
    [episode] = StoredRun.open(tmp_path).episodes()

    assert list(read_episodes(tmp_path / "episodes.jsonl")) == [trajectory]
    assert episode.trajectory == trajectory
    assert episode.head["length"] == len(trajectory.ids)
    assert {segment.text for segment in episode.segments} == {""}
    assert [s.end for s in episode.segments] == [span.end for span in trajectory.spans]


def test_the_text_is_told_apart_by_who_wrote_it(stored):
    [episode] = stored.episodes()
    told = [(s.kind, s.text.strip()) for s in episode.segments if s.kind != "markup"]
    kinds = [kind for kind, _ in told]
    said = dict(zip(kinds, (text for _, text in told), strict=False))

    assert [kind for kind in kinds if kind != "system"] == [
        "task", "thinking", "text", "call", "call", "result", "result",
        "thinking", "call", "result", "thinking", "answer",
    ]  # fmt: skip
    assert ("system", "Be brief.") in told
    assert any(kind == "system" and '"name": "add"' in text for kind, text in told)
    assert said["task"] == "How much is 1 + 2?"
    assert ("thinking", "Let me see €") in told
    assert ("answer", "It is 3.") in told


def test_calls_and_results_say_what_they_are(stored):
    [episode] = stored.episodes()
    calls = [s for s in episode.segments if s.kind == "call"]
    results = [s for s in episode.segments if s.kind == "result"]

    assert [(c.name, c.arguments) for c in calls[:2]] == [
        ("add", {"a": 1, "b": 2}), ("add", {"a": 1})
    ]  # fmt: skip
    assert (calls[2].name, calls[2].error) == ("", "malformed_json")
    assert (results[0].text, results[0].error) == ("sum € 3", "")
    assert [r.status for r in results] == ["", "policy_error", "policy_error"]
    assert results[1].error and results[2].error == "malformed_json"
    assert [r.turn for r in results] == [0, 0, 1]


@pytest.mark.parametrize("thinking", ["keep", "strip"])
def test_segments_tile_the_tokens_that_are_known(codec, tmp_path, thinking):
    trajectory = played(codec, thinking=thinking)
    with EpisodeStore(tmp_path / "episodes.jsonl", codec) as store:
        store.append(trajectory)
    [episode] = StoredRun.open(tmp_path).episodes()

    placed = [s for s in episode.segments if s.row is not None]
    for segment in placed:
        ids = trajectory.rows[segment.row].ids[segment.start : segment.end]
        assert codec.decode(ids) == segment.text
    for row, columns in enumerate(trajectory.rows):
        own = [(s.start, s.end) for s in placed if s.row == row]
        assert all(end == start for (_, end), (start, _) in itertools.pairwise(own))
        assert own[-1][1] == len(columns.ids)
    sampled = sum(s.end - s.start for s in placed if s.by == "model")
    assert sampled == sum(sum(columns.mask) for columns in trajectory.rows)


def test_joined_the_segments_are_the_episodes_text(codec, stored):
    [episode] = stored.episodes()

    assert "".join(s.text for s in episode.segments) == codec.decode(episode.trajectory.ids)
    assert episode.text == codec.decode(episode.trajectory.ids)


def test_each_token_has_its_text_without_a_tokenizer(codec, stored):
    [episode] = stored.episodes()
    tokens = episode.row_tokens()
    mask = [0] * episode.trajectory.prompt_length + episode.trajectory.mask

    assert [token.id for token in tokens] == episode.trajectory.ids
    assert {"<|im_start|>", "a", "<E2>"} <= {token.text for token in tokens}
    written = b"".join(episode.lexicon.read().tokens[token.id] for token in tokens)
    assert written.decode() == codec.decode(episode.trajectory.ids)
    assert [token.sampled for token in tokens] == [bool(one) for one in mask]


def test_a_head_says_why_the_reward_was_what_it_was(stored):
    [episode] = stored.episodes(step=4)
    [component] = episode.components

    assert (episode.phase, episode.step, episode.task) == ("grpo", 4, "t/0")
    assert (episode.reward, episode.outcome, episode.failure) == (1.0, Outcome.answered(), "")
    assert component == ("right", 1.0, "equal", "the same number", "3")
    assert episode.environment == "ToolEnv"
    assert episode.seconds.tools > 0
    assert set(episode.tokens) == {"policy", "tool"}
    assert stored.episodes(step=5) == []


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_step_has_the_number_that_it_has_in_the_metrics(codec, tmp_path, version):
    """Rows of versions 1 and 2 were counted from 0."""
    path, trajectory = tmp_path / "episodes.jsonl", played(codec)
    row = {"phase": "grpo", "step": 4, **trajectory.to_json(), "schema": version}
    if version == 1:
        del row["schema"]
    path.write_text(json.dumps(row) + "\n")
    step = 4 if version >= 3 else 5

    assert step_of(row) == step
    assert [e.head["step"] for e in StoredRun.open(path).episodes(step=step)] == [step]
    assert StoredRun.open(path).episodes(step=9 - step) == []
    assert [*read_episodes(path, step=step)] == [trajectory]
    assert [*read_episodes(path, step=9 - step)] == []
    with EpisodeStore(path) as store:
        assert [*store.played(step=step)] == ["0-0.0.0"]


def test_a_short_episode_takes_less_than_twenty_bytes_a_token(tmp_path):
    """Those of the tiny recipe, whose words are most of its rows; of three hundred of them also
    with what they share."""
    old, *_ = read_episodes(VERSION_3 / "episodes.jsonl")
    path = tmp_path / "episodes.jsonl"
    with EpisodeStore(path) as store:
        for place in range(300):
            store.append(replace(old, episode=f"2-0.0.{place}"), phase="grpo", step=2)
    tokens = 300 * len(old.ids)

    assert len(old.ids) == 71
    assert path.stat().st_size < 19.5 * tokens
    assert path.stat().st_size + path.with_suffix(".texts").stat().st_size < 20 * tokens
    size = (VERSION_3 / "episodes.jsonl").read_bytes().index(b"\n")
    assert size > 24 * len(old.ids)


def test_an_opening_that_comes_again_is_written_once(codec, tmp_path):
    trajectory = played(codec)
    path = tmp_path / "episodes.jsonl"
    for _ in range(2):  # also by a run that goes on
        with EpisodeStore(path, codec) as store:
            store.append(trajectory)
            store.append(replace(trajectory, episode="0-0.0.1"))

    assert path.read_text().count("however many words") == 0
    assert path.with_suffix(".texts").read_text().count("however many words") == 1
    assert [e.transcript for e in read_episodes(path)] == [trajectory.transcript] * 4


def test_without_its_texts_the_rest_of_a_row_is_read(codec, tmp_path, stored):
    (tmp_path / "episodes.texts").unlink()
    [episode] = StoredRun.open(tmp_path).episodes()

    assert "It is 3." in [s.text.strip() for s in episode.segments]
    assert episode.row_tokens()[0].text is None


def test_numbers_alone_are_kept_where_no_text_is_wanted(codec, tmp_path):
    trajectory = played(codec)
    with EpisodeStore(tmp_path / "episodes.jsonl", codec) as store:
        store.append(trajectory, whole=False, phase="cold")
        known = store.played(phase="cold")["0-0.0.0"]
    [episode] = StoredRun.open(tmp_path).episodes()

    assert (known.reward, known.is_right, known.outcome) == (1.0, True, trajectory.outcome)
    assert (known.counts, known.turns) == (trajectory.counts, 3)
    assert (known.ids, episode.segments, episode.row_tokens()) == ([], [], [])
    assert episode.components[0].extracted == "3"
    assert not (tmp_path / "episodes.texts").exists()


def test_what_a_user_says_is_a_users(codec, tmp_path):
    class Talk(ToolEnv):
        def reply(self, episode):
            return None if len(episode.turns) > 1 else "And 2 + 2?"

    env = Talk(ENV.tasks, [add], Rubric([Component("right", judged)]))
    turns = ("Hm\n</think>\n\n3.<|im_end|>", "So\n</think>\n\n4.<|im_end|>")
    with EpisodeStore(tmp_path / "episodes.jsonl", codec) as store:
        store.append(played(codec, env=env, turns=turns))
    [episode] = StoredRun.open(tmp_path).episodes()
    told = [(s.kind, s.text.strip(), s.turn) for s in episode.segments if s.by != "task"]

    assert [part for part in told if part[0] != "markup"] == [
        ("thinking", "Hm", 0), ("text", "3.", 0), ("user", "And 2 + 2?", 0),
        ("thinking", "So", 1), ("answer", "4.", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("dialect", ["react", "fenced", "tags", "qwq-direct"])
def test_in_every_dialect_the_segments_are_the_text(codec, tmp_path, dialect):
    @tool
    def python(code: str) -> str:
        """Run it."""
        return "3"

    @tool
    def search(query: str) -> str:
        """Look it up."""
        return "3"

    turns = {
        "react": ['Thought: hm\nAction: python\nAction Input: {"code": "1+2"}\n<|im_end|>',
                  "Thought: so\nFinal Answer: 3<|im_end|>"],
        "fenced": ["hm\n```python\n1+2\n```\n", "It is 3.<|im_end|>"],
        "tags": ["hm <search>1+2</search>", "It is 3.<|im_end|>"],
        "qwq-direct": [f"{call('{}').replace('add', 'python')}<|im_end|>", "3<|im_end|>"],
    }  # fmt: skip
    tools = [search if dialect == "tags" else python]
    env = ToolEnv(ENV.tasks, tools, Rubric([Component("right", judged)]), dialect=dialect)
    trajectory = played(codec, env=env, turns=turns[dialect])
    with EpisodeStore(tmp_path / "episodes.jsonl", codec) as store:
        store.append(trajectory)
    [episode] = StoredRun.open(tmp_path).episodes()

    assert "".join(s.text for s in episode.segments) == codec.decode(trajectory.ids)
    kinds = [s.kind for s in episode.segments]
    assert kinds.count("task") == 1
    assert kinds.count("call") == kinds.count("result") == trajectory.tool_calls > 0
    assert kinds.count("answer") == 1


def rows_of(codec, tmp_path, *, count=3):
    trajectory = played(codec)
    with EpisodeStore(tmp_path / "episodes.jsonl", codec) as store:
        for place in range(count):
            store.append(replace(trajectory, episode=f"0-0.0.{place}"), phase="grpo", step=0)
    return tmp_path / "episodes.jsonl"


BROKEN = {
    "text": (b"no JSON\n", "not JSON"),
    "array": (b"[1]\n", "a JSON array"),
    "another object": (b'{"a": 1}\n', "not an episode: outcome None"),
    "a newer version": (b'{"schema":5,"x":1}\n', "schema 5; expected 4 at most"),
    "a version that is none": (b'{"schema":"x","task_id":1}\n', "schema 'x'; expected 4"),
    "scores that are none": (
        b'{"schema":2,"task_id":"t","episode":"e","outcome":{"kind":"a",'
        b'"reason":"b"},"scores":[1]}\n',
        "scores [1]; expected numbers by",
    ),
    "a count that is none": (
        b'{"schema":2,"task_id":"t","episode":"e","outcome":{"kind":"a",'
        b'"reason":"b"},"counts":{"ok":"x"}}\n',
        "counts {'ok': 'x'}; expec",
    ),
    "no bytes of UTF-8": (b'{"task_id": "\xff"}\n', "not UTF-8"),
}


@pytest.mark.parametrize("reward", [b"NaN", b"-Infinity", b'"1"', b"true", b"[]"])
def test_a_reward_that_is_no_number_to_compare_counts_as_lost(codec, tmp_path, reward):
    path = rows_of(codec, tmp_path, count=1)
    path.write_bytes(path.read_bytes().replace(b'"reward":1.0', b'"reward":' + reward))
    [episode] = StoredRun.open(tmp_path).episodes()

    assert episode.reward is None
    assert episode.trajectory.outcome.failed


@pytest.mark.parametrize("recipe", ["[", "[]", "grpo: 3", "grpo: {trl: 4}", "\x00"])
def test_a_recipe_that_cannot_be_read_hides_no_episode(codec, tmp_path, recipe):
    rows_of(codec, tmp_path, count=1)
    (tmp_path / "recipe.yaml").write_text(recipe)
    [episode] = StoredRun.open(tmp_path).episodes()

    assert episode.advantage in (None, 0.0)


@pytest.mark.parametrize(("line", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_row_is_named_and_passed_over(codec, tmp_path, line, reason):
    path = rows_of(codec, tmp_path)
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, line, *rest]))
    run = StoredRun.open(tmp_path)

    assert [episode.line for episode in run.episodes()] == [1, 3, 4]
    [damaged] = run.damaged
    assert (damaged.file, damaged.line) == (path, 2)
    assert reason in damaged.reason


def test_of_a_row_whose_columns_are_damaged_the_head_is_read(codec, tmp_path):
    path = rows_of(codec, tmp_path, count=1)
    path.write_bytes(path.read_bytes().replace(b'"ids":"i4:', b'"ids":"i4:AAAA'))
    [episode] = StoredRun.open(tmp_path).episodes()

    assert episode.reward == 1.0
    with pytest.raises(UsageError, match=r"episodes.jsonl:1: not an episode: .*damaged column"):
        _ = episode.trajectory


def test_a_row_that_is_being_written_is_left_out(codec, tmp_path):
    path = rows_of(codec, tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    run = StoredRun.open(tmp_path)

    assert len(run.episodes()) == 2
    assert run.damaged == []


def test_where_no_row_can_be_read_the_first_is_told(tmp_path):
    (tmp_path / "episodes.jsonl").write_text('{"schema":9}\n')

    with pytest.raises(UsageError, match=r"episodes.jsonl:1: schema 9; expected 4 at most"):
        StoredRun.open(tmp_path).episodes()


def test_a_folder_that_is_no_run_is_told_what_it_holds(tmp_path):
    with pytest.raises(UsageError, match=r"is empty; expected recipe.yaml or episodes.jsonl"):
        StoredRun.open(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match=r"holds notes.txt; expected"):
        StoredRun.open(tmp_path)
    (tmp_path / "aime").mkdir()
    (tmp_path / "aime" / "episodes.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"holds runs \(aime\); expected"):
        StoredRun.open(tmp_path)
    with pytest.raises(UsageError, match=r"no .*nowhere; expected"):
        StoredRun.open(tmp_path / "nowhere")


def test_the_words_of_a_task_do_not_hide_the_head(codec, tmp_path):
    """The head ends at a key; a task may hold the same words."""
    path = tmp_path / "episodes.jsonl"
    odd = replace(played(codec), counts={'a","transcript":[': 1}, reasons={"x": [',"transcript":']})
    odd = replace(odd, scores={"s": 1.0}, reference={"transcript": [1]})
    with EpisodeStore(path) as store:
        store.append(odd, note={"a": 1, "transcript": [2]})
    [episode] = StoredRun.open(tmp_path).episodes()

    assert episode.head["counts"] == odd.counts
    assert episode.trajectory.reference == {"transcript": [1]}


def test_a_head_may_be_long(codec, tmp_path):
    long = replace(played(codec), outcome=Outcome.cut("tokens", "x" * 100_000))
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        store.append(long)
        store.append(replace(long, episode="next"))
    episodes = StoredRun.open(tmp_path).episodes()

    assert [len(episode.outcome.detail) for episode in episodes] == [100_000, 100_000]
    assert [episode.trajectory.episode for episode in episodes] == ["0-0.0.0", "next"]


def test_of_several_rows_of_an_episode_the_last_counts(codec, tmp_path):
    path = rows_of(codec, tmp_path, count=1)
    with EpisodeStore(path) as store:
        store.append(replace(played(codec), reward=0.5), phase="grpo", step=0)

    assert [episode.reward for episode in StoredRun.open(tmp_path).episodes()] == [0.5]


def test_a_run_is_read_on_as_it_is_written(codec, tmp_path):
    path = rows_of(codec, tmp_path)
    run = StoredRun.open(tmp_path)
    whole = path.read_bytes()
    first, torn = run.news(), whole.splitlines(keepends=True)[0]
    with path.open("ab") as file:
        file.write(torn[:-9])
    nothing = run.news()
    with path.open("ab") as file:
        file.write(torn[-9:])
    later = run.news()
    path.write_bytes(whole.splitlines(keepends=True)[0])  # it went on from a checkpoint

    assert [len(first), len(nothing), [e.line for e in later]] == [3, 0, [4]]
    assert run.news() is None
    assert len(run.news()) == 1


def paid(name: str, task: str, reward: float | None) -> str:
    ended = Outcome.answered() if reward is not None else Outcome.lost("infrastructure")
    trajectory = replace(bare([1, 2], [1], [-1.0]), episode=name, task_id=task, reward=reward)
    row = {"phase": "grpo", "step": 0, **replace(trajectory, outcome=ended).to_json()}
    return json.dumps(row) + "\n"


def test_advantages_are_those_of_the_groups(tmp_path):
    """Two groups of the same task, over two ranks; one episode is lost."""
    rewards = {"0.0": 1.0, "0.1": 0.0, "0.2": 1.0, "0.3": 1.0, "1.0": 0.0, "1.1": None}
    for rank, file in enumerate(("episodes.jsonl", "episodes-rank1.jsonl")):
        rows = [paid(f"0-0.{n}", "t", r) for n, r in rewards.items() if n[0] == str(rank)]
        (tmp_path / file).write_text("".join(reversed(rows)))
    (tmp_path / "recipe.yaml").write_text("grpo: {group: 2, reward: environment, trl: {}}\n")
    found = {e.name[4:]: e.advantage for e in StoredRun.open(tmp_path).episodes()}
    spread = math.sqrt(0.5) + 1e-4

    assert found == {
        "0.0": pytest.approx(0.5 / spread), "0.1": pytest.approx(-0.5 / spread),
        "0.2": 0.0, "0.3": 0.0, "1.0": 0.0, "1.1": None,
    }  # fmt: skip
