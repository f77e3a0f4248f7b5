"""Proof that what is trained on is what was sampled, in the context it was sampled in.

`RecordingPolicy` stands between the engine and a policy and writes down, apart from the engine,
what each request held and what came back. `audit` holds a trajectory against that record, and
against the promises of `Trajectory` itself.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict, deque
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


class RecordingPolicy(Policy):
    """Passes everything through to `policy`; `take` gives what it has seen of an episode."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._records: dict[str, list[Record]] = defaultdict(list)
        self._contexts: dict[str, PrefixDigest] = {}

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample with the policy, and record it."""
        length, digest = self._see(request)
        generation = await self.policy.generate(request)
        self._record(request.episode, length, digest, generation)
        return generation

    def recall(self, request: GenerationRequest, generation: Generation) -> None:
        """Record what was sampled before an interruption, and pass it on."""
        self._record(request.episode, *self._see(request), generation)
        self.policy.recall(request, generation)

    @property
    def weight_version(self) -> int | None:  # type: ignore[override]  # what it wraps knows
        """That of what it wraps."""
        return self.policy.weight_version

    def weights_pushed(self, version: int, servers: Sequence[str]) -> None:
        """Pass on."""
        self.policy.weights_pushed(version, servers)

    async def release(self, episode: str) -> None:
        """Pass on; the record stays until it is taken."""
        self._contexts.pop(episode, None)
        await self.policy.release(episode)

    async def aclose(self) -> None:
        """Pass on."""
        await self.policy.aclose()

    def take(self, episode: str) -> list[Record]:
        """Return the records of an episode (of one attempt at it), and forget them."""
        return self._records.pop(episode, [])

    def forget(self) -> None:
        """Forget all records: those of attempts that failed are never asked for."""
        self._records.clear()

    def _see(self, request: GenerationRequest) -> tuple[int, bytes]:
        """Return the length and the digest of a context, of which only what is new is read.

        The list that the turn before came with is known up to where it ended then. If what is known
        of it was changed since, the record holds what it was, and the audit sees the difference.
        """
        length = len(request.ids)
        context = self._contexts.get(request.episode)
        if context is None or context.ids is not request.ids or context.length > length:
            context = self._contexts[request.episode] = PrefixDigest(request.ids)
        return length, context.digest(length)

    def _record(self, episode: str, length: int, digest: bytes, generation: Generation) -> None:
        ids, logprobs = tuple(generation.ids), tuple(generation.logprobs)
        self._records[episode].append(Record(length, digest, ids, logprobs))


class PrefixDigest:
    """Digests of ever longer prefixes of `ids`, each id of which is read once.

    `length` is that of the last.
    """

    __slots__ = ("_hash", "ids", "length")

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids, self.length = ids, 0
        self._hash = hashlib.blake2b(digest_size=16)

    def digest(self, length: int) -> bytes:
        """Return the digest of the first `length` ids, at least as many as before."""
        self._hash.update(array("q", self.ids[self.length : length]).tobytes())
        self.length = length
        return self._hash.digest()


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
    waiting = deque(records)
    for number, row in enumerate(trajectory.rows):
        position, context = row.prompt_length, PrefixDigest(row.ids)
        while (start := _next_sampled(row, position)) is not None:
            if not waiting:
                yield f"row {number}: ids from {start} on are masked as sampled; none were"
                return
            record = waiting.popleft()
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
            if context.digest(start) != record.context_digest:
                yield f"row {number}: the context before {start} is not the one sampled in"
    if any(record.ids for record in waiting):
        yield f"{len(waiting)} generations are in no row"


def _next_sampled(row: TrainingRow, position: int) -> int | None:
    for index in range(position - row.prompt_length, len(row.mask)):
        if row.mask[index]:
            return row.prompt_length + index
    return None
