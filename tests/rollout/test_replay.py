"""Runs that were killed go on in mid-episode, and nothing happens twice; see `qwq_env.journal`."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.evaluation.heldout import evaluate
from qwq_env.journal import Journal, call_id
from qwq_env.rollout.audit import RecordingPolicy, audit
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import Tool, ToolResult, tool
from qwq_env.tool_set import ToolSet
from qwq_env.turn import MalformedCall, ToolCall

from .killed_run import Bank, Drawn, Effects, Orders, main, shop, without_times

ROOT = Path(__file__).parents[2]
CALL = '</think><tool_call>{"name": "%s", "arguments": %s}</tool_call><|im_end|>'
DONE = "</think>Done.<|im_end|>"


def play(env, policy, codec, journal, episode: int = 1, **settings):
    assignment = Assignment(env.tasks.task(episode), f"e{episode}", episode)
    engine = Engine(env, policy, codec, journal=journal, settings=EngineSettings(**settings))
    [trajectory] = asyncio.run(engine.run([assignment]))
    return trajectory


def one_task(*tools, reward=lambda final: 1.0) -> ToolEnv:
    return ToolEnv(
        ListTaskSet([Task("t0", "Say.", ""), Task("t1", "Go.", "", metadata={"accounts": {}})]),
        tools, Rubric([Component("worth", reward)]),
    )  # fmt: skip


def counting(replay=None, calls=None):
    """Return a tool that answers with how often it was called."""
    calls = [] if calls is None else calls

    @tool(blocking=False, replay=replay or "once")
    def count() -> str:
        """Count."""
        calls.append(1)
        return str(len(calls))

    return count


def killed(folder: Path, *kill: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tests.rollout.killed_run", str(folder), *map(str, kill)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False)


def test_a_batch_that_was_killed_twice_ends_as_if_it_never_was(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    codes = [killed(cut, generation).returncode for generation in (17, 20)]
    resumed = main(cut)

    assert codes == [-signal.SIGKILL] * 2
    assert resumed == main(whole)
    assert len(resumed) == 8
    effects = Effects(whole / "effects.txt").lines()
    assert Effects(cut / "effects.txt").lines() == effects
    assert len(effects) == len(set(effects)) > 40


@pytest.fixture(scope="module")
def journaled(codec, tmp_path_factory):
    """An episode with two tool sets, three kinds of tools and a user: trajectory, effects, rows."""
    folder = tmp_path_factory.mktemp("journal")
    effects = Effects(folder / "effects.txt")
    with Journal(folder / "journal.jsonl") as journal:
        trajectory = play(shop(effects), Drawn(codec), codec, journal, episode=5)
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert {"begin", "turn", "started", "result", "reply", "state"} == {event_of(x) for x in lines}
    return trajectory, effects.lines(), lines


def event_of(line: bytes) -> str:
    return line.split(b'"event": "')[1].split(b'"')[0].decode()


def cut_after(folder: Path, lines: list[bytes], count: int) -> Path:
    """Write what a process leaves that is killed while it writes the line after `count` lines."""
    path = folder / f"{count}.jsonl"
    torn = lines[count][: len(lines[count]) // 2] if count < len(lines) else b""
    path.write_bytes(b"".join(lines[:count]) + torn)
    return path


def effects_of(lines: list[bytes]) -> int:
    """Return how many effects the calls had that have answered."""
    return sum(event_of(x) == "result" and b'"name": "move"' not in x for x in lines)


def test_wherever_it_was_killed_an_episode_goes_on_token_for_token(codec, journaled, tmp_path):
    trajectory, done, lines = journaled
    for count in range(len(lines) + 1):
        effects = Effects(tmp_path / f"{count}.txt")
        policy = RecordingPolicy(drawn := Drawn(codec))
        with Journal(cut_after(tmp_path, lines, count)) as journal:
            resumed = play(shop(effects), policy, codec, journal, episode=5)

        sampled = sum(event_of(line) == "turn" for line in lines[:count])
        if count and event_of(lines[count - 1]) == "started":
            # The call may have had its effect.
            assert (resumed.outcome.reason, resumed.reward) == ("interrupted", None)
            assert resumed.ids == trajectory.ids[: len(resumed.ids)]
            assert drawn.asked == 0
        else:
            assert without_times(resumed) == without_times(trajectory)
            assert drawn.asked == trajectory.turns - sampled
            assert len(effects.lines()) == len(done) - effects_of(lines[:count])
        assert audit(resumed, policy.take("e5")) == []


def test_an_ended_episode_is_answered_by_the_journal_alone(codec, journaled, tmp_path):
    trajectory, _, lines = journaled
    path = cut_after(tmp_path, lines, len(lines))
    with Journal(path) as journal:
        for _ in range(2):
            again = play(shop(Effects(tmp_path / "e")), Drawn(codec), codec, journal, episode=5)

    assert without_times(again) == without_times(trajectory)
    assert path.read_bytes() == b"".join(lines)


def test_offline_nothing_is_called_and_another_rubric_pays(codec, journaled, tmp_path):
    class Unstarted(Orders):
        def __init__(self) -> None: ...

        def start(self, task):
            raise AssertionError("started")

    Unstarted.__name__ = "Orders"
    trajectory, _, lines = journaled
    env = shop(Effects(tmp_path / "effects.txt"))
    env = type(env)(
        env.tasks, [Bank, Unstarted, *env.settings.tools.single],
        Rubric([Component("orders", lambda final: float(len(final.state["Orders"])))]),
    )  # fmt: skip
    drawn = Drawn(codec)
    path = cut_after(tmp_path, lines, len(lines))
    with Journal(path, offline=True) as journal:
        engine = Engine(env, drawn, codec, journal=journal)
        [again] = asyncio.run(engine.run(engine.begun()))
        other = Engine(one_task(), drawn, codec, journal=journal)
        with pytest.raises(UsageError, match=r"^journal: task 't5' is not in the environment's"):
            other.begun()

    assert (again.ids, again.logprobs) == (trajectory.ids, trajectory.logprobs)
    assert again.reward == sum(b'"name": "order"' in x and event_of(x) == "result" for x in lines)
    assert (drawn.asked, Effects(tmp_path / "effects.txt").lines()) == (0, [])


@pytest.mark.parametrize("event", ["begin", "turn", "result", "reply", "state"])
def test_offline_what_is_not_in_the_journal_is_an_error(codec, journaled, tmp_path, event):
    lines = journaled[2]
    last = max(index for index, line in enumerate(lines) if event_of(line) == event)
    path = cut_after(tmp_path, lines, last)
    env = shop(Effects(tmp_path / "effects.txt"))
    with (
        Journal(path, offline=True) as journal,
        pytest.raises(UsageError, match=rf"episode 'e5', attempt 1, {event} \d+ is not in it"),
    ):
        play(env, Drawn(codec), codec, journal, episode=5)


def test_offline_the_file_has_to_be_there_and_is_not_touched(tmp_path):
    with pytest.raises(UsageError, match=r"^journal: .*none\.jsonl: No such file"):
        Journal(tmp_path / "none.jsonl", offline=True)
    (path := tmp_path / "torn.jsonl").write_text('{"episode": "e')
    Journal(path, offline=True).close()

    assert path.read_text() == '{"episode": "e'


@pytest.mark.parametrize(("replay", "calls", "end"), [
    ("once", 1, "answered"), ("idempotent", 1, "answered"), ("rerun", 2, "interrupted"),
])  # fmt: skip
def test_replay_says_whether_a_call_that_has_answered_runs_again(
    codec, tmp_path, replay, calls, end
):
    made: list[int] = []
    turns = [CALL % ("count", "{}"), DONE]

    class Killed(ScriptedPolicy):
        async def generate(self, request):
            if made:
                raise OSError("killed")
            return await super().generate(request)

    env = one_task(counting(replay, made))
    with Journal(tmp_path / "j") as journal, pytest.raises(OSError, match="killed"):
        play(env, Killed(codec, turns), codec, journal)
    with Journal(tmp_path / "j") as journal:
        trajectory = play(env, ScriptedPolicy(codec, turns), codec, journal)

    # Run again, this one counts on where a new one would begin: its answer is not what it was.
    assert (len(made), trajectory.outcome.reason) == (calls, end)


@pytest.mark.parametrize(("replay", "end"), [("once", "interrupted"), ("idempotent", "answered")])
def test_a_call_that_our_deadline_cut_is_under_way_for_good(codec, tmp_path, replay, end):
    names: list[str] = []

    @tool(replay=replay)
    async def slow() -> str:
        """Wait, the first time."""
        names.append(call_id())
        await asyncio.sleep(60 if len(names) == 1 else 0)
        return "done"

    env, turns = one_task(slow), [CALL % ("slow", "{}"), DONE]
    with Journal(tmp_path / "j") as journal:
        cut = play(env, ScriptedPolicy(codec, turns), codec, journal, batch_seconds=0.3)
    with Journal(tmp_path / "j") as journal:
        resumed = play(env, ScriptedPolicy(codec, turns), codec, journal)

    assert (cut.outcome.reason, resumed.outcome.reason) == ("batch_deadline", end)
    assert names == ["e1/1/0"] * (1 if end == "interrupted" else 2)


def test_a_call_has_a_name_of_its_own_without_a_journal_too(codec):
    names = {call_id(), call_id()}

    assert len(names) == 2


def test_the_calls_of_a_turn_go_on_one_by_one(codec, tmp_path):
    """Of two sets side by side, what has answered stays and the rest runs."""
    ran: Counter[str] = Counter()

    class Slow(ToolSet):
        replay = "idempotent"

        async def slow(self, seconds: float) -> str:
            """Wait."""
            ran[f"slow {seconds}"] += 1
            await asyncio.sleep(seconds)
            return "awake"

    turns = [CALL[:-10] % ("count", "{}") + CALL[8:] % ("slow", '{"seconds": 0.4}'), DONE]
    made: list[int] = []
    env = one_task(counting("once", made), Slow)
    with Journal(tmp_path / "j") as journal:
        play(env, ScriptedPolicy(codec, turns), codec, journal, batch_seconds=0.2)
    with Journal(tmp_path / "j") as journal:
        resumed = play(env, ScriptedPolicy(codec, turns), codec, journal)

    assert resumed.counts == {"ok": 2}
    assert (len(made), ran["slow 0.4"]) == (1, 2)


def test_an_attempt_that_failed_is_not_gone_on_with(codec, tmp_path):
    class Failing(ScriptedPolicy):
        async def generate(self, request):
            if request.episode != "e1~3":
                raise InfrastructureError(f"no server for {request.episode}")
            return await super().generate(request)

    env, settings = one_task(counting()), {"attempts": 2}
    with Journal(tmp_path / "j") as journal:
        lost = play(env, Failing(codec, [DONE]), codec, journal, **settings)
    with Journal(tmp_path / "j") as journal:
        played = play(env, Failing(codec, [DONE]), codec, journal, **settings)
    with Journal(tmp_path / "j", offline=True) as journal:
        again = play(env, Failing(codec, [DONE]), codec, journal, **settings)

    assert (lost.reward, lost.attempts) == (None, 2)
    assert (played.reward, played.attempts) == (1.0, 3)
    assert without_times(again) == without_times(played)


def test_offline_an_episode_that_was_lost_is_lost_for_the_same_reason(codec, tmp_path):
    class Gone(Policy):
        async def generate(self, request):
            raise InfrastructureError("no server")

    with Journal(tmp_path / "j") as journal:
        lost = play(one_task(counting()), Gone(), codec, journal)
    with Journal(tmp_path / "j", offline=True) as journal:
        again = play(one_task(counting()), ScriptedPolicy(codec, [DONE]), codec, journal)

    assert lost.outcome.detail == "InfrastructureError: no server"
    assert without_times(again) == without_times(lost)


class Mute(Bank):
    """Says nothing of its state."""

    replay = None


class Stateless(Mute):
    """Has a state to restore, and does not say what it is."""

    state = ToolSet.state

    def restore_state(self, state) -> None: ...


class OwnTool(Tool):
    name = description = "own"
    parameters = {"type": "object", "properties": {}}  # noqa: RUF012 - a constant

    def for_episode(self, task, seed):
        return OwnTool()

    async def call(self, arguments):
        return ToolResult("", {"odd": object()})


@pytest.mark.parametrize(("given", "message"), [
    (Mute, r"^tool set Mute, replay: does not say how its state comes back .*'rerun'"),
    (Stateless, r"^tool set Stateless: has restore_state; expected state, too"),
    (OwnTool(), r"^tool own, replay: made for each episode"),
])  # fmt: skip
def test_state_that_nobody_brings_back_is_refused_before_anything_is_lost(
    codec, tmp_path, given, message
):
    env = one_task(given)
    assert play(env, ScriptedPolicy(codec, [DONE]), codec, None).reward == 1.0

    with Journal(tmp_path / "j") as journal, pytest.raises(UsageError, match=message):
        play(env, ScriptedPolicy(codec, [DONE]), codec, journal)


def test_a_replay_that_there_is_not_is_refused():
    class Odd(Bank):
        replay = "twice"

    class Game(Bank):
        def replay(self) -> str:
            """Play again."""
            return ""

    with pytest.raises(UsageError, match=r"replay: 'twice' is not known.*known: idempotent, once"):
        one_task(Odd)
    with pytest.raises(UsageError, match=r"^replay: 'Once' is not known \(did you mean 'once'"):
        tool(replay="Once")(lambda: "")
    assert "replay" in [each.name for each in one_task(Game).settings.tools]


def test_metadata_without_a_json_form_costs_its_own_episode(codec, tmp_path):
    class Stateless(OwnTool):
        for_episode = Tool.for_episode

    env, policy = one_task(Stateless()), ScriptedPolicy(codec, [CALL % ("own", "{}"), DONE])
    assert play(env, policy, codec, None).reward == 1.0
    with Journal(tmp_path / "j") as journal:
        lost = play(env, policy, codec, journal)

    assert (lost.outcome.reason, lost.attempts) == ("infrastructure", 3)
    assert "tool own: metadata without a JSON form" in lost.outcome.detail


@pytest.mark.parametrize("change", ["prompt", "sampling", "seed"])
def test_a_journal_of_another_run_is_refused(codec, journaled, tmp_path, change):
    env = shop(Effects(tmp_path / "effects.txt"))
    if change == "prompt":
        env.settings = dataclasses.replace(env.settings, system_prompt="Be brief.")
    sampling = dataclasses.replace(PlaySettings().sampling, temperature=0.5)
    settings = PlaySettings(sampling=sampling) if change == "sampling" else None
    seed = 6 if change == "seed" else 5
    with Journal(cut_after(tmp_path, journaled[2], 4)) as journal:
        engine = Engine(env, Drawn(codec), codec, journal=journal, play=settings)
        with pytest.raises(UsageError, match=r"expected the environment, policy and settings of"):
            asyncio.run(engine.run([Assignment(env.tasks.task(5), "e5", seed)]))


@pytest.mark.parametrize(("line", "message"), [
    ("[]", r"j:1: a JSON array"),
    ("{}", r"j:1: no row of a journal: episode is missing"),
    ('{"episode": "e", "attempt": 1, "event": "begin", "number": 0}', r"task_id is missing"),
    ('{"task_id": "t0", "episode": "e", "ids": []}', r"no row of a journal: attempt is missing"),
])  # fmt: skip
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path, line, message):
    (path := tmp_path / "j").write_text(f"{line}\n{line}")

    with pytest.raises(UsageError, match=message):
        Journal(path)
    assert path.read_text() == f"{line}\n{line}"


def test_one_process_at_a_time_has_a_journal(tmp_path):
    asks = f"from qwq_env.journal import Journal; Journal({str(tmp_path / 'j')!r})"
    command = [sys.executable, "-c", asks]
    with Journal(tmp_path / "j", fsync=True):
        other = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    assert "another process has it open; expected that one to end first" in other.stderr


class Chat(ChatModel):
    """Answers from a list, and counts how often it was asked."""

    def __init__(self, *replies: ChatReply) -> None:
        self.replies, self.asked = replies, 0

    async def reply(self, messages, tools, **settings):
        self.asked += 1
        if len(self.replies) == 1:
            raise OSError("killed")
        return self.replies[sum(m["role"] == "assistant" for m in messages)]


def test_a_chat_model_is_not_asked_again(tmp_path):
    native = {"id": "a", "type": "function", "function": {"name": "count", "arguments": "{}"}}
    calls = (ToolCall("count", {}, "{}"), MalformedCall("malformed_json", "odd\ud800", "{"))
    first = ChatReply("hm", "", calls, (native, {**native, "id": "b"}), tokens=5, prompt_tokens=9)
    replies = [first, ChatReply("", "Done.")]
    made: list[int] = []
    env = one_task(counting(calls=made))
    with Journal(tmp_path / "j") as journal:
        whole = play(env, Chat(*replies), None, journal)
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines)):
        made.clear()
        with Journal(cut_after(tmp_path, lines, count)) as journal:
            resumed = play(env, model := Chat(*replies), None, journal)
        if event_of(lines[count - 1]) != "started":
            assert without_times(resumed) == without_times(whole)
            assert model.asked == 2 - sum(event_of(line) == "turn" for line in lines[:count])


def test_an_evaluation_goes_on_in_mid_episode(codec, tmp_path):
    made: list[int] = []
    env, turns = one_task(counting(calls=made)), [CALL % ("count", "{}"), DONE]

    class Killed(ScriptedPolicy):
        async def generate(self, request):
            if len(made) == 2:
                raise OSError("killed")
            return await super().generate(request)

    settings = {"size": 2, "play": PlaySettings()}
    with Journal(tmp_path / "j") as journal, pytest.raises(OSError, match="killed"):
        evaluate(env, Killed(codec, turns), codec, journal=journal, **settings)
    with Journal(tmp_path / "j") as journal:
        played = evaluate(env, ScriptedPolicy(codec, turns), codec, journal=journal, **settings)

    assert [trajectory.reward for trajectory in played] == [1.0, 1.0]
    assert len(made) == 2
