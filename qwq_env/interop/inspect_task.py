"""Any environment as a task of Inspect: its tasks are the samples, its rubric is the scorer.

```python
# maths.py, for `inspect eval maths.py --model ...`
from inspect_ai import Task, task

from qwq_env.interop.inspect_task import environment_task


@task
def maths() -> Task:
    return environment_task("qwq/MathTool-v0", samples=100)
```

The model is Inspect's; the episode is ours, so that its limits, its tools, a user's replies and
what it pays are the same as in training. A sample whose episode our machinery lost ends as an
error, not with a score.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from qwq_env.chat_model import ChatModel, ChatReply, Sampling
from qwq_env.dialect.base import Messages, Schemas
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError, brief
from qwq_env.interop.extra import extra
from qwq_env.messages import read_native_call
from qwq_env.registry import make_environment
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.trajectory import Trajectory
from qwq_env.turn import MalformedCall, ToolCall

with extra("inspect"):
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import (
        ChatMessage,
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageTool,
        ChatMessageUser,
        ContentReasoning,
        ContentText,
        GenerateConfig,
        ModelOutput,
        get_model,
    )
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
    from inspect_ai.solver import Generate, Solver, TaskState, solver
    from inspect_ai.tool import ToolCall as InspectCall
    from inspect_ai.tool import ToolInfo, ToolParams

_KEY = "qwq_env"


def environment_task(
    env: ToolEnv | str, *, samples: int | None = None, seed: int = 0, **options: Any
) -> Task:
    """Return an environment, or the one of that id, as a task of its first `samples` tasks.

    `options` are passed on to `inspect_ai.Task`. Raises `UsageError` for an endless set of tasks
    without a number of `samples`.
    """
    made = make_environment(env) if isinstance(env, str) else env
    size = made.tasks.size
    if samples is None and size is None:
        raise UsageError("samples: None, and the tasks are endless; expected how many")
    count = size if samples is None else min(samples, size or samples)
    assert count is not None
    tasks = [made.tasks.task(number) for number in range(count)]
    opening = [task.conversation(made.settings.system_prompt) for task in tasks]
    rows = [
        Sample(id=task.id, input=[_message(m) for m in messages], target=_text_of(task.answer))
        for task, messages in zip(tasks, opening, strict=True)
    ]
    name = env if isinstance(env, str) else type(env).__name__
    dataset = MemoryDataset(rows, name=name)
    return Task(dataset=dataset, solver=play(made, seed), scorer=paid(), **options)


@solver  # type: ignore[untyped-decorator]  # its package is read without types
def play(env: ToolEnv, seed: int = 0) -> Solver:
    """Return a solver that plays the sample's task as an episode, with the model of the evaluation.

    What it came to lies in the sample's store under `qwq_env`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        task = env.tasks.find(str(state.sample_id))
        model = InspectModel()
        engine = Engine(env, model, settings=EngineSettings(attempts=1))
        own = zlib.crc32(f"{seed}/{task.id}/{state.epoch}".encode())
        [played] = await engine.run([Assignment(task, f"{task.id}/{state.epoch}", own)])
        state.messages = [_message(each) for each in played.messages]
        state.output = model.last or state.output
        if played.outcome.failed:
            raise InfrastructureError(f"{played.outcome.reason}: {played.outcome.detail}")
        state.store.set(_KEY, _told(played))
        return state

    return solve


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]  # its package is read without types
def paid() -> Scorer:
    """Return a scorer that says what the environment paid."""

    async def score(state: TaskState, target: Target) -> Score:
        told = state.store.get(_KEY)
        outcome = told["outcome"]
        why = f"{outcome['kind']}: {outcome['reason']} {outcome['detail']}".strip()
        return Score(value=told["reward"], answer=told["answer"], explanation=why, metadata=told)

    return score


class InspectModel(ChatModel):
    """The model of an evaluation, for one episode. How it samples is the evaluation's to say."""

    def __init__(self) -> None:
        self.last: ModelOutput | None = None
        self._own: list[ChatMessageAssistant] = []

    async def reply(
        self,
        messages: Messages,
        tools: Schemas,
        *,
        max_tokens: int,
        sampling: Sampling,
        seed: int,
        stop: Sequence[str] = (),
    ) -> ChatReply:
        """Ask; the messages that the model wrote itself go back as they came."""
        opening = sum(m["role"] == "assistant" for m in messages) - len(self._own)
        sent, written = [], 0
        for message in messages:
            if message["role"] == "assistant":
                written += 1
                if written > opening:
                    sent.append(self._own[written - opening - 1])
                    continue
            sent.append(_message(message))
        config = GenerateConfig(stop_seqs=list(stop) or None)
        output = await get_model().generate(sent, [_info(s) for s in tools], config=config)
        if output.error:
            raise InfrastructureError(f"the model: {output.error}")
        self.last = output
        self._own.append(output.message)
        return _reply(output)


def _reply(output: ModelOutput) -> ChatReply:
    message = output.message
    content = [message.content] if isinstance(message.content, str) else message.content
    thinking = "\n\n".join(c.reasoning for c in content if isinstance(c, ContentReasoning))
    calls = message.tool_calls or []
    return ChatReply(
        thinking=thinking,
        content=message.text,
        requests=tuple(_request(call) for call in calls),
        native=tuple(
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function, "arguments": json.dumps(call.arguments)},
            }
            for call in calls
        ),
        finish_reason="length" if output.stop_reason in ("max_tokens", "model_length") else "stop",
        tokens=output.usage.output_tokens if output.usage else None,
        prompt_tokens=None,
        thinking_key="",
    )


def _request(call: InspectCall) -> ToolCall | MalformedCall:
    if call.parse_error:
        return MalformedCall("malformed_json", call.parse_error, json.dumps(call.arguments))
    return read_native_call(call.function, json.dumps(call.arguments))


def _message(message: Mapping[str, Any]) -> ChatMessage:
    role, content = message["role"], message.get("content") or ""
    if role == "system":
        return ChatMessageSystem(content=content)
    if role == "user":
        return ChatMessageUser(content=content)
    if role == "tool":
        return ChatMessageTool(
            content=content, tool_call_id=message.get("tool_call_id"), function=message.get("name")
        )
    if thinking := message.get("reasoning_content"):
        content = [ContentReasoning(reasoning=thinking), ContentText(text=content)]
    calls = [
        InspectCall(call["id"], call["function"]["name"], _arguments(call["function"]["arguments"]))
        for call in message.get("tool_calls") or []
    ]
    return ChatMessageAssistant(content=content, tool_calls=calls or None)


def _arguments(given: Any) -> dict[str, Any]:
    """Return the arguments of a call as Inspect keeps them; what is none is shown as it was."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            pass
    return given if isinstance(given, dict) else {"malformed": brief(given)}


def _info(schema: Mapping[str, Any]) -> ToolInfo:
    function = schema["function"]
    return ToolInfo(
        name=function["name"],
        description=function["description"],
        parameters=ToolParams.model_validate(function["parameters"]),
    )


def _told(played: Trajectory) -> dict[str, Any]:
    return {
        "reward": played.reward,
        "answer": played.answer,
        "outcome": played.outcome.to_json(),
        "scores": dict(played.scores),
        "right": played.is_right,
        "turns": played.turns,
        "tool_calls": played.tool_calls,
        "seed": played.seed,
    }


def _text_of(answer: Any) -> str:
    if isinstance(answer, str):
        return answer
    try:
        return json.dumps(answer)
    except (TypeError, ValueError):
        return brief(answer)
