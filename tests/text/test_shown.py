from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import pathlib
from collections import deque
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

from qwq_env.text.shown import shown
from qwq_env.tool import Tool, tool
from qwq_env.toolbox import Toolbox
from qwq_env.turn import ToolCall


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class City:
    name: str
    at: Point


RING: list[Any] = [1]
RING.append(RING)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Zürich", "Zürich"),
        ("", ""),
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.5, "0.5"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ((each for each in (1, "a")), '[1, "a"]'),
        (deque([1]), "[1]"),
        (range(3), "[0, 1, 2]"),
        ({"a": 1}.values(), "[1]"),
        ({"ok": True, "n": None}, '{"ok": true, "n": null}'),
        ({"Zürich": [1, "é"]}, '{"Zürich": [1, "é"]}'),
        ({1: "a", None: "b", (1, 2): "c"}, '{"1": "a", "null": "b", "[1, 2]": "c"}'),
        ([math.nan, Fraction(1, 3)], '["nan", "1/3"]'),
        ((1, 2), "[1, 2]"),
        ({3}, "[3]"),
        (Point(1, 2.0), '{"x": 1, "y": 2.0}'),
        (City("Rome", Point(1, 2.0)), '{"name": "Rome", "at": {"x": 1, "y": 2.0}}'),
        (Colour.RED, "red"),
        ({"c": Colour.RED}, '{"c": "red"}'),
        (np.float64(0.5), "0.5"),
        (np.int64(3), "3"),
        ({"a": np.arange(3)}, '{"a": [0, 1, 2]}'),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ([pathlib.PurePosixPath("/a")], '["/a"]'),
        (Fraction(1, 3), "1/3"),
        (b"x", "b'x'"),
        (City, f"<class '{__name__}.City'>"),
        (RING, '[1, "..."]'),
        ({}.keys(), "[]"),
    ],
)
def test_a_value_is_shown_as_json_and_a_text_as_it_is(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_model_of_pydantics_is_shown_as_json() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", when=(datetime.date, ...), tags=(list[str], []))

    assert shown([model(when="2026-01-02")]) == '[{"when": "2026-01-02", "tags": []}]'


@tool(blocking=False)
def look_up(city: str) -> dict[str, Any]:
    """Look a city up."""
    return {"city": city, "known": True, "population": None}


class LookUp(Tool):
    name = "look_up"
    description = "Look a city up."
    parameters = look_up.parameters

    async def call(self, arguments: Any) -> Any:
        return {**arguments, "known": True, "population": None}


@pytest.mark.parametrize("made", [look_up, LookUp()], ids=["function", "class"])
async def test_a_model_reads_the_json_of_what_a_tool_returns(made: Tool) -> None:
    (result,) = await Toolbox([made]).run([ToolCall("look_up", {"city": "Zürich"})])

    assert result.content == '{"city": "Zürich", "known": true, "population": null}'
