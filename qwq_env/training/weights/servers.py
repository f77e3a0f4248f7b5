"""All servers at a new version, or left out: what vLLM is asked around a change of weights."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import httpx

from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.client import HttpClient, Refused
from qwq_env.rollout.vllm_policy import server_urls

_log = logging.getLogger(__name__)

_ATTEMPTS = 5
"""A connection may break while it lay idle; a server that cannot load will not learn it."""
_PAUSE_SECONDS = 1.0


class Update(NamedTuple):
    """The request that brings a server to a version, and what the operator may have to mend.

    `removal` is a request before it that takes away the old version; a server that was started anew
    has none, and refuses.
    """

    path: str
    body: Mapping[str, Any]
    hint: str
    removal: tuple[str, Mapping[str, Any]] | None = None


class WeightServers:
    """The servers at `urls`, on the side of their weights.

    An update pauses a server (where it has a route for that), asks what the `Update` says, drops
    the keys and values of the old weights, and lets it go on. Requests that are under way end
    before it, on the old weights.

    A server that cannot be reached, or fails, is left out with a warning: it is not to be asked
    until a later update, which tries it again, so one that was started anew has the version by
    then. Fewer than `least` end the training.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        api_key: str | None = None,
        seconds: float = 600.0,
        least: int = 1,
    ) -> None:
        """`seconds` bounds the wait for one answer. Raises `UsageError` for a bad number."""
        self.urls = server_urls(urls)
        check_positive("seconds", seconds)
        check_whole("min_servers", least)
        if least > len(self.urls):
            raise UsageError(f"min_servers: {least}; expected at most {len(self.urls)}, as of urls")
        self._seconds, self._least = seconds, least
        self._http = HttpClient(
            key=ApiKey(api_key), attempts=_ATTEMPTS, seconds=seconds, backoff=_PAUSE_SECONDS
        )

    async def update(self, update: Callable[[str], Update]) -> tuple[str, ...]:
        """Bring every server to what `update` makes of its address; return those that have it.

        Raises `InfrastructureError` when fewer than the least have it, and at once for what no
        server will mend by itself: a wrong key, a route that is closed, weights of another model.
        """
        try:
            results = await asyncio.gather(
                *(self._update(url, update(url)) for url in self.urls), return_exceptions=True
            )
        finally:
            await self._http.aclose()
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, InfrastructureError) or isinstance(failure, Refused):
                raise failure
        if len(results) - len(failures) < self._least:
            raise failures[0]
        for failure in failures:
            _log.warning("weights: a server is left out until the next push: %s", failure)
        return tuple(
            url
            for url, result in zip(self.urls, results, strict=True)
            if not isinstance(result, BaseException)
        )

    async def _update(self, url: str, update: Update) -> None:
        async with self._paused(url):
            try:
                if update.removal is not None:
                    path, body = update.removal
                    with suppress(Refused):
                        await self._post(url + path, body)
                await self._post(url + update.path, update.body)
                await self._forget_prefixes(url)
            except Refused as error:
                if error.status != 404:
                    raise
                words = f"{error.words}; {update.hint}"
                raise Refused(url + update.path, 404, words, error.refusal) from None

    @asynccontextmanager
    async def _paused(self, url: str) -> AsyncIterator[None]:
        """Let requests end and no other begin until this does, if the server can."""
        try:
            await self._post(f"{url}/pause", params={"mode": "wait"})
        except Refused as error:
            if error.status not in (404, 405):
                raise
            yield
            return
        try:
            yield
        except BaseException:
            # What went wrong first is what is told.
            with suppress(InfrastructureError):
                await self._post(f"{url}/resume")
            raise
        await self._post(f"{url}/resume")

    async def _forget_prefixes(self, url: str) -> None:
        """Drop the keys and values of the old weights. vLLM refuses while it still winds up
        requests that were cancelled at the end of the last rollout."""
        deadline = time.monotonic() + self._seconds
        while (await self._post(f"{url}/reset_prefix_cache")).get("success", True) is not True:
            if time.monotonic() > deadline:
                raise InfrastructureError(f"{url}: its prefix cache stays in use")
            await asyncio.sleep(0.05)

    async def _post(
        self,
        url: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        value = await self._http.request("POST", url, self._read, body=body, params=params)
        return value if isinstance(value, dict) else {}

    async def _read(self, response: httpx.Response) -> Any:
        """Return the JSON of an answer. Of an adapter, vLLM says in plain words that it is loaded,
        and of no kind; a gateway's page has one, and is none of its answers."""
        content = await response.aread()
        if not content or "content-type" in response.headers:
            return await self._http.read_json(response) if content else {}
        try:
            return json.loads(content)
        except ValueError:
            return {}
