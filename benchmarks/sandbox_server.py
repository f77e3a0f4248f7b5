"""qwq bench sandbox_server [--json] [--out FILE] [--rounds N] [--seconds S] [--requests N]

What the way over HTTP costs, in turns within one run on the same machine:

- programs and session steps through `qwq sandbox serve`, in a process of its own, against the same
  pool used directly;
- the server against aiohttp's own, bare, before a sandbox that answers at once: processor time of
  the server for a request with 64, 256 and 1,024 in flight, and for what a stranger without the
  token sends in one-byte chunks;
- the client against aiohttp used bare, and against httpx (at 64 only), before a server that
  answers at once: processor time of the client for a request.

Figures are medians over the rounds with their 95 % bootstrap intervals; a ratio is taken within a
round. Quote the ratios: the times are the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import httpx

sys.path.insert(0, str(Path(__file__).parent))

from _http_servers import TOKEN
from _result import run
from _rounds import alternate, spread

from qwq_env.sandbox import LocalSandbox, RemoteSandbox, Sandbox
from qwq_env.sandbox.http_pool import HttpPool

CALLERS: Final = 64
IN_FLIGHT: Final = (64, 256, 1024)
PROGRAM: Final = "print(1)"
REQUEST: Final = b'{"code": "print(1)", "stdin": "", "limits": {}, "argv": []}'
HEADERS: Final = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
CHUNKS: Final = 100_000
LAUNCH: Final = "import sys; from qwq_env.cli import main; sys.exit(main())"
Work = Callable[[], Awaitable[Any]]


class Cost(NamedTuple):
    """What requests came to, each."""

    cpu_ms: float
    per_s: float


async def per_second(works: Sequence[Work], seconds: float) -> float:
    """Let each caller repeat its own work for so long; returns how often all did it together."""
    end = time.perf_counter() + seconds
    done = 0

    async def caller(work: Work) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await work()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*map(caller, works))
    return done / (time.perf_counter() - began)


async def requests(post: Work, in_flight: int, count: int) -> None:
    """Do `count` requests, so many at a time."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await post()

    await asyncio.gather(*(caller() for _ in range(in_flight)))


async def cost(post: Work, in_flight: int, count: int, processor_time: Callable[[], float]) -> Cost:
    """Measure requests on connections that are there already."""
    await requests(post, in_flight, 2 * in_flight)
    cpu, began = processor_time(), time.perf_counter()
    await requests(post, in_flight, count)
    seconds, cpu = time.perf_counter() - began, processor_time() - cpu
    return Cost(1e3 * cpu / count, count / seconds)


class Served:
    """A server in a process of its own, and the processor time that it has used."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        self.url = next(word for word in words if word.startswith("http://")).rstrip(":")

    def cpu_seconds(self) -> float:
        """Return what its one thread has used."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0]) / 1e9

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()


@contextlib.contextmanager
def server_of(side: str) -> Iterator[Served]:
    """Run one of `_http_servers.py`."""
    server = Served(str(Path(__file__).with_name("_http_servers.py")), side)
    try:
        yield server
    finally:
        server.close()


@contextlib.asynccontextmanager
async def by_pool(url: str) -> Any:
    """The sandbox client's connections."""
    pool = HttpPool(url, list(HEADERS.items()))

    async def post() -> None:
        assert (await pool.request("POST", "/v1/run", REQUEST)).status == 200

    try:
        yield post
    finally:
        await pool.aclose()


@contextlib.asynccontextmanager
async def by_aiohttp(url: str) -> Any:
    """aiohttp without a limit and without ours around it."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def post() -> None:
            async with session.post(f"{url}/v1/run", data=REQUEST) as answer:
                await answer.read()
                assert answer.status == 200

        yield post


@contextlib.asynccontextmanager
async def by_httpx(url: str) -> Any:
    """httpx without a limit."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        limits=limits, timeout=None, trust_env=False, headers=HEADERS
    ) as client:

        async def post() -> None:
            assert (await client.post(f"{url}/v1/run", content=REQUEST)).status_code == 200

        yield post


async def client_cost(open_client: Any, url: str, in_flight: int, count: int) -> Cost:
    """What a request costs this client."""
    async with open_client(url) as post:
        return await cost(post, in_flight, count, time.process_time)


async def server_cost(server: Served, in_flight: int, count: int) -> Cost:
    """What a request costs this server."""
    async with by_pool(server.url) as post:
        return await cost(post, in_flight, count, server.cpu_seconds)


async def strangers_cost(server: Served) -> float:
    """Milliseconds of the server's for a body in one-byte chunks of who has no token."""
    before = server.cpu_seconds()
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/run HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\n \r\n" * CHUNKS)
    line = await reader.readline()
    writer.close()
    assert line.split()[1] == b"401", line
    await asyncio.sleep(0.1)
    return 1e3 * (server.cpu_seconds() - before)


def figures(values: Sequence[float]) -> dict[str, float]:
    """Return the median and its interval, rounded."""
    return {name: float(f"{value:.4g}") for name, value in spread(values).items()}


def compared(costs: Mapping[str, Sequence[Cost]], base: str) -> dict[str, Any]:
    """Return each side's figures, and its processor time over that of `base`, round by round."""
    return {
        name: {
            "cpu_ms": figures([row.cpu_ms for row in rows]),
            "per_s": figures([row.per_s for row in rows]),
            f"cpu_over_{base}": figures(
                [row.cpu_ms / other.cpu_ms for row, other in zip(rows, costs[base], strict=True)]
            ),
        }
        for name, rows in costs.items()
    }


def servers(runner: asyncio.Runner, options: argparse.Namespace) -> dict[str, Any]:
    """Our server and aiohttp's."""
    with server_of("ours") as ours, server_of("aiohttp") as theirs:
        sides = {"ours": ours, "aiohttp": theirs}
        found: dict[str, Any] = {}
        for in_flight in IN_FLIGHT:
            turns = {
                name: lambda side=side, in_flight=in_flight: runner.run(
                    server_cost(side, in_flight, max(options.requests, 2 * in_flight))
                )
                for name, side in sides.items()
            }
            found[str(in_flight)] = compared(alternate(turns, options.rounds), "aiohttp")
        strangers = alternate(
            {
                name: lambda side=side: runner.run(strangers_cost(side))
                for name, side in sides.items()
            },
            options.rounds,
        )
    found["strangers_chunks_cpu_ms"] = {name: figures(rows) for name, rows in strangers.items()}
    return found


def clients(runner: asyncio.Runner, options: argparse.Namespace) -> dict[str, Any]:
    """Our client, aiohttp used bare, httpx."""
    sides = {"ours": by_pool, "aiohttp": by_aiohttp, "httpx": by_httpx}
    found = {}
    with server_of("stub") as server:
        for in_flight in IN_FLIGHT:
            turns = {
                name: lambda side=side, in_flight=in_flight, few=name == "httpx": runner.run(
                    client_cost(
                        side,
                        server.url,
                        in_flight,
                        CALLERS if few else max(options.requests, 2 * in_flight),
                    )
                )
                for name, side in sides.items()
                if name != "httpx" or in_flight == IN_FLIGHT[0]
            }
            found[str(in_flight)] = compared(alternate(turns, options.rounds), "aiohttp")
    return found


async def use(sandbox: Sandbox, seconds: float) -> dict[str, float]:
    """Programs and session steps of one sandbox."""

    async def program() -> None:
        result = await sandbox.run(PROGRAM)
        assert result.stdout == "1\n", result

    sessions = [await sandbox.open_session() for _ in range(8)]
    try:
        steps = [lambda session=session: session.run("1 + 1") for session in sessions]
        return {
            "oneshot_p50_ms": await median_ms(program),
            "oneshot_per_s": await per_second([program] * CALLERS, seconds),
            "session_step_p50_ms": await median_ms(steps[0]),
            "session_steps_per_s": await per_second(steps, seconds),
        }
    finally:
        for session in sessions:
            await session.aclose()


async def median_ms(work: Work, times: int = 50) -> float:
    """Milliseconds of one use by one caller."""
    durations = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations) * 1e3


def sandboxes(runner: asyncio.Runner, options: argparse.Namespace) -> dict[str, Any]:
    """The sandbox used directly and over HTTP."""
    server = Served("-c", LAUNCH, "sandbox", "serve", "--port", "0")
    sides: dict[str, Sandbox] = {"local": LocalSandbox(), "http": RemoteSandbox(server.url)}
    try:
        for sandbox in sides.values():
            runner.run(sandbox.run(PROGRAM))
        turns = {
            name: lambda sandbox=sandbox: runner.run(use(sandbox, options.seconds))
            for name, sandbox in sides.items()
        }
        rounds = alternate(turns, options.rounds)
    finally:
        for sandbox in sides.values():
            runner.run(sandbox.aclose())
        server.close()
    return {
        key: {
            "local": figures([row[key] for row in rounds["local"]]),
            "http": figures([row[key] for row in rounds["http"]]),
            "http_over_local": figures(
                [
                    there[key] / here[key]
                    for here, there in zip(rounds["local"], rounds["http"], strict=True)
                ]
            ),
        }
        for key in rounds["local"][0]
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every figure, in one run."""
    with asyncio.Runner() as runner:
        return {
            "cores": len(os.sched_getaffinity(0)),
            "load_at_start": round(os.getloadavg()[0], 1),
            "rounds": options.rounds,
            "sandbox": sandboxes(runner, options),
            "servers": servers(runner, options),
            "clients": clients(runner, options),
        }


def table(found: Mapping[str, Any]) -> str:
    """Return a line for each figure."""
    lines = [f"{'':24}{'local':>10}{'http':>10}{'ratio':>8}  {'95 %':^16}"]
    for key, row in found["sandbox"].items():
        local, http, over = row["local"], row["http"], row["http_over_local"]
        lines.append(
            f"{key:24}{local['median']:>10g}{http['median']:>10g}{over['median']:>8g}"
            f"  {over['low']:g} .. {over['high']:g}"
        )
    for what in ("servers", "clients"):
        title = f"{what}, in flight"
        lines.append(f"\n{title:24}{'cpu ms':>10}{'per s':>10}{'/aiohttp':>8}  {'95 %':^16}")
        for in_flight in map(str, IN_FLIGHT):
            for name, row in found[what][in_flight].items():
                over = row["cpu_over_aiohttp"]
                lines.append(
                    f"{in_flight:>6} {name:17}{row['cpu_ms']['median']:>10g}"
                    f"{row['per_s']['median']:>10g}{over['median']:>8g}"
                    f"  {over['low']:g} .. {over['high']:g}"
                )
    strangers = found["servers"]["strangers_chunks_cpu_ms"]
    lines.append(f"\na stranger's {CHUNKS} chunks of a byte, cpu ms:")
    lines += [f"  {name:22}{row['median']:>10g}" for name, row in strangers.items()]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Measure, print a table or JSON, write the result where `--out` says."""
    parser = argparse.ArgumentParser(
        prog="qwq bench sandbox_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7, help="in which the sides take turns")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a sandbox's measurement")
    parser.add_argument("--requests", type=int, default=2000, help="of a measurement")
    run(parser, argv, measure, table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
