"""Asking a search server: bounded requests in flight, retries, and whose fault a failure is.

The client lives on the library's background loop (`qwq_env.portal`), so that any loop may ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from qwq_env import portal
from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.client import HttpClient, Refused

_ATTEMPTS: Final = 4


class HttpSettings(NamedTuple):
    """`seconds` for one question, all attempts together, and requests `in_flight` at a time.

    `seconds` must stay below `ToolLimits.seconds`, so that a server that hangs counts as
    failed machinery, not as a slow tool. `backoff` is the first pause between attempts.
    """

    seconds: float = 20.0
    in_flight: int = 32
    backoff: float = 0.5


DEFAULT_SETTINGS: Final = HttpSettings()


class SearchClient:
    """Asks one server; may be pickled."""

    def __init__(self, name: str, settings: HttpSettings, key: ApiKey | None = None) -> None:
        """`name` stands in front of every error."""
        check_positive(f"{name}, seconds", settings.seconds)
        check_whole(f"{name}, in_flight", settings.in_flight)
        self.name = name
        self._http = HttpClient(
            key=key,
            in_flight=settings.in_flight,
            attempts=_ATTEMPTS,
            seconds=settings.seconds / 2,
            total=settings.seconds,
            backoff=settings.backoff,
        )

    async def ask(
        self,
        method: str,
        url: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the JSON answered.

        Raises `UsageError` where key or address are refused, `InfrastructureError` otherwise.
        """
        read = self._http.read_json
        try:
            return await portal.reach(
                self._http.request(method, url, read, body=body, params=params)
            )
        except Refused as error:
            kind = UsageError if error.kind == "operator" else InfrastructureError
            raise kind(f"{self.name}: {error}; check the address and the key") from None
        except InfrastructureError as error:
            raise InfrastructureError(f"{self.name}: {error}") from None

    async def aclose(self) -> None:
        """Close the connections; a later question opens new ones."""
        await portal.reach(self._http.aclose())
