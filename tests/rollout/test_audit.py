"""What the recorder writes down of contexts that grow, shrink and change."""

from __future__ import annotations

from qwq_env.chat_model import Sampling
from qwq_env.rollout.audit import PrefixDigest, RecordingPolicy
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy


class Silent(Policy):
    """Ends each turn at once."""

    async def generate(self, request: GenerationRequest) -> Generation:
        return Generation([], [], "stop")


async def test_a_recorded_context_is_the_one_that_was_read():
    """It grows as a rule; stripped of its thinking, or by a mistake of ours, it is another one."""
    ids = list(range(50))
    contexts = [ids[:3], ids[:9], ids[:9], ids, [7, *ids[1:]], ids[:5], tuple(ids), ids[40:]]
    recording = RecordingPolicy(Silent())
    for number, context in enumerate(contexts):
        for episode in ("a", f"b{number}"):
            await recording.generate(
                GenerationRequest(context, 1, episode, Sampling(), frozenset())
            )
    records = recording.take("a")

    digests = [PrefixDigest(context).digest(len(context)) for context in contexts]
    assert [record.context_digest for record in records] == digests
    assert [record.context_length for record in records] == [len(c) for c in contexts]
    assert recording.take("a") == []
