"""The one error that is Gymnasium's, too: apart from the others, which need no Gymnasium."""

from __future__ import annotations

from gymnasium.error import ResetNeeded as GymnasiumResetNeeded

from qwq_env.errors import EpisodeError


class ResetNeeded(EpisodeError, GymnasiumResetNeeded):
    """`step` was called before `reset`, or after the episode had ended."""
