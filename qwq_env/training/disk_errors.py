"""What the libraries that write weights say of a disk that is full, or away: an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from qwq_env.errors import InfrastructureError

_TORCH = ("PytorchStreamWriter", "inline_container.cc")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise `InfrastructureError` for weights that could not be written.

    safetensors and torch tell of it by errors of their own, which no `except OSError` sees.
    """
    try:
        yield
    except SafetensorError as error:
        raise InfrastructureError(f"weights: {_words(error)}") from None
    except RuntimeError as error:
        if not any(words in str(error) for words in _TORCH):
            raise
        raise InfrastructureError(f"weights: {_words(error)}") from None


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
