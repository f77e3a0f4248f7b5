"""Thinking that is bounded: cut, or closed with the words that ask for the answer."""

from __future__ import annotations

import asyncio

import pytest

from qwq_env.dialect.base import Piece
from qwq_env.errors import UsageError
from qwq_env.journal import Journal
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.policy import Generation, Policy
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.trajectory import Trajectory

from .chat_server import environment

FORCED = "\n</think>\n\nFinal Answer:"


class Wanderer(Policy):
    """Thinks `thought` and answers; where it was made to answer, it says 42."""

    def __init__(self, codec, thought: str) -> None:
        self.codec, self.said, self.seeds = codec, f"{thought}</think>\n\n42<|im_end|>", []

    async def generate(self, request):
        self.seeds.append(request.seed)
        context = self.codec.decode(request.ids).rpartition("<think>\n")[2]
        rest = " 42<|im_end|>" if context.endswith(FORCED) else self.said.removeprefix(context)
        ids = self.codec.encode_pieces([Piece(rest, control=True)])[: request.max_tokens]
        ended = self.codec.decode(ids).endswith("<|im_end|>")
        return Generation(ids, [-0.5] * len(ids), "stop" if ended else "length")


def play(codec, thought: str, journal=None, **settings) -> tuple[Trajectory, Wanderer]:
    env = environment(dialect="qwq", limits=None)
    policy = Wanderer(codec, thought)
    engine = Engine(env, policy, codec, play=PlaySettings(**settings), journal=journal)
    return asyncio.run(engine.run([Assignment(env.tasks.task(0), "e", 1)]))[0], policy


def test_an_answer_is_forced_and_is_nobodys_sample(codec):
    thought = "so it goes on and on"
    trajectory, policy = play(codec, thought, thinking_tokens=8, forced_answer="Final Answer:")

    ids = trajectory.completion_ids
    assert codec.decode(ids) == f"{thought[:8]}{FORCED} 42<|im_end|>"
    unsampled = [i for i, mask in zip(ids, trajectory.mask, strict=True) if not mask]
    assert codec.decode(unsampled) == FORCED
    assert all(
        bool(mask) == (p != 0) for mask, p in zip(trajectory.mask, trajectory.logprobs, strict=True)
    )
    assert (trajectory.reward, trajectory.answer) == (1.0, "Final Answer: 42")
    assert [span.author for span in trajectory.spans] == ["task", "thinking", "user", "answer"]
    assert trajectory.tokens == {"policy": sum(trajectory.mask), "user": len(unsampled)}
    assert len(set(policy.seeds)) == 2


def test_without_words_the_turn_is_cut(codec):
    trajectory, _ = play(codec, "so it goes on and on", thinking_tokens=8)

    assert (trajectory.outcome.kind, trajectory.outcome.reason) == ("truncated", "tokens")
    assert trajectory.mask == [1] * 8


@pytest.mark.parametrize("thought", ["", "short", "exactly8"])
@pytest.mark.parametrize("forced", [None, "Final Answer:"])
def test_thinking_within_its_bound_is_as_ever(codec, thought, forced):
    whole, _ = play(codec, thought)
    bounded, _ = play(codec, thought, thinking_tokens=9, forced_answer=forced)

    assert (bounded.ids, bounded.mask, bounded.reward) == (whole.ids, whole.mask, 1.0)


@pytest.mark.parametrize("budget", [8, 20, 26])
def test_no_limit_is_overrun_by_what_is_put_in(codec, budget):
    settings = {"thinking_tokens": 8, "forced_answer": "Final Answer:", "completion": budget}
    trajectory, _ = play(codec, "so it goes on and on", **settings)

    assert len(trajectory.completion_ids) <= budget
    assert trajectory.outcome.reason == "tokens"


def test_a_journal_answers_for_both_halves(codec, tmp_path):
    settings = {"thinking_tokens": 8, "forced_answer": "Final Answer:"}
    with Journal(tmp_path / "journal.jsonl") as journal:
        first, _ = play(codec, "so it goes on and on", journal, **settings)
    with Journal(tmp_path / "journal.jsonl") as journal:
        again, policy = play(codec, "so it goes on and on", journal, **settings)

    assert (again.ids, again.mask, policy.seeds) == (first.ids, first.mask, [])


def test_a_dialect_without_thinking_is_not_forced(codec):
    env = environment(dialect="qwq-direct", limits=None)
    settings = PlaySettings(thinking_tokens=4, forced_answer="Final Answer:")
    policy = ScriptedPolicy(codec, lambda text: "It is 42, as I said.<|im_end|>"[:4])
    engine = Engine(env, policy, codec, play=settings)
    [trajectory] = asyncio.run(engine.run([Assignment(env.tasks.task(0), "e", 1)]))

    assert "Final Answer" not in codec.decode(trajectory.completion_ids)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"thinking_tokens": 0}, "thinking_tokens: 0"),
        ({"forced_answer": "So:"}, "forced_answer: without thinking_tokens"),
    ],
)
def test_what_cannot_be_is_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        PlaySettings(**settings)


def test_a_chat_model_has_no_thinking_that_could_be_bounded(codec):
    from qwq_env.evaluation.answers import StoredAnswers

    with pytest.raises(UsageError, match="no chat server says where its thinking is"):
        Engine(environment(), StoredAnswers({}), play=PlaySettings(thinking_tokens=8))
