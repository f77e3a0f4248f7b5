"""What a model is shown of a value that a tool returned.

A text as it is; anything else as JSON, which models read better than Python's notation: dicts,
lists, tuples, sets, deques, ranges, views, what an iterator gives, dataclasses, NamedTuples,
arrays, pydantic's models, numbers, truth values, None. Parts that have no JSON form (dates, paths,
NaN, objects of other classes) are their texts.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import itertools
import json
import math
from collections import deque
from collections.abc import Iterator, Mapping, Set, ValuesView
from typing import Any, Final

_MOST_LEVELS: Final = 64
_MOST_ITEMS: Final = 10_000
"""Of an iterator, which may be endless."""


def shown(value: object) -> str:
    """Return the text of `value`. Raises what its own methods raise."""
    plain = _plain(value, ())
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: Any, around: tuple[int, ...]) -> Any:
    """Return `value` as JSON has it; `around` are the ids of what it stands in."""
    value = _without_wrapper(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if id(value) in around or len(around) == _MOST_LEVELS:
        return "..."
    inside = (*around, id(value))
    if (named := _named_parts(value)) is not None:
        return {_name(name): _plain(part, inside) for name, part in named.items()}
    if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
        value = list(itertools.islice(value, _MOST_ITEMS))
    if isinstance(value, list | tuple | Set | deque | range | ValuesView):
        return [_plain(part, inside) for part in value]
    return str(value)


def _without_wrapper(value: Any) -> Any:
    """Return what an Enum's member, an array, or a model of pydantic's holds."""
    if isinstance(value, type):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    # Known by their methods: pydantic and numpy need not be there.
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    if callable(listed := getattr(value, "tolist", None)):
        return listed()
    return value


def _named_parts(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _name(name: Any) -> str:
    plain = _plain(name, ())
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
