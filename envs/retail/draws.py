"""Chance for the procedural shop."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from qwq_env.envs.retail import shop_words as words
from qwq_env.envs.retail.database import Record

_Kind = TypeVar("_Kind")


class Draws:
    """Chance, the same on every machine, in numbers that belong to one split."""

    def __init__(self, key: str, split: str) -> None:
        # Of Python's generator, only this method is promised to stay as it is.
        self._random = random.Random(key).random
        self.split = split
        self._odd = int(split == "heldout")
        self._used: set[str] = set()

    def below(self, limit: int) -> int:
        """Return a whole number of at least 0 and less than `limit`."""
        return int(self._random() * limit)

    def pick(self, values: Sequence[_Kind]) -> _Kind:
        """Return one of them."""
        return values[self.below(len(values))]

    def some(self, values: Sequence[_Kind], count: int) -> list[_Kind]:
        """Return `count` different ones of them, in a random order."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def digits(self, count: int) -> str:
        """Return a new number of `count` digits, even or odd as the split has it."""
        while True:
            lowest = 10 ** (count - 1)
            text = str(lowest + 2 * self.below(9 * lowest // 2) + self._odd)
            if text not in self._used:
                self._used.add(text)
                return text

    def price(self, low: int, high: int) -> float:
        """Return a price of so many dollars."""
        eighths = low * 100 // 8 + self.below((high - low) * 100 // 8)
        return (8 * eighths + self._odd) / 100

    def address(self) -> Record:
        """Return an address."""
        city, state = self.pick(words.CITIES[self.split])
        return {
            "address1": f"{self.digits(3)} {self.pick(words.STREETS[self.split])}",
            "address2": f"Apt {self.digits(2)}",
            "city": city,
            "country": "USA",
            "state": state,
            "zip": self.digits(5),
        }
