"""Rollouts of an environment, for a stock `trl.GRPOTrainer`.

```python
rollouts = Rollouts("qwq/MathTool-v0", tokenizer, size=1000)
trainer = GRPOTrainer(
    model="Qwen/QwQ-32B",
    args=GRPOConfig(...),
    processing_class=tokenizer,
    train_dataset=rollouts.dataset,
    rollout_func=rollouts,
    reward_funcs=rollouts.reward,
)
trainer.train()
```

TRL calls `rollouts` on every rank with that rank's prompts. It plays one episode for each, all
of them side by side and without any collective call in between, and returns prompt ids,
completion ids, log-probabilities and the mask of sampled ids. An episode that our machinery lost
gets reward None, which TRL leaves out of the group's baseline, and a mask of zeros. A step of
which every episode was lost would learn nothing: it ends the training, and so do servers that died.
"""

from __future__ import annotations

import logging
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any, Final, Literal

import datasets
from accelerate.utils import gather_object

from qwq_env import portal
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, ServersGone, UsageError
from qwq_env.registry import make_environment
from qwq_env.rollout.audit import AuditError, RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings, attempt_name
from qwq_env.rollout.play import PlaySettings, check_thinking
from qwq_env.rollout.policy import Policy
from qwq_env.task import Task
from qwq_env.text.characters import printable
from qwq_env.training.curriculum import curriculum_of, tell
from qwq_env.training.flat_rewards import FlatRewards
from qwq_env.training.group_reward import GroupReward
from qwq_env.training.sampling import sampling_of
from qwq_env.training.weights.base import WeightSync
from qwq_env.trajectory import PhaseSeconds, Trajectory

logger = logging.getLogger(__name__)

_SHARE_OF_DDP_TIMEOUT: Final = 0.8

PolicyFactory = Callable[[Any], Policy]
"""Makes the policy that samples, given the trainer; called once, at the first rollout."""

OnEpisode = Callable[[Trajectory, int], None]
"""Called with each finished episode and the training step it was played for."""


class Rollouts:
    """A `rollout_func`, with the `dataset` and the `reward` function that go with it.

    `environment` is a Gymnasium id (arguments for it in `environment_arguments`) or a `ToolEnv`.
    `dataset` has `size` rows, one a task; a finite task set gives no more than it has. `policy`
    makes the sampler from the trainer; by default the model that is trained is sampled in this
    process with Transformers. `context` bounds prompt and completion together.

    `thinking` "strip" takes earlier thinking out of the context, as QwQ's chat template does. An
    episode has a row for each turn then, and TRL takes one completion for each prompt: it gets a
    turn drawn uniformly, with the episode's reward, so that its expectation is that of all rows.

    `engine` bounds the playing. Where several ranks wait for each other, `batch_seconds` must stay
    below TRL's `ddp_timeout`; left unbounded, it is four fifths of that.

    `group_reward` compares the episodes of a group with each other once all have ended.

    Where the environment has a curriculum, a row stands for a place among its tasks: it gets the
    task that is there when it is played, and what it is paid is recorded; see `curriculum`.

    Of `GRPOConfig`, the temperature, `max_completion_length` (None: up to `context`) and
    `mask_truncated_completions` hold for the episodes; the last goes by their outcome, so one that
    `turns` cut counts too. Filters such as `top_p` are refused; see `sampling_of`.

    Every batch is audited: ids, log-probabilities and contexts must be those of the sampling,
    or the training stops with an `AuditError`. Where nothing can be learned, because the rewards
    of every group are alike, a warning says so after ten steps and at the end.
    """

    def __init__(
        self,
        environment: str | ToolEnv,
        tokenizer: Any,
        *,
        environment_arguments: Mapping[str, Any] | None = None,
        size: int = 10_000,
        seed: int = 0,
        context: int = 32_768,
        thinking: Literal["keep", "strip"] = "keep",
        policy: PolicyFactory | None = None,
        weights: WeightSync | None = None,
        engine: EngineSettings | None = None,
        on_episode: OnEpisode | None = None,
        group_reward: GroupReward | None = None,
    ) -> None:
        self.codec = TokenCodec(tokenizer)
        self.env = (
            environment
            if isinstance(environment, ToolEnv)
            else make_environment(environment, environment_arguments or {})
        )
        self.seed = seed
        self.context = context
        self.thinking: Literal["keep", "strip"] = thinking
        check_thinking(thinking, self.env.settings.dialect)
        self._curriculum = curriculum_of(self.env)
        self.dataset = task_dataset(self.env, size)
        self.last: list[Trajectory] = []
        self._tasks: dict[str, Task] = {}
        self._make_policy = policy or _transformers_policy
        self._weights = weights
        self._pushed_step: int | None = None
        self._engine_settings = engine or EngineSettings()
        self._on_episode = on_episode
        self._group_reward = group_reward
        self._engine: Engine | None = None
        self._step: int | None = None
        self._call = 0

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, list[Any]]:
        """Play one episode for each prompt; the `rollout_func` that TRL calls on every rank."""
        step, rank = trainer.state.global_step, trainer.accelerator.process_index
        # Counted within the step: a run that goes on then draws as one that never stopped.
        self._call = self._call + 1 if step == self._step else 0
        self._step = step
        assignments = [
            Assignment(
                self._task(prompt),
                f"{step}-{self._call}.{rank}.{i}",
                hash((self.seed, step, self._call, rank, i)) & 0x7FFF_FFFF,
            )
            for i, prompt in enumerate(prompts)
        ]
        engine = self._engine_for(trainer)
        # TRL takes what does not end with its own end token for cut off, which in some dialects
        # and with some tokenizers is every episode. Here the outcome says it; see `to_trl`.
        trainer.mask_truncated_completions = False
        assert isinstance(engine.policy, RecordingPolicy)
        self._push_weights(engine.policy, trainer)
        on_episode = self._on_episode
        report = None if on_episode is None else (lambda trajectory: on_episode(trajectory, step))
        with _sampling_mode(engine.policy.policy):
            self.last = _play(engine, assignments, report, trainer.accelerator.num_processes)
        if self._curriculum is not None:
            tell(self._curriculum, self.last, trainer.accelerator.num_processes)
        _check(self.last, engine.policy)
        _check_room(self.last, self.context)
        if self._group_reward is not None:
            tasks = [assignment.task for assignment in assignments]
            self.last = portal.run(self._group_reward.apply(tasks, self.last))
        _warn_of_losses(self.last)
        masked = trainer.args.mask_truncated_completions
        return to_trl(self.last, self.codec, mask_truncated=masked)

    def reward(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        episode_reward: Sequence[float | None],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return the rewards that the episodes ended with; logs the rubric and the tools' use."""
        if log_metric is not None:
            for name, value in episode_metrics(self.last).items():
                log_metric(f"episode/{name}", value)
        return list(episode_reward)

    def close(self) -> None:
        """Free the policy and the environment."""
        if self._engine is not None:
            portal.run(self._engine.policy.aclose())
        self.env.close()

    def _task(self, prompt: Any) -> Task:
        task_id = prompt[-1].get("task_id") if isinstance(prompt, list) else None
        if task_id is None:
            raise UsageError("train_dataset: a prompt without task_id; pass rollouts.dataset")
        place = prompt[-1].get("place")
        if self._curriculum is not None and place is not None:
            return self.env.tasks.task(place)
        if task_id not in self._tasks:
            self._tasks[task_id] = self.env.tasks.find(task_id)
        return self._tasks[task_id]

    def _push_weights(self, policy: Policy, trainer: Any) -> None:
        """Let the sampler have the weights of this step, once; without a `WeightSync` it has them:
        it samples in this process, or TRL has pushed them."""
        step = trainer.state.global_step
        if self._weights is None:
            policy.weights_pushed(step, ())
        elif step != self._pushed_step:
            pushed = self._weights.push(trainer)
            policy.weights_pushed(pushed.version, pushed.servers)
            self._pushed_step = step

    def _engine_for(self, trainer: Any) -> Engine:
        arguments = trainer.args
        longest = arguments.max_completion_length
        # None leaves it to the context, as in TRL.
        completion = self.context if longest is None else longest
        settings = PlaySettings(
            sampling=sampling_of(arguments),
            context=self.context,
            completion=completion,
            turn_tokens=completion,
            thinking=self.thinking,
        )
        if self._engine is None:
            ranks = trainer.accelerator.num_processes
            bounds = within_ddp_timeout(self._engine_settings, ranks, arguments.ddp_timeout)
            policy = RecordingPolicy(self._make_policy(trainer))
            self._engine = Engine(self.env, policy, self.codec, settings=bounds)
            trainer.add_callback(FlatRewards(trainer, lambda: self.last))
        self._engine.play_settings = settings
        return self._engine


def within_ddp_timeout(settings: EngineSettings, ranks: int, ddp_timeout: float) -> EngineSettings:
    """Return `settings` such that a batch ends while the other ranks still wait for it.

    Raises `UsageError` for a `batch_seconds` that does not.
    """
    if ranks == 1 or settings.batch_seconds < ddp_timeout:
        return settings
    if math.isinf(settings.batch_seconds):
        return replace(settings, batch_seconds=_SHARE_OF_DDP_TIMEOUT * ddp_timeout)
    raise UsageError(
        f"batch_seconds: {settings.batch_seconds}; expected less than ddp_timeout ({ddp_timeout}),"
        " after which the other ranks give up"
    )


def task_dataset(env: ToolEnv, size: int) -> datasets.Dataset:
    """Return `size` prompts, each a conversation whose last message carries the task's id, and for
    a curriculum its place."""
    moves = curriculum_of(env) is not None
    rows = []
    for place, task in enumerate(islice(env.tasks, size)):
        conversation = task.conversation(env.settings.system_prompt)
        known = {"task_id": task.id, "place": place} if moves else {"task_id": task.id}
        messages = [
            {"role": message["role"], "content": message["content"], **known}
            for message in conversation
        ]
        rows.append({"prompt": messages})
    return datasets.Dataset.from_list(rows)


def to_trl(
    trajectories: Sequence[Trajectory], codec: TokenCodec, *, mask_truncated: bool = False
) -> dict[str, list[Any]]:
    """Return what TRL takes from a `rollout_func`; every list is (episodes,).

    TRL cannot take an empty completion, so an episode without any gets one masked token. Of an
    episode with several rows, one is drawn by the episode's seed. With `mask_truncated` nothing is
    learned from an episode that a limit cut, whichever; its reward counts in its group's mean.
    """
    filler = codec.eos_token_id if codec.eos_token_id is not None else 0
    columns: dict[str, list[Any]] = {
        "prompt_ids": [], "completion_ids": [], "logprobs": [], "env_mask": [],
        "episode_reward": [],
    }  # fmt: skip
    for trajectory in trajectories:
        masked = trajectory.reward is None or (mask_truncated and trajectory.outcome.truncated)
        row = random.Random(trajectory.seed).choice(trajectory.rows)
        columns["prompt_ids"].append(row.prompt_ids)
        columns["completion_ids"].append(row.completion_ids or [filler])
        columns["logprobs"].append(row.logprobs or [0.0])
        mask = row.mask or [0]
        columns["env_mask"].append([0] * len(mask) if masked else mask)
        columns["episode_reward"].append(trajectory.reward)
    return columns


def episode_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return means over episodes: scores, tool use, errors by kind, outcomes, seconds by phase.

    The mean of a score is over the episodes for which it was decided.
    """
    count = len(trajectories)
    if count == 0:
        return {}
    metrics = {
        "turns": sum(t.turns for t in trajectories) / count,
        "tool_calls": sum(t.tool_calls for t in trajectories) / count,
        "tool_call_rate": sum(t.counts.get("ok", 0) > 0 for t in trajectories) / count,
        "lost": sum(t.outcome.failed for t in trajectories) / count,
        "truncated": sum(t.outcome.truncated for t in trajectories) / count,
    }
    for kind, name in (("failed", "lost"), ("truncated", "truncated")):
        reasons = Counter(t.outcome.reason for t in trajectories if t.outcome.kind == kind)
        metrics |= {f"{name}/{reason}": number / count for reason, number in reasons.items()}
    kinds: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for trajectory in trajectories:
        kinds.update(trajectory.counts)
        tokens.update(trajectory.tokens)
    metrics |= {f"tokens/{author}": number / count for author, number in tokens.items()}
    metrics |= {f"calls/{kind}": number / count for kind, number in kinds.items()}
    # An episode that was cut or lost has no scores, so none alone can name them all.
    for name in dict.fromkeys(name for t in trajectories for name in t.scores):
        values = [v for t in trajectories if (v := t.scores.get(name)) is not None]
        if values:
            metrics[f"scores/{name}"] = statistics.fmean(values)
    for phase in PhaseSeconds._fields:
        metrics[f"seconds/{phase}"] = sum(getattr(t.seconds, phase) for t in trajectories) / count
    return metrics


def _play(
    engine: Engine,
    assignments: Sequence[Assignment],
    report: Callable[[Trajectory], None] | None,
    ranks: int,
) -> list[Trajectory]:
    """Play this rank's episodes; what ends the training is raised on every rank.

    The others would wait for one that ended by itself. So each says how it went, once its batch has
    ended: no collective call is made before. Raises `ServersGone`, of one rank's words on all, and
    `InfrastructureError` if not one episode of any rank was had.
    """
    gone, lost, trajectories = "", "", []
    try:
        trajectories = portal.run(engine.run(assignments, report))
        if trajectories and all(trajectory.outcome.failed for trajectory in trajectories):
            first = trajectories[0].outcome
            lost = f"all episodes of a step were lost; the first: {first.reason}: {first.detail}"
    except ServersGone as error:
        gone = str(error)
    told = gather_object([(gone, lost)]) if ranks > 1 else [(gone, lost)]
    if gone := next((gone for gone, _ in told if gone), ""):
        raise ServersGone(gone)
    if all(lost for _, lost in told):
        raise InfrastructureError(told[0][1])
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


def _warn_of_losses(trajectories: Sequence[Trajectory]) -> None:
    lost = [trajectory.outcome for trajectory in trajectories if trajectory.outcome.failed]
    if lost:
        reasons = Counter(outcome.reason for outcome in lost).most_common()
        counted = ", ".join(f"{number} {reason}" for reason, number in reasons)
        logger.warning(
            "%d of %d episodes were lost and are masked (%s); the first: %s: %s",
            len(lost), len(trajectories), counted, lost[0].reason,
            printable(lost[0].detail, lines=False),
        )  # fmt: skip


def _sampling_mode(policy: Policy) -> AbstractContextManager[Any]:
    """Enter the policy's own context around a batch, if it has one (weights change in between)."""
    generating = getattr(policy, "generating", None)
    return nullcontext() if generating is None else generating()


def _transformers_policy(trainer: Any) -> Policy:
    from qwq_env.rollout.transformers_policy import TransformersPolicy  # noqa: PLC0415 - optional

    model = trainer.accelerator.unwrap_model(trainer.model)
    return TransformersPolicy(model, TokenCodec(trainer.processing_class))
