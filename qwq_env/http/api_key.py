"""A server's key: it goes into one header, and nowhere else.

Servers echo what they were sent: in an error, in a broken header, in a reply. Whatever of a
server's words is kept or shown passes through `ApiKey.hidden` first, and is cut to length only
afterwards, for a cut through the key would leave most of it.
"""

from __future__ import annotations

import base64
import html
import os
import re
from functools import partial
from typing import Any, Final, Self

from qwq_env.errors import UsageError

_DISTINCTIVE: Final = 8
"""Characters from which on a key is no word that a model may write by itself (EMPTY, none)."""
_SHOWN: Final = 500
"""Characters of a server's words that are passed on."""


class ApiKey:
    """The key for a server, or none. It is not part of its own `repr`.

    It is sent in `header`: as a bearer's token in `Authorization`, bare in any other. A pickle of
    one that a variable holds has the variable's name in it, and is the key that it holds elsewhere.
    """

    __slots__ = ("_header", "_key", "_pattern", "_variable")

    def __init__(
        self, key: str | None, name: str = "api_key", *, header: str = "Authorization"
    ) -> None:
        """Raises `UsageError`, which names `name` and does not show the key, for a bad one."""
        if key is not None and not (
            key.isascii() and key.isprintable() and key == key.strip() != ""
        ):
            raise UsageError(f"{name}: not printable ASCII; expected the key and nothing around it")
        self._key = key
        self._header = header
        self._pattern = None if key is None else _written(key)
        self._variable: str | None = None

    @classmethod
    def of_variable(cls, variable: str) -> Self:
        """Return the key that an environment variable holds; none if it is not set, or set to
        nothing, the usual way to say so."""
        made = cls(os.environ.get(variable) or None, variable)
        made._variable = variable
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        if self._variable is not None:
            return type(self).of_variable, (self._variable,)
        return partial(type(self), header=self._header), (self._key,)

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"ApiKey({'none' if self._key is None else '***'})"

    @property
    def distinctive(self) -> bool:
        """Whether a text that holds the key can only have it from us.

        A local server's key is often a word such as EMPTY, which a model's reply may well hold.
        """
        return self._key is not None and len(self._key) >= _DISTINCTIVE

    def headers(self) -> dict[str, str]:
        """Return the header that shows the key to the server; empty if there is none."""
        if self._key is None:
            return {}
        bearer = "Bearer " * (self._header == "Authorization")
        return {self._header: bearer + self._key}

    def hidden(self, text: str) -> str:
        """Return a server's words with `***` for the key, also where it is written in escapes, in
        another case, in hex or base64, as a list of codes, or with a line broken inside it."""
        return text if self._pattern is None else self._pattern.sub("***", text)

    def shown(self, words: str) -> str:
        """Return a server's words on one line, without the key, and only then cut to length."""
        return " ".join(self.hidden(words).split())[:_SHOWN]


def _written(key: str) -> re.Pattern[str]:
    """Return a pattern for the ways in which servers write `key`."""
    whole = [key, f"Bearer {key}"]
    encoded = [coded for text in whole for coded in _encoded(text.encode())]
    # Each repetition is bounded, or a reply of backslashes alone would take minutes.
    spelled = r"[\s,'\"]{0,80}".join(map(_spelled, key))
    listed = [_listed(key, form) for form in ("x", "d", "o")]
    forms = "|".join([spelled, *listed, *map(re.escape, encoded)])
    # Nearly everywhere in a long text the first character rules all of them out.
    begins = {f"\\%&{key[0]}ux0", *(f"{ord(key[0]):{form}}"[0] for form in "xdo"), *(
        text[0] for text in encoded)}  # fmt: skip
    first = "".join(map(re.escape, sorted(set("".join(begins)))))
    return re.compile(f"(?=[{first}])(?:{forms})", re.IGNORECASE)


def _spelled(character: str) -> str:
    """Return a pattern for one character as JSON, a URL, HTML, C or `repr` may write it."""
    code = ord(character)
    forms = {character, html.escape(character)}
    literal = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
    escaped = rf"u\{{?0{{0,6}}{code:02x}\}}?|x\{{?{code:02x}\}}?"
    return (
        rf"(?:\\{{0,8}}(?:{escaped}|%(?:25){{0,4}}{code:02x}|&(?:amp;){{0,4}}\#x?0*(?:{code}|{code:x});"
        rf"|{literal})|\\{{1,8}}0?{code:o})"
    )


def _listed(key: str, form: str) -> str:
    """Return a pattern for the codes of a key one by one: `73 6b`, `[115, 107]`, `0x73:0x6b`."""
    between = r"[\s,;:_'\"-]{1,8}"
    return between.join(rf"(?:0[xo]|\\{{1,4}}x?)?0?{ord(character):{form}}" for character in key)


def _encoded(content: bytes) -> list[str]:
    """Return `content` in hex and base64, without the padding."""
    forms = (base64.b64encode(content), base64.urlsafe_b64encode(content))
    return [content.hex(), *(form.decode().rstrip("=") for form in forms)]
