"""The tool calls of a reply, from the pieces in which servers stream them.

The pieces of a call should share an index, and the first alone should hold its name and id. In
fact some servers give every call the index 0 or none (Ollama, gateways), send the name again with
every piece, or a new id (LM Studio), or the arguments as an object (TGI). What tells the calls
apart is then that the arguments of the one before are whole.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class NativeCall(NamedTuple):
    """A tool call as the server sent it: `arguments` is text, JSON if the model did well.

    `id` is empty where the server gave none.
    """

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class _Call:
    """A call that may still grow; `again` is the id of a piece that named its tool once more."""

    index: int | None
    id: str
    name: str
    arguments: str
    again: str | None = None

    @property
    def whole(self) -> bool:
        """Whether the arguments are an object, which nothing can be added to."""
        text = self.arguments.strip()
        return text.endswith(("}", '"')) and _is_object(text)


class CallCollector:
    """Puts calls together; `tools` are the names of those that there are."""

    def __init__(self, tools: Collection[str] = ()) -> None:
        self._tools = tools
        self._calls: list[_Call] = []

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take one piece. Raises `TypeError`, `ValueError` or `AttributeError` for what is none."""
        function = piece.get("function") or piece
        index, id_ = _index(piece.get("index")), _id(piece.get("id"))
        name, arguments = text_of(function.get("name")), _written(function.get("arguments"))
        call = self._latest(index)
        if call is not None and call.again is not None and not name and arguments.strip():
            # That piece was the first of another call of the same tool.
            id_, name = call.again, call.name
        if call is None or self._begins(call, id_, name, arguments):
            self._calls.append(_Call(index, id_, name, arguments))
        else:
            self._extend(call, id_, name, arguments)

    def calls(self) -> tuple[NativeCall, ...]:
        """Return the calls, in the order of their indices."""
        calls = self._calls
        if all(call.index is not None for call in calls):
            calls = sorted(calls, key=lambda call: call.index or 0)
        return tuple(NativeCall(call.id, call.name, call.arguments) for call in calls)

    def _latest(self, index: int | None) -> _Call | None:
        """Return the call to which a piece of that index belongs if it begins none."""
        if index is None:
            return self._calls[-1] if self._calls else None
        return next((call for call in reversed(self._calls) if call.index == index), None)

    def _begins(self, call: _Call, id_: str, name: str, arguments: str) -> bool:
        if not name:
            return False
        other_name = bool(call.name) and name != call.name
        other_id = bool(id_) and bool(call.id) and id_ != call.id
        if call.whole:
            if id_ and id_ == call.id and not other_name:
                # A server that sends every call once more as a whole (or its last piece).
                return arguments.strip() not in ("", call.arguments.strip())
            return other_name or bool(arguments.strip())
        if call.arguments:
            return other_name
        return other_name and (other_id or (name in self._tools and not self._is_part(call, name)))

    def _is_part(self, call: _Call, name: str) -> bool:
        """Whether a name goes on with that of a call rather than being another one."""
        return call.name not in self._tools and (
            call.name + name in self._tools or name.startswith(call.name)
        )

    @staticmethod
    def _extend(call: _Call, id_: str, name: str, arguments: str) -> None:
        if name == call.name and call.whole:
            call.again = id_
        call.id = call.id or id_
        if name and name != call.name and not call.arguments:
            call.name = name if name.startswith(call.name) else call.name + name
        if call.arguments.strip() == "{}" and arguments.lstrip().startswith("{"):
            # Some gateways open every call with an empty object, and then send the arguments.
            call.arguments = arguments
        elif not (call.arguments == arguments and call.whole):
            call.arguments += arguments


def text_of(value: object) -> str:
    """Return a text, empty for None. Raises `TypeError` for anything else."""
    if value is None or isinstance(value, str):
        return value or ""
    raise TypeError(f"{type(value).__name__} in place of a text")


def _index(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _id(value: object) -> str:
    return str(value) if type(value) is int else text_of(value)


def _written(arguments: Any) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return json.dumps(arguments, ensure_ascii=False)


def _is_object(text: str) -> bool:
    """Whether a text is a JSON object, also one that was encoded twice."""
    for _ in range(2):
        try:
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return False
        if not isinstance(value, str):
            return isinstance(value, dict)
        text = value
    return False
