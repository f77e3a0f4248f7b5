"""Chat endpoints by name: where they are, whose key they want, how they bound thinking."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError, unknown


class Endpoint(NamedTuple):
    """A provider's address and the environment variable with its key.

    `thinking` is what a request carries to bound the thinking, with None where the number of
    tokens goes; a server that has no such setting has none.
    """

    url: str
    key_variable: str = "OPENAI_API_KEY"
    thinking: Mapping[str, Any] | None = None

    def bounded(self, tokens: int) -> dict[str, Any]:
        """Return what a request carries to bound its thinking. Raises `UsageError` if it cannot."""
        if self.thinking is None:
            raise UsageError(
                f"thinking_tokens: {tokens}; it is not known how {self.url} is told. --vllm bounds"
                " exactly; --extra sends a server's own setting, such as"
                f" '{{\"thinking_token_budget\": {tokens}}}' to vLLM with a reasoning parser"
            )
        return {name: _filled(value, tokens) for name, value in self.thinking.items()}


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "dashscope": Endpoint(
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        {"enable_thinking": True, "thinking_budget": None},
    ),
    "dashscope-intl": Endpoint(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        {"enable_thinking": True, "thinking_budget": None},
    ),
    "deepseek": Endpoint("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "openai": Endpoint("https://api.openai.com/v1"),
    "openrouter": Endpoint(
        "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", {"reasoning": {"max_tokens": None}}
    ),
    "together": Endpoint("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
}
"""The names that `qwq eval --endpoint` takes beside addresses."""


def find_endpoint(given: str, key_variable: str | None = None) -> Endpoint:
    """Return the endpoint of a name or an address, with another key if one is named.

    Raises `UsageError` for a name that is not known.
    """
    found = ENDPOINTS.get(given)
    if found is None and get_close_matches(given, ENDPOINTS):
        raise unknown("endpoint", given, ENDPOINTS)
    found = found or Endpoint(given)
    return found if key_variable is None else found._replace(key_variable=key_variable)


def _filled(value: Any, tokens: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(each, tokens) for name, each in value.items()}
    return tokens if value is None else value
