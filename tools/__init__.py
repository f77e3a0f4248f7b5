"""The tools that come with the library, by name.

```python
make_tool("calculator")
make_tool(PythonTool(seconds=5))   # a tool as it is
```

A tool's module is imported when it is first made, so naming them costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from qwq_env._lazy import lazy_exports
from qwq_env.errors import UsageError, unknown
from qwq_env.tool import Tool

if TYPE_CHECKING:
    from qwq_env.tools.calculator import Calculator as Calculator
    from qwq_env.tools.mcp import McpServer as McpServer
    from qwq_env.tools.mcp import McpTool as McpTool
    from qwq_env.tools.python import PythonTool as PythonTool
    from qwq_env.tools.search import CachedSearch as CachedSearch
    from qwq_env.tools.search import Passage as Passage
    from qwq_env.tools.search import SearchBackend as SearchBackend
    from qwq_env.tools.search import SearchTool as SearchTool
    from qwq_env.tools.search.index import LocalIndex as LocalIndex
    from qwq_env.tools.search.memory import MemoryIndex as MemoryIndex
    from qwq_env.tools.search.servers import Brave as Brave
    from qwq_env.tools.search.servers import RetrieveServer as RetrieveServer
    from qwq_env.tools.search.servers import SearXNG as SearXNG
    from qwq_env.tools.search.servers import Serper as Serper
    from qwq_env.tools.search.servers import Tavily as Tavily
else:
    _lazy, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "calculator": "Calculator",
            "python": "PythonTool",
            "search": "SearchTool CachedSearch Passage SearchBackend",
            "search.index": "LocalIndex",
            "search.memory": "MemoryIndex",
            "search.servers": "RetrieveServer Serper Tavily Brave SearXNG",
            "mcp": "McpServer McpTool",
        },
    )
    __all__ = ["TOOLS", "make_tool", "make_tools", *_lazy]

TOOLS: Final = {
    "calculator": ("qwq_env.tools.calculator", "Calculator"),
    "python": ("qwq_env.tools.python", "PythonTool"),
    "search": ("qwq_env.tools.search", "SearchTool"),
}
"""Every name `make_tool` knows, with the module and the class behind it."""


def make_tool(tool: str | Tool) -> Tool:
    """Return the tool of that name with its defaults, or `tool` itself if it is one already.

    Raises `UsageError` for a name that is not known ("did you mean"), and for a tool that
    cannot be made without more being said (`search` needs to be told where to search).
    """
    if isinstance(tool, Tool):
        return tool
    if not isinstance(tool, str):
        raise UsageError(f"tool: {tool!r} is neither a Tool nor a name; known: {', '.join(TOOLS)}")
    if tool not in TOOLS:
        raise unknown("tool", tool, TOOLS)
    module, name = TOOLS[tool]
    made: Tool = getattr(importlib.import_module(module), name)()
    return made


def make_tools(tools: Sequence[str | Tool]) -> list[Tool]:
    """Return a tool for each name; see `make_tool`.

    Raises `UsageError` for one name in place of a list of them, too.
    """
    if isinstance(tools, str | Tool):
        raise UsageError(f"tools: {tools!r:.80} alone; expected a list, such as [{tools!r:.80}]")
    if not isinstance(tools, list | tuple):
        raise UsageError(f"tools: {tools!r:.80}; expected a list of names and Tools")
    return [make_tool(tool) for tool in tools]
