"""Rollouts for TRL's `AsyncGRPOTrainer`: the same engine, running while the trainer trains.

```python
worker = AsyncRollouts("qwq/MathTool-v0", tokenizer, policy, group=8)
AsyncGRPOTrainer(..., rollout_worker=worker)
```

TRL's own worker renders the conversation again for every turn, so an episode of QwQ, whose
template drops earlier thinking, falls apart into one row a turn. Here an episode is one row (with
`thinking="keep"`), made of the ids that were sampled. A group's advantages are computed when its
last episode has ended: (reward - mean) / (std + 1e-4) over the episodes that were not lost, with
the sample's deviation as in `GRPOTrainer`, so that a learning rate means the same in both; a lost
one is not sent at all.

Tested, on CPU: the worker by itself, and its rows through TRL's own queue, batcher and collator.
Not tested, for it needs GPUs: the steps of an `AsyncGRPOTrainer` on those rows (its forward without
padding, FSDP2), and weights that go over NCCL to a server while episodes are played on it.
"""

from __future__ import annotations

import asyncio
import queue
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, QwqError, UsageError
from qwq_env.registry import make_environment
from qwq_env.rollout.audit import AuditError, RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings, attempt_name
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.policy import Policy
from qwq_env.task import Task
from qwq_env.training.curriculum import curriculum_of, tell
from qwq_env.training.episode_metrics import episode_metrics
from qwq_env.training.group_reward import GroupReward
from qwq_env.training.rollouts import OnEpisode
from qwq_env.training.sampling import training_sampling
from qwq_env.trajectory import TrainingRow, Trajectory
from qwq_env.versions import rollout_sample

if TYPE_CHECKING:
    from trl.experimental.async_grpo.async_rollout_worker import RolloutSample
else:
    RolloutSample = rollout_sample()


_LEAST_DEVIATION: Final = 1e-4
"""GRPOTrainer's: rewards that differ by less than this are as good as equal."""


class AsyncRollouts:
    """A rollout worker (TRL's `RolloutWorkerProtocol`) that runs in a thread of the trainer.

    It plays groups of `group` episodes of the same task, `groups_in_flight` at a time, over and
    over the task set, and puts their rows on `rollout_buffer`. A full buffer (`buffered` rows)
    holds new groups back. Each row carries the model version that was live when the first episode
    of its group began.

    There is no batch here, so of `engine` the `concurrency` bounds the episodes of all groups
    together, and `batch_seconds` each episode by itself.

    `top_p` and `top_k` are refused unless they are off, for AsyncGRPO always corrects importance.

    `on_episode` is called, in the worker's thread, with each episode as it ends and the version
    that was live when it began. `group_reward` compares the episodes of a group with each
    other once all have ended.

    Every episode is audited: ids, log-probabilities and contexts must be those of the sampling, or
    the training stops with an `AuditError` before a row of its group is sent.

    What ends the thread, whatever it is, is kept and raised by `check_health`: this is the one
    place that catches everything, since an exception in a thread would otherwise go nowhere. The
    thread also ends when the main thread does, whether or not anyone calls `stop`.
    """

    def __init__(
        self,
        environment: str | ToolEnv,
        tokenizer: Any,
        policy: Policy,
        *,
        environment_arguments: Mapping[str, Any] | None = None,
        group: int = 8,
        groups_in_flight: int = 8,
        buffered: int = 512,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        context: int = 32_768,
        completion: int = 32_768,
        thinking: Literal["keep", "strip"] = "keep",
        engine: EngineSettings | None = None,
        on_episode: OnEpisode | None = None,
        group_reward: GroupReward | None = None,
    ) -> None:
        if group < 2 or groups_in_flight < 1:
            raise UsageError(f"group: {group!r}; expected 2 or more, for advantages are relative")
        env = (
            environment
            if isinstance(environment, ToolEnv)
            else make_environment(environment, environment_arguments)
        )
        play = PlaySettings(
            sampling=training_sampling(temperature, top_p, top_k),
            context=context,
            completion=completion,
            turn_tokens=completion,
            thinking=thinking,
        )
        self.rollout_buffer: queue.Queue[RolloutSample] = queue.Queue(maxsize=buffered)
        self.metrics_queue: queue.Queue[dict[str, float]] = queue.Queue()
        self._recording = RecordingPolicy(policy)
        self._engine = Engine(
            env, self._recording, TokenCodec(tokenizer), play=play, settings=engine
        )
        self._group, self._in_flight, self._seed = group, groups_in_flight, seed
        self._on_episode = on_episode
        self._group_reward = group_reward
        self._version = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._last_progress = time.monotonic()
        self._last_unsent = ""

    def start(self) -> None:
        """Begin to play; returns at once."""
        self._stopping.clear()
        self._last_progress = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="qwq-env-async-rollouts")
        self._thread.start()

    def stop(self) -> None:
        """Give up the episodes in progress and wait until their tools are closed."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def update_model_version(self, model_version: int) -> None:
        """Tag what is begun from now on with this version."""
        self._version = model_version
        self._recording.weights_pushed(model_version, ())

    def check_health(self, stale_after_s: float) -> None:
        """Raise what ended the playing, or `InfrastructureError` if no row came for so long.

        An error of this library comes as it is, any other as an `InfrastructureError`.
        """
        if isinstance(self._failure, QwqError):
            raise self._failure
        if self._failure is not None:
            raise InfrastructureError(f"rollouts ended: {self._failure!r}") from self._failure
        idle = time.monotonic() - self._last_progress
        if idle > stale_after_s and not self.rollout_buffer.full():
            unsent = self._last_unsent and f"; the last episode without one: {self._last_unsent}"
            raise InfrastructureError(f"rollouts: no row for {idle:.0f} seconds{unsent}")

    def _run(self) -> None:
        try:
            asyncio.run(self._play_until_stopped())
        except Exception as error:  # noqa: BLE001 - the thread's end; check_health reports it
            self._failure = error

    async def _play_until_stopped(self) -> None:
        numbered = enumerate(self._tasks())
        places = asyncio.Semaphore(self._engine.settings.concurrency)
        workers = [
            asyncio.create_task(self._play_groups(numbered, places)) for _ in range(self._in_flight)
        ]
        watch = asyncio.create_task(self._watch_for_stop())
        done, pending = await asyncio.wait([watch, *workers], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        # What belongs to this loop must be closed on it; the next start opens it anew.
        await self._recording.aclose()
        self._recording.forget()
        # All are looked at: one that is not would be logged, on top of the one that is raised.
        failures = [error for task in done if (error := task.exception()) is not None]
        if failures:
            raise failures[0]

    async def _watch_for_stop(self) -> None:
        # A main thread that has ended waits for this one before the process can.
        while not self._stopping.is_set() and threading.main_thread().is_alive():
            await asyncio.sleep(0.05)

    async def _play_groups(
        self, numbered: Iterator[tuple[int, Task]], places: asyncio.Semaphore
    ) -> None:
        for number, task in numbered:
            assignments = [
                Assignment(task, f"{number}.{i}", hash((self._seed, number, i)) & 0x7FFF_FFFF)
                for i in range(self._group)
            ]
            trajectories, version = await self._play_group(assignments, places)
            if (curriculum := curriculum_of(self._engine.env)) is not None:
                tell(curriculum, trajectories)
            if self._group_reward is not None:
                trajectories = await self._group_reward.apply([task] * self._group, trajectories)
            for sample in group_samples(trajectories, number, version):
                await self._put(sample)
            self.metrics_queue.put(
                {f"episode/{name}": value for name, value in episode_metrics(trajectories).items()}
            )

    async def _play_group(
        self, assignments: Sequence[Assignment], places: asyncio.Semaphore
    ) -> tuple[list[Trajectory], int]:
        """Play and audit a group; return it with the oldest version that it was begun with.

        Places are given in the order asked, so old groups end first.
        """
        versions: list[int] = []

        async def play(assignment: Assignment) -> Trajectory:
            asked = time.perf_counter()
            async with places:
                waited = time.perf_counter() - asked
                versions.append(version := self._version)
                [trajectory] = await self._engine.run([assignment])
            seconds = trajectory.seconds._replace(waiting=trajectory.seconds.waiting + waited)
            trajectory = replace(trajectory, seconds=seconds)
            if self._on_episode is not None:
                self._on_episode(trajectory, version)
            self._check(trajectory)
            return trajectory

        episodes = [asyncio.create_task(play(assignment)) for assignment in assignments]
        try:
            return await asyncio.gather(*episodes), min(versions)
        finally:
            for episode in episodes:
                episode.cancel()
            await asyncio.gather(*episodes, return_exceptions=True)

    def _check(self, trajectory: Trajectory) -> None:
        """Raise `AuditError` unless the trajectory is what was sampled; forget what was."""
        records = []
        for attempt in range(1, trajectory.attempts + 1):
            records = self._recording.take(attempt_name(trajectory.episode, attempt))
        if not _is_sent(trajectory):
            self._last_unsent = f"{trajectory.outcome.reason}: {trajectory.outcome.detail}"
        if trajectory.turns and (problems := audit(trajectory, records)):
            raise AuditError(f"episode {trajectory.episode}: {problems[0]}")

    async def _put(self, sample: RolloutSample) -> None:
        """Wait for room without blocking the loop, on which other groups play on."""
        sample.enqueued_at = time.time()
        while True:
            self._last_progress = time.monotonic()
            try:
                self.rollout_buffer.put_nowait(sample)
                return
            except queue.Full:
                await asyncio.sleep(0.02)

    def _tasks(self) -> Iterator[Task]:
        while True:
            yield from self._engine.env.tasks


def group_samples(
    trajectories: Sequence[Trajectory], group: int, version: int
) -> list[RolloutSample]:
    """Return the rows of a group with their advantages; the rows of an episode share one."""
    scored = [trajectory for trajectory in trajectories if _is_sent(trajectory)]
    if not scored:
        return []
    rewards = [float(t.reward) for t in scored if t.reward is not None]
    mean = statistics.fmean(rewards)
    deviation = statistics.stdev(rewards) if len(rewards) > 1 else 0.0
    samples = []
    for trajectory, reward in zip(scored, rewards, strict=True):
        metrics = {"reward": reward, "reward_std": deviation, "rewards/reward": reward}
        metrics |= {f"rewards/{name}": value for name, value in trajectory.scores.items()
                    if value is not None}  # fmt: skip
        advantage = (reward - mean) / (deviation + _LEAST_DEVIATION)
        samples += [
            _sample(row, trajectory, advantage, group, version, metrics)
            for row in trajectory.rows
            if any(row.mask)
        ]
    return samples


def _is_sent(trajectory: Trajectory) -> bool:
    """Say whether there is something to learn from: a reward, and ids that were sampled."""
    return trajectory.reward is not None and any(any(row.mask) for row in trajectory.rows)


def _sample(
    row: TrainingRow,
    trajectory: Trajectory,
    advantage: float,
    group: int,
    version: int,
    metrics: Mapping[str, float],
) -> RolloutSample:
    """Return TRL's record; its mask and log-probabilities run over prompt and completion."""
    prompt = [0] * row.prompt_length
    return RolloutSample(
        prompt=[{"role": "user", "content": trajectory.task_id}],
        completion=[{"role": "assistant", "content": trajectory.answer}],
        input_ids=np.asarray(row.ids, dtype=np.int64),
        completion_mask=np.asarray(prompt + row.mask, dtype=np.int64),
        old_log_probs=np.asarray(prompt + row.logprobs, dtype=np.float32),
        advantage=advantage,
        model_version=version,
        group_id=group,
        metrics=dict(metrics),
    )
