"""Things each of which is broken in one way, and sound ones beside them; see test_broken.py."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from dataclasses import replace

import gymnasium as gym

from qwq_env.dialect.base import Piece, text_of
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError
from qwq_env.outcome import EpisodeLimits
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import Tool, tool
from qwq_env.tool_set import ToolSet
from qwq_env.turn import ToolCall

COUNT = itertools.count()
KEPT: list[object] = []
LAST: dict[str, object] = {}


def exact(final: FinalTurn) -> float:
    return float(final.answer == final.task.answer)


class Tasks(ListTaskSet):
    def __init__(self) -> None:
        super().__init__([Task(f"t{i}", f"Give {i * 37}.", str(i * 37)) for i in range(12)])


@tool(blocking=False)
def echo(text: str) -> str:
    """Say it again."""
    return text


# Environments


class SoundEnv(ToolEnv):
    """Paid for the answer; solved by a call, then the answer."""

    def __init__(self, tools=(echo,), reward=exact, tasks=None, **options) -> None:
        rubric = Rubric([Component("exact", reward)])
        super().__init__(tasks or Tasks(), list(tools), rubric, **options)

    def solve(self, task: Task):
        call = {"function": {"name": "echo", "arguments": {"text": task.answer}}}
        return [{"role": "assistant", "tool_calls": [call]}, f"</think>{task.answer}"]


class OddAction(SoundEnv):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = gym.spaces.Discrete(3)


class ClockInInfo(SoundEnv):
    async def areset(self, *, seed=None, options=None):
        prompt, info = await super().areset(seed=seed, options=options)
        return prompt, info | {"count": next(COUNT)} if seed == 0 else info


class OddFind(Tasks):
    def find(self, task_id: str) -> Task:
        return self.task(int(task_id.removeprefix("t")))


def plead(final: FinalTurn) -> float:
    return float(exact(final) or "full score" in final.answer)


def reads(final: FinalTurn) -> float:
    if "\x1b" in final.answer:
        json.loads(final.answer)
    return exact(final)


@tool(blocking=False)
def number() -> int:
    """Give a number."""
    return next(COUNT)


class SharedCounter(Tool):
    """Begins anew with each episode, and serves all of them."""

    name, description = "count", "Count up."
    parameters = {"type": "object", "properties": {}}  # noqa: RUF012 - a constant
    instant = True

    def __init__(self) -> None:
        self.count = 0

    def for_episode(self, task, seed):
        self.count = 0
        return self

    async def call(self, arguments):
        self.count += 1
        return str(self.count)


class SaysMore(SoundEnv):
    async def astep(self, action):
        observation, *rest = await super().astep(action)
        return observation and observation + "Go on.", *rest


class Stubborn(SoundEnv):
    async def reply(self, episode):
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    def solve(self, task: Task):
        return [f"</think>{task.answer}"]


class Blocking(SoundEnv):
    def reply(self, episode):
        time.sleep(0.5)


class Endless(SoundEnv):
    def __init__(self) -> None:
        super().__init__(limits=EpisodeLimits(turns=None))

    def reply(self, episode):
        right = episode.turns[-1].answer == episode.task.answer
        return None if right or len(episode.turns) > 150 else "Go on."


def keeps(final: FinalTurn) -> float:
    KEPT.append(open("/dev/null"))  # noqa: PTH123, SIM115 - what the check is to find
    return exact(final)


class NoPlace(SoundEnv):
    def begin(self, task, *, seed=0):
        raise InfrastructureError("no place left")


ENVIRONMENTS = {
    "an_episode_begins": NoPlace,
    "gymnasium_has_nothing_to_say": OddAction,
    "the_seed_decides_the_episode": ClockInInfo,
    "tasks_are_found_again": lambda: SoundEnv(tasks=OddFind()),
    "it_can_be_pickled": lambda: SoundEnv(reward=lambda final: exact(final)),
    "only_the_oracle_is_paid": lambda: SoundEnv(reward=plead),
    "a_random_policy_breaks_nothing_and_earns_nothing": lambda: SoundEnv(reward=reads),
    "an_episode_is_the_same_a_second_time": lambda: SoundEnv([echo, number]),
    "episodes_side_by_side_do_not_mix": lambda: SoundEnv([echo, SharedCounter()]),
    "what_is_trained_on_is_what_was_said": SaysMore,
    "a_turn_that_is_given_up_ends": Stubborn,
    "no_step_keeps_other_episodes_waiting": Blocking,
    "every_episode_ends": Endless,
    "nothing_is_left_behind": lambda: SoundEnv(reward=keeps),
}

# Tools


class OtherSchema(SharedCounter):
    def for_episode(self, task, seed):
        return OtherSchema()

    def schema(self):
        shown = super().schema()
        return shown | {"function": shown["function"] | {"description": "Count down."}}


class Unknown(OtherSchema):
    """Its schema allows three units, of which it knows two."""

    schema = Tool.schema
    parameters = {  # noqa: RUF012 - a constant
        "type": "object",
        "properties": {"unit": {"enum": ["m", "km", "mile"]}},
        "required": ["unit"],
    }

    def for_episode(self, task, seed):
        return self

    async def call(self, arguments):
        return {"m": "1", "km": "1000"}[arguments["unit"]]


class Anything(Unknown):
    parameters = {"type": "object", "properties": {"x": {"type": "string"}}}  # noqa: RUF012

    async def call(self, arguments):
        return "x" + arguments.get("no_such_argument", "x").lower()


def _is_text(value: object) -> bool:
    return isinstance(value, str)


CRASHES = {
    "wrong type": lambda text: text == "text",
    "huge": lambda text: len(text) > 50_000,
    "no number": lambda text: text == "NaN",
    "nested deep": lambda text: "((((" in text,
    "control characters": lambda text: "\x00" in text,
}


class Crashing(Unknown):
    """Crashes on some texts; where nothing is said of it, on no text at all."""

    parameters = {  # noqa: RUF012 - a constant
        "type": "object",
        "properties": {name: {"type": "string"} for name in "abcdef"},
    }

    def __init__(self, kind: str = "") -> None:
        self.kind = kind

    async def call(self, arguments):
        crashes = CRASHES.get(self.kind, lambda text: False)
        if any(map(crashes, filter(_is_text, arguments.values()))) or not (self.kind or arguments):
            raise ValueError("no such text")
        return "ok"


@tool(blocking=False)
def floods() -> str:
    """Give very much."""
    return "x" * 2_000_000


@tool
async def hangs() -> str:
    """Go on where it is cut off."""
    await asyncio.sleep(0.005)
    try:
        await asyncio.sleep(0.03)
    except asyncio.CancelledError:
        await asyncio.sleep(2)
    return "ok"


@tool
async def goes_on() -> str:
    """Go on where it is given up at once."""
    try:
        for _ in range(5):
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        await asyncio.sleep(2)
    return "ok"


@tool
async def blocks() -> str:
    """Block the loop."""
    time.sleep(0.5 * (next(COUNT) % 5 == 0))
    return "ok"


class Mute(ToolSet):
    blocking = False

    def look(self) -> str:
        """Look."""
        return "ok"

    def state(self) -> object:
        return None


class OddState(Mute):
    def state(self) -> object:
        return {1: "a key that is no text"}


class NotClosed(Unknown):
    parameters = SharedCounter.parameters

    async def call(self, arguments):
        return "ok"

    async def aclose(self):
        raise AttributeError("connection")


class Keeps(OtherSchema):
    schema = Tool.schema

    def for_episode(self, task, seed):
        KEPT.append(open("/dev/null"))  # noqa: PTH123, SIM115 - what the check is to find
        return SharedCounter()


def local_tool() -> Tool:
    @tool(blocking=False)
    def local() -> str:
        """Lie within a function."""
        return "ok"

    return local


class Reads(ToolSet):
    def start(self, task):
        self.left = task.metadata["left"]

    def look(self) -> int:
        """Look."""
        return self.left

    def state(self) -> int:
        return self.left


TOOLS = {
    "an_episode_begins": lambda: Reads,
    "the_schema_can_be_shown": OtherSchema,
    "schema_and_signature_agree": Unknown,
    "arguments_of_a_wrong_type": lambda: Crashing("wrong type"),
    "arguments_that_are_missing": Crashing,
    "arguments_that_there_are_not": Anything,
    "huge_arguments": lambda: Crashing("huge"),
    "numbers_that_are_none": lambda: Crashing("no number"),
    "arguments_nested_deep": lambda: Crashing("nested deep"),
    "control_characters": lambda: Crashing("control characters"),
    "output_is_not_boundless": lambda: floods,
    "a_call_ends_at_its_deadline": lambda: hangs,
    "a_call_that_is_cancelled_ends": lambda: goes_on,
    "no_call_keeps_others_waiting": lambda: blocks,
    "the_same_calls_get_the_same_answers": lambda: number,
    "episodes_side_by_side_do_not_mix": SharedCounter,
    "the_state_at_the_end_can_be_told": lambda: Mute,
    "it_can_be_pickled": local_tool,
    "it_can_be_closed": NotClosed,
    "nothing_is_left_behind": Keeps,
}

# Dialects


class Nameless(QwqDialect):
    name = 7


class Encodes(QwqDialect):
    def parse(self, text):
        text.encode("utf-8")
        return super().parse(text)


class Square(QwqDialect):
    def parse(self, text):
        if len(text) > 20_000:
            for place in range(0, len(text), 16):
                text.find("\x00nowhere", place)
        return super().parse(text)


class Forgets(QwqDialect):
    def parse(self, text):
        turn = super().parse(text)
        kept = [
            replace(each, arguments={}) if isinstance(each, ToolCall) and "é" in each.raw else each
            for each in turn.requests
        ]
        return replace(turn, requests=tuple(kept))


class NeverStops(QwqDialect):
    stop = ("<|never|>",)


class EndsTwice(QwqDialect):
    def render_results(self, results, *, closed):
        return super().render_results(results, closed=False)


class OtherPrompt(QwqDialect):
    def render(self, messages, tools=(), *, add_generation_prompt=True):
        pieces = super().render(messages, tools, add_generation_prompt=add_generation_prompt)
        system = messages and messages[0]["role"] == "system"
        return [Piece("Now.\n"), *pieces] if add_generation_prompt and system else pieces


class Controls(QwqDialect):
    def render_results(self, results, *, closed):
        return [Piece(text_of(super().render_results(results, closed=closed)), control=True)]


class ThinksAloud(QwqDialect):
    def parse(self, text):
        turn = super().parse(text)
        return replace(turn, answer=turn.thinking) if turn.unclosed_thinking else turn


class TakesAll(QwqDialect):
    def render(self, messages, tools=(), *, add_generation_prompt=True):
        texts = [{**message, "content": str(message.get("content"))} for message in messages]
        return super().render(texts, tools, add_generation_prompt=add_generation_prompt)


DIALECTS = {
    "it_says_what_it_is": Nameless,
    "any_text_is_read": Encodes,
    "time_grows_with_the_text_only": Square,
    "rendered_calls_are_read_back": Forgets,
    "generation_stops_behind_a_call": NeverStops,
    "a_turn_has_one_end": EndsTwice,
    "the_generation_prompt_is_only_appended": OtherPrompt,
    "foreign_text_controls_nothing": Controls,
    "thinking_that_never_ends_has_no_answer": ThinksAloud,
    "a_content_that_is_no_text_is_refused": TakesAll,
}

# Graders


def raises(final: FinalTurn) -> float:
    return float(math.isfinite(int(final.answer.encode() and 1)) and exact(final))


def pays_output(final: FinalTurn) -> float:
    return float(exact(final) or any(final.task.answer in r.content for r in final.results))


def noisy(final: FinalTurn) -> float:
    return exact(final) * (1 - 1e-6 * next(COUNT))


async def mixes(final: FinalTurn) -> float:
    LAST["answer"] = final.answer
    await asyncio.sleep(0)
    return float(LAST["answer"] == final.task.answer)


def writes(final: FinalTurn) -> float:
    final.task.metadata["asked"] = True
    return exact(final)


def waits(final: FinalTurn) -> float:
    time.sleep(0.45 * (len(final.answer) > 100_000))
    return exact(final)


GRADERS = {
    "it_can_be_asked": lambda: lambda final: exact(final),
    "only_the_right_answer_is_paid": lambda: plead,
    "whatever_a_model_says_is_decided": lambda: raises,
    "what_a_tool_printed_earns_nothing": lambda: pays_output,
    "the_same_answer_gets_the_same_reward": lambda: noisy,
    "the_task_stays_as_it_is": lambda: writes,
    "no_grade_keeps_others_waiting": lambda: waits,
    "nothing_is_left_behind": lambda: keeps,
}
