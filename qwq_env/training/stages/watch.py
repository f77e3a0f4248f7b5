"""Evaluation while it trains, on held-out tasks, and the gates that look at what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from qwq_env.evaluation.heldout import Result


class HeldOut(TrainerCallback):  # type: ignore[misc]  # its package is read without types
    """Evaluates every so many steps, and ends the training when a gate closes.

    `evaluate` plays the held-out tasks after a step; `wrong` says which gate that closes. After the
    last step it is not asked: the stage is evaluated as a whole then. What it says is in `reason`.
    """

    def __init__(
        self,
        every: int,
        evaluate: Callable[[int], Result],
        wrong: Callable[[Result], str | None],
    ) -> None:
        self._every, self._evaluate, self._wrong = every, evaluate, wrong
        self.reason: str | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Evaluate where it is time to. What stopped is saved: another gate may let it go on."""
        step = state.global_step
        if not self._every or step % self._every or step >= state.max_steps:
            return
        if (found := self._wrong(self._evaluate(step))) is not None:
            self.reason = f"step {step}: {found}"
            control.should_training_stop = control.should_save = True
