"""What may be submitted as a program, wherever it then runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError
from qwq_env.sandbox.result import Limits

# Far beyond what a person or a model writes, and within a request as large as a server takes.
MOST_CODE_BYTES: Final = 4 << 20
MOST_STDIN_BYTES: Final = 64 << 20
MOST_ARGV_CHARACTERS: Final = 4096


class Program(NamedTuple):
    """A program that was found well formed, and what it is given."""

    code: bytes
    stdin: bytes
    argv: tuple[str, ...]


def checked_program(code: str | bytes, stdin: bytes, argv: Sequence[str]) -> Program:
    """Return a program to run once; raises `UsageError` that names what is wrong."""
    source = checked_code(code)
    if not isinstance(stdin, bytes) or len(stdin) > MOST_STDIN_BYTES:
        raise UsageError(f"stdin: must be bytes, at most {MOST_STDIN_BYTES}")
    if not _is_list(argv) or not all(isinstance(word, str) for word in argv):
        raise UsageError("argv: must be a list of str")
    if len(argv) + sum(map(len, argv)) > MOST_ARGV_CHARACTERS:
        raise UsageError(f"argv: too long, expected at most {MOST_ARGV_CHARACTERS} characters")
    return Program(source, stdin, tuple(argv))


def checked_code(code: str | bytes) -> bytes:
    """Return code as UTF-8 bytes; raises `UsageError` for what cannot be a program."""
    if isinstance(code, str):
        try:
            code = code.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"code: is not UTF-8 text ({error.reason})") from None
    elif not isinstance(code, bytes):
        raise UsageError(f"code: {type(code).__name__} given, expected str or bytes")
    else:
        try:
            code.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"code: is not UTF-8 text ({error.reason})") from None
    if not code or code.isspace():
        raise UsageError("code: is empty, expected a program")
    if len(code) > MOST_CODE_BYTES:
        raise UsageError(f"code: {len(code)} bytes, expected at most {MOST_CODE_BYTES}")
    return code


def checked_limits(limits: Limits) -> Limits:
    """Return the limits; raises `UsageError` for what are none."""
    if not isinstance(limits, Limits):
        raise UsageError(f"limits: {type(limits).__name__} given, expected Limits")
    return limits


def checked_calls(function: str, arguments: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return one list of arguments for each call; raises `UsageError` that names what is wrong."""
    if not isinstance(function, str) or not all(map(str.isidentifier, function.split("."))):
        raise UsageError(f"function: {function!r:.80} is not a name or a dotted path")
    if not _is_list(arguments):
        kind = type(arguments).__name__
        raise UsageError(f"arguments: {kind} given, expected a list that holds one for each call")
    for number, given in enumerate(arguments):
        if not _is_list(given):
            kind = type(given).__name__
            raise UsageError(f"arguments[{number}]: {kind} given, expected a list")
    return [list(given) for given in arguments]


def _is_list(value: Any) -> bool:
    # A text is a sequence too, of what nobody meant.
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
