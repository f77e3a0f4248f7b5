"""A chat server made by hand, which speaks OpenAI's stream, and an episode played against it."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from qwq_env.env import ToolEnv
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.tool import tool
from qwq_env.trajectory import Trajectory


@tool(blocking=False)
def double(number: int) -> int:
    """Double it."""
    return 2 * number


def delta(**fields):
    return {"choices": [{"delta": fields}]}


def end(reason="stop", tokens=7, **usage):
    choice = {"delta": {}, "finish_reason": reason}
    return {"choices": [choice], "usage": {"completion_tokens": tokens, **usage}}


def native_call(arguments: str):
    """A call in two pieces, as servers stream them."""
    first = {"index": 0, "id": "c1", "function": {"name": "double", "arguments": arguments[:4]}}
    second = {"index": 0, "function": {"arguments": arguments[4:]}}
    return [delta(tool_calls=[first]), delta(tool_calls=[second]), end("tool_calls")]


LIMITS = EpisodeLimits(tokens=1000)
ANSWER = [delta(content="It is "), delta(content="42."), end()]


class Failure(NamedTuple):
    """An answer with this status; `body` is sent as it is, or as JSON."""

    status: int
    body: object = "no"
    headers: tuple[tuple[str, str], ...] = ()


class Stream(NamedTuple):
    """A stream of these very bytes."""

    content: bytes


class Server:
    """Answers the n-th request with the n-th of `replies`, and again with the last if `repeat`.

    They are events, a status to fail with, a `Failure`, a `Stream`, or bytes that pass for
    compressed ones.
    """

    def __init__(self, replies, *, repeat=False):
        self.replies, self.requests, self.headers = list(replies), [], []
        self.repeat = repeat
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(json.loads(body))
                outer.headers.append(dict(self.headers))
                self.answer(outer.choose(outer.requests[-1]))

            def answer(self, reply):
                if isinstance(reply, int):
                    self.send_error(reply, "no")
                    return
                failure = reply if isinstance(reply, Failure) else Failure(200)
                self.send_response(failure.status)
                for name, value in {
                    "Content-Type": "text/event-stream",
                    **dict(failure.headers),
                }.items():
                    self.send_header(name, value)
                if isinstance(reply, bytes):
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                try:
                    self.wfile.write(content_of(reply))
                except OSError:
                    pass  # The client has read enough.

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def choose(self, body):
        """Return the reply to a request."""
        last = self.repeat and len(self.replies) == 1
        return self.replies[0] if last else self.replies.pop(0)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()


def content_of(reply) -> bytes:
    if isinstance(reply, bytes):
        return reply
    if isinstance(reply, Stream):
        return reply.content
    if isinstance(reply, Failure):
        body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        # Compressed bodies come as text of one character a byte.
        return body.encode("latin-1" if dict(reply.headers).get("Content-Encoding") else "utf-8")
    events = b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in reply)
    return events + (b"data: [DONE]\n\n" if "finish_reason" in json.dumps(reply[-1:]) else b"")


def play(server: Server, attempts=1, *, env=None, settings=None, engine=None, tries=5, **model):
    """Play one episode of the task "Double 21." and return its trajectory.

    `attempts` are the engine's, `tries` the client's; `model` is passed on to `OpenAIChat`.
    """
    engine = EngineSettings(attempts=attempts) if engine is None else engine
    model = {"attempts": tries, **model}
    return asyncio.run(play_one(server, env or environment(), settings, engine, model))


async def play_one(server, env, settings, engine, model) -> Trajectory:
    chat = OpenAIChat(server.url, "qwq", **model)
    try:
        runner = Engine(env, chat, play=settings, settings=engine)
        [trajectory] = await runner.run([Assignment(env.tasks.task(0), "e", 1)])
        return trajectory
    finally:
        await chat.aclose()


def environment(*tools, grade=None, limits=LIMITS, **more) -> ToolEnv:
    """An environment of one task, by default with the tool `double`."""

    def exact(final):
        return float(final.task.answer in final.answer)

    tasks = ListTaskSet([Task("t", "Double 21.", "42")])
    rubric = Rubric([Component("exact", grade or exact)])
    return ToolEnv(tasks, list(tools) or [double], rubric, limits=limits, **more)
