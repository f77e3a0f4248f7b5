"""What a server means by refusing a request: who has to act.

Servers say so in a status, in codes and in words, and each in its own way; a reply that has begun
may still end in a refusal, whose status is then anyone's guess. `qwq_env.http.refusal_rules` is
the table of what they say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from qwq_env.http.blamed_setting import blamed_setting
from qwq_env.http.error_body import ErrorBody, read_error
from qwq_env.http.refusal_rules import RULES, TOKENS, RefusalKind

__all__ = ["Refusal", "RefusalKind", "read_refusal", "refusal_kind"]

_NUMBER = re.compile(
    r"(?<![\w.-])(?P<digits>\d{1,3}(?:,\d{3}){1,2}|\d{1,9})(?!\w|\.\d)(?P<exclusive>\W{0,3}exclusive)?"
)
_LEAST_LIMIT = 64
_REQUEST_WORDS = frozenset(
    {"invalid_request_error", "badrequesterror", "invalid_argument", "invalidparameter",
     "validation", "bad_request", "invalid_request"}
)  # fmt: skip


class Refusal(NamedTuple):
    """Who has to act, and what is known of it.

    `operator`: the key, the address, the model or a setting is wrong, and every request will fare
    alike. `context`: the conversation, or it and the tokens asked for, is longer than the server
    can take. `tokens`: more tokens were asked for than it ever gives; `limits` are the numbers it
    names. `call`: the model made a call that the server could not read; `failed` is what it wrote,
    if it is told. `filtered`: the content is not wanted. `thinking_wanted`, `thinking_unwanted`:
    earlier turns must, or must not, hold the field of their thinking. `passing`: it may succeed
    when asked again. `request`: this one request is not wanted, nobody knows why.

    `setting` names what is blamed, `""` where nothing is; `message` is the server's own sentence.
    """

    kind: RefusalKind
    setting: str = ""
    limits: tuple[int, ...] = ()
    failed: str = ""
    message: str = ""


def read_refusal(status: int, body: str, settings: Iterable[str] = ()) -> Refusal:
    """Return what a refusal of this status and body means. Never raises.

    A status of 200 stands for one that came inside a stream: what the error says of itself holds
    then, and what says nothing is passing. `settings` are the names of what was sent.
    """
    error = read_error(body)
    if status == 200:
        status = error.status or (400 if error.codes & _REQUEST_WORDS else 0)
    kind = next((rule.kind for rule in RULES if rule.holds(status, error)), None)
    setting = blamed_setting(error, frozenset(settings))
    if kind is None:
        kind = "operator" if setting else "request" if status else "passing"
    head = error.heads[-1] if error.heads else ""
    return Refusal(
        kind,
        "max_tokens" if kind == "tokens" and not setting else setting,
        _limits(error) if kind == "tokens" else (),
        error.failed,
        head,
    )


def refusal_kind(status: int, body: str) -> RefusalKind:
    """Return who has to act on a refusal of this status and body, see `Refusal`."""
    return read_refusal(status, body).kind


def _limits(error: ErrorBody) -> tuple[int, ...]:
    """Return the numbers that an error names behind the setting, each the largest allowed.

    Small ones are no limits of a reply: the other end of a range, or the number of an error.
    """
    heads = [head[named.end() :] for head in error.heads if (named := TOKENS.search(head))]
    found = [match for head in heads for match in _NUMBER.finditer(head)]
    numbers = (int(match["digits"].replace(",", "")) - bool(match["exclusive"]) for match in found)
    return tuple(number for number in numbers if number >= _LEAST_LIMIT)
