"""The contract of a weight sync, and how one rank acts for all, or all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from accelerate.utils import broadcast_object_list, gather_object

from qwq_env.errors import InfrastructureError, UsageError

T = TypeVar("T")


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

    def bring(self, version: int) -> tuple[str, ...]:
        """Let servers, which may have been started anew, have a version that was pushed before.

        Called on one rank; returns the addresses of those that have it. Raises `UsageError` where
        it is no longer there.
        """
        raise UsageError(f"weights: version {version} was never written down; it lies in policy/")


def on_first_rank(accelerator: Any, work: Callable[[], T]) -> T:
    """Do `work` on the first rank, and return on every rank what came of it.

    Raises `InfrastructureError`, of the same text on every rank, for whatever went wrong.
    """
    told: list[Any] = [None, None]
    cause: Exception | None = None
    if accelerator.is_main_process:
        told[0], told[1], cause = _tried(work)
    broadcast_object_list(told)
    if told[1] is not None:
        raise InfrastructureError(f"weights: {told[1]}") from cause
    return cast(T, told[0])


def on_every_rank(work: Callable[[], T]) -> list[T]:
    """Do `work` on every rank at once, and return on each what came of all, in their order.

    `work` must make no collective call: who fails alone would leave the others in it. Raises
    `InfrastructureError`, of the same text on every rank, for the first that went wrong.
    """
    found, failure, cause = _tried(work)
    told = gather_object([(found, failure)])
    if failures := [failure for _, failure in told if failure is not None]:
        raise InfrastructureError(f"weights: {failures[0]}") from cause
    return [cast(T, found) for found, _ in told]


def _tried(work: Callable[[], T]) -> tuple[T | None, str | None, Exception | None]:
    try:
        return work(), None, None
    except Exception as error:  # noqa: BLE001 - whatever it is, all ranks must hear of it
        # The others wait for it. A full disk, for one, is a `SafetensorError`.
        return None, f"{type(error).__name__}: {error}", error
