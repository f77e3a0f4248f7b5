"""Files of one JSON object a line: read line by line, and what is wrong said in one line.

Every file that a user hands over (tasks, answers to grade) is read here, so that a mistake is
told in the same words, with the file and the line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError

_EXPECTED = "expected an object a line (JSONL)"


def read_objects(
    path: Path, *, field: str = "file", constants: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers (from 1) and objects; blank lines are passed over.

    `NaN` and the infinities, which are not JSON, are refused unless `constants`. Raises
    `UsageError`, `FILE:LINE` in front, for a line that holds no object, and, `field` in front,
    for a file that cannot be read.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    yield number, read_object(line, constants=constants)
                except UsageError as error:
                    raise UsageError(f"{path}:{number}: {error}") from None
    except OSError as error:
        raise UsageError(f"{field}: {path}: {error.strerror}; expected a JSONL file") from None


def read_object(line: bytes, *, constants: bool = False) -> dict[str, Any]:
    """Return the object that a line holds; raises `UsageError` that says what it holds instead."""
    try:
        value = json.loads(line, parse_constant=None if constants else _no_constant)
    except RecursionError:
        raise UsageError("not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        if _is_long_integer(error):
            most = sys.get_int_max_str_digits()
            raise UsageError(f"a number of more than {most} digits; expected it as text") from None
        if line.lstrip().startswith(b"["):
            raise UsageError(f"not JSON lines but a JSON array; {_EXPECTED}") from None
        raise UsageError(f"not JSON: {error}; {_EXPECTED}") from None
    if isinstance(value, list):
        raise UsageError(f"a JSON array; {_EXPECTED}")
    if not isinstance(value, dict):
        raise UsageError(f"{value!r:.80}; {_EXPECTED}")
    return value


def _is_long_integer(error: ValueError) -> bool:
    """Whether Python refused to read an integer; every other failure has a class of its own."""
    return type(error) is ValueError and "digits" in str(error)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value")
