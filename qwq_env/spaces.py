"""The space of all texts; Gymnasium's own `Text` admits letters and digits only."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import (
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)

_ALPHABET = np.array(list("abc xyz ABC 019 .,;:!?()[]{}<>\\|/+-*=_'\"\n äßλ∑漢😀"))
_SHARED_BYTES = 1 << 20


class TextSpace(gym.Space[str]):
    """Any Unicode string of at most `max_length` characters, the empty one included.

    `sample` draws short printable noise: what an untrained policy might write.
    """

    def __init__(
        self, max_length: int = 2**31, seed: int | np.random.Generator | None = None
    ) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)
        self.max_length = max_length

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no vector form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Return a random text of up to 64 characters; masks have no meaning here."""
        length = int(self.np_random.integers(min(64, self.max_length) + 1))
        return "".join(self.np_random.choice(_ALPHABET, size=length))

    def contains(self, x: Any) -> bool:
        """Say whether `x` is a string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __eq__(self, other: object) -> bool:
        """Compare by `max_length`."""
        return type(other) is type(self) and other.max_length == self.max_length

    def __hash__(self) -> int:
        return hash((type(self), self.max_length))

    def __repr__(self) -> str:
        return "TextSpace()" if self.max_length == 2**31 else f"TextSpace({self.max_length})"


class TurnSpace(TextSpace):
    """A model's turn: its text, or an assistant message of a chat interface."""

    def contains(self, x: Any) -> bool:
        """Say whether `x` is a text, or a message of role assistant."""
        return super().contains(x) or (isinstance(x, Mapping) and x.get("role") == "assistant")

    def __repr__(self) -> str:
        return f"TurnSpace{super().__repr__().removeprefix('TextSpace')}"


# `AsyncVectorEnv` moves observations through shared memory unless told otherwise; these three
# let it, with a megabyte of UTF-8 for each environment behind a length of four bytes.


@create_shared_memory.register(TextSpace)
def _create(space: TextSpace, n: int = 1, ctx: Any = None) -> Any:
    return ctx.Array(ctypes.c_uint8, n * _SHARED_BYTES)


@write_to_shared_memory.register(TextSpace)
def _write(space: TextSpace, index: int, value: str, shared_memory: Any) -> None:
    data = value.encode("utf-8", "surrogatepass")
    if len(data) > _SHARED_BYTES - 4:
        raise ValueError(
            f"observation of {len(data)} bytes does not fit the shared memory of an AsyncVectorEnv;"
            " make it with shared_memory=False"
        )
    start = index * _SHARED_BYTES
    view = memoryview(shared_memory.get_obj()).cast("B")
    view[start : start + 4] = len(data).to_bytes(4, "little")
    view[start + 4 : start + 4 + len(data)] = data


class SharedTexts(Sequence[str]):
    """The texts in shared memory as they are now.

    `AsyncVectorEnv` reads its buffer once and then counts on a view of it, as arrays are; a copy,
    which it makes for each step, is a tuple.
    """

    def __init__(self, shared_memory: Any, size: int) -> None:
        self._view = memoryview(shared_memory.get_obj()).cast("B")
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        start = range(self._size)[index] * _SHARED_BYTES
        size = int.from_bytes(self._view[start : start + 4], "little")
        return bytes(self._view[start + 4 : start + 4 + size]).decode("utf-8", "surrogatepass")

    def __deepcopy__(self, memo: Any) -> tuple[str, ...]:
        return tuple(self)


@read_from_shared_memory.register(TextSpace)
def _read(space: TextSpace, shared_memory: Any, n: int = 1) -> SharedTexts:
    return SharedTexts(shared_memory, n)
