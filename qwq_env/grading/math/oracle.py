"""The two oracles: exact numbers in the caller's process, everything in a worker."""

import re
from fractions import Fraction
from functools import lru_cache

from qwq_env.grading.math.exact import exact_value
from qwq_env.grading.math.expression import read
from qwq_env.grading.math.magnitude import certainly_different, magnitude
from qwq_env.grading.math.tree import Call, Node, TooComplex, Unreadable

__all__ = ["ExactOracle", "FullOracle", "NeedsWorker", "read_or_leave"]


_BEYOND_THE_READER = re.compile(
    r"\\(?:int|iint|oint|lim|sum|prod|partial|nabla|det|operatorname|begin|cup|cap|setminus|in"
    r"|notin|subset|subseteq|emptyset|mathbb|infty|\{|lVert|Vert)(?![A-Za-z])"
)


_TAKES_INFINITY = re.compile(r"\\(?:int|sum|prod|lim|cup|cap)(?![A-Za-z])")


_ANY_NUMBER = "\\frac{7919}{31}"


class NeedsWorker(Exception):
    """Exact arithmetic does not decide; the question goes to a worker."""


@lru_cache(maxsize=4096)
def _number(text: str) -> Fraction | None:
    return exact_value(read(text))


def _are_apart(gold: str, answer: str) -> bool:
    """Whether two expressions are proved different by what is known of their size."""
    try:
        return certainly_different(magnitude(read(gold)), magnitude(read(answer)))
    except (Unreadable, TooComplex, ZeroDivisionError):
        return False


class ExactOracle:
    """Decides about rational numbers at once, and about nothing else. Imports nothing heavy."""

    def number(self, text: str) -> Fraction | None:
        try:
            return _number(text)
        except ZeroDivisionError:
            return None
        except (Unreadable, TooComplex):
            raise NeedsWorker from None

    def same(self, gold: str, answer: str) -> bool:
        numbers = self.number(gold), self.number(answer)
        if numbers[0] is None or numbers[1] is None:
            if _are_apart(gold, answer):
                return False
            raise NeedsWorker
        return numbers[0] == numbers[1]

    def proportional(self, gold: str, answer: str, positive: bool) -> bool:
        raise NeedsWorker


class FullOracle:
    """Decides by sampling, and by math-verify where the reader or the sampling does not know.

    Needs the `grading` extra; may run for long, so it lives in a killable worker.
    """

    def number(self, text: str) -> Fraction | None:
        try:
            return _number(text)
        except (Unreadable, ZeroDivisionError):
            return None

    def same(self, gold: str, answer: str) -> bool:
        from qwq_env.grading.math import evaluate, sampling, symbolic  # noqa: PLC0415 - optional, heavy

        if "\\infty" in answer and not _TAKES_INFINITY.search(answer):
            raise Unreadable("infinity is no number to compute with")
        left, right = read_or_leave(gold), read_or_leave(answer)
        if left is not None and right is not None:
            if _are_apart(gold, answer):
                return False
            try:
                if sampling.same_value(left, right):
                    return True
                # \log is the natural logarithm to some and the decimal one to others.
                decimal = _decimal_logarithms(left), _decimal_logarithms(right)
                return decimal != (left, right) and sampling.same_value(*decimal)
            except (evaluate.Undefined, Unreadable):
                pass
        return symbolic.same_meaning(gold, answer)

    def weigh(self, gold: str) -> None:
        """Raise `TooComplex` for a reference that is too costly to be compared with anything."""
        from qwq_env.grading.math import evaluate, sampling, symbolic  # noqa: PLC0415 - optional, heavy

        try:
            node = read_or_leave(gold)
            if node is None:
                symbolic.same_meaning(gold, _ANY_NUMBER)
            else:
                sampling.weigh(node)
        except (evaluate.Undefined, Unreadable, ZeroDivisionError):
            pass  # compared as text, or by math-verify

    def proportional(self, gold: str, answer: str, positive: bool) -> bool:
        from qwq_env.grading.math import evaluate, sampling  # noqa: PLC0415 - optional, heavy

        left, right = read_or_leave(gold), read_or_leave(answer)
        if left is None or right is None:
            return False
        try:
            return sampling.proportional(left, right, positive)
        except (evaluate.Undefined, Unreadable):
            return False


def read_or_leave(text: str) -> Node | None:
    """The tree, or None when math-verify may try. Raises `Unreadable` when it should not.

    Its grammar is generous: it finds a value in `0'1` and in `5 0`. It gets to read only what has
    a construct that the reader leaves to it.
    """
    try:
        return read(text)
    except Unreadable:
        if not _BEYOND_THE_READER.search(text):
            raise
        return None


def _decimal_logarithms(node: Node) -> Node:
    if not isinstance(node, Call):
        return node
    name = "log10" if node.name == "log" else node.name
    return Call(name, tuple(_decimal_logarithms(argument) for argument in node.arguments))
