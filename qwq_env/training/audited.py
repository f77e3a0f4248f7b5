"""Episodes of a training batch, played and held against what was sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qwq_env import portal
from qwq_env.errors import UsageError
from qwq_env.rollout.audit import AuditError, RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine, attempt_name
from qwq_env.trajectory import Trajectory


def play_audited(
    engine: Engine,
    assignments: Sequence[Assignment],
    report: Callable[[Trajectory], None] | None,
    context: int,
) -> list[Trajectory]:
    """Play and audit episodes."""
    recording = engine.policy
    assert isinstance(recording, RecordingPolicy)
    with recording.policy.generating():
        trajectories = portal.run(engine.run(assignments, report))
    _check(trajectories, recording)
    _check_room(trajectories, context)
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


def _check_room(trajectories: Sequence[Trajectory], context: int) -> None:
    """Raise `UsageError` if no prompt leaves room for an answer: nothing could ever be learned."""
    played = [trajectory for trajectory in trajectories if not trajectory.outcome.failed]
    if played and all(t.outcome.reason == "tokens" and _wrote_nothing(t) for t in played):
        shortest = min(trajectory.prompt_length for trajectory in played)
        raise UsageError(
            f"context: {context} tokens, or fewer where the policy is served, and the shortest"
            f" prompt has {shortest}; expected room for an answer"
        )


def _wrote_nothing(trajectory: Trajectory) -> bool:
    return not any(any(row.mask) for row in trajectory.rows)
