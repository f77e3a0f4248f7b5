"""The tree that an expression is read into: exact numbers, symbols, and calls on them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

__all__ = ["Call", "Node", "Number", "Symbol", "TooComplex", "Unreadable", "symbols"]


class Unreadable(Exception):
    """The text is not in the notation that the reader knows."""


class TooComplex(Exception):
    """The text is larger than what is worth an answer; the verdict is undecided."""


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, subscript and primes included (`x`, `a_{1}`, `\\theta`), or `i`, `e`, `pi`."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """An operation or a function on its arguments: add, mul, div, pow, neg, sin, opaque:f, ..."""

    name: str
    arguments: tuple["Node", ...]


Node: TypeAlias = Number | Symbol | Call


def symbols(node: Node) -> frozenset[str]:
    """The names of the symbols in the tree, constants included."""
    if isinstance(node, Symbol):
        return frozenset([node.name])
    if isinstance(node, Call):
        found = frozenset[str]().union(*(symbols(argument) for argument in node.arguments))
        if node.name in ("sum", "prod"):  # its first argument is the index, bound in its last
            index, low, high, _ = node.arguments
            return (found - symbols(index)) | symbols(low) | symbols(high)
        return found
    return frozenset()
