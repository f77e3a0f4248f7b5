"""The exceptions of the library, as one tree.

```
QwqError                  everything this library raises on purpose
├── UsageError            the operator's input is wrong; one line: field, value, what was expected
├── InfrastructureError   our machinery failed (server, sandbox, network); never the policy's fault
├── ServersGone           no server of a policy is left; ends the run, which can be resumed
├── EpisodeError          an environment was driven out of order
│   ├── ResetNeeded       step before reset, or after the episode's end (`reset_needed.py`)
│   └── EnvironmentClosed reset or step after close
└── ToolError             raised by a tool; its message is shown to the model
    └── BadArguments      the arguments fit the schema, and make no value of the declared type
```

Who has to act decides the class: the operator (`UsageError`), the machinery
(`InfrastructureError`, retried and then masked out of training; `ServersGone`, when trying
again is pointless for every episode alike), the caller's code
(`EpisodeError`), or the model (`ToolError`, which becomes an observation).
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final


class QwqError(Exception):
    """Base of every exception that this library raises on purpose."""


class UsageError(QwqError, ValueError):
    """The operator's input is wrong; the message is one line that names the mend."""


class InfrastructureError(QwqError, RuntimeError):
    """Our machinery failed. The episode is retried, then masked; it is never scored 0."""


class ServersGone(QwqError, RuntimeError):
    """None of the servers that a policy samples from is there any more.

    Not an `InfrastructureError`, which costs one episode: this ends whatever is being played. What
    has been stored until then stays, and the same command goes on with it once they are back.
    """


class EpisodeError(QwqError, RuntimeError):
    """An environment was driven out of order."""


class EnvironmentClosed(EpisodeError):
    """`reset` or `step` was called on an environment that was closed."""


class ToolError(QwqError):
    """A tool could not do what the model asked; the message is shown to the model."""


class BadArguments(ToolError):
    """Arguments fit a tool's schema, but not the types behind it: the policy's own mistake."""


class _Brief(reprlib.Repr):
    """Looks at the beginning of a value only, so that the cost does not grow with it."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlong, self.maxother = 3, 6, 60, 200

    def repr_str(self, x: str, level: int) -> str:
        return self.repr_bytes(x, level)

    def repr_bytes(self, x: Any, level: int) -> str:
        return repr(x) if len(x) <= _LONGEST else f"{x[:_LONGEST]!r}..."

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out more than some thousands of digits, and needs long for those.
        bits = x.bit_length()
        return repr(x) if bits < 400 else f"an integer of about {int(bits * 0.30103) + 1} digits"

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        # reprlib sorts the keys, all of them.
        shown = dict(islice(x.items(), self.maxdict + 1))
        return super().repr_dict(shown, level)


_LONGEST: Final = 200
_BRIEF: Final = _Brief()


def brief(value: object, most: int = 80) -> str:
    """Return a value's `repr`, cut to `most` characters, in time that does not grow with it.

    What an error shows comes from files, servers and models: it may be a gigabyte, nested a
    thousand deep, or a million names for one list, and `repr` would write it all out first.
    """
    try:
        text = _BRIEF.repr(value)
    except Exception:  # noqa: BLE001 - the boundary to foreign code: its __repr__ may do anything
        text = f"<{type(value).__name__}>"
    if len(text) <= most:
        return text
    end = text[0] if isinstance(value, str) else ""
    return f"{text[: most - 3 - len(end)]}...{end}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the known name nearest to `name`, or `""`."""
    matches = difflib.get_close_matches(name[:_LONGEST], list(known), n=1, cutoff=0.6)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def unknown(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not one of `known`, with the nearest one named."""
    names = sorted(known)
    hint = did_you_mean(name, names) if isinstance(name, str) else ""
    return UsageError(f"{kind}: {brief(name)} is not known{hint}; known: {', '.join(names)}")


def describe_error(error: BaseException) -> str:
    """Return the type and the message of any exception, also of one that cannot be printed."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the boundary to foreign code: its __str__ may do anything
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
