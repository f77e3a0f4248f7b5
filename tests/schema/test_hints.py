"""Types behind JSON: what a model reads of them, and what the function gets."""

from __future__ import annotations

import asyncio
import enum
import json
import sys
import typing
from collections import deque, namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import date
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
)

import pytest

from qwq_env.errors import UsageError
from qwq_env.schema.validator import check_parameters
from qwq_env.tool import FunctionTool, tool
from qwq_env.toolbox import Toolbox
from qwq_env.turn import CallResult, ToolCall

T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=int)
Either = TypeVar("Either", int, str)
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Unit(enum.StrEnum):
    METRE = "m"


class Odd(enum.Enum):
    THING = object()


class Empty(enum.Enum):
    pass


@dataclass
class Point:
    """A place.

    Args:
        x: To the right.
    """

    x: int
    y: Annotated[int, "Up."] = 0


@dataclass(frozen=True)
class Spot:
    x: int


@dataclass
class Line:
    points: list[Point]
    colour: Colour = Colour.RED
    tags: set[str] = field(default_factory=set)
    kind: ClassVar[str] = "line"
    length: float = field(default=0.0, init=False)
    _: KW_ONLY
    scale: Final[int] = 1  # type: ignore[misc]


@dataclass
class Positive:
    n: int
    factor: InitVar[int] = 1

    def __post_init__(self, factor: int) -> None:
        if self.n * factor <= 0:
            raise ValueError("must be above 0")


@dataclass
class Node:
    value: int
    children: list[Node] = field(default_factory=list)
    parent: Optional[Node] = None  # noqa: UP045 - as users write it


@dataclass
class Chain(Generic[T]):
    value: T
    next: Chain[T] | None = None


@dataclass
class Endless(Generic[T]):
    next: Endless[list[T]]


@dataclass
class Points(Chain[Point]):
    name: str = ""


class Move(TypedDict):
    source: str
    target: NotRequired[Colour]
    amount: Required[Annotated[int, "How much."]]


class Loose(TypedDict, total=False):
    point: Point
    name: Required[str]


class Tree(TypedDict):
    left: NotRequired[Tree]
    colour: Colour


class Pair(NamedTuple):
    first: Point
    second: Colour = Colour.BLUE


Untyped = namedtuple("Untyped", ["a", "b"], defaults=[2])

RED, BLUE = Colour.RED, Colour.BLUE
CASES: dict[str, tuple[Any, Any, Any]] = {
    "enum": (Colour, "red", RED),
    "integer enum": (Level, 2, Level.HIGH),
    "integer enum, whole": (Level, 2.0, Level.HIGH),
    "integer enum as text": (Level, "2", Level.HIGH),
    "text enum": (Unit, "m", Unit.METRE),
    "member": (Literal[Colour.RED, "auto"], "red", RED),
    "member, other": (Literal[Colour.RED, "auto"], "auto", "auto"),
    "list of enums": (list[Colour], ["red", "blue"], [RED, BLUE]),
    "sequence": (Sequence[Colour], ["red"], [RED]),
    "iterable": (Iterable[int], [1.0], [1]),
    "old list": (typing.List[Colour], ["red"], [RED]),  # noqa: UP006
    "bare old list": (typing.List, ["red"], ["red"]),  # noqa: UP006
    "mapping": (Mapping[str, Colour], {"a": "red"}, {"a": RED}),
    "enum keys": (dict[Colour, int], {"red": 1.0}, {RED: 1}),
    "literal keys": (dict[Literal["a", "b"], Point], {"a": {"x": 1}}, {"a": Point(1)}),
    "described keys": (dict[Annotated[str, "Who."], Colour], {"a": "red"}, {"a": RED}),
    "tuple": (tuple[int, Colour], [3.0, "red"], (3, RED)),
    "any tuple": (tuple[int, ...], [1.0, 2], (1, 2)),
    "tuple of tuples": (tuple[tuple[int, str], ...], [[1, "a"]], ((1, "a"),)),
    "no tuple": (tuple[()], [], ()),
    "bare tuple": (tuple, [1, "a"], (1, "a")),
    "old tuple": (typing.Tuple[int, str], [1, "a"], (1, "a")),  # noqa: UP006
    "set": (set[str], ["a", "b"], {"a", "b"}),
    "bare set": (set, ["a"], {"a"}),
    "frozen set": (frozenset[Colour], ["red"], frozenset({RED})),
    "set of records": (set[Spot], [{"x": 1}], {Spot(1)}),
    "set of tuples": (set[tuple[int, str]], [[1, "a"]], {(1, "a")}),
    "deque": (deque[int], [1], deque([1])),
    "dataclass": (Point, {"x": 1}, Point(1, 0)),
    "dataclass, whole numbers": (Point, {"x": 1.0, "y": 2.0}, Point(1, 2)),
    "dataclass as text": (Point, '{"x": 1}', Point(1)),
    "nested": (
        Line,
        {"points": [{"x": 1}], "colour": "blue", "tags": ["a"], "scale": 2},
        Line([Point(1)], BLUE, {"a"}, scale=2),
    ),
    "null for a default": (Point, {"x": 1, "y": None}, Point(1)),
    "constructed": (Positive, {"n": 1}, Positive(1)),
    "recursive": (
        Node,
        {"value": 1, "children": [{"value": 2.0, "parent": {"value": 3}}]},
        Node(1, [Node(2, parent=Node(3))]),
    ),
    "recursive as text": (Node, '{"value": 1}', Node(1)),
    "recursive or none": (Optional[Node], {"value": 1}, Node(1)),  # noqa: UP045
    "list of recursive": (list[Node], [{"value": 1}], [Node(1)]),
    "generic": (Chain[int], {"value": 1, "next": {"value": 2}}, Chain(1, Chain(2))),
    "generic of a class": (Chain[Colour], {"value": "red"}, Chain(RED)),
    "generic base": (Points, {"value": {"x": 1}, "name": "a"}, Points(Point(1), name="a")),
    "bare generic": (Chain, {"value": "a"}, Chain("a")),
    "typed dict": (Move, {"source": "a", "amount": 1.0}, {"source": "a", "amount": 1}),
    "typed dict, more": (
        Move,
        {"source": "a", "amount": 1, "target": "red"},
        {"source": "a", "amount": 1, "target": RED},
    ),
    "typed dict, not total": (
        Loose,
        {"name": "a", "point": {"x": 1}},
        {"name": "a", "point": Point(1)},
    ),
    "recursive typed dict": (
        Tree,
        {"colour": "red", "left": {"colour": "blue"}},
        {"colour": RED, "left": {"colour": BLUE}},
    ),
    "named tuple": (Pair, {"first": {"x": 1}}, Pair(Point(1))),
    "untyped named tuple": (Untyped, {"a": "x"}, Untyped("x", 2)),
    "optional": (Optional[Point], {"x": 1}, Point(1)),  # noqa: UP045
    "optional, none": (Colour | None, None, None),
    "union": (Point | Move | str, {"source": "a", "amount": 2.0}, {"source": "a", "amount": 2}),
    "union, first": (Point | Move | str, {"x": 2.0}, Point(2)),
    "union, text": (Point | Move | str, "word", "word"),
    "union of enums": (Colour | Level, 1, Level.LOW),
    "list of unions": (list[Point | Colour], [{"x": 1.0}, "red"], [Point(1), RED]),
    "annotated within": (dict[str, list[Annotated[Colour, "Which."]]], {"a": []}, {"a": []}),
    "annotated": (Annotated[list[Annotated[Colour, {}]], "Text."], ["red"], [RED]),
    "new type": (UserId, 3, 3),
    "list of new types": (list[UserId], [3.0], [3]),
    "final": (Final[Colour], "red", RED),
    "bounded": (Bounded, 3, 3),
    "one of two": (Either, "a", "a"),
    "free variable": (list[T], ["a"], ["a"]),
    "object": (object, {"a": [1]}, {"a": [1]}),
}  # fmt: skip


def tool_of(hint: Any, default: Any = ...) -> tuple[FunctionTool, list[Any]]:
    """A tool with one argument of that type, and what it got."""
    got: list[Any] = []

    def take(x):  # type: ignore[no-untyped-def]
        """Take it."""
        got.append(x)
        return "taken"

    take.__annotations__["x"] = hint
    if default is not ...:
        take.__defaults__ = (default,)
    return tool(blocking=False)(take), got


async def called(made: FunctionTool, arguments: Any) -> CallResult:
    [result] = await Toolbox([made]).run([ToolCall("take", arguments)])
    return result


@pytest.mark.parametrize("case", CASES)
async def test_a_function_gets_values_of_the_declared_type(case: str) -> None:
    hint, given, expected = CASES[case]
    made, got = tool_of(hint)
    check_parameters(made.parameters)
    result = await called(made, {"x": given})

    assert result.status == "ok", result.content
    assert got == [expected]
    assert type(got[0]) is type(expected)
    assert repr(got[0]) == repr(expected)


WRONG: dict[str, tuple[Any, Any, str]] = {
    "enum": (Colour, "green", "x: 'green' is not one of"),
    "enum by name": (Colour, "RED", "x: 'RED' is not one of"),
    "truth is no number": (Level, True, "x: True is not one of"),
    "tuple too short": (tuple[int, str], [1], "x: [1] is too short"),
    "tuple too long": (tuple[int, str], [1, "a", 2], "too long"),
    "tuple of others": (tuple[int, str], ["a", "a"], "x.0: 'a'"),
    "set": (set[str], ["a", "a"], "equal"),
    "dataclass": (Point, {"y": 1}, "'x' is a required property"),
    "dataclass, more": (Point, {"x": 1, "z": 1}, "'z' was unexpected"),
    "within": (Line, {"points": [{"x": "a"}]}, "x.points.0.x: 'a'"),
    "typed dict": (Move, {"source": "a"}, "'amount' is a required"),
    "keys": (dict[Colour, int], {"green": 1}, "'green'"),
    "recursive": (Node, {"value": 1, "children": [{}]}, "x.children.0: 'value'"),
    "constructor": (Positive, {"n": -1}, "x: must be above 0"),
    "constructor within": (list[Positive | None], [{"n": -1}], "x: must be above 0"),
    "unset": (Colour, None, "x: None"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_fits_no_value_is_the_policys_error(case: str) -> None:
    hint, given, told = WRONG[case]
    made, got = tool_of(hint)
    result = await called(made, {"x": given})

    assert (result.status, result.kind, got) == ("policy_error", "wrong_type", [])
    assert told in result.content and "\n" not in result.content


@pytest.mark.parametrize(
    "hint",
    [
        Odd, Empty, date, bytes, Callable[[], int], dict[int, str], dict[Level, str], set[Point],
        set[list[int]], list[bytes], Chain[bytes], type[int], complex, Literal[b"a"], 5,
        dict[tuple[int, int], str], set[Sequence[int]], set[Move], int | bytes,
        Endless[int], Chain[Annotated[int, []]],
    ],
    ids=str,
)  # fmt: skip
def test_a_type_without_a_json_form_is_refused(hint: Any) -> None:
    with pytest.raises(UsageError, match=r"^tool take, parameter x: .*") as refused:
        tool_of(hint)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("hint", "default", "written"),
    [
        (Colour, Colour.RED, "red"),
        (Level, Level.HIGH, 2),
        (Point, Point(1, 2), {"x": 1, "y": 2}),
        (Line, Line([]), {"points": [], "colour": "red", "tags": [], "scale": 1}),
        (Pair, Pair(Point(1)), {"first": {"x": 1, "y": 0}, "second": "blue"}),
        (tuple[int, str], (1, "a"), [1, "a"]),
        (set[str], {"b", "a"}, ["a", "b"]),
        (dict[Colour, Level], {Colour.RED: Level.LOW}, {"red": 1}),
        (list[Colour], [Colour.BLUE], ["blue"]),
        (deque[int], deque([1]), [1]),
    ],
)  # fmt: skip
async def test_a_default_is_shown_as_json_and_given_as_it_is(
    hint: Any, default: Any, written: Any
) -> None:
    made, got = tool_of(hint, default)

    assert json.loads(json.dumps(made.parameters["properties"]["x"]["default"])) == written
    assert (await called(made, {})).status == "ok"
    assert got == [default] and got[0] is default


def test_the_schema_is_what_a_model_reads() -> None:
    made, _ = tool_of(Line)
    place = {
        "type": "object",
        "description": "A place.",
        "properties": {
            "x": {"type": "integer", "description": "To the right."},
            "y": {"type": "integer", "description": "Up.", "default": 0},
        },
        "required": ["x"],
        "additionalProperties": False,
    }

    assert made.parameters["properties"]["x"] == {
        "type": "object",
        "properties": {
            "points": {"type": "array", "items": place},
            "colour": {"enum": ["red", "blue"], "default": "red"},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "scale": {"type": "integer", "default": 1},
        },
        "required": ["points"],
        "additionalProperties": False,
    }
    assert "$defs" not in made.parameters


def test_a_type_that_holds_itself_is_defined_once() -> None:
    made, _ = tool_of(list[Node])
    other, _ = tool_of(Chain[int] | Chain[str])

    assert made.parameters["properties"]["x"] == {
        "type": "array",
        "items": {"$ref": "#/$defs/Node"},
    }
    assert made.parameters["$defs"].keys() == {"Node"}
    assert other.parameters["$defs"].keys() == {"Chain", "Chain2"}


def test_a_plain_function_pays_nothing() -> None:
    for hint in (
        str,
        int,
        list[int],
        dict[str, Any],
        Literal["a"],
        int | None,
        UserId,
        TypedDict("D", {"a": int}),
    ):
        made, got = tool_of(hint)
        value: Any = {"a": 1}
        asyncio.run(made.call({"x": value}))

        assert made._read is None and got == [value] and got[0] is value


async def test_types_of_a_function_may_be_named_in_postponed_hints() -> None:
    class Mood(enum.Enum):
        GLAD = "glad"

    @dataclass
    class Person:
        mood: Mood
        friend: Person | None = None

    @tool(blocking=False)
    def greet(person: Person, mood: Mood = Mood.GLAD) -> str:
        """Greet."""
        return f"{person.mood is mood} {person.friend}"

    [result] = await Toolbox([greet]).run([ToolCall("greet", {"person": {"mood": "glad"}})])

    assert result.content == "True None"


pydantic = pytest.importorskip("pydantic")


class Stop(pydantic.BaseModel):  # type: ignore[misc]
    name: str = pydantic.Field(description="Of the stop.", min_length=1)
    day: date | None = None


class Trip(pydantic.BaseModel):  # type: ignore[misc]
    """A trip."""

    stops: list[Stop]
    next: Trip | None = None
    place: tuple[int, int] = (0, 0)


class Strict(pydantic.BaseModel):  # type: ignore[misc]
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")
    tags: set[str] = pydantic.Field(default_factory=set)

    @pydantic.field_validator("tags")
    @classmethod
    def few(cls, tags: set[str]) -> set[str]:
        if len(tags) > 1:
            raise ValueError("one tag at most")
        return tags


@pydantic.dataclasses.dataclass
class Checked:
    n: Annotated[int, pydantic.Field(gt=0)]


@pytest.mark.parametrize(
    ("hint", "given", "expected"),
    [
        (Stop, {"name": "a", "day": "2026-01-31"}, lambda: Stop(name="a", day=date(2026, 1, 31))),
        (Trip, {"stops": [{"name": "a"}], "next": {"stops": []}, "place": [1, 2]},
         lambda: Trip(stops=[Stop(name="a")], next=Trip(stops=[]), place=(1, 2))),
        (list[Trip | None], [{"stops": []}, None], lambda: [Trip(stops=[]), None]),
        (Strict, {"tags": ["a"]}, lambda: Strict(tags={"a"})),
        (Checked, {"n": 1}, lambda: Checked(1)),
        (Annotated[int, pydantic.Field(gt=0)], 1, lambda: 1),
        (pydantic.PositiveInt, 1, lambda: 1),
        (dict[str, Stop], {"a": {"name": "b"}}, lambda: {"a": Stop(name="b")}),
        (Chain[Stop], {"value": {"name": "b"}}, lambda: Chain(Stop(name="b"))),
    ],
)  # fmt: skip
async def test_models_of_pydantic(hint: Any, given: Any, expected: Any) -> None:
    made, got = tool_of(hint)
    check_parameters(made.parameters)
    result = await called(made, {"x": given})

    assert result.status == "ok", result.content
    assert got == [expected()]


@pytest.mark.parametrize(
    ("hint", "given", "told"),
    [
        (Stop, {"name": ""}, "x.name: '' "),
        (Stop, {"name": "a", "day": "soon"}, "x: day: Input should be a valid date"),
        (Strict, {"tags": ["a", "b"]}, "x: tags: Value error, one tag at most"),
        (Strict, {"tag": []}, "'tag' was unexpected"),
        (Checked, {"n": 0}, "x.n: 0"),
        (pydantic.PositiveInt, 0, "x: 0"),
        (dict[Annotated[str, pydantic.Field(max_length=1)], int], {"ab": 1}, "'ab' is too long"),
    ],
)
async def test_what_pydantic_refuses_is_the_policys_error(hint: Any, given: Any, told: str) -> None:
    made, got = tool_of(hint)
    result = await called(made, {"x": given})

    assert (result.status, result.kind, got) == ("policy_error", "wrong_type", [])
    assert told in result.content and "\n" not in result.content


async def test_models_of_one_name_stay_apart() -> None:
    other = pydantic.create_model("Stop", n=(int, ...))
    outer = pydantic.create_model("Outer", stop=(other, ...))

    @tool(blocking=False)
    def go(trip: Trip, outer: outer, node: Node) -> str:  # type: ignore[valid-type]
        """Go."""
        return f"{trip.stops[0].name} {outer.stop.n} {node.value}"  # type: ignore[attr-defined]

    check_parameters(go.parameters)
    arguments = {
        "trip": {"stops": [{"name": "a"}]},
        "outer": {"stop": {"n": 1}},
        "node": {"value": 2},
    }
    [result] = await Toolbox([go]).run([ToolCall("go", arguments)])

    assert result.content == "a 1 2"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type X = ...` is of Python 3.12")
async def test_aliases_of_python_3_12() -> None:
    names: dict[str, Any] = {"Colour": Colour}
    exec("type Colours[T] = list[T]\ntype Deep = Colour | list[Deep]\ntype Plain = int", names)
    for hint, given, expected in [
        (names["Colours"][Colour], ["red"], [RED]),
        (names["Deep"], ["red", ["blue"]], [RED, [BLUE]]),
        (names["Plain"], 3, 3),
    ]:
        made, got = tool_of(hint)
        check_parameters(made.parameters)

        assert (await called(made, {"x": given})).status == "ok"
        assert got == [expected]


def test_types_of_typing_extensions() -> None:
    extensions = pytest.importorskip("typing_extensions")
    told = Annotated[int, extensions.Doc("How many.")]
    kind = extensions.TypedDict(
        "kind", {"a": extensions.ReadOnly[Colour], "b": extensions.NotRequired[told]}
    )
    alias = extensions.TypeAliasType("alias", list[Colour])
    made, got = tool_of(dict[str, kind | alias])
    asyncio.run(made.call({"x": {"one": {"a": "red"}, "two": ["blue"]}}))

    assert got == [{"one": {"a": RED}, "two": [BLUE]}]
    assert "How many." in json.dumps(made.parameters)
