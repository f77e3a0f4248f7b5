"""Rollouts of an environment, for a `trl.GRPOTrainer`: ours (`ToolGRPOTrainer`) or a stock one.

```python
rollouts = Rollouts("qwq/MathTool-v0", tokenizer, size=1000)
trainer = ToolGRPOTrainer(
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
which every episode was lost, or no prompt left room for an answer, would learn nothing: it ends the
training, and so do servers that died.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal, NamedTuple

import datasets
from accelerate.utils import gather_object

from qwq_env import portal
from qwq_env.chat_model import ChatModel
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, ServersGone, UsageError, brief
from qwq_env.registry import make_environment
from qwq_env.rollout.audit import RecordingPolicy
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.play import PlaySettings, check_thinking
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.rotary import check_rotation
from qwq_env.task import TaskSet
from qwq_env.text.characters import printable
from qwq_env.training.audited import Room, check_room, play_audited, room_of
from qwq_env.training.curriculum import curriculum_of, tell
from qwq_env.training.draws import TaskDraws, rank_of
from qwq_env.training.dynamic import Filled, Groups, check_whole_groups, fill
from qwq_env.training.episode_metrics import EpisodeSums, episode_sums, means
from qwq_env.training.flat_rewards import FlatRewards
from qwq_env.training.group_reward import GroupReward, check_groups_whole
from qwq_env.training.importance import Correction, correct_importance
from qwq_env.training.learning_watch import LearningWatch
from qwq_env.training.limits import WallLimits, batch_seconds, tool_seconds
from qwq_env.training.sampler import own_sampler
from qwq_env.training.sampling import sampling_of
from qwq_env.training.trl_data import dataset_of, task_dataset, to_trl
from qwq_env.training.weights.base import WeightSync
from qwq_env.training.weights.nccl import sync_by_trl
from qwq_env.trajectory import Trajectory

logger = logging.getLogger(__name__)

VARIED = "dynamic/varied"
"""The share of the groups played that had two different rewards, as it is logged."""

PolicyFactory = Callable[[Any], Policy]
"""Makes the policy that samples, given the trainer; called once, at the first rollout."""

OnEpisode = Callable[[Trajectory, int], None]
"""Called with each finished episode and the training step it was played for, from 1 as TRL logs it.

Of an evaluation it is the step that was made last, 0 before the first."""


class Rollouts:
    """A `rollout_func`, with the `dataset` and the `reward` function that go with it.

    `environment` is a Gymnasium id (arguments for it in `environment_arguments`) or a `ToolEnv`.
    `dataset` has `size` rows, one a task; a finite task set gives no more than it has. `policy`
    makes the sampler from the trainer; by default the model that is trained is sampled in this
    process with Transformers, or with `use_vllm` by the server that it names. `context` bounds
    prompt and completion together; a server that takes less is told of, and holds.

    `correction` is how importance is corrected where what samples is not what is trained: a server,
    whose arithmetic is another, or a copy of the model. By token, for over a long episode the
    product of small differences is far from 1: with 1 % a token, 0.15 at 32,000 tokens. None leaves
    it to the trainer's configuration; `vllm_importance_sampling_correction=False` there switches it
    off.

    `thinking` "strip" takes earlier thinking out of the context, as QwQ's chat template does. An
    episode has a row for each turn then, and TRL takes one completion for each prompt: it gets a
    turn drawn uniformly, with the episode's reward. `ToolGRPOTrainer` weighs it so that its
    expectation is that of all rows; a stock trainer learns an episode's mean over its turns.

    `engine` bounds the playing; see `limits` for the order that its times must have with others.

    `group_reward` compares the episodes of a group with each other once all have ended; where
    groups lie on several ranks it is refused.

    For an evaluation while it trains, pass `eval_dataset=rollouts.heldout_dataset(tasks, size)`.
    Its episodes go to `on_evaluation` in place of `on_episode`, are sampled alike at every
    evaluation, and leave those of the training as they would be without it.

    With `dynamic` above 1, groups without two different rewards are replaced by those of other
    tasks, which plays up to so many times the episodes of a batch. Metrics are of all that were
    played.

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
        on_evaluation: OnEpisode | None = None,
        group_reward: GroupReward | None = None,
        correction: Correction | None = "token_truncate",
        dynamic: float = 1.0,
    ) -> None:
        if not 1 <= dynamic < math.inf:
            raise UsageError(f"dynamic: {brief(dynamic)}; expected 1 or more")
        self.codec = TokenCodec(tokenizer)
        self.env = (
            environment
            if isinstance(environment, ToolEnv)
            else make_environment(environment, environment_arguments or {})
        )
        self.context = context
        self.thinking: Literal["keep", "strip"] = thinking
        check_thinking(thinking, self.env.settings.dialect)
        self._curriculum = curriculum_of(self.env)
        self.dataset = task_dataset(self.env, size)
        self.last: list[Trajectory] = []
        self._make_policy = policy or own_sampler
        self._weights = weights
        self._pushed_step: int | None = None
        self._engine_settings = engine or EngineSettings()
        self._on_episode, self._on_evaluation = on_episode, on_evaluation
        self._group_reward = group_reward
        self._correction = correction
        self._dynamic = dynamic
        self._engine: Engine | None = None
        self._served: int | None = None
        self._draws = TaskDraws(self.env, seed)
        self._metrics: dict[str, float] = {}
        self._places: dict[str, str] = {}

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, list[Any]]:
        """Play one episode for each prompt; the `rollout_func` that TRL calls on every rank."""
        tasks = [self._draws.task(prompt) for prompt in prompts]
        assignments = self._draws.assignments(tasks, trainer)
        engine = self._engine_for(trainer)
        # TRL takes what does not end with its own end token for cut off, which in some dialects
        # and with some tokenizers is every episode. Here the outcome says it; see `to_trl`.
        trainer.mask_truncated_completions = False
        assert isinstance(engine.policy, RecordingPolicy)
        pushed = self._push_weights(engine.policy, trainer)
        self._metrics = self._play(engine, assignments, trainer) | {"weights/seconds": pushed}
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
        """Return the rewards that the episodes ended with; logs what those of all ranks did."""
        if log_metric is not None:
            for name, value in self._metrics.items():
                log_metric(name, value)
        return list(episode_reward)

    def close(self) -> None:
        """Free the policy and the environment."""
        if self._engine is not None:
            portal.run(self._engine.policy.aclose())
        self.env.close()

    def heldout_dataset(self, tasks: TaskSet, size: int) -> datasets.Dataset:
        """Return an `eval_dataset` for the trainer: the first `size` of other `tasks`.

        They are played in the same environment. Raises `UsageError` for an id that is a training
        task's, too.
        """
        given = list(islice(tasks, size))
        trained = {row[-1]["task_id"] for row in self.dataset["prompt"]}
        for task in given:
            if task.id in trained or self._draws.known.get(task.id, task) != task:
                raise UsageError(
                    f"heldout tasks: {brief(task.id)} is trained on, or is another task's id;"
                    " expected ids of their own"
                )
        self._draws.known |= {task.id: task for task in given}
        return dataset_of(self.env, given)

    def push_weights(self, trainer: Any) -> None:
        """Let the sampler have the weights of this step before any of its episodes is played."""
        policy = self._engine_for(trainer).policy
        assert isinstance(policy, RecordingPolicy)
        self._push_weights(policy, trainer)

    def _push_weights(self, policy: Policy, trainer: Any) -> float:
        """Let the sampler have the weights of this step, once; return the seconds it took.

        Without a `WeightSync` it samples in this process, or on the server that TRL pushes them to:
        before a rollout TRL has done so, before an evaluation of ours it has not.
        """
        began, step = time.perf_counter(), trainer.state.global_step
        if self._weights is None:
            if trainer.args.use_vllm:
                sync_by_trl(trainer)
            policy.weights_pushed(step, ())
        elif step != self._pushed_step:
            pushed = self._weights.push(trainer)
            policy.weights_pushed(pushed.version, pushed.servers)
            self._pushed_step = step
        return time.perf_counter() - began

    def _engine_for(self, trainer: Any) -> Engine:
        arguments = trainer.args
        sampling = sampling_of(arguments)
        if self._engine is None:
            self._engine = self._begin(trainer)
        context = self._context(self._engine.policy, rank_of(trainer))
        longest = arguments.max_completion_length
        # None leaves it to the context, as in TRL.
        completion = context if longest is None else longest
        self._engine.play_settings = PlaySettings(
            sampling=sampling,
            context=context,
            completion=completion,
            turn_tokens=completion,
            thinking=self.thinking,
        )
        return self._engine

    def _begin(self, trainer: Any) -> Engine:
        """Check what a trainer was made with, and make the engine; once, before anything plays."""
        arguments, ranks = trainer.args, trainer.accelerator.num_processes
        if arguments.use_vllm and arguments.vllm_mode != "server":
            raise UsageError(
                f"vllm_mode: {brief(arguments.vllm_mode)}; expected 'server': Rollouts samples from"
                " servers, and an engine in this process would hold its memory for nothing"
            )
        evaluated = getattr(trainer, "eval_dataset", None)
        if self._group_reward is not None:
            check_groups_whole(arguments, ranks, evaluated=evaluated is not None)
        if self._dynamic > 1:
            held = arguments.per_device_train_batch_size * arguments.steps_per_generation
            check_whole_groups(held, arguments.num_generations)
        for dataset in evaluated.values() if isinstance(evaluated, dict) else (evaluated,):
            for prompt in dataset["prompt"] if isinstance(dataset, datasets.Dataset) else ():
                self._draws.task(prompt)
        policy = self._make_policy(trainer)
        policy.place(rank_of(trainer), ranks)
        settings = self.env.settings
        limits = WallLimits(
            tool=tool_seconds(settings.tool_limits),
            episode=settings.limits.seconds,
            batch=self._engine_settings.batch_seconds,
            request=policy.request_seconds,
            ddp=arguments.ddp_timeout if ranks > 1 else None,
        )
        bounds = replace(self._engine_settings, batch_seconds=batch_seconds(limits))
        if (
            self._correction is not None
            and policy.differs_from(trainer.model)
            and trainer.vllm_importance_sampling_correction
        ):
            correct_importance(trainer, self._correction)
        if (config := getattr(trainer.model, "config", None)) is not None:
            check_rotation(config.get_text_config(), self.context)
        if not getattr(trainer, "weighs_rows", False) and rank_of(trainer) == 0:
            _warn_of_stock(trainer, self.thinking)
        logging.getLogger(_TRL).addFilter(_leaves_out_dumps)
        trainer.add_callback(FlatRewards(trainer, lambda: self.last))
        trainer.add_callback(LearningWatch(has_tools=bool(settings.tools)))
        return Engine(self.env, RecordingPolicy(policy), self.codec, settings=bounds)

    def _context(self, policy: Policy | ChatModel, rank: int) -> int:
        """Return the context that holds: the asked one, or less where the policy takes less."""
        assert isinstance(policy, RecordingPolicy)
        if self._served is None:
            try:
                served = portal.run(policy.policy.context())
            except InfrastructureError:
                return self.context  # not there yet; playing will say so, if it stays away
            self._served = self.context if served is None else served
            if self._served < self.context and rank == 0:
                logger.warning(
                    "context: %d tokens; the policy takes %d at most, which holds",
                    self.context, self._served,
                )  # fmt: skip
        return min(self.context, self._served)

    def _play(
        self, engine: Engine, assignments: Sequence[Assignment], trainer: Any
    ) -> dict[str, float]:
        """Play this rank's episodes into `last`; return what those of all ranks came to.

        What ends the training is raised on every rank, for the others would wait for one that ended
        by itself. So each says how it went, once its batch has ended: no collective call is made
        before. Raises `ServersGone`, of one rank's words on all; and if not one training episode
        of any rank was had, `InfrastructureError`, or had room for an answer, `UsageError`.
        """
        training = trainer.model.training
        began, gone, lost = time.perf_counter(), "", ""
        batch = Filled([], [])
        try:
            self._places = {}
            batch = self._batch(engine, assignments, trainer)
        except ServersGone as error:
            gone = str(error)
        self.last = batch.kept
        if training and self.last and all(t.outcome.failed for t in self.last):
            first = self.last[0].outcome
            lost = f"all episodes of a step were lost; the first: {first.reason}: {first.detail}"
        names = [self._places.get(trajectory.task_id, "") for trajectory in batch.played]
        sums = episode_sums(batch.played, names if any(names) else None)
        seconds = time.perf_counter() - began
        own = _Told(gone, lost, room_of(batch.played), sums, seconds, batch.groups)
        told = gather_object([own]) if trainer.accelerator.num_processes > 1 else [own]
        if gone := next((each.gone for each in told if each.gone), ""):
            raise ServersGone(gone)
        if training:
            check_room([each.room for each in told], self.context)
        if all(each.lost for each in told):
            raise InfrastructureError(told[0].lost)
        if self._curriculum is not None and training:
            tell(self._curriculum, batch.played, trainer.accelerator.num_processes)
        metrics = {f"episode/{n}": value for n, value in means(t.sums for t in told).items()}
        if self._dynamic > 1 and training:
            groups = Groups(*map(sum, zip(*(each.groups for each in told), strict=True)))
            metrics["dynamic/groups"] = groups.played
            metrics["dynamic/replaced"] = groups.replaced
            metrics[VARIED] = groups.varied / max(groups.played, 1)
        metrics["rollout/seconds"] = max(each.seconds for each in told)
        versions = [t.weight_version for t in self.last if t.weight_version is not None]
        if versions:
            metrics["rollout/lag"] = trainer.state.global_step - statistics.fmean(versions)
        metrics["rollout/wait_seconds"] = time.perf_counter() - began - own.seconds
        return metrics

    def _batch(self, engine: Engine, assignments: Sequence[Assignment], trainer: Any) -> Filled:
        """Play a batch, and other tasks in place of the groups that teach nothing."""
        training = trainer.model.training
        step = trainer.state.global_step + training
        told_to = self._on_episode if training else self._on_evaluation
        report = None if told_to is None else (lambda trajectory: told_to(trajectory, step))
        # All that is played for a batch shares its wall time, for other ranks wait.
        deadline = time.perf_counter() + engine.settings.batch_seconds

        def play(asked: Sequence[Assignment]) -> list[Trajectory]:
            tasks = [assignment.task for assignment in asked]
            self._places |= {t.id: str(t.metadata.get("environment", "")) for t in tasks}
            grouped = self._group_reward
            found = play_audited(engine, asked, report if grouped is None else None, deadline)
            if grouped is not None:
                # Who keeps the episodes shall have the rewards that are learned from.
                found = portal.run(
                    grouped.apply(tasks, found, trainer.num_generations if training else None)
                )
                for trajectory in found:
                    if report is not None:
                        report(trajectory)
            return found

        if not training or self._dynamic == 1:
            played = play(assignments)
            return Filled(played, played)
        # What was logged is in the checkpoint too: a run that goes on asks for as many.
        logged = trainer.state.log_history
        share = next((row[VARIED] for row in reversed(logged) if VARIED in row), 1.0)
        others, group = self._draws.others(trainer), trainer.num_generations
        return fill(assignments, others, group, self._dynamic, share, play)


class _Told(NamedTuple):
    """What a rank says of its batch: why it ended early, what was played, and for how long."""

    gone: str
    lost: str
    room: Room
    sums: EpisodeSums
    seconds: float
    groups: Groups


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


_TRL = "trl.trainer.grpo_trainer"


def _leaves_out_dumps(record: logging.LogRecord) -> bool:
    """Leave out what TRL says of a reward of None, which holds the prompt and completion whole."""
    return "All reward functions returned None" not in record.getMessage()


def _warn_of_stock(trainer: Any, thinking: str) -> None:
    """Say once what a trainer lacks that is not a `ToolGRPOTrainer`."""
    lacks = [
        "all rows are padded to the longest of the batch",
        "tokens stand at other positions than they were sampled at",
    ]
    if thinking == "strip":
        lacks.append("of an episode the mean over its turns is learned, not their sum")
    if getattr(trainer, "loss_type", "dapo") not in ("dapo", "bnpo", "cispo", "vespo"):
        lacks.append(f"masked rows count in the mean of loss_type {trainer.loss_type!r}")
    logger.warning(
        "a stock GRPOTrainer: %s; qwq_env.training.ToolGRPOTrainer, in its place, does better",
        ", ".join(lacks),
    )
