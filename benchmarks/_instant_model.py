"""A chat model that answers at once, over HTTP; prints its port.

    python benchmarks/_instant_model.py

Asked a task of `_official_verifiers_tasks`, it calls the tool whose name holds "calculator"; told
what the tool said, it gives that as its answer. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from _serve import serve
from aiohttp import web

_numbers = itertools.count()


def reply(body: dict[str, Any]) -> dict[str, Any]:
    """Return the assistant's message."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        content = last["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        return {"role": "assistant", "content": f"\\boxed{{{text.strip()}}}"}
    names = [tool["function"]["name"] for tool in body["tools"]]
    prompt = next(m["content"] for m in body["messages"] if m["role"] == "user")
    text = prompt if isinstance(prompt, str) else prompt[0]["text"]
    expression = text.removeprefix("What is ").split("?")[0]
    function = {
        "name": next(name for name in names if "calculator" in name),
        "arguments": json.dumps({"expression": expression}),
    }
    call = {"id": f"call-{next(_numbers)}", "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


async def complete(request: web.Request) -> web.StreamResponse:
    """Answer a chat completion, in one piece or as the one chunk of a stream."""
    body = await request.json()
    message = reply(body)
    reason = "tool_calls" if "tool_calls" in message else "stop"
    usage = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}
    shared = {"id": f"c-{next(_numbers)}", "created": 0, "model": "instant", "usage": usage}
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return web.json_response({**shared, "object": "chat.completion", "choices": [choice]})
    calls = message.get("tool_calls")
    if calls:
        message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
    choice = {"index": 0, "delta": message, "finish_reason": reason}
    chunk = {**shared, "object": "chat.completion.chunk", "choices": [choice]}
    text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    return web.Response(text=text, content_type="text/event-stream")


async def models(request: web.Request) -> web.Response:
    """List the one model."""
    return web.json_response({"object": "list", "data": [{"id": "instant", "object": "model"}]})


def application() -> web.Application:
    """Return the routes."""
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/v1/models", models)
    return app


if __name__ == "__main__":
    asyncio.run(serve(application()))
