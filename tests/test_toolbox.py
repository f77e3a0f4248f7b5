from __future__ import annotations

import asyncio
import errno
import gc
import logging
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from qwq_env import threads
from qwq_env.errors import (
    EnvironmentClosed,
    InfrastructureError,
    ToolError,
    UsageError,
)
from qwq_env.tool import Tool, ToolResult, tool
from qwq_env.toolbox import Toolbox, ToolLimits, close_abandoned
from qwq_env.turn import CallResult, MalformedCall, ToolCall


@tool(blocking=False)
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


class BadMessage(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


@tool
async def behave(how: str) -> Any:
    """Behave as told."""
    match how:
        case "sleep":
            await asyncio.sleep(1000)
        case "stubborn":
            while True:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    continue
        case "exit":
            sys.exit(3)
        case "cancelled":
            inner = asyncio.ensure_future(asyncio.sleep(1000))
            inner.cancel()
            await inner
        case "timeout":
            raise TimeoutError("the server took too long")
        case "tool_error":
            raise ToolError("try smaller numbers")
        case "infrastructure":
            raise InfrastructureError("the server is gone")
        case "thread":
            raise RuntimeError("can't start new thread")
        case "shutdown":
            raise RuntimeError("cannot schedule new futures after shutdown")
        case "files":
            raise OSError(errno.EMFILE, "Too many open files")
        case "fork":
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        case "memory":
            raise MemoryError
        case "missing":
            raise FileNotFoundError(errno.ENOENT, "No such file")
        case "usage":
            raise UsageError("sandbox level: A cannot be had here")
        case "bad_message":
            raise BadMessage
        case "partial":
            return ToolResult("so far: 1", error="python_error")
        case "none":
            return None
        case "bad_text":
            return BadMessage()
        case "bad_content":
            return ToolResult(None)  # type: ignore[arg-type]
        case "bad_error":
            return ToolResult("", error=None)  # type: ignore[arg-type]
        case "bad_metadata":
            return ToolResult("", metadata=None)  # type: ignore[arg-type]
        case "surrogate":
            return ToolResult("a\ud800b")
        case "long":
            return ToolResult("x" * 1_000_000)
    return how


def call(name: str, arguments: Any) -> ToolCall:
    return ToolCall(name, arguments)


async def run(*requests: ToolCall | MalformedCall, **limits: Any) -> list[CallResult]:
    return await Toolbox([double, behave], limits=ToolLimits(**limits)).run(requests)


async def test_results_stand_in_the_order_of_the_calls() -> None:
    started: list[str] = []
    gate = asyncio.Event()

    @tool
    async def race(name: str) -> str:
        """The first waits for the last."""
        started.append(name)
        if name == "c":
            gate.set()
        await gate.wait()
        return name

    results = await Toolbox([race]).run([call("race", {"name": name}) for name in "abc"])

    assert started == ["a", "b", "c"]
    assert [result.content for result in results] == ["a", "b", "c"]


async def test_a_bad_call_does_not_cost_the_good_ones() -> None:
    box = Toolbox([double])
    results = await box.run(
        [
            call("double", {"number": "4"}),
            MalformedCall("malformed_json", "no JSON: a comma is missing"),
            call("dubble", {"number": 4}),
            call("double", {"number": "four"}),
            call("double", {}),
            call("double", "four"),
            call("double", {"number": 5}),
        ]
    )

    assert [(result.kind, result.status) for result in results] == [
        ("", "ok"),
        ("malformed_json", "policy_error"),
        ("unknown_tool", "policy_error"),
        ("wrong_type", "policy_error"),
        ("missing_argument", "policy_error"),
        ("arguments_type", "policy_error"),
        ("", "ok"),
    ]
    assert (results[0].content, results[6].content) == ("8", "10")
    assert "did you mean 'double'" in results[2].content
    assert box.counts["ok"] == 2 and box.counts.total() == 7


@pytest.mark.parametrize(
    ("how", "status", "kind", "content"),
    [
        ("fine", "ok", "", "fine"),
        ("none", "ok", "", "null"),
        ("surrogate", "ok", "", "a?b"),
        ("partial", "tool_error", "python_error", "so far: 1"),
        ("tool_error", "tool_error", "tool_error", "Error: try smaller numbers"),
        ("timeout", "tool_error", "crash", "Error: TimeoutError: the server took too long"),
        (
            "exit",
            "tool_error",
            "crash",
            "Error: RuntimeError: the tool tried to exit with status 3",
        ),
        ("cancelled", "tool_error", "crash", "Error: the tool cancelled itself"),
        ("memory", "tool_error", "crash", "Error: MemoryError"),
        (
            "missing",
            "tool_error",
            "crash",
            "Error: FileNotFoundError: [Errno 2] No such file",
        ),
        ("bad_message", "tool_error", "crash", "Error: BadMessage"),
        ("bad_text", "tool_error", "crash", "Error: RuntimeError: no message"),
        (
            "bad_content",
            "tool_error",
            "crash",
            "Error: TypeError: ToolResult.content is NoneType; expected str",
        ),
        (
            "bad_error",
            "tool_error",
            "crash",
            "Error: TypeError: ToolResult.error is NoneType; expected str",
        ),
        (
            "bad_metadata",
            "tool_error",
            "crash",
            "Error: TypeError: ToolResult.metadata is NoneType; expected Mapping",
        ),
    ],
)
@pytest.mark.parametrize("instant", [False, True])
async def test_what_a_tool_may_do(
    how: str, status: str, kind: str, content: str, instant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behave, "instant", instant)
    (result,) = await run(call("behave", {"how": how}))

    assert (result.status, result.kind, result.content) == (status, kind, content)


@pytest.mark.parametrize("how", ["sleep", "stubborn"])
async def test_a_call_has_a_deadline(how: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        slow, quick = await run(
            call("behave", {"how": how}), call("double", {"number": 1}), seconds=0.05
        )

    assert (slow.kind, slow.content) == ("timeout", "Error: no answer within 0.05 seconds")
    assert quick.content == "2"
    assert slow.seconds >= 0.05
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        assert how == "stubborn", f"left running: {task}"
        task.get_coro().close()  # type: ignore[union-attr]


async def test_the_deadline_is_the_one_that_was_set() -> None:
    """Held within half of it, by what takes half as long again and what takes half as long."""

    @tool
    async def rest(seconds: float) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "rested"

    box = Toolbox([rest], limits=ToolLimits(seconds=0.2))
    slow, quick = await box.run([call("rest", {"seconds": seconds}) for seconds in (0.3, 0.1)])

    assert (slow.kind, quick.content) == ("timeout", "rested")


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("usage", UsageError),
        *((how, InfrastructureError) for how in ("infrastructure", "thread", "shutdown", "files")),
        ("fork", InfrastructureError),
    ],
)
@pytest.mark.parametrize("beside", [0, 3])
async def test_what_the_model_cannot_mend_is_raised(
    how: str, error: type[Exception], beside: int
) -> None:
    others = [call("behave", {"how": "sleep"})] * beside

    with pytest.raises(error):
        await run(*others, call("behave", {"how": how}))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_thread_that_cannot_be_started_is_not_the_tools_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    @tool
    def wait(seconds: float) -> float:
        """Wait."""
        return seconds

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(threads, "_idle", [])

    with pytest.raises(InfrastructureError, match="can't start new thread"):
        await Toolbox([wait]).run([call("wait", {"seconds": 0})])


async def test_giving_up_a_turn_leaves_no_call_running() -> None:
    turn = asyncio.create_task(run(*[call("behave", {"how": "sleep"})] * 3))
    await asyncio.sleep(0.01)
    turn.cancel()

    with pytest.raises(asyncio.CancelledError):
        await turn
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_call_that_fails_as_it_is_given_up_is_not_told_of_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @tool
    async def fails() -> str:
        """Fail at once."""
        raise ToolError("not like this")

    for ticks in range(6):
        turn = asyncio.create_task(Toolbox([fails]).run([call("fails", {})]))
        for _ in range(ticks):
            await asyncio.sleep(0)
        turn.cancel()
        await asyncio.wait({turn})
    del turn
    gc.collect()

    assert "never retrieved" not in caplog.text


async def test_output_is_capped() -> None:
    (result,) = await run(call("behave", {"how": "long"}), characters=300)

    assert result.content.startswith("x" * 200) and result.content.endswith("x" * 100)
    assert result.cut == 999_700
    assert len(result.content) < 400


async def test_output_is_capped_in_tokens() -> None:
    class Bytes:
        def encode(self, text: str, /) -> list[int]:
            return list(text.encode())

        def decode(self, ids: list[int], /) -> str:
            return bytes(ids).decode("utf-8", "replace")

    box = Toolbox([behave], limits=ToolLimits(tokens=30), tokenizer=Bytes())
    (result,) = await box.run([call("behave", {"how": "long"})])

    assert result.cut == 999_970
    assert result.content.count("x") == 30


@pytest.mark.parametrize(
    "form",
    [
        {"type": ["string", "null"]},
        {"type": ["integer", "string"]},
        True,
        False,
        {},
        {"$ref": "#"},
        {"enum": [1, "a"]},
        {"anyOf": [True, {"type": ["null"]}]},
        {"uniqueItems": True, "items": {"$ref": "#/properties/a"}},
        {"pattern": "^(a+)+b", "multipleOf": 0.1},
    ],
)
async def test_a_call_never_raises_whatever_schema_and_arguments_are(form: Any) -> None:
    class Ask(Tool):
        name = "ask"
        description = "Ask."
        parameters: Mapping[str, Any] = {"type": "object", "properties": {"a": form}}

        async def call(self, arguments: Mapping[str, Any]) -> str:
            return "fine"

    values = ["x", "7", "null", None, 1, 1.0, True, [], [[1], [1.0]], {"a": {"a": 1}}, 10**400]
    requests = [call("ask", {"a": value}) for value in values] + [call("ask", {})]
    results = await Toolbox([Ask()]).run(requests)

    assert all(result.status in ("ok", "policy_error") for result in results)
    assert (results[-1].content, any(r.content == "fine" for r in results)) == ("fine", True)


async def test_input_is_capped_before_it_is_looked_at() -> None:
    deep: Any = "x"
    for _ in range(1_000):
        deep = [deep]
    results = await run(
        call("behave", {"how": "x" * 1_000_000}),
        call("behave", {"how": deep}),
        call("x" * 1_000_000, {}),
        call("behave", {"how": "y", "extra" * 100_000: 1}),
    )

    assert [r.kind for r in results] == [
        "arguments_too_long",
        "wrong_type",
        "unknown_tool",
        "arguments_too_long",
    ]
    assert all(len(result.content) < 500 and len(result.name) <= 100 for result in results)


async def test_calls_beyond_the_limit_are_answered_but_not_run() -> None:
    results = await run(*[call("double", {"number": 1})] * 5, calls=3)

    assert [result.kind for result in results] == ["", "", "", "too_many_calls", "too_many_calls"]
    assert "at most 3 calls" in results[3].content


async def test_calls_to_tools_of_one_order_run_as_they_were_written() -> None:
    """Where the first takes longest; others overlap with them, and so do other episodes."""
    said: list[str] = []

    class Write(Tool):
        description = "Write."
        parameters: Mapping[str, Any] = {"type": "object", "properties": {"turns": {}}}

        def __init__(self, name: str, order: str | None) -> None:
            self.name, self.call_order = name, order

        async def call(self, arguments: Mapping[str, Any]) -> str:
            for _ in range(arguments["turns"]):
                await asyncio.sleep(0)
            said.append(f"{self.name} {arguments['turns']}")
            return ""

    tools = [Write("read", None), Write("add", "books"), Write("take", "books")]
    requests = [call("add", {"turns": 9}), call("take", {"turns": 3}), call("read", {"turns": 1})]
    await Toolbox(tools).run(requests)
    assert said == ["read 1", "add 9", "take 3"]

    said.clear()
    await asyncio.gather(Toolbox(tools).run(requests[:2]), Toolbox(tools).run(requests[1:]))
    assert said == ["read 1", "take 3", "add 9", "take 3"]


class Counter(Tool):
    """Counts the calls of its episode."""

    name = "count"
    description = "Count."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}}

    def __init__(self, seed: int = 0, fails: bool = False) -> None:
        self.calls = seed
        self.fails = fails
        self.closed = 0

    def for_episode(self, task, seed: int) -> Counter:
        return Counter(seed, self.fails)

    async def call(self, arguments: Mapping[str, Any]) -> str:
        self.calls += 1
        return str(self.calls)

    async def aclose(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("already gone")


async def test_state_is_an_episodes_own() -> None:
    counter = Counter()
    one, other = Toolbox([counter], seed=10), Toolbox([counter], seed=20)

    first = await one.run([call("count", {}), call("count", None)])
    second = await other.run([call("count", {})])
    assert [result.content for result in first + second] == ["11", "12", "21"]
    assert counter.calls == 0


async def test_closing_closes_every_tool_once(caplog: pytest.LogCaptureFixture) -> None:
    made: list[Counter] = []

    class Watched(Counter):
        def for_episode(self, task, seed: int) -> Counter:
            made.append(Counter(fails=self.fails))
            return made[-1]

    failing, fine = Watched(fails=True), Watched()
    fine.name = "fine"
    box = Toolbox([failing, fine])
    await box.aclose()
    await box.aclose()

    assert [counter.closed for counter in made] == [1, 1]
    assert "already gone" in caplog.text
    with pytest.raises(EnvironmentClosed):
        await box.run([call("count", {})])


class Slow(Counter):
    """Takes until it is told to close; `begun` says that it tries to."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.told = asyncio.Event(), asyncio.Event()

    def for_episode(self, task, seed: int) -> Slow:
        return self

    async def aclose(self) -> None:
        self.begun.set()
        await self.told.wait()
        await super().aclose()


async def test_closing_that_is_interrupted_goes_on() -> None:
    slow, after = Slow(), Slow()
    after.name = "after"
    after.told.set()
    box = Toolbox([slow, after])
    closing = asyncio.create_task(box.aclose())
    await asyncio.wait_for(slow.begun.wait(), 30)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    slow.told.set()
    await box.aclose()
    await box.aclose()

    assert (slow.closed, after.closed) == (1, 1)


@pytest.mark.parametrize("error", [InfrastructureError, OSError, UsageError])
async def test_tools_of_a_toolbox_that_cannot_be_made_are_closed(error: type[Exception]) -> None:
    class Unmade(Counter):
        def for_episode(self, task, seed: int) -> Unmade:
            raise error("no place left")

    made, unmade = Slow(), Unmade()
    unmade.name = "unmade"
    with pytest.raises(UsageError if error is UsageError else InfrastructureError):
        Toolbox([made, unmade])
    waiting = asyncio.create_task(close_abandoned())
    await asyncio.wait_for(made.begun.wait(), 30)
    early = waiting.done()
    made.told.set()
    await waiting

    assert not early
    assert made.closed == 1


def test_tools_of_a_toolbox_that_cannot_be_made_are_closed_outside_of_a_loop_too() -> None:
    class Unmade(Counter):
        def for_episode(self, task, seed: int) -> Unmade:
            raise OSError("no place left")

    class Made(Counter):
        def for_episode(self, task, seed: int) -> Made:
            return self

    made, unmade = Made(), Unmade()
    unmade.name = "unmade"
    with pytest.raises(InfrastructureError, match="no place left"):
        Toolbox([made, unmade])

    assert made.closed == 1


@pytest.mark.parametrize(
    "name", ["seconds", "characters", "tokens", "argument_characters", "calls"]
)
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"tool limit {name}: 0"):
        ToolLimits(**{name: 0})


@pytest.mark.parametrize("value", [None, "3", -1, True, float("nan"), []])
@pytest.mark.parametrize("name", ["seconds", "characters", "argument_characters", "calls"])
def test_a_limit_that_is_no_bound_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^tool limit {name}: .*; expected a .*number above 0$"):
        ToolLimits(**{name: value})


def test_a_limit_that_counts_is_whole() -> None:
    with pytest.raises(UsageError, match=r"calls: 2.5; expected a whole number"):
        ToolLimits(calls=2.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"tokens: 2.5; expected a whole number above 0, or None"):
        ToolLimits(tokens=2.5)  # type: ignore[arg-type]


class Echo(Tool):
    """Says what it is told."""

    name = "echo"
    description = "Echo."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}}

    async def call(self, arguments: Mapping[str, Any]) -> str:
        return str(arguments)


CIRCLE: dict[str, Any] = {"type": "object"}
CIRCLE["properties"] = CIRCLE


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", None, "tool Echo: name: None; expected"),
        ("name", "", "tool Echo: name: ''; expected"),
        ("name", "a\nb", "tool Echo: name: "),
        ("description", None, "tool echo: description: None; expected a text"),
        ("parameters", None, "tool echo: parameters: None; expected a JSON schema"),
        ("parameters", [], "tool echo: parameters: "),
        ("parameters", {}, "expected a JSON schema of type 'object'"),
        ("parameters", {"type": "string"}, "expected a JSON schema of type 'object'"),
        ("parameters", {"type": "object", "properties": []}, "tool echo: parameters: properties: "),
        ("parameters", {"type": "object", "properties": {"x": "int"}}, "properties.x: "),
        ("parameters", {"type": "object", "properties": {"x": {"type": "int"}}}, "x.type: 'int'"),
        ("parameters", {"type": "object", "properties": {"x": {"type": ["string"]}}}, ""),
        ("parameters", {"type": "object", "required": "x"}, "required: 'x'"),
        ("parameters", {"type": "object", "properties": {"x": {"enum": {1}}}}, "no JSON"),
        ("parameters", CIRCLE, "no JSON"),
        ("parameters", {"type": "object", "$ref": "#/$defs/x"}, "$ref '#/$defs/x' leads nowhere"),
        ("parameters", {"type": "object", "allOf": [{"$ref": "https://x.y/z"}]}, "leads nowhere"),
        ("parameters", {"type": "object", "default": {"$ref": "#/nowhere"}}, ""),
        ("parameters", {"type": "object", "$defs": {"x": {}}, "not": {"$ref": "#/$defs/x"}}, ""),
    ],
)
def test_a_tool_that_cannot_be_shown_is_refused(field: str, value: Any, told: str) -> None:
    echo = Echo()
    setattr(echo, field, value)

    if not told:
        assert Toolbox([echo]).limits
        return
    with pytest.raises(UsageError) as refused:
        Toolbox([echo])
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_tool_that_cannot_begin_an_episode_is_our_failure() -> None:
    class Unmade(Echo):
        def for_episode(self, task, seed: int) -> Tool:
            return [self][seed]

    class Other(Echo):
        def for_episode(self, task, seed: int) -> Tool:
            return None  # type: ignore[return-value]

    assert Toolbox([Unmade()], seed=0).limits
    with pytest.raises(InfrastructureError, match="tool echo: cannot be made: IndexError"):
        Toolbox([Unmade()], seed=1)
    with pytest.raises(UsageError, match="for_episode gave None; expected a Tool"):
        Toolbox([Other()])


def test_a_class_in_place_of_a_tool_is_refused() -> None:
    with pytest.raises(UsageError, match="a function, or a ToolSet's class"):
        Toolbox([Echo])  # type: ignore[list-item]


async def test_a_call_that_is_no_coroutine_is_the_operators_to_mend() -> None:
    class Plain(Echo):
        def call(self, arguments: Mapping[str, Any]) -> str:  # type: ignore[override]
            return ""

    with pytest.raises(UsageError, match=r"Plain\.call is no coroutine; expected async def"):
        await Toolbox([Plain()]).run([call("echo", {})])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="share a name: double"):
        Toolbox([double, double])


def test_tokens_need_a_tokenizer() -> None:
    with pytest.raises(UsageError, match="needs a tokenizer"):
        Toolbox([double], limits=ToolLimits(tokens=5))
