"""`EnvConformance`: what is held against every environment."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, ClassVar, Final

from gymnasium.utils.env_checker import check_env

from qwq_env import portal
from qwq_env.dialect.base import Piece, text_of
from qwq_env.env import ToolEnv
from qwq_env.episode import Episode
from qwq_env.errors import InfrastructureError, brief, describe_error
from qwq_env.evaluation.cheats import audit_rewards, faults, member_of
from qwq_env.messages import read_assistant
from qwq_env.rollout.audit import RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.task import Task
from qwq_env.testing.byte_codec import ByteCodec
from qwq_env.testing.conformance import Conformance, Fault, first_difference, guarded
from qwq_env.testing.held import leak, stalled
from qwq_env.testing.moves import text_in
from qwq_env.testing.random_policy import play_at_random, random_turns
from qwq_env.turn import Turn

__tracebackhide__ = True

_MOST_TURNS: Final = 12
_ENDLESS: Final = 100
_SEED_MEND: Final = (
    "draw only with self.np_random, with the seed that `begin` and `for_episode` get, or with a"
    " ToolSet's episode_seed; never from the clock, a global generator or the order of a set"
)


class EnvConformance(Conformance):
    """Holds a `ToolEnv` to Gymnasium's rules and to this library's.

    ```python
    class TestBank(EnvConformance):
        def make(self):
            return BankEnv()
    ```

    Its tools are called with arguments drawn at random: give it tools that may be called so.
    `audit_tasks` are played by each cheat, of which none may be paid more than `threshold`;
    `random_episodes` by a policy that knows nothing. `deterministic = False` is for one whose tools
    read the clock or the network: what they answer is then not compared. `grace_seconds` may pass
    until a step that is given up has ended.
    """

    audit_tasks: ClassVar[int] = 16
    threshold: ClassVar[float] = 0.05
    random_episodes: ClassVar[int] = 20
    deterministic: ClassVar[bool] = True
    grace_seconds: ClassVar[float] = 10.0

    def make(self) -> ToolEnv:
        """Return the environment, made anew at each call."""
        env: ToolEnv = super().make()
        return env

    def test_an_episode_begins(self) -> None:
        """It is made and reset; without that nothing else is asked."""
        env = guarded(
            "it cannot be made",
            "let its class, or the function that makes it, take no arguments that must be given",
            self.make,
        )
        try:
            env.reset(seed=0)
        except InfrastructureError as error:
            raise Fault(
                f"an episode cannot begin: {error}",
                "start what its tools need, or mend their start",
            ) from None
        env.close()

    def test_gymnasium_has_nothing_to_say(self) -> None:
        """Gymnasium's own checker, its warnings included, finds nothing."""
        env = self.make()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ResourceWarning)
            guarded(
                "Gymnasium's check_env",
                "what it names; see gymnasium.utils.env_checker",
                lambda: check_env(env, skip_render_check=env.spec is None),
            )

    def test_the_seed_decides_the_episode(self) -> None:
        """Two environments, and two rounds of one, begin and go on alike from the same seed."""
        first, second = self.make(), self.make()
        for seed in range(3):
            for what, one, other in zip(
                ("reset", "step"), _opened(first, seed), _opened(second, seed), strict=True
            ):
                if repr(one) != repr(other):
                    told = first_difference([repr(one)], [repr(other)])
                    raise Fault(f"the same seed gives another {what} ({told})", _SEED_MEND)
        first.close()
        second.close()

    def test_tasks_are_found_again(self) -> None:
        """The task of an index is the same in another environment, and found by its id."""
        tasks, other = self.make().tasks, self.make().tasks
        indices = [i for i in (0, 1, 7, 300) if tasks.size is None or i < tasks.size]
        for index in indices:
            task = tasks.task(index)
            if task != other.task(index):
                raise Fault(f"task {index} is another one the next time", _SEED_MEND)
            found = guarded(
                f"tasks.find({brief(task.id)})",
                "give the set a find that finds each id it gives",
                partial(tasks.find, task.id),
            )
            if found != task:
                raise Fault(
                    f"tasks.find({brief(task.id)}) gives task {brief(found.id)}",
                    "give each task an id of its own, and find what `task` gave",
                )
        for unknown in ("", "x/1", f"{tasks.task(0).id}x"):
            _refused(partial(tasks.find, unknown), unknown)

    def test_it_can_be_pickled(self) -> None:
        """A copy made in the middle of an episode begins the same episodes."""
        env = self.make()
        env.reset(seed=1)
        copy = guarded(
            "it cannot be pickled",
            "define functions, classes and reward functions at the top level of a module, and keep"
            " connections out of the environment",
            lambda: pickle.loads(pickle.dumps(env)),
        )
        if copy.reset(seed=2)[0] != env.reset(seed=2)[0]:
            raise Fault("its pickled copy begins another episode from the same seed", _SEED_MEND)
        env.close()
        copy.close()

    def test_only_the_oracle_is_paid(self) -> None:
        """Who solves the tasks is paid 1, and no cheat is; see `evaluation.cheats`."""
        env = self.make()
        if found := self._audited(env, self.audit_tasks) and self._audited(env, 64):
            raise Fault(
                "; ".join(found),
                "pay for what the task asks and for nothing less (`qwq check grader` shows every"
                " policy); give `solve`, or `phrase_answer`, where the oracle is not paid",
            )

    def test_a_random_policy_breaks_nothing_and_earns_nothing(self) -> None:
        """Noise, broken calls and odd characters are answered, and end no episode as lost."""
        played = portal.run(play_at_random(self.make(), self.random_episodes))
        lost = [told for told in played.outcomes if told.startswith("failed")]
        if lost:
            raise Fault(
                f"of {self.random_episodes} episodes of a policy that knows nothing some are lost:"
                f" {'; '.join(lost)}",
                "whatever a model writes is its own fault: answer with a ToolError, a reply or a"
                " reward of 0, and raise InfrastructureError for your own machinery only",
            )
        if sum(played.rewards) / self.random_episodes > self.threshold:
            raise Fault(
                f"a policy that knows nothing is paid {sum(played.rewards):g} in"
                f" {self.random_episodes} episodes",
                "pay for what the task asks and for nothing less",
            )

    def test_an_episode_is_the_same_a_second_time(self) -> None:
        """The same turns on the same task and seed get the same answers and the same reward."""
        if told := self.deterministic and first_difference(*(self._alone() for _ in range(2))):
            raise Fault(f"an episode goes otherwise when it is played again ({told})", _SEED_MEND)

    def test_episodes_side_by_side_do_not_mix(self) -> None:
        """Episodes that run at the same time go as each goes alone."""
        if not self.deterministic:
            return
        alone = self._alone()
        told = first_difference(alone, self._together())
        # What differs when it is played alone again is told of by the check above.
        if told and not first_difference(alone, self._alone()):
            raise Fault(
                f"an episode goes otherwise where others run beside it ({told})",
                "keep what changes in the episode: in a ToolSet's attributes, in the instance that"
                " for_episode gives, never in the environment, a class or a module",
            )

    def test_what_is_trained_on_is_what_was_said(self) -> None:
        """Ids are only appended, sampled ones have mask 1 and all others 0, and `step` shows the
        same text."""
        env = self.make()
        codec = ByteCodec([env.settings.dialect.end_of_turn])
        for index in range(2):
            task = env.tasks.task(index)
            turns = [text_in(env.settings.dialect, move) for move in _solution(env, task)]
            if not all(turns):
                continue
            told = _check_tokens(env, task, [str(turn) for turn in turns], codec)
            if told and self.deterministic:
                raise Fault(
                    f"`reset` and `step` show another text than is trained on ({told})",
                    "change what an episode opens with, reads or says in `begin`, which every"
                    " player goes through, and not in reset, step or their async forms",
                )

    def test_a_turn_that_is_given_up_ends(self) -> None:
        """A step that is cancelled ends at once and leaves the environment in order."""
        for ticks in (0, 1, 5):
            portal.run(_give_up(self.make(), ticks, self.grace_seconds))

    def test_no_step_keeps_other_episodes_waiting(self) -> None:
        """No tool, reply or reward blocks the event loop."""
        for _ in range(2):  # what it takes the first time may be an import
            seconds = portal.run(stalled(self._transcripts(self.make(), [0, 1, 2, 3])))
            if not seconds:
                return
        raise Fault(
            f"a step keeps every other episode waiting for {seconds:.1f} s",
            "write what waits as `async def` with await, or as a plain @tool, which runs in a"
            " thread; a plain `reply` or reward function must return at once",
        )

    def test_every_episode_ends(self) -> None:
        """A policy that says the same for ever is cut by a limit, or answered to the end."""
        env = self.make()
        episode = portal.run(_say_for_ever(env))
        if episode.outcome is None:
            raise Fault(
                f"an episode goes on after {_ENDLESS} turns",
                "limits=EpisodeLimits(turns=...), or let `reply` give None in the end",
            )

    def test_nothing_is_left_behind(self) -> None:
        """Episodes leave no descriptors, processes, threads and tasks."""
        env = self.make()

        def once() -> None:
            portal.run(self._transcripts(env, [0, 1]))

        if grown := leak(once, 2, self.settle_seconds):
            raise Fault(
                f"{grown} are held",
                "close in `aclose` what `start`, `for_episode` or a call opened, and await or"
                " cancel the tasks that were created",
            )

    def _audited(self, env: ToolEnv, tasks: int) -> list[str]:
        few = env.tasks.size is not None and env.tasks.size < 2
        return [] if few else faults(audit_rewards(env, tasks=tasks), self.threshold)

    def _alone(self) -> list[str]:
        env = self.make()
        return [told for n in range(4) for told in portal.run(self._transcripts(env, [n]))]

    def _together(self) -> list[str]:
        """Play the same at once, the last first, and return it in the same order."""
        order = [3, 2, 1, 0]
        told = portal.run(self._transcripts(self.make(), order))
        return [told[order.index(number)] for number in range(4)]

    async def _transcripts(self, env: ToolEnv, numbers: Sequence[int]) -> list[str]:
        return list(await asyncio.gather(*(_transcript(env, number) for number in numbers)))


def _opened(env: ToolEnv, seed: int) -> tuple[Any, Any]:
    return env.reset(seed=seed), env.step("x")


def _refused(find: Callable[[], Task], task_id: str) -> None:
    try:
        find()
    except KeyError:
        return
    except Exception as error:  # noqa: BLE001 - the boundary to foreign code
        told = f"raises {describe_error(error)}"
    else:
        told = "gives a task"
    mend = "raise KeyError for an id that is none: ids come from files"
    raise Fault(f"tasks.find({brief(task_id)}) {told}", mend)


def _solution(env: ToolEnv, task: Task) -> Sequence[Any]:
    answer = member_of(env, task)[1].phrase_answer(str(task.answer))
    return env.solve(task) or [{"role": "assistant", "content": answer}]


async def _transcript(env: ToolEnv, number: int) -> str:
    """Play a task, of even numbers as it is solved and else at random; return all that was read."""
    task = env.tasks.task(number % (env.tasks.size or 100))
    episode = env.begin(task, seed=number)
    heard = []
    try:
        await episode.start()
        heard.append(text_of(episode.open()))
        for turn in _turns(env, task, episode, number):
            step = await episode.step(turn)
            heard += [text_of(step.pieces), *(result.content for result in step.results)]
            if step.outcome is not None:
                break
            await asyncio.sleep(0)  # others go on in between
        else:
            await episode.truncate("turns")
    finally:
        await episode.aclose()
    assert episode.outcome is not None
    return "\n".join([*heard, f"{episode.outcome.reason}: {episode.paid}"])


def _turns(env: ToolEnv, task: Task, episode: Episode, number: int) -> Sequence[Turn | str]:
    if number % 2:
        return list(islice(random_turns(env, task, episode, number), _MOST_TURNS // 2))
    moves = _solution(env, task)
    dialect = episode.settings.dialect
    read = [move if isinstance(move, str) else read_assistant(move, dialect) for move in moves]
    return list(islice(chain(read, repeat(read[-1])), max(len(read), _MOST_TURNS)))


def _check_tokens(env: ToolEnv, task: Task, turns: Sequence[str], codec: ByteCodec) -> str:
    """Play the same on texts and on tokens; return where their transcripts part."""
    transcript, _ = env.reset(seed=0, options={"task": task})
    assert env.episode is not None
    seed, reason = env.episode.seed, ""
    for turn in islice(chain(turns, repeat(turns[-1])), len(turns) + _MOST_TURNS):
        observation, *_, info = env.step(turn)
        transcript += codec.decode(codec.encode_pieces([Piece(turn, control=True)])) + observation
        if "outcome" in info:
            reason = info["outcome"]["reason"]
            break
    policy = RecordingPolicy(ScriptedPolicy(codec, turns))
    engine = Engine(env, policy, codec, play=PlaySettings(context=1 << 20, completion=1 << 20))
    [trajectory] = portal.run(engine.run([Assignment(task, "e", seed)]))
    if problems := audit(trajectory, policy.take("e")):
        raise Fault(
            f"what is trained on is not what was sampled: {'; '.join(problems)}",
            "append ids only, and let `begin` give an Episode whose `step` does what its base does",
        )
    if trajectory.outcome.reason != reason:
        return ""  # cut, where tokens are counted otherwise
    return first_difference([transcript], [codec.decode(trajectory.ids)])


async def _give_up(env: ToolEnv, ticks: int, grace: float) -> None:
    _, info = await env.areset(seed=0)
    task = env.tasks.find(info["task_id"])
    step = asyncio.ensure_future(env.astep(_solution(env, task)[0]))
    for _ in range(ticks):
        await asyncio.sleep(0)
    step.cancel()
    done, _ = await asyncio.wait({step}, timeout=grace)
    if not done:
        raise Fault(
            f"a step that is given up goes on for more than {grace:g} s",
            "let asyncio.CancelledError through: catch Exception, never BaseException, and clean up"
            " in `finally`",
        )
    if not step.cancelled() and (error := step.exception()) is not None:
        raise Fault(
            f"a step that is given up raises {describe_error(error)}",
            "let asyncio.CancelledError through as it is",
        )
    await env.areset(seed=1)
    await env.areset(seed=2)
    if env.episode is not None:
        await env.episode.aclose()


async def _say_for_ever(env: ToolEnv) -> Episode:
    task = env.tasks.task(0)
    episode = env.begin(task, seed=0)
    said = read_assistant({"role": "assistant", "content": "x"}, episode.settings.dialect)
    try:
        await episode.start()
        episode.open()
        for _ in range(_ENDLESS):
            await episode.step(said)
            if episode.outcome is not None:
                break
    finally:
        await episode.aclose()
    return episode
