r"""LaTeX commands that JSON took for escapes.

A model that writes `{"expression": "\frac{1}{2}"}` sends a form feed and `rac{1}{2}`: good JSON,
but not what the model meant. Nothing is mended, for a form feed may be meant; the model is told,
beside what the tool said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_COMMANDS: Final = (
    "bar because begin beta between bf bigcap bigcup big bigg binom bmatrix bmod bold boldsymbol "
    "bot boxed breve bullet fbox flat forall frac frown nabla natural nearrow ne neg neq newline "
    "nexists ni nmid not notin nparallel nsubseteq nu rangle rbrace rceil rfloor rho right "
    "rightarrow rm tan tanh tau tbinom text textbf textit textrm tfrac theta therefore tilde times "
    "to top triangle triangleq"
)
_LOST: Final = re.compile(
    "|".join(
        rf"{_CONTROLS[word[0]]}(?P<{word}>{word[1:]})(?![A-Za-z])" for word in _COMMANDS.split()
    )
)
_MOST_CHARACTERS: Final = 100_000


def lost_backslash(arguments: Mapping[str, Any], raw: str, *, failed: bool) -> str:
    r"""Return a note for the model if an argument lost the backslash of a LaTeX command, or `""`.

    `raw` is what the model wrote, if that is known: a command is lost only if it stands there with
    its backslash. Line ends and indentations are taken for what they are where the call did not
    fail, and in texts of several lines.
    """
    for name, value in arguments.items():
        if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
            continue
        for found in _LOST.finditer(value):
            command = f"\\{found.lastgroup}"
            one_line = failed and value.count("\n") <= 1
            if (not raw or command in raw) and (one_line or not _is_layout(value, found.start())):
                control, rest = found[0][:1], found[0][1:]
                return (
                    f"\nNote: in {name!r}, {command} was read as {control!r} and {rest!r}, "
                    "for JSON takes a single backslash for an escape; write two of them."
                )
    return ""


def _is_layout(text: str, position: int) -> bool:
    """Say whether a control character ends a line or indents one."""
    line = text[:position].rpartition("\n")[2]
    return text[position] in "\r\n" or (text[position] == "\t" and not line.strip())
