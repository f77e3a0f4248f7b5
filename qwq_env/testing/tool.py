"""`ToolConformance`: what is held against every tool and tool set."""

from __future__ import annotations

import asyncio
import json
import pickle
import random
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Final

from qwq_env import portal
from qwq_env.checked_tools import CheckedTools, ToolLike, checked_tools
from qwq_env.errors import InfrastructureError, UsageError, brief, describe_error
from qwq_env.live_set import StateError
from qwq_env.schema.sample import sample_arguments
from qwq_env.task import Task
from qwq_env.testing.bad_arguments import cases
from qwq_env.testing.conformance import Conformance, Fault, first_difference, guarded
from qwq_env.testing.held import leak, stalled
from qwq_env.tool import Tool
from qwq_env.toolbox import Toolbox, ToolLimits
from qwq_env.turn import CallResult, ToolCall

__tracebackhide__ = True

_MOST_OUTPUT: Final = 1_000_000
_CALLS: Final = 6
_RAISE: Final = "raise ToolError with what the model should write instead"
_SEED: Final = (
    "draw only with the seed that `for_episode` gets or a ToolSet's episode_seed; a tool that reads"
    " the clock or the network says `deterministic = False` in its test"
)


class ToolConformance(Conformance):
    """Holds a tool, a tool set or a list of them to what an episode needs.

    ```python
    class TestBank(ToolConformance):
        def make(self):
            return Bank                      # a Tool, a function, a ToolSet's class, or a list

        def task(self):                      # where they need one
            return Task("t", "Pay Ann.", None, metadata={"accounts": {"ann": 1, "bob": 9}})
    ```

    Tools are called with arguments drawn at random from their schemas, and with bad ones: where a
    call must not really be made, give a tool whose other side is a stand-in. `words` are texts and
    numbers to draw from. `deterministic = False` is for what reads the clock or the network;
    `grace_seconds` may pass until a call that is given up has ended.
    """

    deterministic: ClassVar[bool] = True
    words: ClassVar[Sequence[str]] = ()
    limits: ClassVar[ToolLimits] = ToolLimits(seconds=10)
    grace_seconds: ClassVar[float] = 5.0
    _made: CheckedTools | None = None

    def make(self) -> ToolLike | Sequence[ToolLike]:
        """Return the tool, the class of the set, or a list of them."""
        made: ToolLike | Sequence[ToolLike] = super().make()
        return made

    def task(self) -> Task:
        """Return a task whose episode they serve."""
        return Task("t", "A task.", "an answer")

    def test_an_episode_begins(self) -> None:
        """The tools are made and started for a task; without that nothing else is asked."""
        portal.run(self._begin())

    def test_the_schema_can_be_shown(self) -> None:
        """Names, descriptions and schemas are sound, and have a JSON form."""
        for tool in self._tools():
            schema = guarded(
                f"{tool.name}: its schema has no JSON form",
                "build `parameters` of texts, numbers, lists and dicts only",
                partial(_json_form, tool),
            )
            function = schema.get("function", {})
            if (function.get("name"), function.get("description")) != (tool.name, tool.description):
                raise Fault(
                    f"{tool.name}: schema() shows another name or description than it has",
                    "leave `schema` as it is, and set name, description and parameters",
                )
            for name, entry in tool.parameters.get("properties", {}).items():
                if isinstance(entry, dict) and not entry:
                    raise Fault(
                        f"{tool.name}: argument {name!r} may be anything at all",
                        "give it a type; what a model may write there is else anyone's guess",
                    )

    def test_schema_and_signature_agree(self) -> None:
        """No arguments that the schema allows make a tool crash."""
        for tool in self._tools():
            chance = random.Random(tool.name)
            given = [
                sample_arguments(tool.parameters, chance, self.words) for _ in range(2 * _CALLS)
            ]
            self._none_crashes(tool, given, "arguments that its schema allows")

    def test_arguments_of_a_wrong_type(self) -> None:
        """Become observations."""
        self._bad("wrong type")

    def test_arguments_that_are_missing(self) -> None:
        """Become observations."""
        self._bad("missing")

    def test_arguments_that_there_are_not(self) -> None:
        """Become observations."""
        self._bad("extra")

    def test_huge_arguments(self) -> None:
        """Become observations."""
        self._bad("huge")

    def test_numbers_that_are_none(self) -> None:
        """Become observations."""
        self._bad("no number")

    def test_arguments_nested_deep(self) -> None:
        """Become observations."""
        self._bad("nested deep")

    def test_control_characters(self) -> None:
        """Become observations."""
        self._bad("control characters")

    def test_output_is_not_boundless(self) -> None:
        """A tool cuts what it gives: the cap of an episode comes after it was all in memory."""
        for name, given in self._script(random.Random(0)):
            if (size := portal.run(self._size(name, given))) > _MOST_OUTPUT:
                raise Fault(
                    f"{name}: gives {size:,} characters, of which {self.limits.characters:,} are"
                    f" shown, for {brief(given)}",
                    "cut it in the tool, and say how the rest is asked for",
                )

    def test_a_call_ends_at_its_deadline(self) -> None:
        """A call that takes too long is cut off, and leaves nothing running."""
        self._given_up(seconds=0.02)

    def test_a_call_that_is_cancelled_ends(self) -> None:
        """A call that is given up ends at once, and the tool serves the next episode."""
        self._given_up(seconds=None)

    def test_no_call_keeps_others_waiting(self) -> None:
        """No call blocks the event loop."""
        seconds = 0.0
        for _ in range(2):  # what it takes the first time may be an import
            if not (seconds := portal.run(stalled(self._episode(0)))):
                return
        raise Fault(
            f"a call keeps every other episode waiting for {seconds:.1f} s",
            "await in `call`, or make it a plain @tool, or a plain method of a ToolSet with"
            " blocking = True: those run in threads",
        )

    def test_the_same_calls_get_the_same_answers(self) -> None:
        """In episodes of the same seed, answers and states at the end are the same."""
        if not self.deterministic:
            return
        for seed in (0, 1):
            first, second = (portal.run(self._episode(seed)) for _ in range(2))
            if told := first_difference(first, second):
                raise Fault(f"the same calls get another answer the second time ({told})", _SEED)

    def test_episodes_side_by_side_do_not_mix(self) -> None:
        """Calls get the same answers where other episodes call at the same time."""
        if not self.deterministic:
            return
        seeds = range(4)
        alone = self._alone(seeds)
        together = [told for each in portal.run(self._together(seeds)) for told in each]
        told = first_difference(alone, together)
        # What differs when it is called alone again is told of by the check above.
        if told and not first_difference(alone, self._alone(seeds)):
            raise Fault(
                f"a call gets another answer where other episodes run beside it ({told})",
                "keep state in what `for_episode` returns, a new instance each time, or in a"
                " ToolSet's attributes set in `start`; never in a class or a module",
            )

    def test_the_state_at_the_end_can_be_told(self) -> None:
        """`state` gives JSON, and does not forget its return."""
        told = guarded(
            "state() cannot be told",
            "return texts, numbers, lists and dicts whose keys are texts",
            lambda: portal.run(self._states()),
        )
        for name, states in told.items():
            if all(state is None for state in states):
                raise Fault(f"{name}.state() gives None", "let it return what a reward may see")

    def test_it_can_be_pickled(self) -> None:
        """A copy in another process shows the same schemas."""
        tools = self._tools()
        copy = guarded(
            "it cannot be pickled, as an environment in another process must be",
            "define the function or the class at the top level of a module, and connect in"
            " `for_episode` or `start`",
            lambda: pickle.loads(pickle.dumps(tools)),
        )
        if [tool.schema() for tool in copy] != [tool.schema() for tool in tools]:
            raise Fault("its pickled copy shows another schema", "keep the schema in the class")

    def test_it_can_be_closed(self) -> None:
        """Closing raises nothing, before the first call and after the last."""
        for calls in (0, 1):
            portal.run(self._closed(calls))

    def test_nothing_is_left_behind(self) -> None:
        """Episodes leave no descriptors, processes, threads and tasks."""
        if grown := leak(lambda: portal.run(self._episode(0)), 3, self.settle_seconds):
            raise Fault(
                f"{grown} are held",
                "close in `aclose` what `start`, `for_episode` or a call opened, and await or"
                " cancel the tasks that were created",
            )

    def _tools(self) -> CheckedTools:
        """Return the tools, made once: the episodes of an environment share what describes them."""
        if self._made is None:
            made = self.make()
            self._made = checked_tools(made if isinstance(made, list | tuple) else [made])
        return self._made

    def _box(self, seed: int = 0, limits: ToolLimits | None = None) -> Toolbox:
        return Toolbox(self._tools(), task=self.task(), seed=seed, limits=limits or self.limits)

    async def _begun(self, seed: int = 0, limits: ToolLimits | None = None) -> Toolbox:
        try:
            box = self._box(seed, limits)
            await box.start()
        except InfrastructureError as error:
            raise Fault(
                f"an episode cannot begin: {error}",
                "give a task that holds what `start` reads: a method task(self) of the test, or"
                " --tasks FILE, of which the first is taken",
            ) from None
        return box

    async def _begin(self) -> None:
        await (await self._begun()).aclose()

    def _script(self, chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
        """Return some calls of all tools, drawn with `chance`."""
        tools = self._tools()
        return [
            (tool.name, sample_arguments(tool.parameters, chance, self.words))
            for _ in range(max(1, _CALLS // len(tools)))
            for tool in tools
        ]

    def _bad(self, kind: str) -> None:
        for tool in self._tools():
            self._none_crashes(tool, list(cases(tool.parameters, kind)), f"arguments: {kind}")

    def _none_crashes(self, tool: Tool, given: Sequence[dict[str, Any]], what: str) -> None:
        results = portal.run(self._answers(tool, given))
        for arguments, result in zip(given, results, strict=True):
            if isinstance(result, str) or result.kind in ("crash", "timeout"):
                told = result if isinstance(result, str) else result.content
                raise Fault(
                    f"{tool.name}: {what}, such as {brief(arguments)}: {told:.200}",
                    _RAISE,
                )

    async def _answers(self, tool: Tool, given: Sequence[dict[str, Any]]) -> list[CallResult | str]:
        """Return what each call gets, one after the other; a text for what it raised."""
        answers: list[CallResult | str] = []
        box = await self._begun()
        try:
            for arguments in given:
                try:
                    answers += await box.run([ToolCall(tool.name, arguments)])
                except (InfrastructureError, UsageError) as error:
                    answers.append(f"raises {describe_error(error)}, which loses the episode")
        finally:
            await box.aclose()
        return answers

    async def _episode(self, seed: int) -> list[str]:
        """Make the calls of a seed in an episode of its own; return all that was answered."""
        box = await self._begun(seed)
        told = []
        try:
            for name, arguments in self._script(random.Random(seed)):
                [result] = await box.run([ToolCall(name, arguments)])
                told.append(f"{name} {result.content}")
                await asyncio.sleep(0)
            try:
                told.append(json.dumps(await box.state(), sort_keys=True))
            except StateError:
                told.append("no state")  # told of by the check of the state
        finally:
            await box.aclose()
        return told

    def _alone(self, seeds: Sequence[int]) -> list[str]:
        return [told for seed in seeds for told in portal.run(self._episode(seed))]

    async def _together(self, seeds: Sequence[int]) -> list[list[str]]:
        order = [*reversed(seeds)]
        told = await asyncio.gather(*map(self._episode, order))
        return [told[order.index(seed)] for seed in seeds]

    async def _states(self) -> dict[str, list[Any]]:
        """Return what each set says of its state at the beginning and after some calls."""
        box = await self._begun()
        try:
            first = await box.state()
            for name, arguments in self._script(random.Random(0)):
                await box.run([ToolCall(name, arguments)])
            last = await box.state()
        finally:
            await box.aclose()
        return {name: [first[name], last[name]] for name in first}

    async def _size(self, name: str, arguments: dict[str, Any]) -> int:
        limits = replace(self.limits, characters=_MOST_OUTPUT)
        box = await self._begun(limits=limits)
        try:
            [result] = await box.run([ToolCall(name, arguments)])
            return len(result.content) + result.cut
        finally:
            await box.aclose()

    def _given_up(self, seconds: float | None) -> None:
        for name, arguments in self._script(random.Random(0)):
            told = portal.run(self._give_up(name, arguments, seconds))
            if told:
                when = "cancelled" if seconds is None else "cut off at its deadline"
                raise Fault(
                    f"{name}: a call that is {when} {told}",
                    "let asyncio.CancelledError through: catch Exception, never BaseException, and"
                    " stop in `finally` what was started",
                )

    async def _give_up(self, name: str, arguments: dict[str, Any], seconds: float | None) -> str:
        limits = None if seconds is None else ToolLimits(seconds=seconds)
        box = self._box(limits=limits)
        try:
            await box.start()
            before = asyncio.all_tasks()
            run = asyncio.create_task(box.run([ToolCall(name, arguments)]))
            if seconds is None:
                for _ in range(3):
                    await asyncio.sleep(0)
                run.cancel()
            done, _ = await asyncio.wait({run}, timeout=self.grace_seconds)
            if not done:
                return f"goes on for more than {self.grace_seconds:g} s"
            if not run.cancelled():
                run.exception()  # told of by other checks
            left = asyncio.all_tasks() - before - {run}
            if left and (await asyncio.wait(left, timeout=self.grace_seconds))[1]:
                return "leaves a task that goes on"
        except InfrastructureError:
            return ""  # a set could not start within the deadline
        finally:
            await box.aclose()
        return ""

    async def _closed(self, calls: int) -> None:
        for tool in self._tools().single:
            made = tool.for_episode(self.task(), 0)
            for _ in range(calls):
                arguments = sample_arguments(tool.parameters, random.Random(0), self.words)
                try:
                    await made.call(arguments)
                except Exception:  # noqa: BLE001 - the boundary to foreign code; told of above
                    continue
            await _close(made.aclose(), tool.name)
        for maker in self._tools().sets:
            live = maker.begin(0, self.limits.seconds)
            await live.start(self.task())
            await _close(live.aclose(), maker.name)


async def _close(closing: Awaitable[None], name: str) -> None:
    try:
        await closing
    except Exception as error:  # noqa: BLE001 - the boundary to foreign code
        raise Fault(
            f"{name}: closing raises {describe_error(error)}",
            "close only what was opened: an episode may end before its first call",
        ) from None


def _json_form(tool: Tool) -> Any:
    return json.loads(json.dumps(tool.schema(), allow_nan=False))
