"""Whether the first conversations of a run were all refused, or failed: it is no matter of theirs.

What a refusal means is read from its words, and no table knows them all. That nothing was ever
served, and each of the first conversations refused, says the same without words: a setting is
wrong, and the run would lose every episode. So it would where each was tried in vain: a server
that is there and answers, but with a login page, or that its model does not fit into the memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

FIRST = 3
"""Conversations that are watched."""


class FirstRequests:
    """Watches the conversations that are begun first, in the order in which they are.

    One that is being served for long is waited for, so what others get meanwhile decides nothing.
    `served` says that some request was answered.
    """

    def __init__(self) -> None:
        self._failed: dict[int, bool] = {}
        self.served = False

    def begin(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Return a number for the conversation, by which it is spoken of afterwards."""
        if self.served:
            return 0
        number = hash(json.dumps(messages, sort_keys=True))
        if len(self._failed) < FIRST:
            self._failed.setdefault(number, False)
        return number

    def serve(self) -> None:
        """Take note that one was answered: nothing is wrong with all of them."""
        self.served = True
        self._failed.clear()

    def fail(self, number: int) -> bool:
        """Take note that one was refused or given up; True if all that are watched were, and none
        was served."""
        if self.served:
            return False
        if number in self._failed:
            self._failed[number] = True
        return len(self._failed) == FIRST and all(self._failed.values())
