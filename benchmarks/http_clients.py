"""`qwq bench http_clients`: which HTTP client the vLLM policy should speak through.

A stub server in a process of its own answers each completion 20 ms after it was asked, with the
answer that vLLM gives to a turn of 64 tokens. 256, 1,024 and 4,096 episodes ask it at the same
time, two turns each, on connections that are there already:

- aiohttp, httpx, and the sandbox client's connections, which are aiohttp's with what it guards
  against: as many requests in flight as there are episodes;
- httpx_bounded: 16 clients, at most 32 requests in flight on each;
- policy: `VllmPolicy` as it is shipped, which bounds the requests in flight and reads the answers.

`cpu_ms` is processor time of the client per request; `p99_ms` runs from asking to the answer,
waiting for a place in flight included. The clients take turns, in an order that is reversed each
other round; medians have 95 % intervals. A client that is not done within 45 seconds is null, and
is spared the larger numbers of episodes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import httpx

sys.path.insert(0, str(Path(__file__).parent))

from _result import run
from _rounds import alternate, spread

from qwq_env.chat_model import Sampling
from qwq_env.rollout.policy import GenerationRequest
from qwq_env.rollout.vllm_policy import VllmPolicy
from qwq_env.sandbox.http_pool import HttpPool

DELAY = 0.02
TURNS = 2
DEADLINE = 45.0
PROMPT = list(range(1000, 1512))
BODY = json.dumps({"model": "stub", "prompt": PROMPT, "max_tokens": 64}).encode()
Post = Callable[[], Awaitable[Any]]


class Stub(asyncio.Protocol):
    """Just enough HTTP/1.1: whole requests with a Content-Length, answered in their order."""

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = 0
            if b"content-length:" in head:
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            answer = MODELS if head.startswith(b"get") else COMPLETION
            asyncio.get_running_loop().call_later(DELAY, self.transport.write, answer)


def http(value: dict[str, Any]) -> bytes:
    """Return a whole answer."""
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


MODELS = http({"data": [{"id": "stub", "max_model_len": 4096}]})
COMPLETION = http(
    {
        "id": "cmpl-1",
        "object": "text_completion",
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "text": "token " * 64,
                "token_ids": list(range(64)),
                "logprobs": {
                    "tokens": ["token "] * 64,
                    "text_offset": [6 * i for i in range(64)],
                    "token_logprobs": [-1.2345678901234567] * 64,
                    "top_logprobs": [{"token ": -1.2345678901234567}] * 64,
                },
                "finish_reason": "stop",
                "stop_reason": 3,
                "prompt_token_ids": PROMPT,
            }
        ],
        "usage": {"prompt_tokens": 512, "total_tokens": 576, "completion_tokens": 64},
    }
)


async def serve() -> None:
    """Listen on a free port, print it, go on until killed."""
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0, backlog=8192)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextlib.contextmanager
def stub_server() -> Iterator[str]:
    """Run the stub in a process of its own; gives its address."""
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


@asynccontextmanager
async def with_aiohttp(url: str) -> AsyncIterator[Post]:
    """One session without a limit."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post() -> Any:
            async with session.post(f"{url}/v1/completions", data=BODY) as response:
                return json.loads(await response.read())

        yield post


@asynccontextmanager
async def with_httpx(url: str) -> AsyncIterator[Post]:
    """One client without a limit."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=None) as client:

        async def post() -> Any:
            answer = await client.post(f"{url}/v1/completions", content=BODY)
            return json.loads(answer.content)

        yield post


@asynccontextmanager
async def with_httpx_bounded(url: str) -> AsyncIterator[Post]:
    """Sixteen clients with 32 requests in flight on each."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            (
                await stack.enter_async_context(httpx.AsyncClient(timeout=None)),
                asyncio.Semaphore(32),
            )
            for _ in range(16)
        ]
        turn = iter(range(10**9))

        async def post() -> Any:
            client, slots = clients[next(turn) % len(clients)]
            async with slots:
                answer = await client.post(f"{url}/v1/completions", content=BODY)
            return json.loads(answer.content)

        yield post


@asynccontextmanager
async def with_pool(url: str) -> AsyncIterator[Post]:
    """The sandbox client's connections."""
    pool = HttpPool(url, [("Content-Type", "application/json")])

    async def post() -> Any:
        return json.loads((await pool.request("POST", "/v1/completions", BODY)).body)

    try:
        yield post
    finally:
        await pool.aclose()


@asynccontextmanager
async def with_policy(url: str) -> AsyncIterator[Post]:
    """The policy itself."""
    policy = VllmPolicy(url)
    names = iter(range(10**9))

    async def post() -> Any:
        request = GenerationRequest(PROMPT, 64, str(next(names)), Sampling(), frozenset({3}))
        return await policy.generate(request)

    try:
        yield post
    finally:
        await policy.aclose()


CLIENTS = {
    "aiohttp": with_aiohttp,
    "sandbox": with_pool,
    "httpx_bounded": with_httpx_bounded,
    "httpx": with_httpx,
    "policy": with_policy,
}


class Measured(NamedTuple):
    """One client at one number of episodes."""

    cpu_ms: float
    per_s: float
    p99_ms: float


async def measure(post: Post, episodes: int) -> Measured:
    """Let the episodes ask, two turns each, after one turn that opens the connections."""
    seconds: list[float] = []

    async def episode(turns: int) -> None:
        for _ in range(turns):
            start = time.perf_counter()
            await post()
            seconds.append(time.perf_counter() - start)

    await asyncio.gather(*(episode(1) for _ in range(episodes)))
    seconds.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(episode(TURNS) for _ in range(episodes)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    p99 = statistics.quantiles(seconds, n=100)[98]
    return Measured(1e3 * cpu / len(seconds), len(seconds) / wall, 1e3 * p99)


async def measure_client(name: str, url: str, episodes: int) -> Measured | None:
    """Open a client, measure, close it; None if that takes too long."""
    try:
        async with asyncio.timeout(DEADLINE), CLIENTS[name](url) as post:
            return await measure(post, episodes)
    except TimeoutError:
        return None


def compare(counts: list[int], rounds: int) -> dict[str, Any]:
    """Return the figures of every client, and ratios to aiohttp, for each number of episodes."""
    result: dict[str, Any] = {}
    given_up: set[str] = set()
    with stub_server() as url:
        for episodes in sorted(counts):

            def side(name: str, episodes: int = episodes) -> Measured | None:
                if name in given_up:
                    return None
                found = asyncio.run(measure_client(name, url, episodes))
                if found is None:
                    given_up.add(name)
                return found

            sides = {name: functools.partial(side, name) for name in CLIENTS}
            result[str(episodes)] = report(alternate(sides, rounds))
    return result


def report(found: Mapping[str, Sequence[Measured | None]]) -> dict[str, Any]:
    """Return the figures by client, null where it was given up, and its CPU over aiohttp's."""
    rows: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    for name, measured in found.items():
        whole = [row for row in measured if row is not None]
        if len(whole) < len(measured):
            rows[name] = None
            continue
        rows[name] = {key: spread([getattr(row, key) for row in whole]) for key in Measured._fields}
        base = [row for row in found["aiohttp"] if row is not None]
        pairs = zip(whole, base, strict=False)
        ratios[name] = spread([ours.cpu_ms / theirs.cpu_ms for ours, theirs in pairs])
    return {**rows, "cpu_over_aiohttp": ratios}


def main(argv: list[str]) -> int:
    """Measure, print a table, and write the JSON asked for."""
    if argv == ["--serve"]:
        asyncio.run(serve())
        return 0
    parser = argparse.ArgumentParser(prog="qwq bench http_clients", description=__doc__)
    parser.add_argument("--episodes", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--rounds", type=int, default=5, help="in which the clients take turns")
    run(parser, argv, compared, lambda found: table(found["episodes"]))
    return 0


def compared(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures, and what they were measured with."""
    return {"delay_ms": 1e3 * DELAY, "episodes": compare(options.episodes, options.rounds)}


def table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one line for each client at each number of episodes: medians."""
    lines = [f"{'episodes':>8}  {'client':14}{'cpu ms':>8}{'per s':>8}{'p99 ms':>9}"]
    for episodes, rows in measured.items():
        for name in CLIENTS:
            figures = f"  not within {DEADLINE:.0f} s"
            if (row := rows[name]) is not None:
                cpu, rate, late = (row[key]["median"] for key in Measured._fields)
                figures = f"{cpu:8.2f}{rate:8.0f}{late:9.0f}"
            lines.append(f"{episodes:>8}  {name:14}{figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
