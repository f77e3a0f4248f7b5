"""Files of one JSON object a line: read line by line, and what is wrong said in one line.

Every file that a user hands over (tasks, answers to grade) is read here, so that a mistake is
told in the same words, with the file and the line. JSON that each parser reads in its own way, or
that some later step could not write again, is a mistake too: a key twice, a number without end,
half a surrogate pair, a hundred levels of brackets.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from qwq_env.errors import UsageError, brief

_EXPECTED = "expected an object a line (JSONL)"
_DEEPEST: Final = 100
_LONGEST: Final = 256 * 1024 * 1024
"""Bytes of a line: beyond the largest published rows of tests."""

# Only lines with such a sign need the closer look, which costs as much as the reading.
_MAY_BE_INFINITE: Final = re.compile(rb"[eE]\+?0*[1-9][0-9]{2}|[0-9]{309}")
_MAY_BE_HALF_A_PAIR: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read_objects(
    path: Path, *, field: str = "file", constants: bool = False, appended: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers (from 1) and objects; blank lines are passed over.

    What is not JSON, or no text, but stands in files that Python wrote (NaN, the infinities, half
    a surrogate pair) is refused unless `constants`. Of a file that is `appended` to, half a line
    at the end is passed over: it is being written, or a kill has torn it. Raises `UsageError`,
    `FILE:LINE` in front, for a line that holds no object, and, `field` in front, for a file that
    cannot be read.
    """
    try:
        lines = path.open("rb")
    except ValueError as error:
        raise UsageError(f"{field}: {brief(str(path))}: {error}; expected a JSONL file") from None
    except OSError as error:
        raise UsageError(f"{field}: {path}: {error.strerror}; expected a JSONL file") from None
    with lines:
        number = 0
        while line := lines.readline(_LONGEST + 1):
            number += 1
            if not line.strip():
                continue
            try:
                yield number, read_object(line, constants=constants)
            except UsageError as error:
                if appended and not line.endswith(b"\n"):
                    return
                raise UsageError(f"{path}:{number}: {error}") from None


def read_array(path: Path, *, field: str = "file") -> list[Any]:
    """Return the entries of a file that holds one JSON array, as HotpotQA's are published.

    Raises `UsageError` as `read_objects` does.
    """
    try:
        value = _parsed(path.read_bytes(), constants=False)
    except OSError as error:
        raise UsageError(f"{field}: {path}: {error.strerror}; expected a JSON array") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(value, list):
        raise UsageError(f"{path}: {brief(value)}; expected a JSON array")
    return value


def read_object(line: bytes, *, constants: bool = False) -> dict[str, Any]:
    """Return the object that a line holds; raises `UsageError` that says what it holds instead."""
    if len(line) > _LONGEST:
        raise UsageError(f"a line of more than {_LONGEST} bytes; {_EXPECTED}")
    value = _parsed(line, constants)
    if isinstance(value, list):
        raise UsageError(f"a JSON array; {_EXPECTED}")
    if not isinstance(value, dict):
        raise UsageError(f"{brief(value)}; {_EXPECTED}")
    if line.count(b"[") + line.count(b"{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise UsageError(f"nested too deeply; expected at most {_DEEPEST} levels")
    if not constants and _MAY_BE_HALF_A_PAIR.search(line):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UsageError("half a surrogate pair (\\ud800 to \\udfff); expected text") from None
    return value


def cut_torn_line(path: Path) -> None:
    """Cut half a line off a file's end, which a kill has left; the file need not exist."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, 2)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _parsed(line: bytes, constants: bool) -> Any:
    finite = not constants and _MAY_BE_INFINITE.search(line)
    try:
        return json.loads(
            line.decode("utf-8-sig"),
            parse_constant=None if constants else _no_constant,
            parse_float=_finite if finite else None,
            object_pairs_hook=_each_once,
        )
    except RecursionError:
        raise UsageError("not JSON that can be read: nested too deeply") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"not JSON: not UTF-8 at byte {error.start}; {_EXPECTED}") from None
    except _Refused as error:
        raise UsageError(str(error)) from None
    except ValueError as error:
        if _is_long_integer(error):
            most = sys.get_int_max_str_digits()
            raise UsageError(f"a number of more than {most} digits; expected it as text") from None
        if line.lstrip().startswith(b"["):
            raise UsageError(f"not JSON lines but a JSON array; {_EXPECTED}") from None
        raise UsageError(f"not JSON: {error}; {_EXPECTED}") from None


class _Refused(ValueError):
    """JSON that can be read, and is not wanted."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = set()
        twice = next(key for key, _ in pairs if key in keys or keys.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"the key {brief(twice)} twice in an object; expected it once")
    return made


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Refused(f"the number {brief(text)[1:-1]} is too large; expected it as text")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value")


def _is_long_integer(error: ValueError) -> bool:
    """Whether Python refused to read an integer; every other failure has a class of its own."""
    return type(error) is ValueError and "digits" in str(error)


def _depth(value: Any) -> int:
    """Return how many lists and objects lie in each other, at most one more than is allowed."""
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        depth += 1
        inner = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
        level = [item for item in inner if isinstance(item, dict | list)]
    return depth
