"""The reference of the public API, as pages in docs/site/; what `make docs` runs.

    python docs/reference.py

It begins with what the package says of itself, and holds the public packages and nothing else.
"""

from __future__ import annotations

import os
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pdoc

import qwq_env

SITE = Path(__file__).with_name("site")


def main() -> None:
    """Write the pages."""
    public = [getattr(qwq_env, name) for name in qwq_env.__all__]
    packages = [value for value in public if isinstance(value, ModuleType)]
    hidden = []
    for package in (qwq_env, *packages):
        for name in package.__all__:
            value = getattr(package, name)
            if isinstance(value, ModuleType):
                continue
            _resolve_fields(value)
            # pdoc takes a submodule for public that has the name of a function.
            hidden.append(f"!{package.__name__}.{name}$")
    pdoc.pdoc("qwq_env", *hidden, output_directory=SITE)


def _resolve_fields(value: Any) -> None:
    """Give a NamedTuple's constructor the types of its fields: pdoc cannot find what they name."""
    if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
        value.__new__.__annotations__ = typing.get_type_hints(value)


if __name__ == "__main__":
    main()
