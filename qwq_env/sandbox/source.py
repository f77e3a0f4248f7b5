"""What may be submitted as a program."""

from __future__ import annotations

from typing import Final

from qwq_env.errors import UsageError

MOST_CODE_BYTES: Final = 16 << 20


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
