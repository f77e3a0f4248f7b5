"""A recipe's section `stages`: the parts of a run."""

# ruff: noqa: RUF009 - key() is dataclasses.field with a line of what the key is

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from qwq_env.errors import UsageError, brief
from qwq_env.training.recipe.key import key

_MOST_BYTES: Final = 200
"""File systems take 255, and what stands beside a folder has its name and more."""


def check_name(where: str, name: str, *taken: str) -> None:
    """Raise `UsageError` for a name that is not that of one folder, or `taken` otherwise."""
    but = "".join(f", not {each!r}" for each in taken)
    if name in ("", ".", "..", *taken) or set(name) & {"/", "\\"} or not name.isprintable():
        raise UsageError(f"{where}: {brief(name)}; expected the name of one folder{but}")
    if (size := len(name.encode())) > _MOST_BYTES:
        raise UsageError(
            f"{where}: {brief(name)}: {size} bytes; expected the name of one folder, at most"
            f" {_MOST_BYTES}"
        )


@dataclass(frozen=True, slots=True)
class GateRecipe:
    """What a stage may cost: a held-out accuracy that falls by more than `fall` stops it."""

    member: str = key("all", "of the mixture, or all of it together")
    fall: float = key(0.03, "the most that its accuracy may fall below the stage's beginning")


@dataclass(frozen=True, slots=True)
class RewardModelRecipe:
    """A reward model that is trained as a stage begins, and pays the episodes of one member then.

    The policy that the stage starts from plays `episodes` of the member's training tasks, the
    member's own rubric says which are right, and a classifier that starts from the policy's weights
    learns to tell. The member's environment takes its folder as `reward_model`. Evaluation goes on
    by the rubric.
    """

    member: str = key("", "of the mixture; its environment takes a reward_model")
    checkpoint: str | None = key(None, "what it starts from; unsaid: the stage's own policy")
    episodes: int = key(2048, "episodes that it is trained on", positive=True)
    steps: int = key(300, "supervised steps", positive=True)
    batch: int = key(64, "answers a step", positive=True)
    learning_rate: float = key(1e-3, "the highest learning rate", positive=True)
    heldout: float = key(0.125, "share of the tasks that it is only tested on")


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """A part of a run: it reads one sealed policy and writes one, in a folder of its own.

    Its recipe is the whole one with what stands here in place of it. `source` is "policy" (what
    `policy` says, cold start and all), a stage before, or the folder of a sealed policy or of a
    checkpoint. Cold start and evaluation are in all members of the `environment`; `mixture` says
    which of them are trained on, by share. It may bring members of its own
    (`{id: ..., weight: ...}`), which then belong to all.
    """

    name: str = key("", "its folder below stages/")
    source: str | None = key(None, "unsaid: the stage before it, and for the first the policy")
    steps: int | None = key(None, "optimizer steps; unsaid: grpo.steps", positive=True)
    mixture: dict[str, Any] | None = key(None, "members to train on, and the share of each")
    curriculum: dict[str, Any] | None = key(None, "when members of several difficulties go up")
    dynamic: float | None = key(None, "as grpo.dynamic")
    evaluation: dict[str, Any] = key(dict, "keys of evaluation, such as {every: 20}")
    gates: list[GateRecipe] = key(list, "what ends it with an error")
    reward_model: RewardModelRecipe | None = key(None, "trained first, and paid by then")
    overrides: dict[str, Any] = key(dict, "any other keys, such as {grpo: {learning_rate: 1e-4}}")

    def __post_init__(self) -> None:
        check_name("recipe: stages: name", self.name, "policy")
