"""Says that a training learns nothing: GRPO compares the episodes of a group, and all are alike.

Such a run looks like any other: it takes its time, writes its checkpoints and ends well, with a
gradient of zero in every step. The usual causes are seen in the episodes, so they are told with it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from transformers import TrainerCallback

from qwq_env.text.characters import printable
from qwq_env.trajectory import Trajectory

logger = logging.getLogger(__name__)

_PATIENCE: Final = 10


class FlatRewards(TrainerCallback):  # type: ignore[misc]  # its package is read without types
    """Warns once when no group had two different rewards in `patience` batches, and at the end.

    What counts are the rewards that TRL compares, over all ranks; `last` gives the newest episodes
    of this one.
    """

    def __init__(
        self, trainer: Any, last: Callable[[], Sequence[Trajectory]], patience: int = _PATIENCE
    ) -> None:
        self._trainer, self._last, self._patience = trainer, last, patience
        self._flat = 0
        self._seen: Sequence[float] = ()
        self._counted = 0
        self._varied = self._told = False

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Look at the share of groups whose rewards are all alike; TRL notes it at each batch, and
        begins another list once it has logged."""
        shares = self._trainer._metrics["train"].get("frac_reward_zero_std", ())
        new = shares[self._counted :] if shares is self._seen else shares
        self._seen, self._counted = shares, len(shares)
        if not new:
            return  # a step on the batch of an earlier one
        if min(new) < 1:
            self._flat, self._varied = 0, True
            return
        self._flat += len(new)
        if self._flat >= self._patience and not self._told:
            self._told = True
            self._tell(state, f"in {self._flat} batches")

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Say it again where whoever comes back to the run looks first."""
        if self._flat and not self._varied:
            self._tell(state, f"in any of the {self._flat} batches")
        elif self._flat >= self._patience:
            self._tell(state, f"in the last {self._flat} batches")

    def _tell(self, state: Any, when: str) -> None:
        if state.is_world_process_zero:
            episodes = describe_episodes(self._last())
            logger.warning(
                "no group had two different rewards %s: frac_reward_zero_std is 1, so nothing is"
                " learned; change the tasks (environment.difficulty), what was shown (cold_start),"
                " grpo.temperature or grpo.group; of the newest episodes: %s", when, episodes,
            )  # fmt: skip


def describe_episodes(trajectories: Sequence[Trajectory]) -> str:
    """Return in a line what may be why: rewards, tool calls, errors, ends."""
    rewards = sorted({t.reward for t in trajectories if t.reward is not None})
    if not rewards:
        paid = "no rewards"
    elif len(rewards) == 1:
        paid = f"all rewards {rewards[0]:.2f}"
    else:
        paid = f"rewards from {rewards[0]:.2f} to {rewards[-1]:.2f}, each group's alike"
    calls = sum(t.tool_calls for t in trajectories)
    failed = calls - sum(t.counts.get("ok", 0) for t in trajectories)
    errors = f" ({failed} without a result)" if failed else ""
    ends = Counter(printable(t.outcome.reason, lines=False) for t in trajectories)
    ended = ", ".join(f"{count} {reason}" for reason, count in ends.most_common(4))
    return f"{paid}; {calls} tool calls{errors}; ended by: {ended}"
