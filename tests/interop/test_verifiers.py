"""Our environments as verifiers plays and scores them."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from qwq_env.errors import UsageError

from .parity import ENV_ID, SCRIPTS, by_messages, kind_of, run_snippet, told

vf = pytest.importorskip("verifiers.v1", reason="verifiers is not installed; `make interop` has it")

PACKAGE = Path(__file__).parents[2] / ".package"

# What verifiers' own packages warn of when they are used.
pytestmark = pytest.mark.filterwarnings("default")


class Model(BaseHTTPRequestHandler):
    """A chat server that says what the script of the task has next."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        [asked] = [m["content"] for m in body["messages"] if m["role"] == "user"]
        number = int(asked.removeprefix("Add 2 to ").removesuffix("."))
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        message = list(SCRIPTS.values())[number][turn].message(turn)
        reason = "tool_calls" if "tool_calls" in message else "stop"
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        head = {"id": "c", "created": 1, "model": "m", "usage": usage}
        if body.get("stream"):
            delta = {**message, "tool_calls": [
                {"index": place, **call} for place, call in enumerate(message.get("tool_calls", ()))
            ]}  # fmt: skip
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            event = {**head, "object": "chat.completion.chunk", "choices": [choice]}
            self.say("text/event-stream", f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n")
            return
        choice = {"index": 0, "message": message, "finish_reason": reason}
        whole = {**head, "object": "chat.completion", "choices": [choice]}
        self.say("application/json", json.dumps(whole))

    def say(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def episodes(server):
    """What verifiers made of every script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PACKAGE))
        from qwq_env.interop.verifiers_taskset import load_environment

        async def play():
            env = load_environment(ENV_ID)
            client = vf.EvalClientConfig(base_url=server, api_key_var="NO_KEY")
            context = vf.ModelContext(model="m", client=client, sampling=vf.SamplingConfig())
            async with env.serving():
                return await asyncio.gather(
                    *(env.run_episode(task, context) for task in env.taskset)
                )

        return asyncio.run(play())


@pytest.mark.parametrize("number", range(len(SCRIPTS)), ids=SCRIPTS)
def test_verifiers_comes_to_the_same_as_our_engine(number, episodes):
    [trace] = episodes[number].traces
    if list(SCRIPTS)[number] == "lost":
        assert not trace.ok and "the machinery is gone" in trace.errors[0].message
        assert trace.info["outcome"]["kind"] == "failed" and not trace.rewards
        return
    came = asyncio.run(by_messages(number, trace.info["seed"]))

    assert trace.ok, trace.errors
    assert trace.reward == came.reward
    assert kind_of(trace.info["outcome"]) == came.outcome
    recorded = [message.model_dump() for message in trace.branches[-1].messages]
    # What answers the last turn of a cut episode is never sent, and so is not in the trace.
    assert told(recorded) == came.messages[: len(recorded)]
    assert len(came.messages) - len(recorded) <= 0


def test_an_id_that_is_none_is_refused_at_once():
    from qwq_env.interop.verifiers_taskset import load_environment

    with pytest.raises(UsageError, match="environment: "):
        load_environment("qwq/Nothing-v0")


def test_what_the_documentation_shows_runs(server, monkeypatch, capsys):
    from qwq_env.interop import verifiers_taskset

    monkeypatch.syspath_prepend(str(PACKAGE))
    client = vf.EvalClientConfig(base_url=server, api_key_var="NO_KEY")
    changes = ("qwq/MathTool-v0", ENV_ID, "samples=100", "samples=1", 'model="..."', 'model="m"')
    asyncio.run(run_snippet(verifiers_taskset, {"client": client}, *changes))

    assert "1.0 {'kind': 'terminated', 'reason': 'answered'" in capsys.readouterr().out
