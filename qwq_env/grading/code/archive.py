"""LiveCodeBench's private test cases: base64 of zlib of a pickle of a JSON text.

Rows are foreign. The pickle is opened only as far as one string, the archive up to a size.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
import zlib
from typing import Any

from qwq_env.errors import UsageError

_MOST_UNPACKED = 512 << 20


class _TextUnpickler(pickle.Unpickler):
    """Opens a pickle of plain text and nothing else: no name in it is ever looked up."""

    def find_class(self, module: str, name: str) -> Any:
        raise UsageError(f"private_test_cases: the pickle asks for {module}.{name}; refused")

    def persistent_load(self, identity: Any) -> Any:
        raise UsageError("private_test_cases: the pickle refers to something outside; refused")


def unpack(text: str) -> str:
    """Return the JSON text in an archive; raises `UsageError`."""
    try:
        decompressor = zlib.decompressobj()
        data = decompressor.decompress(base64.b64decode(text), _MOST_UNPACKED)
        if decompressor.unconsumed_tail:
            raise UsageError(f"private_test_cases: more than {_MOST_UNPACKED} bytes unpacked")
        value = _TextUnpickler(io.BytesIO(data)).load()
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"private_test_cases: cannot be unpacked: {error}") from None
    if not isinstance(value, str):
        raise UsageError("private_test_cases: the pickle holds no text")
    return value
