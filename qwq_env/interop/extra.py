"""What is said where the package of an extra is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qwq_env.errors import UsageError


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turn the failed import of a package into a `UsageError` that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "qwq_env":
            raise
        raise UsageError(f"{missing} is not installed; pip install 'qwq-env[{name}]'") from None
