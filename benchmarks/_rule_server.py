"""A chat endpoint that answers by rule: to the same messages and seed the same. Prints its port.

    python benchmarks/_rule_server.py

It says what models say: boxes, programs, calls of the tools that it is told of (right and wrong
ones), thinking alone, nothing. Which of these is drawn from what it is asked. It takes up to 20 ms
for a reply, so that a kill finds some under way. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from _serve import serve
from aiohttp import web

_TEXTS = (
    "The answer is \\boxed{{{number}}}.",
    "```python\nprint(input())\n```",
    "```python\nprint({number})\n```",
    "**{letters}**\n\nFirst, {number} things. P.S. Nothing else",
    "<solution>{letters}</solution>",
    "<<A title>>\n* one\n* two\n* three\n\n\u201c\u6570\u201d \U0001f600 {number}",
    '"none of these functions fits"',
    "",
)


def reply(body: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return the assistant's message."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    if draw.random() < 0.7:
        message["reasoning_content"] = "hm, let me see"
    if body.get("tools") and draw.random() < 0.6:
        message["tool_calls"] = [_call(n, body["tools"], draw) for n in range(draw.choice((1, 2)))]
    else:
        said = {"number": draw.randrange(1000), "letters": draw.choice("ABCDE") * 5}
        message["content"] = draw.choice(_TEXTS).format(**said)
    return message


def _call(index: int, tools: list[dict[str, Any]], draw: random.Random) -> dict[str, Any]:
    function = draw.choice(tools)["function"]
    settings = function.get("parameters", {}).get("properties", {})
    written = json.dumps({name: _value(each, draw) for name, each in settings.items()})
    if draw.random() < 0.1:
        written = written[:-1]
    call = {"name": function["name"], "arguments": written}
    return {"index": index, "id": f"call{index}", "type": "function", "function": call}


def _value(setting: dict[str, Any], draw: random.Random) -> Any:
    kinds = {"integer": 3, "number": 2.5, "boolean": True, "array": ["a"], "object": {}}
    word = draw.choice(setting.get("enum") or ["document", "temp", "final_report.pdf"])
    return kinds.get(str(setting.get("type")), word)


async def complete(request: web.Request) -> web.Response:
    """Answer a chat completion, as the one chunk of a stream."""
    body = await request.json()
    asked = json.dumps([body["messages"], body.get("seed")], sort_keys=True)
    draw = random.Random(asked)
    await asyncio.sleep(draw.uniform(0, 0.02))
    message = reply(body, draw)
    reason = "tool_calls" if "tool_calls" in message else "stop"
    usage = {"prompt_tokens": len(asked) // 4, "completion_tokens": len(json.dumps(message)) // 4}
    choice = {"index": 0, "delta": message, "finish_reason": reason}
    chunk = {"id": "c", "created": 0, "model": "rule", "choices": [choice], "usage": usage}
    text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    return web.Response(text=text, content_type="text/event-stream")


def application() -> web.Application:
    """Return the routes."""
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", complete)
    return app


if __name__ == "__main__":
    asyncio.run(serve(application()))
