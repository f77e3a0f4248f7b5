"""The protocols of search servers: Search-R1's own, and the web through four providers.

Each class knows how a question is sent, and where the passages stand in the answer.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from qwq_env.errors import InfrastructureError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.client import base_address
from qwq_env.tools.search.http_client import DEFAULT_SETTINGS, HttpSettings, SearchClient
from qwq_env.tools.search.index import split_contents
from qwq_env.tools.search.tool import Passage, SearchBackend


class _Server(SearchBackend):
    """A backend that asks a server."""

    _http: SearchClient

    async def aclose(self) -> None:
        """See `SearchBackend.aclose`."""
        await self._http.aclose()


class RetrieveServer(_Server):
    """Search-R1's `POST /retrieve`: `{queries, topk, return_scores}`.

    `url` is the server's address, with or without `/retrieve`.
    """

    def __init__(self, url: str, *, settings: HttpSettings = DEFAULT_SETTINGS) -> None:
        self.url = base_address("retrieve server, url", url).removesuffix("/retrieve") + "/retrieve"
        self._http = SearchClient("retrieve server", settings)

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        question = {"queries": [query], "topk": count, "return_scores": True}
        answer = await self._http.ask("POST", self.url, body=question)
        found = _at(answer, "result", "retrieve server")
        rows = found[0] if isinstance(found, list) and found else None
        # Without scores the documents stand there bare.
        return [
            split_contents(_text(document, "contents"), _text(document, "id"))
            for document in (row.get("document", row) for row in _rows(rows, "retrieve server"))
            if isinstance(document, dict)
        ]


class Serper(_Server):
    """Google's results by way of serper.dev."""

    def __init__(
        self,
        key: str,
        *,
        url: str = "https://google.serper.dev/search",
        settings: HttpSettings = DEFAULT_SETTINGS,
    ) -> None:
        self.url = base_address("serper, url", url)
        self._http = SearchClient("serper", settings, _key("serper", key, header="X-API-KEY"))

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        answer = await self._http.ask("POST", self.url, body={"q": query, "num": count})
        return _passages(_at(answer, "organic", "serper"), "serper", "snippet", "link")


class Tavily(_Server):
    """tavily.com's results, with longer extracts."""

    def __init__(
        self,
        key: str,
        *,
        url: str = "https://api.tavily.com/search",
        settings: HttpSettings = DEFAULT_SETTINGS,
    ) -> None:
        self.url = base_address("tavily, url", url)
        self._http = SearchClient("tavily", settings, _key("tavily", key))

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        question = {"query": query, "max_results": count}
        answer = await self._http.ask("POST", self.url, body=question)
        return _passages(_at(answer, "results", "tavily"), "tavily", "content", "url")


class Brave(_Server):
    """Brave's own web index."""

    def __init__(
        self,
        key: str,
        *,
        url: str = "https://api.search.brave.com/res/v1/web/search",
        settings: HttpSettings = DEFAULT_SETTINGS,
    ) -> None:
        self.url = base_address("brave, url", url)
        self._http = SearchClient(
            "brave", settings, _key("brave", key, header="X-Subscription-Token")
        )

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        answer = await self._http.ask(
            "GET",
            self.url,
            # Brave refuses longer questions and larger pages.
            params={"q": query[:400], "count": min(count, 20)},
        )
        web = answer.get("web") if isinstance(answer, dict) else None
        # A question without web results is answered without the section.
        rows = web.get("results", []) if isinstance(web, dict) else []
        found = _passages(rows, "brave", "description", "url")
        return [passage._replace(text=_without_markup(passage.text)) for passage in found]


class SearXNG(_Server):
    """A metasearch server of one's own; its settings must allow the `json` format."""

    def __init__(self, url: str, *, settings: HttpSettings = DEFAULT_SETTINGS) -> None:
        self.url = base_address("searxng, url", url).removesuffix("/search") + "/search"
        self._http = SearchClient("searxng", settings)

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        answer = await self._http.ask("GET", self.url, params={"q": query, "format": "json"})
        return _passages(_at(answer, "results", "searxng"), "searxng", "content", "url")[:count]


def _passages(rows: Any, name: str, text: str, source: str) -> list[Passage]:
    return [
        Passage(_text(row, text), _text(row, "title"), _text(row, source))
        for row in _rows(rows, name)
    ]


def _at(answer: Any, key: str, name: str) -> Any:
    if not isinstance(answer, dict) or key not in answer:
        raise InfrastructureError(f"{name}: the answer has no {key!r}")
    return answer[key]


def _rows(rows: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InfrastructureError(f"{name}: the answer's results are not a list of objects")
    return rows


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)


def _without_markup(text: str) -> str:
    return html.unescape(re.sub(r"</?[a-z]+>", "", text))


def _key(name: str, key: str, header: str = "Authorization") -> ApiKey:
    # None would be no key at all.
    return ApiKey(key if isinstance(key, str) else "", f"{name}, key", header=header)
