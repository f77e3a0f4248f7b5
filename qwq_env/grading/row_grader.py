"""What scores the rows of one kind."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from qwq_env.grading.score import Score

Row = Mapping[str, Any]


class Grader(NamedTuple):
    """How rows of one kind are scored, and what refuses the malformed ones beforehand.

    `group` names the parts that a row is counted under, from the whole to the part; `expected`
    gives, for each part, the `question_id`s that should be there.
    """

    grade: Callable[[Row], Awaitable[Score]]
    check: Callable[[Row], None]
    group: Callable[[Row], tuple[str, ...] | None] = lambda row: None
    expected: Mapping[tuple[str, ...], Sequence[str]] = MappingProxyType({})
