"""Turns with a journal: recalled from it, or sampled and written down (see `qwq_env.journal`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from qwq_env.chat_model import ChatModel, ChatReply, Sampling
from qwq_env.dialect.base import Messages, Schemas
from qwq_env.journal import AttemptJournal
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.turn import MalformedCall, ToolCall


async def sampled(
    journal: AttemptJournal, policy: Policy, request: GenerationRequest, turn: int,
    part: str = "turn",
) -> Generation:  # fmt: skip
    """Return the generation that a request got, or have it sampled: a turn, or a `part` of it."""
    asked = [len(request.ids), request.max_tokens, request.seed, *_drawn(request.sampling)]
    known = journal.recall(part, turn, request=asked)
    if known is not None:
        generation = Generation(known["ids"], known["logprobs"], known["finish_reason"])
        policy.recall(request, generation)
        return generation
    generation = await policy.generate(request)
    journal.write(part, turn, request=asked, **generation._asdict())
    return generation


async def replied(
    journal: AttemptJournal, model: ChatModel, turn: int, messages: Messages, tools: Schemas,
    **settings: Any,
) -> ChatReply:  # fmt: skip
    """Return the reply that a chat model gave, or have it reply, with the `settings` of `reply`."""
    asked = [
        len(messages), settings["max_tokens"], settings["seed"], *_drawn(settings["sampling"])
    ]  # fmt: skip
    known = journal.recall("turn", turn, request=asked)
    if known is not None:
        return _reply_from(known["reply"])
    reply = await model.reply(messages, tools, **settings)
    requests = [asdict(request) for request in reply.requests]
    journal.write("turn", turn, request=asked, reply={**reply._asdict(), "requests": requests})
    return reply


def _reply_from(value: Mapping[str, Any]) -> ChatReply:
    requests = tuple(
        MalformedCall(**request) if "kind" in request else ToolCall(**request)
        for request in value["requests"]
    )
    return ChatReply(**{**value, "requests": requests, "native": tuple(value["native"])})


def _drawn(sampling: Sampling) -> list[float]:
    return [sampling.temperature, sampling.top_p, sampling.top_k]
