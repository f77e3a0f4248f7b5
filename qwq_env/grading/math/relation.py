"""What a relation says: the values of its sides, and the interval that an inequality describes."""

import re

from qwq_env.grading.math.structure import (
    Answer,
    Brackets,
    Relation,
    Union,
    Value,
    is_name,
    read_answer,
)

__all__ = [
    "FLIPPED", "computed_sides", "difference", "interval", "named", "reversed_relation",
    "rough_sides",
]  # fmt: skip

FLIPPED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}
"""The signs of an inequality, and each as it is read from the right."""
_UPWARD = ("<", "\\leq")
_ABSOLUTE = re.compile(r"\|[^|]*\|")
_EXACT_SIGNS = frozenset(["=", "\\equiv"])


def computed_sides(relation: Relation) -> list[str]:
    """The sides that say a value: no names, and nothing approximate when there is an exact one."""
    exact: list[str] = []
    rough: list[str] = []
    for place, side in enumerate(relation.sides):
        if is_name(side) and not _is_constant(side):
            continue
        sign = relation.signs[place - 1] if place else "="
        (exact if sign in _EXACT_SIGNS else rough).append(side)
    if not exact and not rough:  # x = y: the last name is what the first one is
        return [relation.sides[-1]]
    return exact or rough


def rough_sides(relation: Relation) -> list[str]:
    """The sides behind `\\approx`."""
    return [
        side
        for sign, side in zip(relation.signs, relation.sides[1:], strict=True)
        if sign not in _EXACT_SIGNS
    ]


def _is_constant(side: str) -> bool:
    return side.strip() in ("\\pi", "e", "i", "\\infty", "\\emptyset", "-\\infty")


def named(relation: Relation) -> frozenset[str]:
    """The sides that name a quantity."""
    return frozenset(
        side.replace(" ", "").strip("|")
        for side in relation.sides
        if is_name(side) and not _is_constant(side)
    )


def difference(relation: Relation) -> str:
    """The left side minus the right one, as an expression."""
    return f"({relation.sides[0]})-({relation.sides[1]})"


def reversed_relation(relation: Relation) -> Relation:
    """The same relation read from the right: `3 > x` for `x < 3`."""
    return Relation(
        relation.sides[::-1], tuple(FLIPPED.get(sign, sign) for sign in relation.signs[::-1])
    )


def interval(relation: Relation) -> Answer | None:
    """The set in which the one name of an inequality lies, or None."""
    sides, signs = relation.sides, relation.signs
    if len(sides) == 2 and is_name(sides[1]) and not is_name(sides[0]):
        return interval(reversed_relation(relation))
    if len(sides) == 3 and signs[0] in (">", "\\geq"):
        if signs[1] not in (">", "\\geq"):
            return None
        return interval(reversed_relation(relation))
    if len(sides) == 2 and is_name(sides[0]):
        return _ray(sides[0], signs[0], sides[1])
    if len(sides) == 3 and is_name(sides[1]) and all(sign in _UPWARD for sign in signs):
        return _segment(sides[0], signs[0], sides[1], signs[1], sides[2])
    return None


def _ray(name: str, sign: str, bound: str) -> Answer | None:
    above = Brackets((read_answer(bound), Value("\\infty")), _opening(sign), ")")
    below = Brackets((Value("-\\infty"), read_answer(bound)), "(", _closing(sign))
    if sign == "\\neq":
        return Union((below, above))
    if sign not in FLIPPED:
        return None
    if not _ABSOLUTE.fullmatch(name):
        return below if sign in _UPWARD else above
    if sign in _UPWARD:
        return Brackets((_negated(bound), read_answer(bound)), _opening(sign), _closing(sign))
    return Union((Brackets((Value("-\\infty"), _negated(bound)), "(", _closing(sign)), above))


def _segment(low: str, below: str, name: str, above: str, high: str) -> Answer:
    inner = Brackets((read_answer(low), read_answer(high)), _opening(below), _closing(above))
    if not _ABSOLUTE.fullmatch(name):
        return inner
    mirrored = Brackets((_negated(high), _negated(low)), _opening(above), _closing(below))
    return Union((mirrored, inner))


def _opening(sign: str) -> str:
    return "(" if sign in ("<", ">", "\\neq") else "["


def _closing(sign: str) -> str:
    return ")" if sign in ("<", ">", "\\neq") else "]"


def _negated(text: str) -> Answer:
    return read_answer(f"-({text})")
