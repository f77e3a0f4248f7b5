"""A policy that samples from vLLM servers over HTTP: token ids in, token ids out.

Each rank has a policy of its own and asks any of the servers; nothing is gathered across ranks.
Start a server so that log-probabilities are those of the distribution drawn from, and each of
several with a number of its own, for vLLM seeds every engine alike (`--seed` is 0):

    vllm serve MODEL --logprobs-mode processed_logprobs --seed N

From `generate` to a token: `VllmPolicy.generate` picks a server and tries again elsewhere;
`VllmServer` sends one request, with as many in flight as it may have; `vllm_wire` writes the body
and reads the answer; `Liveness` ends the run when no server is left. The weights on
the servers are `qwq_env.training.weights`' affair, and change only between rollouts.

The client is aiohttp. httpx looks at every open request for every request: it took 35 times the
processor time at 256 requests in flight and was not done in time at 1,024; spread over 16 clients
of 32 requests each it still took 6 to 10 times as much (`benchmarks/http_clients.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp

from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.client import base_address
from qwq_env.http.liveness import Liveness
from qwq_env.http.retries import pause
from qwq_env.rollout.policy import Generation, GenerationRequest, NoLogprobs, Policy
from qwq_env.rollout.vllm_server import ContextFull, Unserved, VllmServer
from qwq_env.rollout.vllm_wire import completion_body, read_completion


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Bounds on talking to servers.

    `in_flight` requests at a time to each server, the others wait; `seconds` for one from when it
    is sent. None leaves that to what bounds the episode (its own limit, its batch), and gives up
    after a day: whether a server is there is seen without it, and a turn may well take an hour. It
    must be more than its batch has, or the longest turns are played again and thrown away.

    A request that fails on the way (no connection, 429, 5xx) is tried on every server, `attempts`
    times over, with waits between that double from `backoff` seconds. A server that asks to be left
    alone (`Retry-After`) is not asked again before then, or before half an hour is over.

    When no server can be reached, or has an engine that lives, all wait for one to come back; after
    `grace` seconds of it the run ends with `ServersGone`.
    """

    in_flight: int = 1024
    seconds: float | None = None
    attempts: int = 5
    backoff: float = 0.5
    grace: float = 5.0

    def __post_init__(self) -> None:
        for name in ("in_flight", "attempts"):
            check_whole(name, getattr(self, name))
        check_positive("seconds", self.seconds, optional=True)
        for name in ("backoff", "grace"):
            check_positive(name, getattr(self, name))


_LONGEST = 86_400.0
_LEFT_ALONE = 1800.0


class _Connections(NamedTuple):
    """What belongs to one event loop."""

    session: aiohttp.ClientSession
    servers: list[VllmServer]
    liveness: Liveness


class VllmPolicy(Policy):
    """Samples from one or more vLLM servers of the same model.

    An episode keeps to one server, whose prefix cache holds it; a failing one is passed over. A new
    one goes where the fewest of this process are, in turn from a place that its rank gives.
    `engines` is how many each server has (`--data-parallel-size`): an episode then keeps to one of
    them, by the header `X-data-parallel-rank`, for each has a prefix cache of its own and the
    server would choose anew at every turn.
    `max_tokens` of a turn is bounded by what is left of the server's context, which is asked from
    it. Cancelling a turn closes its connection, and vLLM then drops the request. Usable from
    several event loops; `aclose` before a loop ends, or its sockets stay until collected.

    With `seeded` each request carries a seed, so that a turn can be drawn again: as long as the
    arithmetic is the same, which with other requests in the batch it is not to the last bit.
    What it costs: vLLM draws for each such request by itself, in a loop, and leaves its faster
    samplers. vLLM on CPU dies of it where a prompt is read in several parts (chunked prefill); a
    server in development mode tells, and is refused. What it is good for besides: vLLM seeds
    every engine from `--seed`, those of one data-parallel server too, so that the samples of one
    prompt can be the same on two of them. Servers are better started with a `--seed` each; the
    engines of one server cannot be.
    """

    elsewhere = True

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        model: str | None = None,
        adapter: str | None = None,
        settings: HttpSettings | None = None,
        api_key: str | None = None,
        seeded: bool = False,
        engines: int = 1,
    ) -> None:
        """`model` is the name to ask for, by default the first that the server names. `adapter` is
        that of an adapter on it, which `AdapterWeightSync` brings; it is asked for then.

        Raises `UsageError` for an address or a key that cannot be one.
        """
        check_whole("engines", engines)
        self.urls = server_urls(urls)
        self._settings = settings or HttpSettings()
        self._model, self._adapter = model, adapter
        self._key = ApiKey(api_key)
        self._seeded = seeded
        self._engines = engines
        self.request_seconds = self._settings.seconds
        self._next = 0
        self._place_of: dict[str, int] = {}
        self._episodes = [0] * (len(self.urls) * engines)
        self._left_out: frozenset[str] = frozenset()
        self._of_loop: dict[asyncio.AbstractEventLoop, _Connections] = {}

    def __repr__(self) -> str:
        return f"VllmPolicy({list(self.urls)!r})"

    def place(self, rank: int, ranks: int) -> None:
        """Begin at the place of this rank's number, so that ranks with few episodes spread out."""
        self._next = rank % len(self._episodes)

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn on a server.

        A context that the server cannot take ends at once with no token and reason "length".
        Raises `InfrastructureError` when no server served it, or one turned the request down;
        `ServersGone` when none is there any more; `UsageError` when the key, the address or the
        model asked for is wrong.
        """
        _, servers, liveness = await self._connections()
        async with liveness.watching():
            return await self._generate(request, servers, liveness)

    async def _generate(
        self, request: GenerationRequest, servers: Sequence[VllmServer], liveness: Liveness
    ) -> Generation:
        clock = asyncio.get_running_loop().time
        alone_until = [0.0] * len(servers)
        failure: Unserved | None = None
        for attempt in range(self._settings.attempts):
            if attempt:
                asked = max(0.0, min(alone_until) - clock())
                await asyncio.sleep(asked + pause(attempt, self._settings.backoff))
            for index in self._order(request.episode, servers, liveness):
                if clock() < alone_until[index]:
                    continue
                try:
                    generation = await self._sample(servers[index], request, liveness)
                except Unserved as error:
                    failure = error
                    after = min(error.after, self._settings.seconds or _LEFT_ALONE)
                    alone_until[index] = clock() + after
                    liveness.failed(
                        servers[index].url, str(error), answered=error.busy, after=after
                    )
                    continue
                except InfrastructureError as error:
                    kind = NoLogprobs if isinstance(error, NoLogprobs) else InfrastructureError
                    raise kind(f"vllm: {error}") from None
                self._settle(request.episode, index)
                return generation
            # Also behind the last attempt: whoever tries the episode again finds a server then.
            await liveness.settled()
        raise InfrastructureError(f"vllm: {self._settings.attempts} attempts; the last: {failure}")

    def weights_pushed(self, version: int, servers: Sequence[str]) -> None:
        """Ask only these servers, where they are any of this policy's: the others have older
        weights. An address that hides several, as a gateway's does, is asked as before."""
        super().weights_pushed(version, servers)
        others = frozenset(self.urls) - frozenset(servers)
        self._left_out = others if len(others) < len(self.urls) else frozenset()

    async def release(self, episode: str) -> None:
        """Forget which server the episode was on."""
        if (place := self._place_of.pop(episode, None)) is not None:
            self._episodes[place] -= 1

    async def aclose(self) -> None:
        """Close the connections of this event loop, and what others left that have ended."""
        loop = asyncio.get_running_loop()
        await self._forget_ended()
        if (connections := self._of_loop.pop(loop, None)) is not None:
            for server in connections.servers:
                await server.aclose()
            await connections.session.close()

    async def context(self) -> int:
        """Return the context in tokens that every server can take."""
        servers = (await self._connections()).servers
        try:
            return min(
                [
                    (await server.served()).context
                    for server in servers
                    if server.url not in self._left_out
                ]
            )
        except Unserved as error:
            raise InfrastructureError(f"vllm: {error}") from None

    async def _sample(
        self, server: VllmServer, request: GenerationRequest, liveness: Liveness
    ) -> Generation:
        served = await server.served()
        max_tokens = min(request.max_tokens, served.context - len(request.ids))
        if max_tokens < 1:
            return Generation([], [], "length")
        if self._seeded and served.dies_of_seeds:
            raise UsageError(
                f"vllm seeded: {server.url} runs on CPU with chunked prefill and would die of a"
                " seed; expected seeded=False, or a server with --no-enable-chunked-prefill"
            )
        body = completion_body(request, served.model, max_tokens, seeded=self._seeded)
        engine = self._place_of[request.episode] // len(self.urls)
        headers = {"X-data-parallel-rank": str(engine)} if self._engines > 1 else {}
        try:
            answer = await server.complete(body, self._settings.seconds or _LONGEST, headers)
        except ContextFull:
            return Generation([], [], "length")
        liveness.served(server.url)
        try:
            return read_completion(answer, max_tokens)
        except InfrastructureError as error:
            kind = NoLogprobs if isinstance(error, NoLogprobs) else InfrastructureError
            raise kind(f"{server.url}: {self._key.shown(str(error))}") from None
        except UsageError as error:
            raise UsageError(f"vllm: {server.url}: {error}") from None

    def _order(self, episode: str, servers: Sequence[VllmServer], liveness: Liveness) -> list[int]:
        """Return the servers in the order to try: the episode's own first, tired ones last."""
        asked = [server.url not in self._left_out for server in servers]
        tired = [
            not known or server.resting or liveness.in_doubt(server.url)
            for server, known in zip(servers, asked, strict=True)
        ]
        if episode not in self._place_of:
            self._place_of[episode] = self._emptiest(tired)
            self._episodes[self._place_of[episode]] += 1
        first = self._place_of[episode] % len(servers)
        rotated = [(first + step) % len(servers) for step in range(len(servers))]
        return sorted((place for place in rotated if asked[place]), key=tired.__getitem__)

    def _emptiest(self, tired: Sequence[bool]) -> int:
        """Return the place with the fewest episodes; of several, the next in turn.

        A place is an engine of a server; neighbours are on different servers. Tired servers come
        last.
        """
        count = len(self._episodes)
        turn = [(self._next + step) % count for step in range(count)]
        chosen = min(turn, key=lambda place: (tired[place % len(tired)], self._episodes[place]))
        self._next = (chosen + 1) % count
        return chosen

    def _settle(self, episode: str, server: int) -> None:
        """Note that an episode is on that server now, on the engine of the same number."""
        before = self._place_of[episode]
        place = before - before % len(self.urls) + server
        self._episodes[before] -= 1
        self._episodes[place] += 1
        self._place_of[episode] = place

    async def _connections(self) -> _Connections:
        loop = asyncio.get_running_loop()
        if loop not in self._of_loop:
            await self._forget_ended()
        if loop not in self._of_loop:
            session = aiohttp.ClientSession(
                headers={"Content-Type": "application/json", **self._key.headers()},
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            )
            servers = [
                VllmServer(
                    url, session, in_flight=self._settings.in_flight, model=self._model,
                    key=self._key, adapter=self._adapter,
                )
                for url in self.urls
            ]  # fmt: skip
            by_url = {server.url: server for server in servers}
            liveness = Liveness(
                by_url,
                lambda url: by_url[url].probe(),
                grace=self._settings.grace,
                heartbeat=True,
            )
            self._of_loop[loop] = _Connections(session, servers, liveness)
        return self._of_loop[loop]

    async def _forget_ended(self) -> None:
        for loop in [loop for loop in self._of_loop if loop.is_closed()]:
            await self._of_loop.pop(loop).session.close()


def server_urls(urls: str | Sequence[str]) -> tuple[str, ...]:
    """Return the addresses without a trailing slash. Raises `UsageError` for what is none."""
    given = [urls] if isinstance(urls, str) else urls
    return tuple(base_address("vllm url", url) for url in given or ("",))
