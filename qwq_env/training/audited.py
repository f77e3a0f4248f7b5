"""Episodes of a training batch, played and held against what was sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from qwq_env import portal
from qwq_env.errors import UsageError
from qwq_env.rollout.audit import AuditError, RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine, attempt_name
from qwq_env.trajectory import Trajectory


def play_audited(
    engine: Engine,
    assignments: Sequence[Assignment],
    report: Callable[[Trajectory], None] | None,
    deadline: float | None = None,
) -> list[Trajectory]:
    """Play and audit episodes; see `Engine.run`."""
    recording = engine.policy
    assert isinstance(recording, RecordingPolicy)
    with recording.policy.generating():
        trajectories = portal.run(engine.run(assignments, report, deadline=deadline))
    _check(trajectories, recording)
    return trajectories


def _check(trajectories: Sequence[Trajectory], recording: RecordingPolicy) -> None:
    """Raise `AuditError` for the first trajectory that is not what was sampled."""
    for trajectory in trajectories:
        name = attempt_name(trajectory.episode, trajectory.attempts)
        if not trajectory.turns:
            continue
        if problems := audit(trajectory, recording.take(name)):
            raise AuditError(f"episode {trajectory.episode}: {problems[0]}")
    recording.forget()


class Room(NamedTuple):
    """What prompts left of the context: whether one of them `had` room for an answer, and how many
    tokens the `shortest` has, None where no episode was played to its end."""

    had: bool
    shortest: int | None


def room_of(trajectories: Sequence[Trajectory]) -> Room:
    """Return what the prompts of one rank's batch left of the context."""
    played = [trajectory for trajectory in trajectories if not trajectory.outcome.failed]
    had = not all(t.outcome.reason == "tokens" and _wrote_nothing(t) for t in played)
    return Room(had, min((t.prompt_length for t in played), default=None))


def check_room(rooms: Sequence[Room], context: int) -> None:
    """Raise `UsageError` if no prompt of any rank had room: nothing could ever be learned.

    A prompt alone may well have none; its episode is cut, and the others are learned from.
    """
    prompts = [room.shortest for room in rooms if room.shortest is not None]
    if prompts and not any(room.had for room in rooms):
        raise UsageError(
            f"context: {context} tokens, or fewer where the policy is served, and the shortest"
            f" prompt has {min(prompts)}; expected room for an answer"
        )


def _wrote_nothing(trajectory: Trajectory) -> bool:
    return not any(any(row.mask) for row in trajectory.rows)
