"""The engine: token-exact, parallel, honest about what failed."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace

import pytest

from qwq_env.dialect.base import Piece
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.grading.score import Score
from qwq_env.outcome import EpisodeLimits, Outcome
from qwq_env.rollout.audit import RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.policy import Generation, Policy
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rollout.store import EpisodeStore, read_episodes
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import Tool, tool
from qwq_env.trajectory import Trajectory

CALL = '<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call><|im_end|>'


@tool(blocking=False)
def echo(text: str) -> str:
    """Return the text."""
    return text


@tool
async def sleep(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return "awake"


class Flaky(Tool):
    """Fails on our side the first `failures` times that it is called, over all episodes."""

    name = "flaky"
    description = "Fails."
    parameters = {"type": "object", "properties": {}}  # noqa: RUF012 - a constant

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def call(self, arguments):
        self.failures -= 1
        if self.failures >= 0:
            raise InfrastructureError("the sandbox is gone")
        return "fine"


def environment(*tools: Tool, **arguments) -> ToolEnv:
    tasks = ListTaskSet([Task(f"t{i}", f"Say {i}.", str(i)) for i in range(64)])
    rubric = Rubric([Component("exact", lambda f: float(f.answer == f.task.answer))])
    return ToolEnv(tasks, tools or [echo], rubric, **arguments)


def assignments(env: ToolEnv, count: int) -> list[Assignment]:
    return [Assignment(env.tasks.task(i), f"e{i}", i) for i in range(count)]


def run(env, policy, codec, count=1, play=None, **settings) -> list[Trajectory]:
    engine = Engine(env, policy, codec, play=play, settings=EngineSettings(**settings))
    return asyncio.run(engine.run(assignments(env, count)))


def oracle(context: str) -> str:
    number = context.split("Say ")[1].split(".")[0]
    if "<tool_response>" not in context:
        return "why\n</think>\n\n" + CALL % ("echo", '{"text": "<|im_end|>%s"}' % number)
    return f"now\n</think>\n\n{number}<|im_end|>"


def test_ids_are_the_transcript_and_the_mask_marks_what_was_sampled(codec):
    env = environment()
    [trajectory] = run(env, ScriptedPolicy(codec, oracle), codec)

    prompt, _ = env.reset(options={"task_id": "t0"})
    first = oracle(prompt)
    observation = env.step(first)[0]
    second = oracle(prompt + first + observation)
    sampled = [i for i, bit in zip(trajectory.completion_ids, trajectory.mask, strict=True) if bit]
    assert codec.decode(trajectory.ids) == prompt + first + observation + second
    assert codec.decode(sampled) == first + second
    assert trajectory.reward == 1.0
    assert audit(trajectory) == []
    assert [span.author for span in trajectory.spans] == [
        "task", "thinking", "answer", "tool", "thinking", "answer",
    ]  # fmt: skip


def test_control_tokens_in_tool_output_stay_letters(codec):
    [trajectory] = run(environment(), ScriptedPolicy(codec, oracle), codec)

    tool_ids = [
        codec.control_ids["<|im_end|>"] == i
        for span in trajectory.spans
        if span.author == "tool"
        for i in trajectory.ids[span.start : span.end]
    ]
    # One closes the tool's message; the one that the tool itself wrote is not among them.
    assert sum(tool_ids) == 1


def test_results_stand_in_the_order_asked(codec):
    env = environment(sleep)

    async def script(context: str) -> str:
        number = context.split("Say ")[1].split(".")[0]
        await asyncio.sleep(0.01 * (16 - int(number)))
        return f"</think>\n\n{number}<|im_end|>"

    trajectories = run(env, ScriptedPolicy(codec, script), codec, count=16)

    assert [t.task_id for t in trajectories] == [f"t{i}" for i in range(16)]
    assert all(t.reward == 1.0 for t in trajectories)


def test_tools_of_different_episodes_overlap(codec):
    turns = ["</think>" + CALL % ("sleep", '{"seconds": 0.5}'), "</think>done<|im_end|>"]
    start = time.perf_counter()
    trajectories = run(environment(sleep), ScriptedPolicy(codec, turns), codec, count=32)

    assert time.perf_counter() - start < 32 * 0.5 / 2
    assert all(t.seconds.tools >= 0.5 for t in trajectories)


def test_infrastructure_failure_is_retried_on_a_fresh_episode(codec):
    turns = ["</think>" + CALL % ("flaky", "{}"), "</think>0<|im_end|>"]
    [trajectory] = run(environment(Flaky(2)), ScriptedPolicy(codec, turns), codec, attempts=3)

    assert trajectory.reward == 1.0
    assert trajectory.attempts == 3
    assert trajectory.counts == {"ok": 1}


def test_a_tool_that_cannot_be_made_costs_its_own_episode_only(codec):
    class Unmade(Flaky):
        def for_episode(self, task, seed):
            if seed == 1:
                raise InfrastructureError("no place left")
            return self

    policy = ScriptedPolicy(codec, lambda context: "</think>0<|im_end|>")
    fine, lost = run(environment(Unmade(0)), policy, codec, count=2)

    assert fine.reward == 1.0
    assert lost.reward is None
    assert (lost.attempts, lost.outcome.detail) == (3, "InfrastructureError: no place left")
    assert codec.decode(lost.ids).endswith("Say 1.<|im_end|>\n<|im_start|>assistant\n<think>\n")


def test_a_reward_that_raises_costs_its_own_episode_only(codec):
    env = environment()
    rubric = Rubric([Component("inverse", lambda final: 1 / int(final.answer))])
    env = ToolEnv(env.tasks, [echo], rubric)
    lost, paid = run(env, ScriptedPolicy(codec, oracle), codec, count=2)

    assert (lost.reward, lost.outcome.reason) == (None, "undecided")
    assert (paid.reward, paid.outcome.reason) == (1.0, "answered")


def test_lost_episode_has_no_reward(codec):
    turns = ["</think>" + CALL % ("flaky", "{}"), "</think>0<|im_end|>"]
    [trajectory] = run(environment(Flaky(9)), ScriptedPolicy(codec, turns), codec, attempts=2)

    assert trajectory.reward is None
    assert trajectory.outcome.failed
    assert "the sandbox is gone" in trajectory.outcome.detail


def test_undecided_grade_loses_the_episode(codec):
    env = environment()
    rubric = Rubric([Component("grader", lambda final: Score.undecided("timeout"))])
    env = ToolEnv(env.tasks, [echo], rubric)
    [trajectory] = run(env, ScriptedPolicy(codec, ["</think>0<|im_end|>"]), codec)

    assert trajectory.reward is None
    assert trajectory.outcome.reason == "undecided"
    assert trajectory.scores == {"grader": None}


@pytest.mark.parametrize(("timed", "end"), [(False, ("failed", None)), (True, ("truncated", 0.0))])
def test_batch_deadline_ends_stragglers_only_and_is_no_fault_of_theirs(codec, timed, end):
    env = environment(sleep, limits=EpisodeLimits(timed=timed))

    def script(context: str) -> str:
        if "Say 0." in context:
            return "</think>" + CALL % ("sleep", '{"seconds": 60}')
        return "</think>fast<|im_end|>"

    slow, *fast = run(env, ScriptedPolicy(codec, script), codec, count=4, batch_seconds=0.5)

    assert slow.outcome.reason == "batch_deadline"
    assert (slow.outcome.kind, slow.reward) == end
    assert audit(slow) == []
    assert all(t.outcome.reason == "answered" for t in fast)


@pytest.mark.parametrize("bound", ["batch", "episode"])
def test_an_answer_that_is_being_graded_is_cut_by_no_deadline(codec, bound):
    async def slowly(final) -> float:
        await asyncio.sleep(2.3)
        return 1.0

    limits = EpisodeLimits(seconds=2.0) if bound == "episode" else None
    env = environment(limits=limits)
    env = ToolEnv(env.tasks, [echo], Rubric([Component("slow", slowly)]), limits=limits)
    settings = {"batch_seconds": 2.0} if bound == "batch" else {}
    [trajectory] = run(env, ScriptedPolicy(codec, ["</think>0<|im_end|>"]), codec, **settings)

    assert (trajectory.outcome.reason, trajectory.reward) == ("answered", 1.0)


class Held(Flaky):
    """Takes its time to close, and counts what was made and closed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(0)
        self.seconds = seconds
        self.made = self.closed = 0

    def for_episode(self, task, seed):
        self.made += 1
        return self

    async def aclose(self):
        await asyncio.sleep(self.seconds)
        self.closed += 1


def test_an_outcome_stands_when_the_deadline_passes_while_tools_are_closed(codec):
    held = Held(2.3)
    env = environment(held, limits=EpisodeLimits(turns=1))
    policy = ScriptedPolicy(codec, ["</think>" + CALL % ("flaky", "{}")])
    [trajectory] = run(env, policy, codec, batch_seconds=2.0)

    assert (trajectory.outcome.reason, trajectory.reward) == ("turns", 0.0)
    assert held.closed == 1


def test_what_was_made_of_a_toolbox_that_could_not_be_is_closed_when_the_batch_ends(codec):
    class Unmade(Flaky):
        name = "unmade"

        def for_episode(self, task, seed):
            raise InfrastructureError("no place left")

    held = Held(0.05)
    [lost] = run(environment(held, Unmade(0)), ScriptedPolicy(codec, oracle), codec)

    assert lost.outcome.failed
    assert (held.made, held.closed) == (3, 3)


def test_an_episode_that_never_began_is_worth_nothing_not_zero(codec):
    async def never(context: str) -> str:
        await asyncio.sleep(60)
        return ""

    policy = ScriptedPolicy(codec, never)
    begun, not_begun = run(environment(), policy, codec, count=2, concurrency=1, batch_seconds=0.5)

    assert (begun.outcome.reason, begun.reward) == ("batch_deadline", None)
    assert (not_begun.outcome.reason, not_begun.outcome.detail) == ("batch_deadline", "not begun")
    assert not_begun.reward is None
    assert not_begun.outcome.failed


def test_a_batch_may_have_the_deadline_of_another(codec):
    engine = Engine(environment(), ScriptedPolicy(codec, oracle), codec)
    assignments = [Assignment(next(iter(engine.env.tasks)), "0", 0)]

    def played(seconds):
        return asyncio.run(engine.run(assignments, deadline=time.perf_counter() + seconds))

    assert [one.outcome.reason for one in played(0.0)] == ["batch_deadline"]
    assert [one.outcome.kind for one in played(60.0)] == ["terminated"]


@pytest.mark.parametrize("error", [UsageError("model: 'x'; expected 'y'"), OSError("disk full")])
def test_what_ends_the_batch_is_raised_as_itself(codec, error):
    class Refusing(Policy):
        async def generate(self, request) -> Generation:
            raise error

    with pytest.raises(type(error), match=str(error)):
        run(environment(), Refusing(), codec, count=3)


def test_thinking_that_the_dialect_cannot_strip_is_refused_before_anything_begins(codec):
    strip = PlaySettings(thinking="strip")

    @tool(blocking=False)
    def search(query: str) -> str:
        """Find."""
        return query

    env = environment(search, dialect="tags")
    with pytest.raises(UsageError, match=r"^thinking: 'strip' has no meaning in tags"):
        Engine(env, ScriptedPolicy(codec, oracle), codec, play=strip)
    engine = Engine(env, ScriptedPolicy(codec, oracle), codec)
    with pytest.raises(UsageError, match=r"^thinking: 'strip'"):
        engine.play_settings = strip


def test_waiting_is_the_time_before_an_episode_begins(codec):
    async def script(context: str) -> str:
        await asyncio.sleep(0.1)
        return "</think>0<|im_end|>"

    first, second, third = run(
        environment(), ScriptedPolicy(codec, script), codec, count=3, concurrency=1
    )

    assert first.seconds.waiting <= second.seconds.waiting - first.seconds.model
    assert third.seconds.waiting >= first.seconds.model + second.seconds.model
    assert Trajectory.from_json(third.to_json()) == third


def test_token_budget_cuts_the_turn(codec):
    play = PlaySettings(completion=10)
    [trajectory] = run(environment(), ScriptedPolicy(codec, oracle), codec, play=play)

    assert len(trajectory.completion_ids) == 10
    assert (trajectory.outcome.kind, trajectory.outcome.reason) == ("truncated", "tokens")


@pytest.mark.parametrize(
    "turn",
    ["</think>\n\n0", "</think>" + (CALL % ("echo", '{"text": "0"}')).split("<|im_end|>")[0]],
)
def test_a_turn_that_was_cut_is_neither_paid_nor_run(codec, turn):
    """Cut right behind an answer that is right, or behind a call: it was going to go on."""
    play = PlaySettings(turn_tokens=len(codec.encode_pieces([Piece(turn, control=True)])))
    policy = ScriptedPolicy(codec, [turn + " and so on<|im_end|>"])
    [trajectory] = run(environment(), policy, codec, play=play)

    assert codec.decode(trajectory.completion_ids) == turn
    assert (trajectory.outcome.kind, trajectory.outcome.reason) == ("truncated", "tokens")
    assert (trajectory.reward, trajectory.counts) == (0.0, {})


def test_each_turn_of_each_episode_draws_by_a_seed_of_its_own(codec):
    seeds = []

    class Watched(ScriptedPolicy):
        async def generate(self, request):
            seeds.append(request.seed)
            return await super().generate(request)

    run(environment(), Watched(codec, oracle), codec, count=4)

    assert len(set(seeds)) == len(seeds) == 8


@pytest.mark.parametrize("bound", ["completion", "episode"])
def test_what_tools_write_is_spent_from_the_budget(codec, bound):
    turns = ["</think>" + CALL % ("echo", '{"text": "%s"}' % ("x" * 100))]
    limits = EpisodeLimits(tokens=900) if bound == "episode" else None
    play = PlaySettings(completion=900) if bound == "completion" else None
    env = environment(limits=limits)
    [trajectory] = run(env, ScriptedPolicy(codec, turns), codec, play=play)

    assert trajectory.outcome.reason == "tokens"
    assert trajectory.turns > 2
    assert len(trajectory.completion_ids) <= 900


def test_long_tool_output_never_overruns_the_budget(codec):
    turns = ["</think>" + CALL % ("echo", '{"text": "%s"}' % ("x" * 400))]
    play = PlaySettings(completion=600)
    [trajectory] = run(environment(), ScriptedPolicy(codec, turns), codec, play=play)

    assert len(trajectory.completion_ids) <= 600
    assert trajectory.outcome.reason == "tokens"


def test_prompt_longer_than_the_context(codec):
    play = PlaySettings(context=8)
    [trajectory] = run(environment(), ScriptedPolicy(codec, oracle), codec, play=play)

    assert trajectory.completion_ids == []
    assert trajectory.outcome.reason == "tokens"


def test_turn_cut_without_end_is_closed_by_the_environment(codec):
    """A model that stops without <|im_end|> gets one, which it is not trained on."""
    turns = [
        ("</think>" + CALL % ("echo", '{"text": "a"}')).removesuffix("<|im_end|>"),
        "</think>0",
    ]
    [trajectory] = run(environment(), ScriptedPolicy(codec, turns), codec)

    tool_span = next(span for span in trajectory.spans if span.author == "tool")
    assert codec.decode(trajectory.ids[tool_span.start :]).startswith(
        "<|im_end|>\n<|im_start|>user"
    )
    assert audit(trajectory) == []


def test_cancelling_the_batch_closes_every_tool(codec):
    closed = []

    class Watched(Flaky):
        def for_episode(self, task, seed):
            return Watched(0)

        async def call(self, arguments):
            await asyncio.sleep(60)

        async def aclose(self):
            closed.append(self)

    turns = ["</think>" + CALL % ("flaky", "{}")]

    async def main():
        env = environment(Watched(0))
        engine = Engine(env, ScriptedPolicy(codec, turns), codec)
        batch = asyncio.create_task(engine.run(assignments(env, 8)))
        await asyncio.sleep(0.1)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch

    asyncio.run(main())

    assert len(closed) == 8


def test_policy_failure_is_infrastructure(codec):
    class Dying(Policy):
        async def generate(self, request) -> Generation:
            raise InfrastructureError("server went away")

    [trajectory] = run(environment(), Dying(), codec, attempts=2)

    assert trajectory.reward is None
    assert trajectory.attempts == 2


def test_episode_seconds_limit_interrupts_generation(codec):
    async def never(context: str) -> str:
        await asyncio.sleep(60)
        return ""

    env = environment(limits=EpisodeLimits(seconds=0.2))
    [trajectory] = run(env, ScriptedPolicy(codec, never), codec)

    assert trajectory.outcome.reason == "seconds"


def test_store_round_trip_and_torn_line(codec, tmp_path):
    trajectories = run(environment(), ScriptedPolicy(codec, oracle), codec, count=3)
    path = tmp_path / "episodes.jsonl"
    with EpisodeStore(path) as store:
        for trajectory in trajectories[:2]:
            store.append(trajectory, step=1)
    with path.open("a") as file:
        file.write('{"torn": ')
    with EpisodeStore(path) as store:
        store.append(trajectories[2])

    assert list(read_episodes(path)) == trajectories


def test_an_interrupted_batch_redoes_what_is_missing(codec, tmp_path):
    """Killed while it wrote the fourth of eight, of which it had lost the first; then gone on."""
    path = tmp_path / "episodes.jsonl"
    env = environment()
    whole = run(env, ScriptedPolicy(codec, oracle), codec, count=8)
    lost = replace(whole[0], outcome=Outcome.lost("infrastructure"), reward=None)
    with EpisodeStore(path) as store:
        store.append(whole[5], phase="other")
        for trajectory in (lost, *whole[1:3]):
            store.append(trajectory, phase="this")
    with path.open("a") as file:
        file.write('{"phase": "this", "episode": "e3", ')
    asked: list[str] = []

    def script(context: str) -> str:
        asked.append(context.split("Say ")[1].split(".")[0])
        return oracle(context)

    engine = Engine(env, ScriptedPolicy(codec, script), codec)
    with EpisodeStore(path) as store:
        ended = []
        played = store.played(phase="this")
        trajectories = asyncio.run(engine.run(assignments(env, 8), ended.append, played=played))

    missing = {"0", "3", "4", "5", "6", "7"}
    assert set(asked) == missing
    assert {trajectory.task_id[1:] for trajectory in ended} == missing
    assert [t.ids for t in trajectories] == [t.ids for t in whole]
    assert trajectories[1:3] == whole[1:3]


def test_the_newest_of_an_episodes_rows_counts(codec, tmp_path):
    path = tmp_path / "episodes.jsonl"
    [trajectory] = run(environment(), ScriptedPolicy(codec, oracle), codec)
    newer = replace(trajectory, attempts=2)
    with EpisodeStore(path) as store:
        store.append(trajectory)
        store.append(newer)

        assert store.played() == {"e0": newer}
        assert store.played(phase="cold") == {}


@pytest.mark.parametrize("change", [{"task_id": "t9"}, {"seed": 9}])
def test_an_episode_of_another_batch_is_not_taken_for_this_ones(codec, change):
    env = environment()
    [trajectory] = run(env, ScriptedPolicy(codec, oracle), codec)
    played = {"e0": replace(trajectory, **change)}
    engine = Engine(env, ScriptedPolicy(codec, oracle), codec)

    with pytest.raises(UsageError, match=r"^played: episode e0 .*9.*; expected .*t0.* seed 0"):
        asyncio.run(engine.run(assignments(env, 1), played=played))


def test_audit_holds_every_episode_against_what_was_sampled(codec):
    policy = RecordingPolicy(ScriptedPolicy(codec, oracle))
    [trajectory] = run(environment(), policy, codec)
    records = policy.take("e0")

    assert audit(trajectory, records) == []
    assert audit(trajectory, records[:1]) != []
    assert audit(trajectory, [*records, records[-1]]) == ["1 generations are in no row"]
    assert policy.take("e0") == []
    for change in ("ids", "logprobs", "mask"):
        forged = Trajectory.from_json(trajectory.to_json())
        forged_list = getattr(forged, change)
        forged_list[-1] = forged_list[-1] ^ 1 if change != "logprobs" else -1.0
        assert audit(forged, records) != []
    context = Trajectory.from_json(trajectory.to_json())
    context.ids[3] += 1
    assert "context" in audit(context, records)[0]


@pytest.mark.parametrize("gap", ["\n\n", ""])
def test_strip_takes_earlier_thinking_out_and_makes_a_row_a_turn(codec, gap):
    def say(context):
        return re.sub(r"</think>\n*", f"</think>{gap}", oracle(context))

    policy = RecordingPolicy(ScriptedPolicy(codec, say))
    play = PlaySettings(thinking="strip")
    [trajectory] = run(environment(), policy, codec, play=play)

    first, second = trajectory.rows
    env = environment()
    prompt, _ = env.reset(options={"task_id": "t0"})
    call = say(prompt)
    observation = env.step(call)[0]
    answer = call.split("</think>")[1].lstrip("\n")
    assert codec.decode(first.ids) == prompt + call
    assert codec.decode(second.prompt_ids) == (
        prompt.removesuffix("<think>\n") + answer + observation
    )
    assert all(first.mask) and all(second.mask)
    assert trajectory.reward == 1.0
    assert audit(trajectory, policy.take("e0")) == []
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


def test_strip_renders_what_the_dialect_would(codec):
    """The stripped context is the published template's own rendering of the conversation."""
    play = PlaySettings(thinking="strip")
    env = environment()
    [trajectory] = run(env, ScriptedPolicy(codec, oracle), codec, play=play)

    call = {"name": "echo", "arguments": {"text": "<|im_end|>0"}}
    messages = [
        {"role": "user", "content": "Say 0."},
        {"role": "assistant", "content": "", "tool_calls": [{"function": call}]},
        {"role": "tool", "content": "<|im_end|>0"},
    ]
    rendered = env.settings.dialect.render(messages, [echo.schema()])
    assert codec.decode(trajectory.prompt_ids) == "".join(piece.text for piece in rendered)
