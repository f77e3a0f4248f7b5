"""Our tools and our environments in Inspect, played by its own evaluations."""

from __future__ import annotations

import asyncio
import json

import pytest

from qwq_env.errors import UsageError
from qwq_env.task import TaskSet
from qwq_env.toolbox import ToolLimits

from .parity import SCRIPTS, ParityEnv, Tally, by_messages, kind_of, look, run_snippet, told

pytest.importorskip("inspect_ai", reason="inspect_ai is not installed; `make interop` has it")
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.model._model_output import ChatCompletionChoice
from inspect_ai.scorer import includes
from inspect_ai.tool import ToolCall

from qwq_env.interop import inspect_task, inspect_tools
from qwq_env.interop.inspect_task import environment_task
from qwq_env.interop.inspect_tools import with_tools

# What Inspect's own packages warn of when they are used.
pytestmark = pytest.mark.filterwarnings("default")


MODEL = "mockllm/model"


def output(said, number: int) -> ModelOutput:
    """A turn of a script, as a provider of Inspect's would give it."""
    content = [ContentReasoning(reasoning=said.thinking)] if said.thinking else []
    calls = [
        ToolCall(id=f"call{number}{place}", function=name, arguments=arguments)
        for place, (name, arguments) in enumerate(said.calls)
    ]
    message = ChatMessageAssistant(
        content=[*content, ContentText(text=said.words)], tool_calls=calls or None
    )
    return counted(ModelOutput(model=MODEL, choices=[ChatCompletionChoice(message=message)]))


def counted(made: ModelOutput) -> ModelOutput:
    """Say how many tokens it were: Inspect would count them, and load a vocabulary for it."""
    made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return made


def scripted(messages, tools, tool_choice, config) -> ModelOutput:
    """Say what the script of the task has next."""
    [asked] = [m.text for m in messages if m.role == "user"]
    number = int(asked.removeprefix("Add 2 to ").removesuffix("."))
    turn = sum(message.role == "assistant" for message in messages)
    return output(list(SCRIPTS.values())[number][turn], turn)


def run(task: Task, tmp_path, **options):
    model = get_model(MODEL, custom_outputs=scripted)
    [log] = eval(task, model=model, display="none", log_dir=str(tmp_path), **options)
    return log


def as_openai(messages) -> list[dict]:
    """Inspect's messages in the form that ours have."""
    made = []
    for message in messages:
        thinking = ""
        if not isinstance(message.content, str):
            thinking = "".join(c.reasoning for c in message.content if c.type == "reasoning")
        one = {"role": message.role, "content": message.text, "reasoning_content": thinking}
        if getattr(message, "tool_calls", None):
            one["tool_calls"] = [
                {"name": call.function, "arguments": call.arguments} for call in message.tool_calls
            ]
        made.append(one)
    return made


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    task = environment_task(ParityEnv(), seed=0)
    return run(task, tmp_path_factory.mktemp("log"), fail_on_error=False)


@pytest.mark.parametrize("number", range(len(SCRIPTS)), ids=SCRIPTS)
def test_an_evaluation_comes_to_the_same_as_our_engine(number, log):
    [sample] = [each for each in log.samples if each.id == f"t{number}"]
    if list(SCRIPTS)[number] == "lost":
        assert "the machinery is gone" in sample.error.message and not sample.scores
        return
    told_of = sample.store["qwq_env"]
    came = asyncio.run(by_messages(number, told_of["seed"]))

    assert sample.scores["paid"].value == came.reward
    assert kind_of(told_of["outcome"]) == came.outcome
    assert told(as_openai(sample.messages)) == came.messages


def test_the_scores_of_an_evaluation_are_the_rewards(log):
    [score] = log.results.scores

    assert log.status == "success"
    assert score.metrics["mean"].value == pytest.approx((1 + 1 + 0.5 * 5 + 0) / 8)


def asks(name: str, arguments: dict):
    """A model that calls a tool, and then says what it heard."""

    def say(messages, tools, tool_choice, config) -> ModelOutput:
        heard = [message for message in messages if message.role == "tool"]
        if not heard:
            return counted(ModelOutput.for_tool_call(MODEL, name, arguments))
        said = heard[-1].error.message if heard[-1].error else heard[-1].text
        return counted(ModelOutput.from_content(MODEL, said))

    return get_model(MODEL, custom_outputs=say)


@pytest.mark.parametrize(
    ("name", "arguments", "heard"),
    [
        ("look", {"where": "up"}, "nothing up"),
        ("add", {"by": 3}, "4, seed 0"),
        ("add", {"by": 99}, "Error: at most 9"),
        ("look", {"where": "x" * 5000}, "characters cut"),
    ],
)
def test_a_tool_is_called_in_an_evaluation(name, arguments, heard, tmp_path):
    rows = [Sample("Go.", target=heard, metadata={"from": 1}) for _ in range(3)]
    solver = with_tools([Tally, look], limits=ToolLimits(characters=1000))
    task = Task(dataset=rows, solver=solver, scorer=includes())
    [log] = eval(task, model=asks(name, arguments), display="none", log_dir=str(tmp_path))

    assert [sample.scores["includes"].value for sample in log.samples] == ["C"] * 3


def test_machinery_that_fails_ends_the_sample_as_an_error(tmp_path):
    task = Task(dataset=[Sample("Go.")], solver=with_tools([look]), scorer=includes())
    model = asks("look", {"where": "machinery"})
    [log] = eval(task, model=model, display="none", log_dir=str(tmp_path), fail_on_error=False)

    assert "the machinery is gone" in log.samples[0].error.message


def test_endless_tasks_want_a_number():
    class Endless(ParityEnv):
        pass

    env = Endless()
    env.tasks = type("Set", (TaskSet,), {"size": None, "task": lambda self, index: None})()
    with pytest.raises(UsageError, match="samples: None, and the tasks are endless"):
        environment_task(env)


def test_a_schema_keeps_its_form():
    from inspect_ai.tool import ToolDef

    from qwq_env.toolbox import Toolbox

    [made] = inspect_tools.inspect_tools(Toolbox([look]), [look])

    kept = json.loads(ToolDef(made).parameters.model_dump_json(exclude_none=True))
    assert kept["properties"]["where"] == dict(look.parameters["properties"]["where"])


def test_what_the_documentation_shows_runs(tmp_path):
    tools: dict = {}
    asyncio.run(run_snippet(inspect_tools, tools))
    model = asks("calculator", {"expression": "12 * 34"})
    [log] = eval(tools["task"], model=model, display="none", log_dir=str(tmp_path))
    maths: dict = {"__name__": "maths"}
    asyncio.run(run_snippet(inspect_task, maths))

    assert log.samples[0].scores["includes"].value == "C"
    assert len(maths["maths"]().dataset) == 100
