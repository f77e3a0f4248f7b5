"""`qwq/FunctionCall-v0`: choose functions, and call them with the right arguments.

**Task.** A request, and the functions that are there for it; each task brings its own.
`tasks="library"` is procedural: seeded, endless, in three difficulties, and needs no data. A file
or a folder as the Berkeley Function-Calling Leaderboard publishes them gives its rows
(`function_call.rows` says which): simple, multiple, parallel, parallel_multiple, irrelevance, their
`live_` kin, and multi_turn: base, long contexts, missing parameters, missing functions. Multi-turn
rows of BFCL need its services: `pip install --no-deps bfcl-eval mpmath`.

**Tools.** The functions that the task brings. Single-turn: nothing runs; the first turn with calls
is the last, as BFCL judges. Multi-turn: the functions of the services involved (a file system, a
travel agency, ...; in the procedural tasks a stock room), which do what they say on a state that
begins anew for each episode. A turn without a call ends a request, and the user's next one follows.
With it functions may come that were missing: their documents stand in front of what the user says,
and a chat server is told of them as of the others.

**Reward.** 1.0 if the calls do what was asked for, else 0.0. Single-turn: they are the possible
answers, in any order, no fewer and no more (`grading.calls.match_calls`). Where nothing is to be
called: no call in any form, and an answer whose last line is `NO FUNCTION: ` and the name of a
function that was offered (which comes nearest is not judged); `statement=False` pays any answer, as
BFCL does. Multi-turn: after each request the services are as the gold calls leave them, and all
that those got has been got (`grading.calls.EpisodeCheck`). What the model says about it is not
judged.

**What can be gamed.** Who declines everything in the form above is paid the share of tasks in which
nothing is to be called: all of a file of irrelevance alone (mix it), 16 of 100 of BFCL's
single-turn files together, 1 of 25 procedural tasks. One text for all is paid in 15 of 100 rows of
`live_irrelevance`, where many offer one function; the audit says so. Saying nothing is paid
nowhere. Reading more than was asked costs nothing in multi-turn tasks, nor does, as in BFCL, what
is done rightly a turn before it is said how: a parameter may be guessed.

**An episode** (difficulty 2):

    user       Send Priya a note that says "bring the blue folder". The ramen takes 67 minutes; set
               a timer for it.
    model      sendNote(person="Priya", message="bring the blue folder")
               startTimer(duration=67, name="ramen")
    reward     1.0

and one at a stock room:

    user       Move every rope from C2 to A2.
    model      list_shelf(shelf="C2")
    tool       {"rope": 17, "plate": 30}
    model      move_items(item="rope", source="C2", target="A2", count=17)
    tool       done
    model      All 17 are on A2 now.
    user       What is on shelf B5?
    model      list_shelf(shelf="B5")
    tool       {"saw": 4}
    model      Four saws.
    reward     1.0
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Unpack

from qwq_env.env import ToolEnv
from qwq_env.envs.function_call.gold import (
    STATEMENT,
    Message,
    calling,
    declining,
    episode_calls,
    possible_calls,
    saying,
)
from qwq_env.envs.function_call.procedural import FunctionCallTaskSet
from qwq_env.envs.function_call.rows import bfcl_tasks, check_task, held_back
from qwq_env.envs.function_call.services import OWN
from qwq_env.envs.function_call.tools import offered_names, recorded, services_of
from qwq_env.episode import Episode, Said
from qwq_env.errors import UsageError, brief
from qwq_env.grading.calls.call import Call
from qwq_env.grading.calls.match import match_calls
from qwq_env.grading.calls.multi_turn import EpisodeCheck
from qwq_env.grading.calls.response import plain_name
from qwq_env.grading.score import Score
from qwq_env.options import EnvironmentOptions
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task, TaskSet
from qwq_env.toolbox import ToolLimits
from qwq_env.turn import MalformedCall, Turn
from qwq_env.vector import vector_of

_LIMITS: Final = EpisodeLimits(turns=50, tool_calls=100)
# The longest answers of padded services have 32 thousand characters.
_TOOL_LIMITS: Final = ToolLimits(characters=40_000, argument_characters=20_000)
_DECORATION: Final = " `*."
_AT_ONCE: Final = """\
Call the functions that do what is asked, all of them in one turn: your first turn with calls is \
your last. Give the arguments that are spoken of and leave out the others; leave out a part of the \
request that no function does."""
_DECLINE: Final = f"""
If no function does what is asked, or what one needs is not said, call none, and end your answer \
with a line of `{STATEMENT}` and the name of the function that comes nearest."""
_STEP_BY_STEP: Final = """\
Do what the user asks with the functions, and no more. When it is done, say so in a turn without a \
call; then the next request may follow. Where no function does it, or what one needs is not said, \
say that instead."""


class FunctionCallEnv(ToolEnv):
    """Functions, called as was asked; see the module for task, tools and reward.

    `tasks` is `"library"` (procedural, seeded, endless, `difficulty` 1 to 3, `split` `"train"` or
    `"heldout"`), a file or a folder as BFCL publishes them (of some `categories` only, if named;
    `strict` refuses rows that are no task), or a `TaskSet` of such tasks. With `statement=False`
    any answer without a call is paid where nothing is to be called, as BFCL pays it. Limits are 50
    turns and 100 calls unless `limits` says others, 20,000 characters into a call and 40,000 out.
    """

    def __init__(
        self,
        tasks: str | Path | TaskSet = "library",
        *,
        difficulty: int = 1,
        split: str = "train",
        task_seed: int = 0,
        categories: Sequence[str] = (),
        strict: bool = False,
        statement: bool = True,
        **options: Unpack[EnvironmentOptions],
    ) -> None:
        if not isinstance(statement, bool):
            raise UsageError(f"statement: {brief(statement)}; expected True or False")
        self.statement = statement
        options["limits"] = options.get("limits") or _LIMITS
        options["tool_limits"] = options.get("tool_limits") or _TOOL_LIMITS
        chosen = function_call_tasks(
            tasks,
            difficulty=difficulty,
            split=split,
            seed=task_seed,
            categories=categories,
            strict=strict,
        )
        super().__init__(chosen, [], Rubric([Component("calls", Judged(statement))]), **options)

    def begin(self, task: Task, *, seed: int = 0) -> Episode:
        """Return a new episode of `task`, with the functions that the task brings."""
        row, settings = task.metadata, self.settings
        if "involved_classes" in row:
            tools, told = services_of(row, OWN), _STEP_BY_STEP
        else:
            tools, told = recorded(row["function"]), _AT_ONCE + _DECLINE * self.statement
        opening = list(task.messages)
        own = opening.pop(0)["content"] if opening and opening[0]["role"] == "system" else None
        prompts = filter(None, (settings.system_prompt, own, told))
        return Episode(
            replace(task, messages=tuple(opening)),
            replace(
                settings,
                tools=tools,
                system_prompt="\n\n".join(prompts),
                calls_decide="involved_classes" not in row,
                held_back=frozenset(held_back(row)),
            ),
            seed=seed,
        )

    def reply(self, episode: Episode) -> Said:
        """Return the user's next request, None after the last."""
        follow_ups = episode.task.metadata.get("follow_ups", ())
        done = sum(message["role"] == "assistant" for message in episode.said)
        return follow_ups[done - 1] if done <= len(follow_ups) else None

    def solve(self, task: Task) -> Sequence[Message]:
        """Return turns that make the gold calls, or say that no function fits."""
        row = task.metadata
        if "involved_classes" in row:
            return list(_talk(row))
        functions = row["function"]
        if row["ground_truth"]:
            calls, names = possible_calls(row["ground_truth"], functions), offered_names(functions)
            return [calling([replace(call, name=names[call.name]) for call in calls])]
        return [saying(f"None of these does that.\n{declining(functions)}")]


def function_call_tasks(
    tasks: str | Path | TaskSet,
    *,
    difficulty: int = 1,
    split: str = "train",
    seed: int = 0,
    categories: Sequence[str] = (),
    strict: bool = False,
) -> TaskSet:
    """Return the task set that `tasks` names; see `FunctionCallEnv`."""
    if isinstance(tasks, ListTaskSet):
        for task in tasks:
            check_task(task)
    if isinstance(tasks, TaskSet):
        return tasks
    if tasks == "library":
        return FunctionCallTaskSet(seed=seed, difficulty=difficulty, split=split)
    if isinstance(categories, str) or not isinstance(categories, Sequence):
        raise UsageError(f"categories: {brief(categories)}; expected a list of names")
    named = isinstance(tasks, str | Path) and str(tasks).strip()
    if not named or not Path(tasks).exists():
        expected = "'library', a file or a folder in BFCL's form, or a TaskSet"
        raise UsageError(f"tasks: {brief(tasks)}; expected {expected}")
    return bfcl_tasks(Path(tasks), categories=categories, strict=strict)


class Judged:
    """The reward: 1.0 for the calls that were asked for, or for saying that there are none."""

    def __init__(self, statement: bool) -> None:
        self._statement = statement

    def __call__(self, final: FinalTurn) -> Score:
        """Score the calls of an episode."""
        row = final.task.metadata
        if "involved_classes" in row:
            return _played(final)
        functions, gold, requests = row["function"], row["ground_truth"], final.turns[-1].requests
        for request in requests:
            if isinstance(request, MalformedCall):
                return Score.wrong("malformed", request.message)
        if requests:
            return match_calls(_calls_of(final.turns[-1]), gold, functions)
        if gold:
            return Score.wrong("no_calls")
        score = match_calls(final.answer, [], functions)
        if score.value != 1.0 or not final.answer.strip():
            return Score.wrong("blank") if score.value else score
        if self._statement and not _is_stated(final.answer, functions):
            return Score.wrong("not_stated")
        return score


def _is_stated(answer: str, functions: Sequence[Any]) -> bool:
    """Say whether the last line says that no function fits, and names one that was offered."""
    line = answer.strip().rpartition("\n")[2].strip(_DECORATION)
    name = line.removeprefix(STATEMENT)
    names = {plain_name(document["name"]) for document in functions}
    return name != line and plain_name(name.strip(_DECORATION)) in names


def _calls_of(turn: Turn) -> list[Any]:
    return [
        Call(call.name, call.arguments)
        if isinstance(call.arguments, dict)
        else {"name": call.name, "arguments": call.arguments or {}}
        for call in turn.calls
    ]


def _played(final: FinalTurn) -> Score:
    """Do what was done once more, beside the gold calls, and compare at the end of each turn."""
    row = {**final.task.metadata, "id": final.task.id}
    check = EpisodeCheck(row, row["ground_truth"], OWN)
    results = iter(final.results)
    turns = 0
    for turn in final.turns:
        for result in islice(results, len(turn.requests)):
            # A request that was not run, as it could not be read, has no such mark.
            if run := result.metadata.get("call"):
                check.call(Call(run["name"], run["arguments"]))
        if not turn.requests:
            turns += 1
            if (score := check.end_turn()) is not None:
                return score
    return Score.wrong("unfinished", f"{turns} of {check.turns} turns")


def _talk(row: Any) -> Iterator[Message]:
    tools = services_of(row, OWN)
    documents = {tool.name: {"parameters": tool.parameters} for tool in tools}
    for calls in episode_calls(row["ground_truth"], documents):
        if calls:
            yield calling(calls)
        yield saying("That is done.")


make_vector = vector_of(FunctionCallEnv)
