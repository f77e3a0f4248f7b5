"""A whole recipe: every key that has no section of its own file, and what sections have in common.

Each section is declared in one place, key by key, with its type, its default, and one line of what
it is: here, in `policy.py`, `cluster.py`, `learning.py` and `stages.py`. A key stands there only if
the run honours it. What two keys must have to do with each other is checked where both are known,
in `__post_init__`; what needs the checkpoint, in `check.py`.
"""

# ruff: noqa: RUF009 - key() is dataclasses.field with a line of what the key is

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from qwq_env.errors import UsageError, unknown
from qwq_env.training.limits import WallLimits, check_order
from qwq_env.training.recipe.cluster import ClusterRecipe
from qwq_env.training.recipe.key import key
from qwq_env.training.recipe.learning import ColdStartRecipe, GrpoRecipe
from qwq_env.training.recipe.policy import PolicyRecipe
from qwq_env.training.recipe.stages import StageRecipe, check_name

TRACKERS: Final = ("trackio", "wandb", "tensorboard")
"""Names that `report_to` takes."""
_TINY_COLD_STEPS: Final = 500
_WEEK: Final = 604_800
_BEYOND_A_BATCH: Final = 1800
"""Seconds for what a step does besides its episodes; a cold start, too, is made by one process."""
_BEYOND_A_TURN: Final = 300
"""Seconds by which a request outlives its batch: the deadline of the batch is to end it."""


@dataclass(frozen=True, slots=True)
class EnvironmentRecipe:
    """The environment: a Gymnasium `id`, what is passed to it, and the bounds of an episode.

    `tasks`, `tools`, `dialect` and `difficulty` that are left unsaid are the environment's own
    defaults. `arguments` are whatever else its class takes, by name (`environment.arguments.x=1`).
    One that it does not take is refused.
    """

    id: str = key("qwq/MathTool-v0", "the environment's Gymnasium id")
    tasks: str | None = key(None, "a JSONL file or dataset id to train on")
    heldout_tasks: str | None = key(None, "a JSONL file or dataset id to evaluate on")
    tools: list[str] | None = key(None, "names of the tools")
    dialect: str | None = key(None, "how the model writes calls: qwq, react, tags, fenced, ...")
    difficulty: int | None = key(None, "of tasks that are made, not read", positive=True)
    arguments: dict[str, Any] = key(dict, "whatever else the environment's class takes")
    turns: int = key(4, "the most turns of an episode", positive=True)
    tool_calls: int = key(8, "the most calls of an episode", positive=True)


@dataclass(frozen=True, slots=True)
class RolloutRecipe:
    """How episodes are played, in training and in evaluation.

    `concurrency` bounds the episodes that a process has in progress, `attempts` how often one is
    tried when our machinery fails; for wall times see `limits`. `thinking` "keep" leaves earlier
    thinking in the context, "strip" takes it out as QwQ's chat template does (one row a turn; not
    for the dialects that feed tools back inside a turn).

    `store` says of which episodes `episodes.jsonl` has text and tokens: "all", of a "sample" (of
    each step and process the first group, of an evaluation the first `evaluation.samples`), or of
    "none". Their outcomes, rewards and times are there of all.
    """

    concurrency: int = key(1024, "episodes in progress, of one process", positive=True)
    attempts: int = key(3, "tries of an episode that our machinery lost", positive=True)
    thinking: Literal["keep", "strip"] = key("keep", "earlier thinking in the context")
    slots: int = key(64, "turns sampled at a time where the model itself samples", positive=True)
    staleness: int = key(0, "batches that the sampler's weights lie behind the trainer's")
    store: Literal["all", "sample", "none"] = key("all", "whose text and tokens are stored")


def _seconds(default: float | None, what: str) -> Any:
    return key(default, what, positive=True, most=_WEEK)


@dataclass(frozen=True, slots=True)
class LimitsRecipe:
    """Seconds of wall time, each at most a week: a tool's call < episode < batch < request < ddp.

    What of the episodes of a training step still runs at the end of its `batch` is lost, and masked
    (where tasks are timed, truncated and paid); so is what has not begun. Evaluation has no such
    bound. What is unsaid follows: a request may outlive its batch by 5 minutes, and processes wait
    for each other half an hour longer than any batch takes, for the weights that travel as well.
    """

    episode: float | None = _seconds(120.0, "of an episode, which is lost then; null: no bound")
    batch: float = _seconds(1200.0, "of the episodes of a step")
    request: float | None = _seconds(None, "of one turn on a server; unsaid: batch and 5 minutes")
    ddp: float | None = _seconds(
        None, "that processes wait for each other; unsaid: batch and half an hour"
    )

    def __post_init__(self) -> None:
        check_order(
            WallLimits(None, self.episode, self.batch, self.request_seconds, float(self.patience)),
            ("tool", "limits.episode", "limits.batch", "limits.request", "limits.ddp"),
        )

    @property
    def request_seconds(self) -> float:
        """Wall time of one turn on a server, said or not."""
        return self.batch + _BEYOND_A_TURN if self.request is None else self.request

    @property
    def patience(self) -> int:
        """Seconds that processes wait for each other, said or not."""
        derived = max(self.batch + _BEYOND_A_BATCH, self.request_seconds + 60)
        return math.ceil(derived if self.ddp is None else self.ddp)


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """How many held-out `tasks` are played before and after, and episodes printed at the end.

    While it trains they are played `every` so many steps; what comes of it is in `summary.json` and
    `curve.png`, and is what the gates of a stage look at.
    """

    tasks: int = key(256, "held-out tasks of an evaluation", positive=True)
    samples: int = key(10, "episodes printed at the end")
    every: int = key(0, "steps between two evaluations while it trains; 0: none")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run; `name` is its folder below `runs/`."""

    name: str = key("tiny", "the run's folder below runs/")
    seed: int = key(0, "of everything that is drawn")
    threads: int = key(1, "of torch, in each process", positive=True, most=1024)
    environment: EnvironmentRecipe = key(EnvironmentRecipe, "")
    policy: PolicyRecipe = key(PolicyRecipe, "")
    cluster: ClusterRecipe = key(ClusterRecipe, "")
    cold_start: ColdStartRecipe = key(ColdStartRecipe, "")
    grpo: GrpoRecipe = key(GrpoRecipe, "")
    rollout: RolloutRecipe = key(RolloutRecipe, "")
    limits: LimitsRecipe = key(LimitsRecipe, "")
    evaluation: EvaluationRecipe = key(EvaluationRecipe, "")
    stages: list[StageRecipe] = key(list, "parts of the run, one after the other; none: it is one")
    report_to: list[str] = key(list, "trackers: trackio, wandb, tensorboard")

    def __post_init__(self) -> None:
        check_name("recipe: name", self.name)
        for name in self.report_to:
            if name not in TRACKERS:
                raise unknown("report_to", name, TRACKERS)
        _check_sampler(self)
        _check_cold_start(self)
        world = self.cluster.train or 1
        if self.cluster.gpus and self.grpo.episodes % (world * self.grpo.group):
            raise UsageError(
                f"grpo.episodes: {self.grpo.episodes}; expected a multiple of grpo.group"
                f" ({self.grpo.group}) times the GPUs that train ({world})"
            )
        self.grpo.rows(world)

    @property
    def cold_steps(self) -> int:
        """How many supervised steps there are, said or not."""
        said = self.cold_start.steps
        return said if said is not None else _TINY_COLD_STEPS * (self.policy.checkpoint == "tiny")


def _check_sampler(recipe: Recipe) -> None:
    """Raise `UsageError` for a sampler that the GPUs, or the policy, rule out."""
    cluster, policy = recipe.cluster, recipe.policy
    if policy.sampler == "transformers" and cluster.sharded:
        raise UsageError(
            f"cluster.strategy: {cluster.strategy!r} leaves no process a whole model to sample"
            " from; expected policy.sampler=vllm"
        )
    if policy.sampler == "vllm" and recipe.rollout.staleness:
        raise UsageError(
            f"rollout.staleness: {recipe.rollout.staleness}; expected 0 with policy.sampler=vllm,"
            " whose weights are pushed before each step"
        )
    if (policy.sampler == "vllm") != bool(cluster.serve) and cluster.gpus:
        raise UsageError(
            f"cluster.serve: {cluster.serve}; expected GPUs that serve with"
            " policy.sampler=vllm, and none without"
        )
    if cluster.sharded and policy.checkpoint == "tiny":
        raise UsageError(f"cluster.strategy: {cluster.strategy!r}; expected ddp for 'tiny'")


def _check_cold_start(recipe: Recipe) -> None:
    """Raise `UsageError` for a cold start that the policy cannot have."""
    policy, cold, steps = recipe.policy, recipe.cold_start, recipe.cold_steps
    if steps and recipe.cluster.sharded:
        raise UsageError(
            f"cold_start.steps: {steps}; expected 0 with cluster.strategy"
            f" {recipe.cluster.strategy!r}: start from the cold/ of a run that is not sharded"
        )
    if steps and policy.sampler == "vllm" and policy.weights == "adapter":
        raise UsageError(
            f"cold_start.steps: {steps}; expected 0 with policy.weights 'adapter', for the servers"
            " have the checkpoint: serve the cold/ of a run without servers"
        )
    asks = {"frozen_layers": cold.frozen_layers, "source": cold.source == "rejection"}
    for name, said in asks.items():
        if said and policy.checkpoint == "tiny":
            raise UsageError(f"cold_start.{name}: expected a policy.checkpoint to start from")
    if cold.frozen_layers and policy.lora is not None:
        raise UsageError(
            "cold_start.frozen_layers: expected it, or policy.lora, not both: an adapter leaves all"
            " weights as they are"
        )
