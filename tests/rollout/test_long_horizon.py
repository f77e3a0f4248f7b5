"""A turn of a long episode costs what one of a short episode does: by counts, not by time."""

from __future__ import annotations

import asyncio
from collections import Counter, UserList

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.journal import Journal
from qwq_env.outcome import EpisodeLimits, Outcome
from qwq_env.rollout.audit import Record, RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.rollout.rows import Row
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.trajectory import Trajectory

CALL = 'page %d\n</think>\n\n<tool_call>{"name": "read", "arguments": {"page": %d}}</tool_call>'
SHORT, LONG = 10, 100


class CountingCodec(TokenCodec):
    """Counts the characters that are encoded and decoded, those it remembers too."""

    def __init__(self, tokenizer) -> None:
        super().__init__(tokenizer)
        self.characters: Counter[str] = Counter()

    def encode(self, text):
        self.characters["encoded"] += len(text)
        return super().encode(text)

    def encode_pieces(self, pieces):
        self.characters["encoded"] += sum(len(piece.text) for piece in pieces)
        return super().encode_pieces(pieces)

    def decode(self, ids):
        text = super().decode(ids)
        self.characters["decoded"] += len(text)
        return text


def reading(turns: int, codec) -> ToolEnv:
    """Return an environment of an episode of that many turns, with as many pages to read."""

    @tool(blocking=False)
    def read(page: int) -> str:
        """Read a page."""
        return f"{page}: " + "the river rises " * 20

    return ToolEnv(
        ListTaskSet([Task("t", "Read.", "done")]), [read],
        Rubric([Component("done", lambda final: float(final.answer == "done"))]),
        limits=EpisodeLimits(turns=turns, tool_calls=turns), tokenizer=codec,
    )  # fmt: skip


def script(turns: int) -> list[str]:
    calls = [CALL % (turn, turn) + "<|im_end|>" for turn in range(turns - 1)]
    return [*calls, "</think>done<|im_end|>"]


def counted(turns: int, tokenizer, how: str, path) -> Counter[str]:
    """Play an episode and return what was encoded and decoded for it."""
    codec = CountingCodec(tokenizer)
    env = reading(turns, codec)
    if how == "step":
        env.reset(seed=0)
        assert [env.step(turn)[1] for turn in script(turns)][-1] == 1.0
        return codec.characters
    policy = RecordingPolicy(ScriptedPolicy(codec, script(turns)))
    play = PlaySettings(context=10**6, completion=10**6)
    with Journal(path / f"{turns}.jsonl") as journal:
        kept = journal if how == "journal" else None
        engine = Engine(env, policy, codec, play=play, journal=kept)
        [trajectory] = asyncio.run(engine.run([Assignment(env.tasks.task(0), "e", 0)]))
    assert audit(trajectory, policy.take("e")) == []
    assert (trajectory.reward, trajectory.turns) == (1.0, turns)
    return codec.characters


@pytest.mark.parametrize("how", ["engine", "journal", "step"])
def test_each_character_is_encoded_and_decoded_once(tokenizer, tmp_path, how):
    short, long = (counted(turns, tokenizer, how, tmp_path) for turns in (SHORT, LONG))

    assert long.keys() == short.keys()
    for work in long:
        assert long[work] <= 1.2 * LONG / SHORT * short[work]


class Ids(UserList):
    """Token ids that count how many of them were read."""

    read = 0

    def __getitem__(self, index):
        Ids.read += len(range(*index.indices(len(self)))) if isinstance(index, slice) else 1
        return list.__getitem__(self.data, index)

    def __iter__(self):
        Ids.read += len(self)
        return iter(self.data)


class Constant(Policy):
    async def generate(self, request: GenerationRequest) -> Generation:
        return Generation([7] * 5, [-0.5] * 5, "stop")


async def recorded(turns: int) -> tuple[Row, RecordingPolicy]:
    """Have an episode recorded as the player asks for it: with one list, which only grows."""
    row, policy = Row.begin(Ids([1] * 20)), RecordingPolicy(Constant())
    for turn in range(turns):
        row.add_sampled(*(await policy.generate(request_of(row.ids)))[:2], thinking=0)
        if turn < turns - 1:
            row.add_observed([2] * 30)
    return row, policy


def request_of(ids) -> GenerationRequest:
    sampling = PlaySettings().sampling
    return GenerationRequest(ids, 10, "e", sampling, frozenset())


def trajectory_of(row: Row) -> Trajectory:
    return Trajectory(
        "t", "e", 0, row.ids, row.prompt_length, row.mask, row.logprobs, row.spans,
        Outcome.answered(), 1.0,
    )  # fmt: skip


def test_the_record_and_the_audit_read_each_id_a_few_times(monkeypatch):
    read = {}
    for turns in (SHORT, LONG):
        monkeypatch.setattr(Ids, "read", 0)
        row, policy = asyncio.run(recorded(turns))
        recording = Ids.read
        assert audit(trajectory_of(row), policy.take("e")) == []
        read[turns] = (recording, Ids.read - recording)

    for short, long in zip(read[SHORT], read[LONG], strict=True):
        assert short >= SHORT * 5
        assert long <= 1.2 * LONG / SHORT * short


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("place", ["prompt", "sampled", "observed"])
def test_the_record_tells_when_known_ids_were_changed_in_place(turn, place):
    async def run() -> tuple[Row, list[Record]]:
        row, policy = Row.begin([1] * 20), RecordingPolicy(Constant())
        for number in range(3):
            row.add_sampled(*(await policy.generate(request_of(row.ids)))[:2], thinking=0)
            row.add_observed([2] * 30)
            if number == turn:
                row.ids[{"prompt": 3, "sampled": 22, "observed": 40}[place]] = 9
        row.add_sampled(*(await policy.generate(request_of(row.ids)))[:2], thinking=0)
        return row, policy.take("e")

    row, records = asyncio.run(run())
    first_seen_changed = place == "observed" and turn == 0

    assert bool(audit(trajectory_of(row), records)) is not first_seen_changed


def test_a_context_that_was_rendered_anew_is_read_anew():
    """Another list of the same length, with another id in it."""

    async def run() -> tuple[Row, list[Record]]:
        row, policy = Row.begin([1] * 20), RecordingPolicy(Constant())
        row.add_sampled(*(await policy.generate(request_of(row.ids)))[:2], thinking=0)
        row.add_observed([2] * 30)
        anew = [9, *row.ids[1:]]
        row.add_sampled(*(await policy.generate(request_of(anew)))[:2], thinking=0)
        return row, policy.take("e")

    row, records = asyncio.run(run())

    assert audit(trajectory_of(row), records) == [
        "row 0: the context before 55 is not the one sampled in"
    ]
