"""Whether the first conversations of a run were all refused: then it is no matter of theirs.

What a refusal means is read from its words, and no table knows them all. That nothing was ever
served, and each of the first conversations refused, says the same without words: a setting is
wrong, and the run would lose every episode.
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

    def __init__(self, count: int = FIRST) -> None:
        self._count = count
        self._refused: dict[int, bool] = {}
        self.served = False

    def begin(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Return a number for the conversation, by which it is spoken of afterwards."""
        if self.served:
            return 0
        number = hash(json.dumps(messages, sort_keys=True))
        if len(self._refused) < self._count:
            self._refused.setdefault(number, False)
        return number

    def serve(self) -> None:
        """Take note that one was answered: nothing is wrong with all of them."""
        self.served = True
        self._refused.clear()

    def refuse(self, number: int) -> bool:
        """Take note of a refusal; True if all that are watched were refused, and none served."""
        if self.served:
            return False
        if number in self._refused:
            self._refused[number] = True
        return len(self._refused) == self._count and all(self._refused.values())
