"""The contract of a weight sync, and how one rank acts for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from accelerate.utils import broadcast_object_list

from qwq_env.errors import InfrastructureError


class Pushed(NamedTuple):
    """What a push came to: `version` is the trainer's step, `seconds` what it took from gathering
    to the last server, `bytes` what was written, `servers` the addresses that have the version.

    A server that is not among them must not be asked until a later push reaches it.
    """

    version: int
    seconds: float
    bytes: int
    servers: tuple[str, ...]


class WeightSync(ABC):
    """Brings the trainer's weights to whatever samples."""

    @abstractmethod
    def push(self, trainer: Any) -> Pushed:
        """Return when each server of the result has the weights of `trainer`.

        Called on every rank, outside any episode, before the first rollout of each step; it may
        be collective, and returns the same on every rank. Raises `InfrastructureError`, on every
        rank, if too few servers took them.
        """


def on_first_rank(accelerator: Any, work: Callable[[], Pushed]) -> Pushed:
    """Do `work` on the first rank, and return on every rank what came of it.

    Raises `InfrastructureError`, of the same text on every rank, for whatever went wrong.
    """
    told: list[Any] = [None, None]
    cause: Exception | None = None
    if accelerator.is_main_process:
        try:
            told[0] = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, all ranks must hear of it
            # The others wait in the broadcast. A full disk, for one, is a `SafetensorError`.
            told[1], cause = f"{type(error).__name__}: {error}", error
    broadcast_object_list(told)
    pushed, failure = told
    if failure is not None:
        raise InfrastructureError(f"weights: {failure}") from cause
    assert isinstance(pushed, Pushed)
    return pushed
