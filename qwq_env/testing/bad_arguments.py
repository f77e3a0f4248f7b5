"""Bad arguments for a tool, kind by kind: what a model may write whatever the schema says."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

from qwq_env.schema.sample import sample_arguments

VALUES: Final[Mapping[str, tuple[Any, ...]]] = {
    "wrong type": (None, True, -1, 0, 1.5, "text", [], [1], {}, {"a": 1}),
    "huge": ("x" * 100_000, 10**4_000, -(10**4_000), 1e308, ["x"] * 20_000, "1" * 5_000),
    "no number": (float("nan"), float("inf"), -float("inf"), "NaN", "1e999", "-0", "١٢"),
    "nested deep": (
        "[" * 5_000, "(" * 5_000, "{" * 5_000, "((1+" * 300,
    ),
    "control characters": (
        "\x00", "a\x00b", "\x1b[2J\x07", "\r\n\r\n", "\u2028\u2029", "\u202e\u200b", "../../\x00",
    ),
}  # fmt: skip
"""A value of each kind in place of one argument, the others being drawn from the schema."""


def cases(parameters: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """Yield arguments that are bad in one way of a `kind`: of `VALUES`, or "missing", "extra"."""
    good = sample_arguments(parameters, random.Random(kind), ["1", "word"])
    names = [*parameters.get("properties", {})]
    if kind == "missing":
        yield {}
        for name in names:
            yield {key: value for key, value in good.items() if key != name}
    elif kind == "extra":
        yield {**good, "no_such_argument": 1}
        yield {**good, "self": "x", "__class__": "x", "": "x", "\ud800": "x"}
    else:
        for value in (*VALUES[kind], *(_deep() if kind == "nested deep" else ())):
            for name in names or ["no_such_argument"]:
                yield {**good, name: value}


def _deep() -> Iterator[Any]:
    for depth in (40, 5_000):
        lists: Any = []
        objects: Any = {}
        for _ in range(depth):
            lists, objects = [lists], {"a": objects}
        yield from (lists, objects)
