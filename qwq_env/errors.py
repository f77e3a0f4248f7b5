"""The exceptions of the library, as one tree.

```
QwqError                  everything this library raises on purpose
├── UsageError            the operator's input is wrong; one line: field, value, what was expected
├── InfrastructureError   our machinery failed (server, sandbox, network); never the policy's fault
├── ServersGone           no server of a policy is left; ends the run, which can be resumed
├── EpisodeError          an environment was driven out of order
│   ├── ResetNeeded       step before reset, or after the episode's end
│   └── EnvironmentClosed reset or step after close
└── ToolError             raised by a tool; its message is shown to the model
```

Who has to act decides the class: the operator (`UsageError`), the machinery
(`InfrastructureError`, retried and then masked out of training; `ServersGone`, when trying
again is pointless for every episode alike), the caller's code
(`EpisodeError`), or the model (`ToolError`, which becomes an observation).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import gymnasium.error


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


class ResetNeeded(EpisodeError, gymnasium.error.ResetNeeded):
    """`step` was called before `reset`, or after the episode had ended."""


class EnvironmentClosed(EpisodeError):
    """`reset` or `step` was called on an environment that was closed."""


class ToolError(QwqError):
    """A tool could not do what the model asked; the message is shown to the model."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the known name nearest to `name`, or `""`."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def unknown(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not one of `known`, with the nearest one named."""
    names = sorted(known)
    hint = did_you_mean(str(name), names)
    return UsageError(f"{kind}: {name!r} is not known{hint}; known: {', '.join(names)}")


def describe_error(error: BaseException) -> str:
    """Return the type and the message of any exception, also of one that cannot be printed."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the boundary to foreign code: its __str__ may do anything
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
