"""The `search` tool: a question in words, passages out."""

from qwq_env.tools.search.tool import CachedSearch, Passage, SearchBackend, SearchTool

__all__ = ["CachedSearch", "Passage", "SearchBackend", "SearchTool"]
