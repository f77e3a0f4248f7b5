"""One rule for all that ask a server: the way there, the key, pauses, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qwq_env import portal
from qwq_env.chat_model import Sampling
from qwq_env.errors import InfrastructureError, QwqError, UsageError
from qwq_env.grading.reward.model import Candidate
from qwq_env.grading.reward.pooling import VllmPooling
from qwq_env.http.chat_client import ChatClient
from qwq_env.http.client import HttpClient
from qwq_env.rollout.policy import GenerationRequest
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy
from qwq_env.sandbox.endpoint import Endpoint
from qwq_env.sandbox.errors import SandboxBusy
from qwq_env.tools.mcp.server import McpServer
from qwq_env.tools.search import http_client as search
from qwq_env.tools.search.servers import Brave, RetrieveServer, Serper, Tavily

from ..rollout.vllm_stub import completion

KEY = "sk-secret-0123456789"
NOWHERE = "http://127.0.0.1:9"
GONE = "http://gpu1.invalid"
REQUEST = GenerationRequest([1, 2, 3], 10, "e", Sampling(), frozenset({2}))
ANSWERS = {
    "/v1/chat/completions": {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]},
    "/v1/models": {"data": [{"id": "policy", "max_model_len": 100}]},
    "/v1/completions": completion([7, 2]),
    "/classify": {"data": [{"index": 0, "probs": [1.0]}]},
    "/retrieve": {"result": [[]]},
    "/serper": {"organic": []},
    "/tavily": {"results": []},
    "/brave": {},
    "/run": {},
}
QUICK = search.HttpSettings(seconds=20, backoff=0.001)


class Handler(BaseHTTPRequestHandler):
    """Answers what was scripted first of all, and then as a good server would."""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.path, dict(self.headers)))
        status, answer, headers = 200, ANSWERS.get(self.path.partition("?")[0]), {}
        if self.path == "/mcp" and body:
            answer = self.server.mcp(json.loads(body))
        if answer is None:
            status = 404
        elif self.server.first and self.path != "/v1/models":
            status, answer, headers = self.server.first.pop(0)
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen, self.first = [], []

    @staticmethod
    def mcp(message):
        results = {
            "initialize": {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}},
            "tools/list": {"tools": [{"name": "add", "inputSchema": {"type": "object"}}]},
        }
        if message.get("method") in results:
            return {"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]}
        return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": -32601, "message": ""}}


@pytest.fixture
def server():
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SOME_KEY", KEY)


async def chat(url):
    client = ChatClient(f"{url}/v1", api_key_variable="SOME_KEY", attempts=2, grace=0.3)
    try:
        await client.complete({"model": "m", "messages": []})
    finally:
        await client.aclose()


class Encoder:
    def encode(self, candidate, most):
        return [1, 2]


async def judge(url):
    model = VllmPooling(url, Encoder(), api_key_variable="SOME_KEY", attempts=2)
    [score] = await model.score([Candidate([], "answer")])
    await model.aclose()
    if score.value is None:
        raise InfrastructureError(score.detail)


async def vllm(url):
    settings = HttpSettings(attempts=2, backoff=0.001, grace=0.3)
    policy = VllmPolicy(url, api_key=KEY, settings=settings)
    try:
        await policy.generate(REQUEST)
    finally:
        await policy.aclose()


def searching(make):
    async def ask(url):
        backend = make(url)
        try:
            await backend.search("x", 1)
        finally:
            await backend.aclose()

    return ask


async def mcp(url):
    server = McpServer(f"{url}/mcp", key_variable="SOME_KEY")
    try:
        await portal.reach(server._listed())
    finally:
        await portal.reach(server._close())


async def sandbox(url):
    endpoint = Endpoint(url, KEY, 1)
    try:
        await endpoint.send("POST", "/run", {}, 5.0)
    finally:
        await endpoint.aclose()


SEARCHES = {
    "retrieve": searching(lambda url: RetrieveServer(url, settings=QUICK)),
    "serper": searching(lambda url: Serper(KEY, url=f"{url}/serper", settings=QUICK)),
    "tavily": searching(lambda url: Tavily(KEY, url=f"{url}/tavily", settings=QUICK)),
    "brave": searching(lambda url: Brave(KEY, url=f"{url}/brave", settings=QUICK)),
}
CLIENTS = {"chat": chat, "judge": judge, "vllm": vllm, "mcp": mcp, "sandbox": sandbox, **SEARCHES}
KEY_HEADERS = {"serper": "X-API-KEY", "brave": "X-Subscription-Token"}


@pytest.mark.parametrize("client", CLIENTS)
async def test_no_proxy_stands_before_this_machine(client, server, monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    await CLIENTS[client](server.url)

    assert server.seen


@pytest.mark.parametrize("client", sorted(CLIENTS.keys() - {"sandbox"}))
async def test_another_machine_is_asked_through_the_proxy_which_is_named(client, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", NOWHERE)
    told = r"through the proxy http://127\.0\.0\.1:9 of HTTP_PROXY"
    with pytest.raises(QwqError, match=told):
        await CLIENTS[client](GONE)


@pytest.mark.parametrize("client", sorted(CLIENTS.keys() - {"retrieve"}))
async def test_the_key_is_in_one_header(client, server):
    await CLIENTS[client](server.url)
    shown = {name for _, headers in server.seen for name, value in headers.items() if KEY in value}

    assert shown == {KEY_HEADERS.get(client, "Authorization")}


BUSY = [
    (429, "no", {"Retry-After": "5"}),
    (503, "no", {"retry-after-ms": "5000"}),
    (429, {"error": {"message": "Please try again in 5000ms."}}, {}),
    (529, {"error": {"type": "overloaded_error", "message": "Please retry after 5 s"}}, {}),
]


async def plain(url):
    client = HttpClient(attempts=2, backoff=0.001)
    try:
        await client.post_json(f"{url}/run", {})
    finally:
        await client.aclose()


@pytest.mark.parametrize("ask", [plain, vllm, SEARCHES["serper"]], ids=["http", "vllm", "search"])
@pytest.mark.parametrize("busy", BUSY, ids=lambda busy: str(busy[0]))
async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(ask, busy, server, monkeypatch):
    sleep, slept = asyncio.sleep, []

    async def hurry(seconds, *result):
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", hurry)
    server.first = [busy]
    # The vLLM client looks at the clock too, and gives up before the hour has come.
    with contextlib.suppress(InfrastructureError):
        await ask(server.url)

    assert not server.first and 4.5 < max(slept) < 6


@pytest.mark.parametrize("client", ["vllm", "mcp", *SEARCHES])
async def test_a_refused_key_is_the_operators_to_mend(client, server):
    server.first = [(401, "no", {})]
    with pytest.raises(UsageError, match="401"):
        await CLIENTS[client](server.url)


async def test_a_busy_sandbox_says_when_to_come_again(server):
    for header, seconds in (("7", 7.0), ("soon", 1.0), ("9999", 60.0)):
        server.first = [(429, {}, {"Retry-After": header})]
        with pytest.raises(SandboxBusy) as busy:
            await sandbox(server.url)

        assert busy.value.retry_after == seconds
