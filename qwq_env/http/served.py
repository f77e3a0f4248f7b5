"""A chat model behind a server, as plain data: in a recipe, in `gym.make`, on a command line.

- an object, `{"endpoint": "http://127.0.0.1:8000/v1", "model": "qwq", "temperature": 0.7}`: the
  endpoint is an address or one of `ENDPOINTS`, the rest are settings;
- a text, `KIND:URL:MODEL`, such as `judge:http://127.0.0.1:8000/v1:qwq`, without settings.

Users (`qwq_env.users.make_user`) and judges (`qwq_env.envs.reward_models`) are read by this rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.http.client import base_address
from qwq_env.http.endpoints import find_endpoint

_TEXT: Final = re.compile(
    r"(?P<kind>[a-z]+):(?P<url>https?://(?:\[[^\]]*\]|[^:/]+)(?::\d+)?+(?:/[^:]*)?):(?P<model>.*[^:])"
)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Served(NamedTuple):
    """A model on a server: where it is, the name to ask for, and the settings that were said."""

    url: str
    model: str
    settings: dict[str, Any]


def split_served(text: str) -> tuple[str, Served] | None:
    """Return the kind and the model of `KIND:URL:MODEL`; None for another text."""
    found = _TEXT.fullmatch(text)
    return None if found is None else (found["kind"], Served(found["url"], found["model"], {}))


def read_served(given: Mapping[str, Any], known: Collection[str]) -> Served:
    """Return the model that an object describes; its settings may be those `known`.

    An endpoint's name brings the variable with its key along. Raises `UsageError` for a setting
    that is not known, and for an endpoint, a model or a variable that cannot be one. What numbers
    are, those who are given them check.
    """
    said = dict(given)
    for name in said:
        if name not in ("endpoint", "model", *known):
            raise unknown("setting", name, ("endpoint", "model", *known))
    endpoint, model = said.pop("endpoint", None), said.pop("model", None)
    for name, value in (("endpoint", endpoint), ("model", model)):
        if not isinstance(value, str) or not value.strip():
            example = "http://host:port/v1" if name == "endpoint" else "the name to ask for"
            raise UsageError(f"{name}: {brief(value)}; expected {example}")
    variable = said.pop("api_key_variable", None)
    if variable is not None and not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
        # Not shown: it may be the key itself.
        expected = "the name of an environment variable, which holds the key"
        raise UsageError(f"api_key_variable: no name; expected {expected}")
    for name, kind, words in (("extra", Mapping, "an object"), ("seeded", bool, "true or false")):
        if not isinstance(said.get(name), kind | None):
            raise UsageError(f"{name}: {brief(said[name])}; expected {words}")
    found = find_endpoint(endpoint, variable)
    said["api_key_variable"] = found.key_variable
    return Served(base_address("endpoint", found.url), model, said)


@contextmanager
def in_field(field: str) -> Iterator[None]:
    """Have a `UsageError` name the field in which it arose."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{field}: {error}") from None
