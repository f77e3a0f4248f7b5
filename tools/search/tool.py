"""The `search` tool: a question in words, passages out.

```python
tool = SearchTool(LocalIndex("passages.jsonl"))                # BM25 on this machine
tool = SearchTool(RetrieveServer("http://127.0.0.1:8000"))     # Search-R1's server
tool = SearchTool(CachedSearch(Serper(key=...)))               # the web, each question paid once
```

Where passages come from is a `SearchBackend`: one method. Episodes share it; whoever made it
closes it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from qwq_env.errors import ToolError, UsageError
from qwq_env.tool import Tool, ToolResult

_MOST_QUERY_CHARACTERS: Final = 1_000


class Passage(NamedTuple):
    """A found text, with the title and the address or id it is known by (`""` if none)."""

    text: str
    title: str = ""
    source: str = ""


class SearchBackend(ABC):
    """Finds passages. Safe to use from many tasks at once, and from any event loop."""

    @abstractmethod
    async def search(self, query: str, count: int) -> list[Passage]:
        """Return at most `count` passages, the best first.

        `query` is the model's text, not empty, and means nothing but words. Raises
        `InfrastructureError` when the machinery failed, `UsageError` when the operator must
        mend something (a wrong key, a corpus that cannot be read).
        """

    async def aclose(self) -> None:
        """Free what is held; idempotent."""
        return None


class SearchTool(Tool):
    """Shows the best passages for a query, numbered, each with its title.

    `count` passages of at most `characters` each.
    """

    name = "search"
    replay = "idempotent"
    description = "Search for passages that answer a question. Returns the best few, with titles."
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for, in plain words."}
        },
        "required": ["query"],
        "additionalProperties": False,
    }

    def __init__(
        self, backend: SearchBackend | None = None, *, count: int = 3, characters: int = 1_500
    ) -> None:
        if backend is None:
            raise UsageError(
                "search tool, backend: none given; expected a SearchBackend, for example "
                "SearchTool(LocalIndex('passages.jsonl')) or SearchTool(RetrieveServer(url))"
            )
        whole = isinstance(count, int) and isinstance(characters, int)
        if not (whole and 1 <= count <= 100 and characters >= 1):
            raise UsageError(
                f"search tool: count {count!r}, characters {characters!r}; "
                "expected 1 to 100 passages of at least 1 character"
            )
        self.backend = backend
        self.count = count
        self.characters = characters

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Search for `arguments["query"]`."""
        # One line of valid text, whatever was written: back-ends send and log it.
        query = " ".join(arguments["query"].encode("utf-8", "replace").decode("utf-8").split())
        if not query:
            raise ToolError("the query is empty; write what to look for")
        if len(query) > _MOST_QUERY_CHARACTERS:
            raise ToolError(f"the query is longer than {_MOST_QUERY_CHARACTERS} characters")
        passages = (await self.backend.search(query, self.count))[: self.count]
        sources = [passage.source for passage in passages]
        return ToolResult(show(passages, self.characters), {"sources": sources})


def show(passages: list[Passage], characters: int) -> str:
    """Return the passages as the model reads them, one paragraph each."""
    if not passages:
        return "No passages were found; try other words."
    return "\n".join(
        f"Doc {number} (Title: {_line(passage.title, 200) or 'none'}) "
        f"{_line(passage.text, characters)}"
        for number, passage in enumerate(passages, 1)
    )


def _line(text: str, limit: int) -> str:
    # On one line, a passage cannot pretend to be the next one.
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}..."


class CachedSearch(SearchBackend):
    """Asks another back-end each question once, also when it is asked many times at once.

    Why you would want this: the episodes of a group ask alike, and the web is slow, paid, and
    changes from one minute to the next. Keeps the last `size` answers.
    """

    def __init__(self, backend: SearchBackend, *, size: int = 100_000) -> None:
        self.backend = backend
        self._size = size
        self._answers: OrderedDict[tuple[str, int], list[Passage]] = OrderedDict()
        self._asked: dict[tuple[str, int, int], asyncio.Task[list[Passage]]] = {}

    async def search(self, query: str, count: int) -> list[Passage]:
        """See `SearchBackend.search`."""
        key = (query, count)
        if key in self._answers:
            self._answers.move_to_end(key)
            return list(self._answers[key])
        loop = asyncio.get_running_loop()
        asked = (query, count, id(loop))
        if asked not in self._asked:
            self._asked[asked] = loop.create_task(self.backend.search(query, count))
            self._asked[asked].add_done_callback(lambda _: self._asked.pop(asked, None))
        # Shielded: one asker who gives up must not take the answer from the others.
        answer = await asyncio.shield(self._asked[asked])
        self._answers[key] = answer
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)
        return list(answer)

    async def aclose(self) -> None:
        """See `SearchBackend.aclose`."""
        await self.backend.aclose()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_asked": {}}
