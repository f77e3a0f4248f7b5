"""Calls with a journal: answered from it, or run and written down (see `qwq_env.journal`)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from qwq_env.errors import InfrastructureError, UsageError, brief, describe_error
from qwq_env.journal import AttemptJournal, Interrupted, Row
from qwq_env.live_set import LiveSet
from qwq_env.tool import Tool
from qwq_env.tool_set import MethodTool
from qwq_env.turn import CallResult, ToolCall


class Place(NamedTuple):
    """A call in its episode: the `number`-th (from 0), as the model wrote it, and its tool's set.

    `live` is None for a tool that belongs to no set.
    """

    number: int
    request: ToolCall
    live: LiveSet | None


def check_replay(tools: Iterable[Tool], sets: Iterable[LiveSet]) -> None:
    """Raise `UsageError` for state of which nobody says how it comes back."""
    for live in sets:
        replay = replay_of(live.tool_set)
        restores = "restore_state" in live.hooks
        if restores and "state" not in live.hooks:
            raise UsageError(f"tool set {live.name}: has restore_state; expected state, too")
        if replay is None and not restores:
            raise UsageError(
                f"tool set {live.name}, replay: does not say how its state comes back from a"
                " journal; expected replay = 'rerun' (its calls change nothing but this set),"
                " 'idempotent' or 'once' (it keeps no state), or a method restore_state(state)"
            )
    for tool in tools:
        own = type(tool).for_episode is not Tool.for_episode and not isinstance(tool, MethodTool)
        if own and tool.replay is None:
            raise UsageError(
                f"tool {tool.name}, replay: made for each episode, and does not say whether its"
                " state comes back by running its calls again; expected 'rerun' if so, or 'once' or"
                " 'idempotent' if it keeps none"
            )


def replay_of(owner: Any) -> str | None:
    """Return what a tool or a set says; a set's method of that name says nothing."""
    said = owner.replay
    return said if isinstance(said, str) else None


async def answer(
    journal: AttemptJournal, place: Place, tool: Tool, run: Callable[[], Awaitable[CallResult]]
) -> CallResult:
    """Return what a call got: from the journal, or by `run`, which is then written down.

    Raises `Interrupted` where a call that was under way must not be run again, or one that was run
    again answers otherwise than it did.
    """
    replay = tool.replay or "once"
    written = {"name": tool.name, "raw": place.request.raw}
    known = journal.recall("result", place.number, **written)
    journal.name_call(place.number)
    if known is not None:
        result = CallResult(**known["result"])
        if replay == "rerun" and not journal.offline:
            _compare(await run(), result, place.number)
        return result
    if replay == "once":
        if journal.recall("started", place.number, **written) is not None:
            raise Interrupted(
                f"call {place.number} ({tool.name}) was under way when the run was interrupted;"
                " it may have had its effect, and is not run twice"
            )
        journal.write("started", place.number, **written)
    result = _as_recalled(await run())
    state = await _state(place.live, replay)
    journal.write("result", place.number, **written, result=asdict(result), **state)
    return result


async def bring_back(journal: AttemptJournal, live: LiveSet) -> None:
    """Give a set that was started anew the state that it had, if it takes it so."""
    if "restore_state" in live.hooks and (row := journal.state_of(live.name)) is not None:
        await live.restore(row["state"])


def _compare(now: CallResult, then: CallResult, number: int) -> None:
    if (now.status, now.content) != (then.status, then.content):
        raise Interrupted(
            f"call {number} ({now.name}) was run again, and gave {brief(now.content)};"
            f" before it gave {brief(then.content)}"
        )


async def _state(live: LiveSet | None, replay: str) -> Row:
    if live is None or replay == "rerun" or "restore_state" not in live.hooks:
        return {}
    return {"set": live.name, "state": await live.state()}


def _as_recalled(result: CallResult) -> CallResult:
    """Return a result as the journal gives it back: rewards see the same, interrupted or not."""
    if not result.metadata:
        return result
    try:
        metadata = json.loads(json.dumps(dict(result.metadata)))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"tool {result.name}: metadata without a JSON form: {describe_error(error)}"
        raise InfrastructureError(f"{message}; a journal needs one") from None
    return replace(result, metadata=metadata)
