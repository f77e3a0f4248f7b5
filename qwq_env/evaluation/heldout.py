"""Play held-out tasks with a policy and say how it did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from qwq_env import portal
from qwq_env.chat_model import ChatModel
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError
from qwq_env.evaluation.summary import summarize_evaluation
from qwq_env.journal import Journal
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.policy import Policy
from qwq_env.trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class Result:
    """Rates over `episodes`; an episode that was lost is in none of them but `lost`.

    `members` are the accuracies in a mixture's members, of those of which an episode was had.
    """

    episodes: int
    accuracy: float
    tool_call_rate: float
    mean_turns: float
    truncated: float
    lost: int
    members: Mapping[str, float] = field(default_factory=dict)


def evaluate(
    env: ToolEnv,
    policy: Policy | ChatModel,
    codec: TokenCodec | None,
    *,
    size: int,
    samples: int = 1,
    play: PlaySettings,
    settings: EngineSettings | None = None,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    on_episode: Callable[[Trajectory], None] | None = None,
    played: Mapping[str, Trajectory] | None = None,
    journal: Journal | None = None,
) -> list[Trajectory]:
    """Play the first `size` tasks of `env`, `samples` episodes each; of several ranks, this one's
    part.

    `played` are those of an evaluation that was interrupted, which are not played again (see
    `EpisodeStore.played`); `on_episode` is not called with them. With a `journal` those that had
    not ended go on where they were.
    """
    assignments = assignments_of(env, size=size, samples=samples, seed=seed)
    engine = Engine(env, policy, codec, play=play, settings=settings, journal=journal)
    return portal.run(engine.run(assignments[rank::world], on_episode, played=played))


def assignments_of(env: ToolEnv, *, size: int, samples: int, seed: int) -> list[Assignment]:
    """Return the episodes that `evaluate` plays, those of a task side by side."""
    return [
        Assignment(
            task,
            f"evaluation.{index}" if samples == 1 else f"evaluation.{index}.{sample}",
            seed * 1_000_003 + index * samples + sample,
        )
        for index, task in enumerate(islice(env.tasks, size))
        for sample in range(samples)
    ]


def summarize(trajectories: Sequence[Trajectory], members: Collection[str] = ()) -> Result:
    """Return the rates of these episodes. `accuracy` is the share that counts as right.

    Of a mixture also by its `members` (`ToolEnv.members`).

    Raises `InfrastructureError` if every episode was lost: there is no rate then, and it is not 0.
    """
    summary = summarize_evaluation(trajectories, members)
    if trajectories and summary.accuracy is None:
        first = trajectories[0].outcome
        raise InfrastructureError(f"all episodes were lost; {first.reason}: {first.detail}")
    lost = sum(summary.lost.values()) + len(summary.undecided)
    return Result(
        episodes=summary.episodes,
        accuracy=summary.accuracy.value if summary.accuracy else 0.0,
        tool_call_rate=summary.tool_call_rate or 0.0,
        mean_turns=summary.mean_turns or 0.0,
        truncated=sum(summary.truncated.values()) / max(1, summary.episodes - lost),
        lost=lost,
        members={name: mean.value for name, mean in summary.members.items() if mean is not None},
    )
