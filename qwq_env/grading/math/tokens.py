"""Canonical LaTeX cut into the tokens of expressions: numbers, commands, letters, signs."""

import re

from qwq_env.grading.math.tree import TooComplex, Unreadable

__all__ = ["tokens_of"]

MAX_TOKENS = 12_000
MAX_DIGITS = 4_000

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.\d+|\.\d+|\d+\.?(?!\d))(?:[eE][+-]?\d{1,3}(?!\d))?)|(?P<command>\\[A-Za-z]+)|(?P<letter>[A-Za-z])"
    r"|(?P<other>\\[{}|]|[-+*/^_!'=(){}\[\]|,:<>])|(?P<space>\s+)"
)


def tokens_of(text: str) -> list[str]:
    """The tokens; `mixed` stands between a whole number and the fraction that follows it.

    Raises `Unreadable` for a character of no token, `TooComplex` beyond the two bounds.
    """
    tokens: list[str] = []
    position = 0
    after_space = False
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise Unreadable(f"unexpected {text[position]!r}")
        position = found.end()
        if found["space"]:
            after_space = True
            continue
        token = found[0]
        if found["number"] and tokens and tokens[-1][0].isdigit():
            # "5 1/2" is a mixed number; any other two numbers side by side mean nothing.
            if not (after_space and re.match(r"/\d", text[position:])):
                raise Unreadable("two numbers side by side")
            tokens.append("mixed")
        if len(token) > MAX_DIGITS or len(tokens) > MAX_TOKENS:
            raise TooComplex("the expression is too long")
        tokens.append(token)
        after_space = False
    return tokens
