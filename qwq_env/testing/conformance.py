"""What the conformance classes share: a factory, checks that are tests, and faults of one line."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, ClassVar, Final, NamedTuple

from qwq_env.errors import InfrastructureError, QwqError, UsageError, brief, describe_error
from qwq_env.text.characters import printable

__tracebackhide__ = True  # by pytest: the line is what one wants to see


_FIRST: Final = "test_an_episode_begins"
"""Where this fails, all others would, for the same reason."""


class Fault(AssertionError):
    """What is wrong, and what to mend, in one line."""

    def __init__(self, wrong: str, mend: str) -> None:
        super().__init__(printable(f"{' '.join(wrong.split())}; mend: {mend}", lines=False))


class Finding(NamedTuple):
    """A check by its name, and what it found wrong; "" for nothing."""

    check: str
    fault: str


class Conformance:
    """Checks of what `make` gives. Derive from a subclass, name yours `Test...`, and give `make`.

    Each method that begins with `test_` is a check: it returns, or raises `Fault`. What an episode
    closes has `settle_seconds` for it before it counts as left behind.
    """

    settle_seconds: ClassVar[float] = 2.0

    def make(self) -> Any:
        """Return the thing to check, made anew at each call."""
        raise UsageError(f"{type(self).__name__}: has no make; give it a method make(self)")

    def checks(self) -> list[str]:
        """Return the names of the checks, those of bases first, as they are written."""
        written = {
            name: None
            for owner in reversed(type(self).__mro__)
            for name in vars(owner)
            if name.startswith("test_")
        }
        return list(written)

    def findings(self, names: Sequence[str] | None = None) -> Iterator[Finding]:
        """Run the checks of these names, or all; what one raises that is no fault is one, too."""
        for name in self.checks() if names is None else names:
            try:
                with _quiet():
                    getattr(self, name)()
            except Fault as fault:
                yield Finding(name, str(fault))
                if name == _FIRST:
                    return
            except QwqError as error:
                yield Finding(name, printable(str(error), lines=False))
            # The boundary to foreign code: the other checks are to be run all the same.
            except Exception as error:  # noqa: BLE001
                yield Finding(name, printable(f"raised {describe_error(error)}", lines=False))
            else:
                yield Finding(name, "")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings, logs and what is rendered to ourselves: a fault says what there is to say."""
    log = logging.getLogger("qwq_env")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def guarded(what: str, mend: str, act: Callable[[], Any]) -> Any:
    """Return what `act` does; whatever it raises is the fault that `what` is not so.

    What our machinery lacks is none of the thing's faults, and passed on.
    """
    try:
        return act()
    except (Fault, InfrastructureError):
        raise
    # The boundary to foreign code, which may raise anything.
    except Exception as error:  # noqa: BLE001
        raise Fault(f"{what}: {describe_error(error):.300}", mend) from None


def first_difference(left: Sequence[str], right: Sequence[str]) -> str:
    """Return where two lists of texts part, "" if nowhere."""
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
            at = min(len(one), len(other)) if at is None else at
            around = slice(max(0, at - 20), at + 40)
            return f"at {place}: {brief(one[around])} and {brief(other[around])}"
    if len(left) != len(right):
        return f"{len(left)} and {len(right)} long"
    return ""
