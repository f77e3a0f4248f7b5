"""Play many episodes at once, each at its own pace.

There is no barrier between turns: while one episode waits for a tool, others generate. What
fails on our side is retried on a fresh episode; what is still lost afterwards comes back marked
so, never as a reward of 0. Results stand in the order asked for.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from qwq_env.chat_model import ChatModel
from qwq_env.checks import check_positive, check_whole
from qwq_env.dialect.base import text_of
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.episode import Episode, render_prompt
from qwq_env.errors import InfrastructureError, UsageError, brief
from qwq_env.journal import AttemptJournal, Journal
from qwq_env.outcome import Outcome
from qwq_env.rollout.chat import ChatPlayer
from qwq_env.rollout.play import Player, PlaySettings, TurnEnds, check_thinking
from qwq_env.rollout.policy import Policy
from qwq_env.segments import opening_block
from qwq_env.task import Task
from qwq_env.toolbox import close_abandoned
from qwq_env.trajectory import PhaseSeconds, Span, Trajectory


class Assignment(NamedTuple):
    """One episode to play: the task, a name that is unique in the run, and a seed."""

    task: Task
    episode: str
    seed: int


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`concurrency` bounds the episodes in progress; `attempts` how often one is tried when our
    machinery fails; `batch_seconds` the wall time of one `run`. What still runs then, and what has
    not begun, is lost with the reason `batch_deadline` and no reward, for the time is ours; where
    the task is timed (`EpisodeLimits.timed`), what still runs is truncated. An answer that is being
    graded by then is graded to the end."""

    concurrency: int = 1024
    attempts: int = 3
    batch_seconds: float = math.inf

    def __post_init__(self) -> None:
        check_positive("batch_seconds", self.batch_seconds)
        for name in ("concurrency", "attempts"):
            check_whole(name, getattr(self, name))


class Engine:
    """Plays assignments in one environment with one policy. Not tied to an event loop.

    A `Policy` works on token ids and needs a `codec`; a `ChatModel` works on messages.
    """

    def __init__(
        self,
        env: ToolEnv,
        policy: Policy | ChatModel,
        codec: TokenCodec | None = None,
        *,
        play: PlaySettings | None = None,
        settings: EngineSettings | None = None,
        journal: Journal | None = None,
    ) -> None:
        """With a `journal`, episodes that were interrupted go on where they were; see its module.

        Raises `UsageError` if a `Policy` comes without a codec.
        """
        if codec is None and isinstance(policy, Policy):
            raise UsageError("codec: none; expected the TokenCodec of the policy's tokenizer")
        self.env = env
        self.policy = policy
        self.codec = codec
        self.settings = settings or EngineSettings()
        self.journal = journal
        self._ends = None if codec is None else TurnEnds.of(env.settings.dialect, codec)
        self.play_settings = play or PlaySettings()

    @property
    def play_settings(self) -> PlaySettings:
        """How episodes are generated; may be set between two calls of `run`.

        Raises `UsageError` for a treatment of thinking that the environment's dialect, or a chat
        model, rules out.
        """
        return self._play_settings

    @play_settings.setter
    def play_settings(self, settings: PlaySettings) -> None:
        check_thinking(settings.thinking, self.env.settings.dialect)
        if settings.thinking_tokens is not None and not isinstance(self.policy, Policy):
            raise UsageError(
                "thinking_tokens: no chat server says where its thinking is, nor takes words into a"
                " reply; expected a policy on token ids, or the server's own setting (extra)"
            )
        self._play_settings = settings

    async def run(
        self,
        assignments: Sequence[Assignment],
        on_episode: Callable[[Trajectory], None] | None = None,
        *,
        played: Mapping[str, Trajectory] | None = None,
        deadline: float | None = None,
    ) -> list[Trajectory]:
        """Play all assignments; `on_episode` is called with each as it ends, in any order.

        The wall time of the batch is over at the `deadline`, on the clock of `time.perf_counter`;
        by default in `batch_seconds`.

        Of an assignment whose episode is in `played` (by name; see `EpisodeStore.played`) that is
        the result, and nothing is played nor reported: so an interrupted batch goes on. Raises
        `UsageError` if it is an episode of another task or seed.

        Cancelling the call cancels every episode and closes its tools. So does an exception that
        is no `InfrastructureError`, be it of an episode or of `on_episode`: it is raised as it is,
        and what `on_episode` was called with is whole. `ServersGone` is one of them.
        """
        began = time.perf_counter()
        deadline = began + self.settings.batch_seconds if deadline is None else deadline
        results = [_found(assignment, played or {}) for assignment in assignments]
        missing = [index for index, found in enumerate(results) if found is None]
        pending = iter(missing)

        async def work() -> None:
            # Workers draw from one iterator: an episode costs memory only while it is played.
            for index in pending:
                trajectory = await self._play(assignments[index], began, deadline)
                results[index] = trajectory
                if on_episode is not None:
                    on_episode(trajectory)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.settings.concurrency, len(missing))):
                    group.create_task(work())
        except BaseExceptionGroup as failures:
            # Who called sorts errors by their class, which the group would hide.
            raise failures.exceptions[0] from None
        finally:
            await close_abandoned()
        return [trajectory for trajectory in results if trajectory is not None]

    def begun(self) -> list[Assignment]:
        """Return the episodes that the journal holds, in the order they were begun.

        Raises `UsageError` for a task that is not in the environment's set.
        """
        known = {} if self.journal is None else self.journal.begun
        return [Assignment(self._find(task), name, seed) for name, (task, seed) in known.items()]

    def _find(self, task_id: str) -> Task:
        try:
            return self.env.tasks.find(task_id)
        except KeyError:
            message = f"journal: task {brief(task_id)} is not in the environment's set"
            raise UsageError(message) from None

    async def _play(self, assignment: Assignment, began: float, deadline: float) -> Trajectory:
        """Try one assignment until it succeeds or the attempts are used up."""
        now = time.perf_counter()
        waited = now - began
        if now >= deadline:
            return self._unplayed(assignment, Outcome.lost("batch_deadline", "not begun"), waited)
        journal, episode = self.journal, assignment.episode
        failures = [] if journal is None else journal.failures_of(episode)
        most = len(failures) + self.settings.attempts
        while len(failures) < most and (not failures or time.perf_counter() < deadline):
            attempts = len(failures) + 1
            if journal is not None and failures and not journal.may_begin(episode, attempts):
                break
            try:
                trajectory = await self._attempt(assignment, attempts, deadline, waited)
            except InfrastructureError as error:
                failures.append(f"{type(error).__name__}: {error}")
                if journal is not None:
                    journal.fail(episode, attempts, failures[-1])
                continue
            environment = _environment(self.env, assignment.task)
            return replace(trajectory, episode=episode, attempts=attempts, environment=environment)
        lost = Outcome.lost("infrastructure", failures[-1])
        return self._unplayed(assignment, lost, waited, len(failures))

    async def _attempt(
        self, assignment: Assignment, number: int, deadline: float, waited: float
    ) -> Trajectory:
        """Play an episode. Raises `InfrastructureError` when our machinery failed."""
        name, seed = attempt_name(assignment.episode, number), assignment.seed
        episode = self.env.begin(assignment.task, seed=seed)
        if self.journal is not None:
            await self._keep(episode, self.journal.attempt(assignment.episode, number))
        policy, settings = self.policy, self._play_settings
        if isinstance(policy, Policy):
            assert self.codec is not None and self._ends is not None
            return await Player(
                episode, name, seed, policy, self.codec, settings, self._ends,
                deadline=deadline, waited=waited,
            ).play()  # fmt: skip
        trajectory = await ChatPlayer(episode, name, seed, policy, settings, deadline).play()
        return replace(trajectory, seconds=trajectory.seconds._replace(waiting=round(waited, 6)))

    async def _keep(self, episode: Episode, journal: AttemptJournal) -> None:
        try:
            episode.keep(journal)
        except UsageError:
            await episode.aclose()
            raise

    def _unplayed(
        self, assignment: Assignment, outcome: Outcome, waited: float, attempts: int = 0
    ) -> Trajectory:
        """Return the trajectory of an episode that has nothing but its prompt."""
        prompt = render_prompt(assignment.task, self.env.settings)
        ids = [] if self.codec is None else self.codec.encode_pieces(prompt)
        return Trajectory(
            task_id=assignment.task.id,
            episode=assignment.episode,
            seed=assignment.seed,
            ids=ids,
            prompt_length=len(ids),
            mask=[],
            logprobs=[],
            spans=[Span(0, len(ids), "task")],
            outcome=outcome,
            reward=None,
            reference=assignment.task.answer,
            attempts=attempts,
            seconds=PhaseSeconds.rounded(0.0, 0.0, 0.0, waited),
            environment=_environment(self.env, assignment.task),
            transcript=[
                opening_block(
                    text_of(prompt), assignment.task.conversation(self.env.settings.system_prompt)
                )
            ],
        )


def _environment(env: ToolEnv, task: Task) -> str:
    """Return the name of the mixture's member that `task` is of, or the environment's own."""
    if member := task.metadata.get("environment"):
        return str(member)
    return env.spec.id if env.spec is not None else type(env).__name__


def _found(assignment: Assignment, played: Mapping[str, Trajectory]) -> Trajectory | None:
    found = played.get(assignment.episode)
    if found is not None and (found.task_id, found.seed) != (assignment.task.id, assignment.seed):
        raise UsageError(
            f"played: episode {assignment.episode} is of task {found.task_id!r:.80}, seed"
            f" {found.seed}; expected task {assignment.task.id!r:.80}, seed {assignment.seed}"
        )
    return found


def attempt_name(episode: str, attempt: int) -> str:
    """Return the name under which the policy sees an attempt (from 1) at an episode.

    Each has its own: what the policy keeps of a broken one must not be used.
    """
    return episode if attempt <= 1 else f"{episode}~{attempt}"
