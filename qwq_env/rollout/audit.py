"""Proof that what is trained on is what was sampled, in the context it was sampled in.

`RecordingPolicy` stands between the engine and a policy and writes down, apart from the engine,
what each request held and what came back. `audit` holds a trajectory against that record, and
against the promises of `Trajectory` itself.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from qwq_env.errors import QwqError
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.trajectory import TrainingRow, Trajectory


class AuditError(QwqError):
    """A trajectory contradicts what was sampled: a bug of ours, which must stop the training."""


class Record(NamedTuple):
    """One generation: its context, as a length and a digest, and what was sampled."""

    context_length: int
    context_digest: bytes
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class _Growing:
    """Digests of ids that grow, as `digest_of` gives them, each in the time of what is new."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._hash = hashlib.blake2b(digest_size=16)

    def extended(self, more: Sequence[int]) -> bytes:
        """Append ids, and return the digest of all."""
        self.ids += more
        self._hash.update(array("q", more).tobytes())
        return self._hash.copy().digest()


class RecordingPolicy(Policy):
    """Passes everything through to `policy`; `take` gives what it has seen of an episode."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._records: dict[str, list[Record]] = defaultdict(list)
        self._contexts: dict[str, _Growing] = {}

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample with the policy, and record it."""
        length, digest = len(request.ids), self._digest(request.episode, request.ids)
        generation = await self.policy.generate(request)
        record = Record(length, digest, tuple(generation.ids), tuple(generation.logprobs))
        self._records[request.episode].append(record)
        return generation

    async def release(self, episode: str) -> None:
        """Pass on; the record stays until it is taken."""
        await self.policy.release(episode)

    async def aclose(self) -> None:
        """Pass on."""
        await self.policy.aclose()

    def _digest(self, episode: str, ids: Sequence[int]) -> bytes:
        """Return the digest of a context; of one that begins with the last one, what is new is
        read. That it does is looked at id by id, for the records prove it."""
        known = self._contexts.get(episode)
        if known is None or list(ids[: len(known.ids)]) != known.ids:
            known = self._contexts[episode] = _Growing()
        return known.extended(ids[len(known.ids) :])

    def take(self, episode: str) -> list[Record]:
        """Return the records of an episode (of one attempt at it), and forget them."""
        self._contexts.pop(episode, None)
        return self._records.pop(episode, [])

    def forget(self) -> None:
        """Forget all records: those of attempts that failed are never asked for."""
        self._records.clear()
        self._contexts.clear()


def digest_of(ids: Sequence[int]) -> bytes:
    """Return a digest of token ids."""
    return hashlib.blake2b(array("q", ids).tobytes(), digest_size=16).digest()


def audit(trajectory: Trajectory, records: Sequence[Record] | None = None) -> list[str]:
    """Return what contradicts the promises of `Trajectory`; empty when it keeps them all.

    With `records`, every sampled id, its log-probability and its context are held against them.
    """
    problems = [*_lengths(trajectory), *_spans(trajectory)]
    if records is not None and not problems:
        problems += _sampling(trajectory, records)
    return problems


def _lengths(trajectory: Trajectory) -> Iterator[str]:
    for number, row in enumerate(trajectory.rows):
        completion = len(row.ids) - row.prompt_length
        if len(row.mask) != completion:
            yield f"row {number}: mask has {len(row.mask)} entries for {completion} ids"
        if len(row.logprobs) != completion:
            yield f"row {number}: logprobs has {len(row.logprobs)} entries for {completion} ids"


def _spans(trajectory: Trajectory) -> Iterator[str]:
    position = 0
    for span in trajectory.spans:
        if span.start != position:
            yield f"span at {span.start}; expected one at {position}"
        position = span.end
        if span.author != "task":
            wanted = int(span.author in ("thinking", "answer"))
            begin, end = span.start - trajectory.prompt_length, span.end - trajectory.prompt_length
            if any(bit != wanted for bit in trajectory.mask[begin:end]):
                yield f"mask is not {wanted} throughout the {span.author} at {span.start}"
    if position != len(trajectory.ids):
        yield f"spans end at {position} of {len(trajectory.ids)} ids"


def _sampling(trajectory: Trajectory, records: Sequence[Record]) -> Iterator[str]:
    """Walk the rows with the records: each generation must lie in them, in order, whole."""
    waiting = list(records)
    for number, row in enumerate(trajectory.rows):
        position, read = row.prompt_length, _Growing()
        while (start := _next_sampled(row, position)) is not None:
            if not waiting:
                yield f"row {number}: ids from {start} on are masked as sampled; none were"
                return
            record = waiting.pop(0)
            position = record.context_length + len(record.ids)
            begin = record.context_length - row.prompt_length
            end = position - row.prompt_length
            if record.context_length != start:
                yield f"row {number}: sampled ids at {start}, not at {record.context_length}"
                return
            if tuple(row.ids[start:position]) != record.ids:
                yield f"row {number}: the ids from {start} on are not those that were sampled"
            if not all(row.mask[begin:end]) or len(row.mask[begin:end]) != len(record.ids):
                yield f"row {number}: not all sampled ids from {start} on are in the mask"
            if tuple(row.logprobs[begin:end]) != record.logprobs:
                yield f"row {number}: the logprobs from {start} on are not those of sampling"
            if read.extended(row.ids[len(read.ids) : start]) != record.context_digest:
                yield f"row {number}: the context before {start} is not the one sampled in"
    if any(record.ids for record in waiting):
        yield f"{len(waiting)} generations are in no row"


def _next_sampled(row: TrainingRow, position: int) -> int | None:
    for index in range(position - row.prompt_length, len(row.mask)):
        if row.mask[index]:
            return row.prompt_length + index
    return None
