"""Tool sets: made for each episode, shared by their tools, never written by two at once."""

from __future__ import annotations

import asyncio
import enum
import functools
import pickle
import threading
import time
from typing import ClassVar

import pytest

from qwq_env.env import ToolEnv
from qwq_env.errors import EnvironmentClosed, InfrastructureError, ToolError, UsageError
from qwq_env.live_set import json_copy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import ToolResult, tool
from qwq_env.tool_set import ToolSet
from qwq_env.toolbox import Toolbox, ToolLimits, close_abandoned
from qwq_env.turn import ToolCall

TASK = Task("t", "Move it.", {"ann": 1, "bob": 9}, metadata={"accounts": {"ann": 5, "bob": 5}})


class Bank(ToolSet):
    """A bank."""

    blocking = False
    limit: ClassVar[int] = 100

    def __init__(self, fee: int = 0) -> None:
        self.fee = fee

    def start(self, task: Task) -> None:
        self.accounts = dict(task.metadata.get("accounts", {}))

    def transfer(self, source: str, target: str, amount: int) -> str:
        """Move money from one account to another.

        Args:
            amount: How much.
        """
        if self.accounts[source] < amount + self.fee:
            raise ToolError("not enough money")
        self.accounts[source] -= amount + self.fee
        self.accounts[target] += amount
        return "done"

    async def balance(self, name: str) -> ToolResult:
        """Say how much is there."""
        return ToolResult(str(self.accounts[name]), {"asked": name})

    @property
    def total(self) -> int:
        return sum(self.accounts.values())

    @staticmethod
    def currencies() -> list[str]:
        """List the currencies."""
        return ["EUR"]

    @classmethod
    def most(cls) -> int:
        """Say how much can be moved at once."""
        return cls.limit

    def state(self) -> dict[str, int]:
        return self.accounts

    def _private(self) -> None: ...


def move(amount: int) -> ToolCall:
    return ToolCall("transfer", {"source": "ann", "target": "bob", "amount": amount})


def names(*tools) -> list[str]:
    rubric = Rubric([Component("none", lambda final: 0.0)])
    return [t.name for t in ToolEnv(ListTaskSet([TASK]), tools, rubric).settings.tools]


async def test_the_tools_of_a_set_share_its_state():
    box = Toolbox([Bank], task=TASK)
    results = await box.run([move(4), ToolCall("balance", {"name": "bob"}), move(4)])

    assert [result.content for result in results] == ["done", "9", "Error: not enough money"]
    assert results[1].metadata == {"asked": "bob"}
    assert await box.state() == {"Bank": {"ann": 1, "bob": 9}}


def test_what_is_a_tool_and_how_it_is_described():
    assert names(Bank) == ["transfer", "balance", "currencies", "most"]
    [transfer, *_] = Toolbox([Bank])._tools.values()
    schema = transfer.schema()["function"]
    assert schema["description"] == "Move money from one account to another."
    assert list(schema["parameters"]["properties"]) == ["source", "target", "amount"]
    assert schema["parameters"]["properties"]["amount"]["description"] == "How much."


async def test_static_and_class_methods_are_called_too():
    results = await Toolbox([Bank]).run([ToolCall("currencies", {}), ToolCall("most", {})])

    assert [result.content for result in results] == ['["EUR"]', "100"]


async def test_a_set_may_inherit_be_decorated_and_take_arguments():
    def logged(method):
        @functools.wraps(method)
        def wrapper(self, *args, **kwargs):
            self.log.append(method.__name__)
            return method(self, *args, **kwargs)

        return wrapper

    class Savings(Bank):
        def __init__(self, fee: int, rate: int) -> None:
            super().__init__(fee)
            self.rate, self.log = rate, []

        @logged
        def interest(self, name: str) -> int:
            """Add it."""
            self.accounts[name] *= self.rate
            return self.accounts[name]

        def state(self) -> object:
            return (self.log, super().state())

    assert names(functools.partial(Savings, fee=0, rate=2)) == [
        "transfer", "balance", "currencies", "most", "interest",
    ]  # fmt: skip
    box = Toolbox([functools.partial(Savings, 1, rate=2)], task=TASK)
    await box.run([move(1), ToolCall("interest", {"name": "bob"})])
    assert await box.state() == {"Savings": [["interest"], {"ann": 3, "bob": 12}]}


@tool
def balance(name: str) -> str:
    """Look it up."""
    return name


class Nothing(ToolSet):
    """No tool at all."""


class Strange(ToolSet):
    def start(self, city: str, country: str) -> str:
        """Start a journey."""
        return city

    def go(self) -> str:
        """Go."""
        return ""


class Untyped(ToolSet):
    def go(self, where) -> str:
        """Go."""
        return where


class Wrapped(ToolSet):
    @tool
    def go() -> str:
        """Go."""
        return ""


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([Bank()], r"Bank that is made already.*functools.partial\(Bank"),
        ([Bank().balance], r"a method of one Bank.*tools=\[Bank\]"),
        ([Bank.balance], "tool balance: a method; derive its class from ToolSet"),
        ([functools.partial(Bank, wrong=1)], "has incorrect arguments; functools.partial"),
        (
            [Bank, balance],
            "share a name: balance, that is a method of Bank and a tool of its own; rename",
        ),
        ([Bank, Bank], "share a name"),
        ([Nothing], "Nothing: no public method"),
        ([Strange], r"Strange: start is no tool, it takes \(self, task\)"),
        ([Untyped], "Untyped: tool go, parameter where: no type hint"),
        ([Wrapped], "Wrapped: go: is made a tool already"),
        ([len], "expected a Tool: an instance, a function, or a ToolSet's class"),
    ],
)
def test_what_is_no_tool_set_is_refused_with_the_mend(tools, words):
    with pytest.raises(UsageError, match=words):
        names(*tools)


@pytest.mark.parametrize("bound", [lambda: Bank().balance, lambda: [].append])
def test_a_bound_method_is_refused_by_the_decorator_too(bound):
    with pytest.raises(UsageError, match="which all episodes would share"):
        tool(bound())


async def test_a_plain_function_is_taken_as_by_the_decorator():
    def double(n: int) -> int:
        """Double it."""
        return 2 * n

    [result] = await Toolbox([double]).run([ToolCall("double", {"n": 4})])

    assert result.content == "8"
    copied = pickle.loads(pickle.dumps(Toolbox([plain])._tools["plain"]))
    assert copied.function is plain


def plain() -> str:
    """Say it."""
    return "it"


@pytest.mark.parametrize("blocking", [True, False])
async def test_calls_of_a_turn_on_one_set_run_one_after_the_other_in_order(blocking):
    seen = []

    class Slow(ToolSet):
        async def wait(self, n: int) -> None:
            """Wait."""
            seen.append(("begin", n))
            await asyncio.sleep(0.01 * (3 - n))
            seen.append(("end", n))

        def note(self, n: int) -> None:
            """Note."""
            seen.append(("note", n))

    Slow.blocking = blocking
    await Toolbox([Slow]).run(
        [ToolCall("wait", {"n": 0}), ToolCall("note", {"n": 1}), ToolCall("wait", {"n": 2})]
    )

    assert seen == [("begin", 0), ("end", 0), ("note", 1), ("begin", 2), ("end", 2)]


async def test_two_sets_overlap():
    both = threading.Barrier(2, timeout=20)

    def named(name: str) -> type[ToolSet]:
        def meet(self) -> str:
            """Meet the other."""
            both.wait()
            return "met"

        return type(name, (ToolSet,), {f"meet_{name}": meet})

    def renamed(kind, name):
        method = getattr(kind, f"meet_{name}")
        method.__name__ = f"meet_{name}"
        return kind

    sets = [renamed(named(name), name) for name in ("a", "b")]
    results = await Toolbox(sets).run([ToolCall("meet_a", {}), ToolCall("meet_b", {})])

    assert [result.content for result in results] == ["met", "met"]


class Stuck(ToolSet):
    """Its thread goes on where its call was given up."""

    def __init__(self) -> None:
        self.free, self.written = threading.Event(), []

    def write(self, word: str, wait: bool = False) -> str:
        """Write."""
        if wait:
            self.free.wait(20)
        self.written.append(word)
        return word

    def state(self) -> list[str]:
        return self.written


async def test_a_call_waits_for_the_thread_of_one_that_was_given_up():
    box = Toolbox([Stuck], limits=ToolLimits(seconds=0.2))
    [late] = await box.run([ToolCall("write", {"word": "first", "wait": True})])
    [waiting] = await box.run([ToolCall("write", {"word": "second"})])
    box._sets["Stuck"].tool_set.free.set()
    [after] = await box.run([ToolCall("write", {"word": "third"})])

    assert (late.kind, waiting.status) == ("timeout", "tool_error")
    assert after.content == "third"
    assert await box.state() == {"Stuck": ["first", "third"]}


async def test_a_thread_that_never_ends_does_not_keep_the_state_from_being_told():
    box = Toolbox([Stuck], limits=ToolLimits(seconds=0.1))
    await box.run([ToolCall("write", {"word": "never", "wait": True})])

    assert await box.state() == {"Stuck": []}
    box._sets["Stuck"].tool_set.free.set()


class Closed(ToolSet):
    closed: ClassVar[list[str]] = []

    def go(self) -> str:
        """Go."""
        return ""

    def aclose(self) -> None:
        self.closed.append(type(self).__name__)


async def test_a_set_that_cannot_be_made_or_started_does_not_begin_and_leaves_nothing_open():
    class Unmade(Bank):
        def __init__(self) -> None:
            raise KeyError("no database")

    class Unstarted(Bank):
        async def start(self, task: Task) -> None:
            raise OSError("no server")

    class Endless(Bank):
        async def start(self, task: Task) -> None:
            await asyncio.sleep(60)

    Closed.closed.clear()
    with pytest.raises(InfrastructureError, match="Unmade: cannot be made: KeyError"):
        Toolbox([Closed, Unmade])
    await close_abandoned()
    rubric = Rubric([Component("none", lambda final: 0.0)])
    for kind, words in [(Unstarted, "no server"), (Endless, "no end within 0.05 seconds")]:
        limits = ToolLimits(seconds=0.05)
        env = ToolEnv(ListTaskSet([TASK]), [Closed, kind], rubric, tool_limits=limits)
        with pytest.raises(InfrastructureError, match=f"{kind.__name__}: cannot start.*{words}"):
            await env.areset(seed=0)
    assert Closed.closed == ["Closed"] * 3


class Late(Bank):
    """Takes a while to start, and fails if it is told to."""

    async def start(self, task: Task) -> None:
        await asyncio.sleep(0.01)
        if task.metadata.get("fails"):
            raise OSError("no server")
        super().start(task)


async def start_of_a_failing_set(box: Toolbox) -> None:
    with pytest.raises(InfrastructureError, match="Late: cannot start: OSError: no server"):
        await box.start()


async def start_that_is_cancelled(box: Toolbox) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await box.start()


async def start_that_is_closed_meanwhile(box: Toolbox) -> None:
    starting = asyncio.create_task(box.start())
    await asyncio.sleep(0)
    await box.aclose()
    with pytest.raises((EnvironmentClosed, InfrastructureError)):
        await starting


async def no_start_at_all(box: Toolbox) -> None:
    await box.aclose()


@pytest.mark.parametrize(
    "broken",
    [
        start_of_a_failing_set,
        start_that_is_cancelled,
        start_that_is_closed_meanwhile,
        no_start_at_all,
    ],
)
async def test_a_toolbox_that_did_not_start_is_closed_and_says_so_whatever_is_asked(broken):
    Closed.closed.clear()
    fails = broken is start_of_a_failing_set
    task = Task("t", "", None, metadata={**TASK.metadata, "fails": fails})
    box = Toolbox([Closed, Late], task=task)
    await broken(box)

    for ask in (box.start, lambda: box.run([move(1)])):
        with pytest.raises(EnvironmentClosed, match="make one for each episode"):
            await ask()
    assert Closed.closed == ["Closed"]


async def test_turns_that_come_while_a_set_starts_wait_for_it():
    box = Toolbox([Late], task=TASK)
    turns = await asyncio.gather(*(box.run([move(1)]) for _ in range(3)))

    assert [result.content for [result] in turns] == ["done"] * 3
    assert (await box.state())["Late"] == {"ann": 2, "bob": 8}
    await box.aclose()


@pytest.mark.parametrize(
    ("value", "words"),
    [({1: "a"}, "the key 1"), (float("nan"), "NaN|Out of range"), ([object()], "not JSON")],
)
def test_what_is_no_json_is_no_state(value, words):
    with pytest.raises((TypeError, ValueError), match=words):
        json_copy(value)


def test_a_set_costs_no_schema_for_each_episode():
    def method(self, a: int) -> str:
        """Do it."""
        return ""

    many = type("Many", (ToolSet,), {f"tool_{i}": method for i in range(15)})
    rubric = Rubric([Component("none", lambda final: 0.0)])
    env = ToolEnv(ListTaskSet([TASK]), [many], rubric)
    first = env.begin(TASK)
    start = time.process_time()
    others = [env.begin(TASK, seed=n) for n in range(500)]

    assert (time.process_time() - start) / 500 < 1e-3
    assert len({id(e.toolbox._sets["Many"].tool_set) for e in [first, *others]}) == 501


class Colour(enum.Enum):
    RED = "red"


class Palette(ToolSet):
    blocking = False

    def __init__(self) -> None:
        self.colours: list[Colour] = []

    def add(self, colour: Colour) -> str:
        """Add a colour."""
        self.colours.append(colour)
        return type(colour).__name__


async def test_methods_get_the_values_that_they_declare():
    [result] = await Toolbox([Palette]).run([ToolCall("add", {"colour": "red"})])

    assert (result.status, result.content) == ("ok", "Colour")


def test_a_method_must_say_what_it_does():
    class Silent(ToolSet):
        def act(self) -> str:
            return ""

    with pytest.raises(UsageError, match=r"Silent.*act"):
        Toolbox([Silent])
